"""The page of profiles is what the code says, and what the last run of the suite measured."""

import runpy
from pathlib import Path

import pytest

from locust_adaptive.search.profiles import PROFILES

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
PAGE = (FOLDER / "profiles.md").read_text("utf-8")
MAKER = runpy.run_path(str(FOLDER / "make_profiles.py"))

RESULTS = """# Searches in virtual time

## Each tool

| tool | median | p90 | bias | >5 % over | no answer | s median | s p90 | covered | x limit |
|---|---|---|---|---|---|---|---|---|---|
| ours | 1.1 % | 5.5 % | -0.2 % | 6.0 % | 0.0 % | 230 | 880 | 94 % | 1.2 |
| ours thorough | 0.8 % | 4.1 % | -0.1 % | 3.0 % | 0.0 % | 390 | 990 | 95 % | 1.1 |
| ramp | 9.0 % | 30 % | +1.0 % | 20 % | 0.0 % | 100 | 200 |  | 9.0 |

A note.

## The held-out scenarios, run once

| tool | median | p90 | bias | >5 % over | no answer | s median | s p90 | covered | x limit |
|---|---|---|---|---|---|---|---|---|---|
| ours fast | 7.7 % | 7.7 % | +7.7 % | 7.7 % | 7.7 % | 777 | 777 | 77 % | 7.7 |
"""


def cells(results: str) -> dict[str, list[str]]:
    rows = (line[2:-2].split(" | ") for line in MAKER["table"](results).splitlines()[2:])
    return {name.strip("`"): row for name, *row in rows}


def test_the_table_is_up_to_date() -> None:
    assert MAKER["updated"](PAGE, MAKER["last_results"]()) == PAGE, "run: python docs/reference/make_profiles.py"


@pytest.mark.parametrize("mark", [MAKER["BEGIN"], MAKER["END"]])
def test_a_page_without_its_marks_is_an_error(mark: str) -> None:
    with pytest.raises(ValueError, match="lacks the mark"):
        MAKER["updated"](PAGE.replace(mark, ""), "")


def test_each_profile_has_its_row_with_what_it_sets() -> None:
    found = cells("")
    assert list(found) == list(PROFILES)
    for name, row in found.items():
        precision, dwells, soak, *figures = row
        assert float(precision.removesuffix(" %")) == pytest.approx(100 * PROFILES[name]["precision"])
        assert int(dwells) == PROFILES[name]["dwells"]
        assert float(soak.removesuffix(" s")) == PROFILES[name]["soak_s"]
        assert set(figures) == {""}


def test_the_measured_columns_are_those_of_the_suite_and_not_of_what_was_held_out() -> None:
    found = cells(RESULTS)
    assert found["standard"][3:] == ["1.1 %", "5.5 %", "6.0 %", "94 %", "230", "880"]
    assert found["thorough"][3:] == ["0.8 %", "4.1 %", "3.0 %", "95 %", "390", "990"]
    assert set(found["fast"][3:]) == {""}


def test_the_page_names_every_profile() -> None:
    assert all(f"`{name}`" in PAGE.split("\n## ")[0] for name in PROFILES)
