"""Pairs of searches: their figures are those of normal errors where the errors are normal, and the page has them."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("numba")

from benchmarks.search import compare
from benchmarks.search.compare import BEST, REGRESSIONS, SLOWED, Job, slower
from benchmarks.search.figures import SCENARIOS
from benchmarks.search.pairs import Pairs
from locust_adaptive.report.compare import INFLATION, detectable

Z95 = 1.959964
UNANSWERED = {"value": None, "low": 50.0, "high": None}


def row(value: float, sd: float, **more: object) -> dict[str, object]:
    ends = {"value": value, "low": value * math.exp(-Z95 * sd), "high": value * math.exp(Z95 * sd)}
    return {"scenario": BEST[0], "profile": "thorough", "slowed": 0.0, "truth": 100.0, **ends, **more}


def rows(n: int, spread: float, sd: float, seed: int = 1, truth: float = 100.0, **more: object) -> list:
    """Searches that differ by `spread`, and say that it is `sd`."""
    logs = np.random.default_rng(seed).standard_normal(n) * spread
    return [row(truth * math.exp(x), sd, truth=truth, **more) for x in logs]


HONEST = rows(250, 0.01, 0.01)


def test_honest_intervals_give_the_false_alarms_and_the_power_that_they_claim():
    pairs = Pairs(HONEST, HONEST)
    assert len(pairs) == 250 * 249
    share, error = pairs.called()
    assert 0.002 < error < 0.01
    assert share == pytest.approx(0.02, abs=4 * error)
    smallest = detectable(0.01, 0.01)
    assert pairs.claimed() == pytest.approx(smallest, rel=1e-3)
    assert pairs.shown() == pytest.approx(smallest, rel=0.15)
    assert pairs.by_spread() == pytest.approx(detectable(0.01, 0.01, inflation=1.0), rel=0.15)
    assert pairs.called(pairs.shown() + 1e-9)[0] == pytest.approx(0.9, abs=1e-4)
    assert pairs.inflation == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("wide", [0.5, 1.0, 2.0])
def test_the_factor_is_what_makes_the_false_alarms_right(wide):
    """Intervals of half the width need twice the factor; with it the rule is as good as one that knows the spread."""
    searches = rows(250, 0.01, 0.01 * wide)
    pairs = Pairs(searches, searches)
    assert pairs.inflation == pytest.approx(1 / wide, rel=0.15)
    assert pairs.by_spread() == pytest.approx(Pairs(HONEST, HONEST).by_spread())
    corrected = pairs.changes + pairs.inflation / INFLATION * (pairs.margins - pairs.changes)
    assert np.sum(corrected < -1e-12) / len(pairs) == pytest.approx(0.02, abs=1e-4)


def test_the_error_of_a_share_is_that_of_searches_not_of_pairs():
    """Over many sets of searches the shares differ by as much as the jackknife says of one."""
    found = [Pairs(r, r).called(0.03) for r in (rows(30, 0.01, 0.01, seed) for seed in range(60))]
    shares, errors = np.array(found).T
    assert float(np.mean(errors)) == pytest.approx(float(np.std(shares)), rel=0.35)
    two = [Pairs(rows(30, 0.01, 0.01, seed), rows(20, 0.01, 0.01, seed + 1000, 97.0)).called() for seed in range(60)]
    shares, errors = np.array(two).T
    assert float(np.mean(errors)) == pytest.approx(float(np.std(shares)), rel=0.35)


def test_searches_without_an_answer_show_no_regression():
    some = [*rows(8, 0.001, 0.01), *2 * [{**row(100.0, 0.01), **UNANSWERED}]]
    pairs = Pairs(some, some)
    assert pairs.called()[0] == 0
    assert pairs.by_spread() == pairs.shown() == 1
    assert pairs.claimed() < 0.1
    assert pairs.called(0.5)[0] < 0.9


def test_a_slowed_server_does_the_same_work_in_more_time():
    scenario = SCENARIOS[BEST[1]]
    slowed = slower(scenario, SLOWED).server
    assert slowed.base == pytest.approx(scenario.server.base / 0.95)
    assert slowed.per_request == pytest.approx(scenario.server.per_request / 0.95)
    assert (slowed.delay, slowed.queue, slowed.workers) == (
        scenario.server.delay,
        scenario.server.queue,
        scenario.server.workers,
    )


def test_what_is_on_file_is_not_searched_again():
    done = [
        {"scenario": name, "profile": "fast", "slowed": slowed, "seed": first, "truth": 90.0}
        for name in BEST
        for slowed, first in ((0.0, compare.FIRST_SEED), (SLOWED, compare.FIRST_SLOWED))
    ]
    jobs = compare.missing("fast", 2, done)
    assert len(jobs) == 2 * len(BEST)
    assert {job.seed for job in jobs} == {compare.FIRST_SEED + 1, compare.FIRST_SLOWED + 1}
    assert {job.capacity for job in jobs if job.slowed} == {90.0}
    assert compare.missing("fast", 1, done) == []
    assert len(compare.missing("thorough", 2, done)) == 4 * len(BEST)


def test_a_search_is_a_line_of_the_file():
    found = compare.search(Job(BEST[3], "fast", SLOWED, compare.FIRST_SLOWED, 364.0))
    assert found["truth"] == 364.0
    assert found["slowed"] == SLOWED
    # A capacity that is lower by about SLOWED, and not that of the server as it was.
    assert found["low"] < 0.97 * 383.3 < 1.05 * found["high"]


def test_the_page_has_every_figure():
    searches = [
        line
        for name in BEST
        for slowed, truth in ((0.0, 100.0), (SLOWED, 94.0))
        for line in rows(20, 0.01, 0.01, len(name), truth, scenario=name, slowed=slowed)
    ]
    suite = [{**line, "tool": "ours"} for line in rows(5, 0.01, 0.02)] + [{**row(100, 0.01), "tool": "ramp"}]
    text = compare.page(searches, suite)
    for name in BEST:
        assert text.count(f"| {name} |") == (4 if name == BEST[0] else 3)
    assert all(f"power at {100 * r:g} %" in text for r in REGRESSIONS)
    assert "| 6 % |" in text
    assert "ramp" not in text
    assert compare.page([], []).startswith("# Comparing two results")
