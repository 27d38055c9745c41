"""The locustfiles that people copy: each runs as it says, ends with an answer, and is short."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.live.cases import CASES, Answer
from tests.support.searches import LOCUSTFILES

FILES = sorted(LOCUSTFILES.glob("*.py"))
LONGEST = 60


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_is_short_and_says_how_to_run_it(path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) < LONGEST
    assert f"locust -f locustfiles/{path.name} --headless" in text


def test_each_is_run_by_a_search() -> None:
    assert {case.locustfile for case in CASES.values()} == {path.name for path in FILES}


@pytest.mark.live
@pytest.mark.timeout(1300)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_ends_with_an_answer(path, answer: Callable[[str], Answer]) -> None:
    name = next(name for name, case in CASES.items() if case.locustfile == path.name)
    found = answer(name).search
    assert found.ended.code == 0
    assert found.outcome["capacity"]["value"]
    assert " CAPACITY " in found.ended.stdout
