"""The oracle bites: loads above the cap, or after the end, that are made up, or made without a search."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest

from tests.faults.loaded import Loaded, judged
from tests.faults.oracle import Report, ended, within_cap
from tests.support.target import Service
from tests.support.truth import SMALL

CAP = 130.0


def poisson(rate: float, seconds: float, seed: int = 1) -> list[float]:
    rng = np.random.default_rng(seed)
    return sorted(rng.uniform(0.0, seconds, rng.poisson(rate * seconds)).tolist())


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("cap", [2.0, 30.0, CAP, 250.0])
def test_a_load_at_the_cap_is_within_it(cap: float, seed: int) -> None:
    within_cap(poisson(cap, 200, seed), cap)


@pytest.mark.parametrize(
    ("times", "from_s", "to_s"), [(2.0, 20, 21), (1.5, 20, 24), (1.2, 16, 32)], ids=["a second", "four", "sixteen"]
)
def test_a_load_above_the_cap_is_not(times: float, from_s: float, to_s: float) -> None:
    below = [t for t in poisson(CAP, 200) if not from_s <= t < to_s]
    above = [from_s + t for t in poisson(times * CAP, to_s - from_s)]
    with pytest.raises(AssertionError, match="the cap is 130/s"):
        within_cap(sorted(below + above), CAP)


def test_where_no_load_was_to_be_one_request_is_too_many() -> None:
    within_cap([], 0)
    with pytest.raises(AssertionError, match="no load"):
        within_cap([1.0], 0)


LOAD = [100 + t for t in poisson(30, 60)]
"""From second 100 to 160."""
DONE = Report(100.0, 160.5, "resolved")


def test_load_may_last_until_the_end_and_ten_seconds_more() -> None:
    ended([*LOAD, 170.0], [], [DONE])
    ended(LOAD, [155.0], [Report(100.0, 160.5, "aborted")])


@pytest.mark.parametrize("asked", [[], [160.0]], ids=["by its report", "by Stop"])
def test_load_eleven_seconds_after_the_end_is_too_late(asked: list[float]) -> None:
    with pytest.raises(AssertionError, match="after the end"):
        ended([*LOAD, 171.5], asked, [DONE])


def test_the_load_of_the_next_search_is_its_own() -> None:
    following = Report(165.0, 240.0, "resolved")
    ended([*LOAD, *(t + 66 for t in LOAD)], [], [DONE, following])
    with pytest.raises(AssertionError, match="after the end"):
        ended([*LOAD, *(t + 96 for t in LOAD)], [], [DONE, Report(200.0, 270.0, "resolved")])


def test_a_search_that_was_stopped_as_it_began_is_not_the_next_one() -> None:
    with pytest.raises(AssertionError, match="after the end"):
        ended([100.75, 112.0], [100.7], [Report(100.0, 100.8, "aborted")])


def test_a_moment_that_nobody_named_is_asked_for() -> None:
    with pytest.raises(AssertionError, match="call must_end"):
        ended(LOAD, [], [])
    with pytest.raises(AssertionError, match="call must_end"):
        ended(LOAD, [], [Report(100.0, 160.5, "aborted")])


# -- a real server, and no search ------------------------------------------------------------------------------------


def ask(target: Loaded) -> None:
    urlopen(target.url, timeout=10).close()


def test_a_target_that_is_left_judges_what_it_was_offered(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no load"), Loaded(tmp_path, SMALL.service, 0) as target:
        ask(target)
    with pytest.raises(AssertionError, match="call must_end"), Loaded(tmp_path, SMALL.service, CAP) as target:
        ask(target)
    written = {"started": "2001-01-01T00:00:00+00:00", "verdict": "resolved"}
    (tmp_path / "capacity.json").write_text(json.dumps(written))
    os.utime(tmp_path / "capacity.json", (0, time.time() - 11))
    with pytest.raises(AssertionError, match="after the end"), Loaded(tmp_path, SMALL.service, CAP) as target:
        ask(target)


@pytest.mark.parametrize("cap", [1, 2])
def test_in_closed_loop_it_counts_the_requests_that_are_open_at_once(cap: int, tmp_path: Path) -> None:
    slow = Service(workers=2, mean_s=0.3, sigma=0.0)

    def visited() -> None:
        with Loaded(tmp_path, slow, cap, users=True) as target, ThreadPoolExecutor(2) as users:
            list(users.map(ask, [target] * 4))
            target.must_end()

    if cap == 2:
        visited()
    else:
        with pytest.raises(AssertionError, match="2 requests at once: the cap is 1"):
            visited()


def test_no_scenario_goes_without_a_target_unless_it_says_why(tmp_path: Path) -> None:
    def idle(folder: Path) -> int:
        with Loaded(folder, SMALL.service, 0):
            return 1

    assert judged(idle, tmp_path) == 1
    assert judged(lambda folder: 2, tmp_path, no_target="it makes none") == 2
    for scenario, reason in ((idle, "it makes none"), (lambda folder: 2, "")):
        with pytest.raises(AssertionError, match="no_target"):
            judged(scenario, tmp_path, reason)
