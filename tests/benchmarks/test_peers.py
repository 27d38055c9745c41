"""The peers against a server without noise: each finds what it can find, in its budget and in its range."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba", reason="the benchmarks' dependencies are not installed")
pytest.importorskip("MLRsearch", reason="the benchmarks' dependencies are not installed")

from benchmarks.search.bench import Bench, BudgetSpent, Window
from benchmarks.search.peers import ASSUMPTIONS, PEERS, ml_loadtest, perf_analyzer
from benchmarks.search.peers.shared import at_most, double_and_bisect

LOW, HIGH, LIMIT = 15.625, 1000.0, 0.1

# By how much of the capacity an answer may be below and above it: the tool's own precision.
PRECISION = {
    "ramp": (HIGH / 20 / 300, 0.0),
    "perf-analyzer": (HIGH / 128 / 300, 0.0),
    "perf-analyzer-s9999": (HIGH / 128 / 300, 0.0),
    "loadgen-10s": (0.1 / 300, 0.0),
    "loadgen-60s": (0.1 / 300, 0.0),
    "mlrsearch": (0.005, 0.0),
    "mlrsearch-tuned": (0.02, 0.0),
    "mlrsearch-tuned-warm": (0.02, 0.0),
    "ml-loadtest": (0.05, 0.0),  # its answer mixes what was served below the capacity and at it
    "aiperf-monotonic": (0.11, 0.0),  # 5 %, where its 20 runs suffice
    "aiperf-monotonic-warm": (0.11, 0.0),
    "guidellm": (0.1, 0.0),
    "bisection-10s": (0.05, 0.05),
    "bisection-30s": (0.05, 0.05),
    "bisection-10s-undrained": (0.05, 0.05),
}


class Ideal(Bench):
    """Half the limit up to the capacity, twice the limit above. Keeps the loads it was asked for."""

    def __init__(self, capacity: float, budget_s: float = 1e6, served: Callable[[int], float] = lambda n: 1.0) -> None:
        """`served`: the share of what could be answered that is, by the number of the window."""
        self.limit_s, self.quantile, self.low, self.high = LIMIT, 0.95, LOW, HIGH
        self.now, self.budget_s = 0.0, budget_s
        self.capacity, self.served, self.loads = capacity, served, list[float]()

    def run(self, rate: float, seconds: float, *, settle_s: float = 0.0, **_: Any) -> Window:
        self.now = min(self.now + settle_s + seconds, self.budget_s)
        if self.now == self.budget_s:
            raise BudgetSpent
        sent = math.ceil(rate * seconds)
        done = int(min(rate, self.capacity) * seconds * self.served(len(self.loads)))
        if seconds:
            self.loads.append(rate)
        latency = LIMIT / 2 if rate <= self.capacity else LIMIT * 2
        return Window(rate, seconds, sent, done, np.full(sent, latency), rejected=0)

    def run_requests(self, rate: float, requests: int, *, settle_s: float = 0.0, **_: Any) -> Window:
        return self.run(rate, requests / rate, settle_s=settle_s)


@pytest.mark.parametrize("capacity", [300.0, 437.3, 620.0, 980.0])
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_finds_the_capacity_within_its_precision_and_its_range(name: str, capacity: float) -> None:
    bench = Ideal(capacity)
    answer = PEERS[name](bench)
    below, above = PRECISION[name]
    if name == "ml-loadtest" and capacity > 21 / 32 * HIGH:
        assert answer == pytest.approx(20 / 32 * HIGH)  # its 600 s are over at the 20th user
    else:
        assert answer is not None
        assert capacity * (1 - below) <= answer <= capacity * (1 + above) + 1e-9
    assert min(bench.loads) >= LOW * (1 - 1e-9)
    assert max(bench.loads) <= HIGH * (1 + 1e-9)


@pytest.mark.parametrize("name", sorted(PEERS.keys() - {"ml-loadtest"}))
def test_where_all_passes_the_answer_is_the_highest_load(name: str) -> None:
    assert PEERS[name](Ideal(2 * HIGH)) == pytest.approx(HIGH, rel=max(PRECISION[name][1], 1e-9))


@pytest.mark.parametrize("name", sorted(name for name in PEERS if "bisection" not in name and name != "ml-loadtest"))
def test_where_nothing_passes_there_is_no_answer(name: str) -> None:
    bench = Ideal(LOW / 100)
    assert PEERS[name](bench) is None
    lowest = LOW / 4 if name == "guidellm" else LOW  # it halves its 4 streams, and says so
    assert min(bench.loads) >= lowest * (1 - 1e-9)


@pytest.mark.parametrize("budget_s", [0.0, 50.0, 200.0])
@pytest.mark.parametrize("name", PEERS)
def test_when_the_budget_is_spent_a_peer_answers_with_what_it_has(name: str, budget_s: float) -> None:
    whole, short = Ideal(437.3), Ideal(437.3, budget_s)
    PEERS[name](whole)
    answer = PEERS[name](short)
    assert short.now <= budget_s
    assert short.loads == whole.loads[: len(short.loads)]
    if budget_s == 0:
        assert answer is None
    elif "mlrsearch" not in name and len(short.loads) < len(whole.loads):
        bracket = [load for load in short.loads if load > 437.3]
        assert answer is None or answer <= min(bracket, default=HIGH)


def test_every_tool_states_its_assumptions() -> None:
    assert PRECISION.keys() == PEERS.keys()
    assert all(sentence.endswith(".") for sentences in ASSUMPTIONS.values() for sentence in sentences)
    assert len(ASSUMPTIONS) == 9


@pytest.mark.parametrize(
    ("capacity", "descend", "tried"),
    [
        (11, False, [4, 8, 16, 12, 10, 11]),
        (3, False, [4]),
        (3, True, [4, 2, 3]),
        (0, True, [4, 2, 1]),
        (20, False, [4, 8, 16, 20]),
    ],
)
def test_doubling_and_bisecting(capacity: int, descend: bool, tried: list[int]) -> None:
    loads: list[int] = []

    def passes(load: int) -> bool:
        loads.append(load)
        return load <= capacity

    found = list(double_and_bisect(passes, 4, 20, descend=descend))
    assert loads == tried
    assert found == [load for load in tried if load <= capacity]


def test_a_budget_of_probes_is_spent_like_one_of_time() -> None:
    bench = Ideal(1.0)
    probe = at_most(2, lambda load: bench.run(load, 1.0))
    probe(5), probe(6)
    with pytest.raises(BudgetSpent, match="at most 2"):
        probe(7)
    assert bench.loads == [5, 6]


def test_perf_analyzer_takes_an_unstable_load_for_one_that_fails() -> None:
    def served(n: int) -> float:
        return (1.0, 0.8)[n % 2]

    assert perf_analyzer.search(Ideal(437.3, served=served)) is None
    assert perf_analyzer.search(Ideal(437.3, served=served), stability=99.99) == pytest.approx(437.3, rel=0.02)


def test_ml_loadtest_reports_the_mean_over_its_buffer() -> None:
    bench = Ideal(100.0)
    answer = ml_loadtest.search(bench)
    # Users 1 to 3 are below the capacity, the fourth is above: all of it fits in the buffer.
    assert bench.loads == pytest.approx([HIGH / 32 * users for users in (1, 2, 3, 4)])
    assert answer == pytest.approx((31.25 + 62.5 + 93.75 + 100) / 4, rel=0.01)
