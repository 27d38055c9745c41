"""The experiment on evidence: its servers are what they are said to be, and its finding on the plainest queue holds."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("numba")

from benchmarks.search.evidence import estimators, report
from benchmarks.search.evidence.disciplines import NewestFirst, Sharing, newest_first, share, works
from benchmarks.search.evidence.searches import search
from benchmarks.search.evidence.stretches import Cell, cells, observe, whereabouts
from benchmarks.search.evidence.tempered import by_learnt_queue, trust
from locust_adaptive.search.trial import Measurement
from locust_adaptive.simulation.server import RunningServer, Server
from tests.support.trials import cohort, queue_trial, trial

SERVER = Server(3, 0.020, sigma=0.5, queue=6)
PLAIN = Server(1, 0.010, sigma=0.3)
COMPILED: dict[type[RunningServer], Callable[..., np.ndarray]] = {Sharing: share, NewestFirst: newest_first}


def cell(name: str) -> Cell:
    return next(c for c in cells() if c.name.startswith(name))


def poisson(rate: float, n: int, seed: int) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, n))


@pytest.mark.parametrize("kind", COMPILED)
@pytest.mark.parametrize("rate", [60.0, 250.0])
def test_the_compiled_server_and_the_one_at_work_answer_alike(kind: type[RunningServer], rate: float) -> None:
    """Given the same works, in the order in which requests come; those refused draw none from the one at work."""
    sent, even = poisson(rate, 400, 3), Server(3, 0.020, sigma=0.0, queue=6)
    running = kind(even, np.random.default_rng(1))
    finish = np.full(len(sent), math.inf)
    for i, t in enumerate(sent.tolist()):
        for at, j in running.advance(t):
            finish[j] = at
        running.submit(t, i)
        assert running.next_event() > t
    for at, j in running.advance(math.inf):
        finish[j] = at
    assert finish == pytest.approx(COMPILED[kind](sent, np.full(len(sent), 0.020), 3, 6), abs=1e-9)
    assert np.isinf(finish).any() == (rate > 200)


def test_processor_sharing_takes_the_mean_time_it_should() -> None:
    """M/G/1-PS: mean work / (1 - utilisation), whatever the distribution (Kleinrock 1967)."""
    sent = poisson(60.0, 400_000, 5)
    heavy = Server(1, 0.010, sigma=1.0)
    latency = share(sent, works(heavy, np.random.default_rng(6), len(sent)), 1, 10_000) - sent
    assert latency.mean() == pytest.approx(0.010 / (1 - 0.6), rel=0.05)


def test_the_order_of_service_does_not_change_the_mean_but_the_tail() -> None:
    sent = poisson(80.0, 400_000, 7)
    work = works(PLAIN, np.random.default_rng(8), len(sent))
    newest = newest_first(sent, work, 1, 10_000) - sent
    # M/G/1, first in first out: Pollaczek and Khinchine.
    wait = 80 * (work**2).mean() / (2 * (1 - 80 * work.mean()))
    assert newest.mean() == pytest.approx(work.mean() + wait, rel=0.05)
    assert np.quantile(newest, 0.99) > 3 * (work.mean() + wait)


def test_servers_by_discipline() -> None:
    names = [c.name for c in cells()]
    assert len(set(names)) == len(names)
    assert {c.discipline for c in cells()} == {"FIFO", "PS", "LIFO"}


def test_the_virtual_queue_takes_a_third_off_the_error_on_a_single_queue() -> None:
    """And is not biased; what is told the means does no worse than what is not."""
    one = cell("FIFO 01")
    seen = observe(one, 2)
    row = report.Row.of(one, whereabouts(one)[0], seen, (120,))
    assert row.capacity == pytest.approx(row.reference, rel=0.01)
    counting, queue = row.at(estimators.COUNTING), row.at(estimators.QUEUE)
    assert 0.01 < counting.se < 0.03
    assert queue.se < 0.7 * counting.se
    assert abs(queue.bias) < 0.01
    assert row.at(estimators.ALL).se < 1.1 * queue.se
    assert row.correlation > 0.75


def test_the_page_names_every_server_and_estimator() -> None:
    one = cell("PS 01")
    row = report.Row.of(one, whereabouts(one)[0], observe(one, 1))
    found = {one.name: [search(one, row.capacity, 1)]}
    page = report.page([row], found)
    assert page.count(one.name) == 4
    assert all(name in page for name in estimators.MEANING)
    [only] = found[one.name]
    assert only.error is not None
    assert abs(only.error) < 0.2


def test_the_trust_in_the_virtual_queue_is_learnt_from_the_trials() -> None:
    """Much of it where misses come from queueing; none where the same misses are spread at random."""
    rng = np.random.default_rng(2)
    trials = [queue_trial(i, 80.0 + i, 20.0, "p95<100ms", rng, 0.010, 0.3) for i in range(6)]
    assert trust(trials, 0, 0.05, 83.0, 100.0) > 0.6
    scattered = [trial(t.number, t.load, at_random(t.measurement, rng)) for t in trials]
    assert trust(scattered, 0, 0.05, 83.0, 100.0) < 0.4
    learnt = by_learnt_queue(trials, 0, 0.05, 100.0, 0.03)
    assert learnt.value == pytest.approx(83.4, rel=0.06)


def at_random(m: Measurement, rng: np.random.Generator) -> Measurement:
    """The same arrivals, a twentieth of them late."""
    cohorts = [cohort(c.index, c.sent, int(rng.binomial(c.sent, 0.05))) for c in m.cohorts]
    return Measurement(m.bin_s, m.flows, tuple(cohorts))
