"""The page on how a search ends says what the code does."""

import re
from pathlib import Path

from locust_adaptive.plugin.signals import ENDING, TWICE_S
from locust_adaptive.plugin.worker import GRACE_S
from locust_adaptive.report.words import EXIT_CODES, NOTES, REASONS

PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "ending.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
del ROWS[0]


def test_every_reason_and_exit_code_on_it_is_known():
    for _, reasons, codes, _ in ROWS:
        for reason in re.findall(r"`([^`]*)`", reasons):
            assert reason.removesuffix(": ...") in REASONS
        for code in re.findall(r"\d+", codes):
            assert int(code) in EXIT_CODES
    assert {int(c) for row in ROWS for c in re.findall(r"\d+", row[2])} == set(EXIT_CODES)


def test_every_signal_has_its_reason_and_code():
    row = next(row for row in ROWS if "SIGTERM" in row[0])
    assert set(re.findall(r"`stopped by (\w+)`", row[1])) == {number.name for number in ENDING}
    assert {int(code) for code in row[2].split(",")} == {128 + number for number in ENDING}
    assert {f"stopped by {number.name}" for number in ENDING} <= set(REASONS)


def test_its_times_and_notes_are_those_of_the_code():
    assert TWICE_S == 0.5
    assert "half a second later" in PAGE
    assert f"{GRACE_S:g} s to end" in PAGE
    for note in ("journal_lost", "result_not_saved"):
        assert f"`{note}`" in PAGE
        assert note in NOTES
