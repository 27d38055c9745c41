"""The example of the controller's page runs as it is printed, needs no Locust, and finds the capacity that is known."""

import math
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from locust_adaptive.search import controller, events

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reference" / "controller.md").read_text("utf-8")
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
TRUTH = 100 - math.log(20) / 0.1


def run(seed: int) -> str:
    code = EXAMPLE.replace("random.Random(1)", f"random.Random({seed})")
    # Any import of Locust or gevent would fail.
    guard = "import sys; sys.modules['locust'] = sys.modules['gevent'] = None\n"
    return subprocess.run(
        [sys.executable, "-c", guard + code], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    ).stdout


@pytest.fixture(scope="module")
def printed() -> list[str]:
    return [run(seed) for seed in range(1, 6)]


def test_the_example_finds_the_capacity_of_its_queue(printed: list[str]) -> None:
    values = []
    for text in printed:
        verdict, answer, first, *_ = text.splitlines()
        assert verdict == "resolved converged"
        match = re.fullmatch(r"([\d.]+) requests/s \(95 % interval ([\d.]+) \.\. ([\d.]+)\)", answer)
        assert match is not None
        value, low, high = map(float, match.groups())
        assert low < value < high
        assert first.startswith("1 ramp 10")
        values.append(value)
    errors = [abs(value / TRUTH - 1) for value in values]
    assert max(errors) <= 0.08
    assert statistics.median(errors) <= 0.04


def test_the_example_prints_the_same_each_time(printed: list[str]) -> None:
    assert run(1) == printed[0]


def test_the_example_is_about_forty_lines_of_its_own() -> None:
    own = [line for line in EXAMPLE.splitlines() if line.strip() and "import" not in line]
    assert len(own) <= 45


@pytest.mark.parametrize("kind", ["Event", "Command"])
def test_the_page_has_every_event_and_command_with_its_fields(kind: str) -> None:
    for member in getattr(events, kind).__args__:
        (row,) = re.findall(rf"^\| `{member.__name__}` \|(.*)\|$", PAGE, re.MULTILINE)
        for name in member.__dataclass_fields__:
            assert name == "t" or f"`{name}`" in row


def test_the_page_cites_the_numbers_that_hold() -> None:
    assert f"no flow comes for {controller.SILENCE_S:.0f} s" in PAGE
    assert f"after {controller.DRAIN_S:.0f} s and ten limits" in PAGE
    assert f"nothing has come back for {controller.STUCK_S:.0f} s and the" in PAGE
    assert f"not come within {controller.USERS_S:.0f} s" in PAGE
