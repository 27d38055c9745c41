"""The page of validity is what the code says."""

import runpy
from pathlib import Path

import pytest

from locust_adaptive.report import words
from locust_adaptive.search.rules import LAG_FLOOR_S, LAG_SHARE, RULES

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
PAGE = (FOLDER / "validity.md").read_text("utf-8")
MAKER = runpy.run_path(str(FOLDER / "make_validity.py"))


def test_the_table_is_up_to_date() -> None:
    assert MAKER["updated"](PAGE) == PAGE, "run: python docs/reference/make_validity.py"


@pytest.mark.parametrize("mark", [MAKER["BEGIN"], MAKER["END"]])
def test_a_page_without_its_marks_is_an_error(mark: str) -> None:
    with pytest.raises(ValueError, match="lacks the mark"):
        MAKER["updated"](PAGE.replace(mark, ""))


def test_bounds_that_are_told_in_words_hold() -> None:
    told = f"{1000 * LAG_FLOOR_S:g} ms, or {100 * LAG_SHARE:g} % of the limit"
    assert told in PAGE


def test_each_rule_is_told_once_with_all_that_a_reader_needs() -> None:
    assert len({rule.id for rule in RULES}) == len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.formula and rule.source and rule.advice for rule in RULES)


def test_a_rule_that_voids_is_a_reason_of_a_probe() -> None:
    assert {rule.name for rule in RULES if rule.effect == "void"} <= set(words.TRIAL_REASONS)
