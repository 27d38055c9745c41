"""NVIDIA aiperf 0.13.0, `--search-recipe max-concurrency-under-sla --search-style monotonic`.

Source: its documentation (Bayesian-Optimization Outer Loop, "1D SLA saturation") and its settings. The load is doubled
until it fails, then bisected; a load's verdict is the first to be reached in two runs of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..bench import Bench, Window
from .shared import anytime, at_most, double_and_bisect, meets

NAME = "aiperf monotonic"
ASSUMPTIONS = (
    "The whole numbers it searches are tenths of low.",
    "A run is 1000 requests, its precision `normal`; runs are drained.",
    "Its 20 iterations are runs, not loads.",
    "By default no warm-up: its documentation has one for smooth_isotonic only. The row with warm-up has that one: "
    "60 s before the first run of a load, 30 s before each other.",
)

RUNS, AGREE, PRECISION = 20, 2, 0.05


@anytime
def search(bench: Bench, first_warm_up_s: float = 0.0, warm_up_s: float = 0.0) -> Iterator[float]:
    """The highest rate that passed twice, 1/s."""
    unit = bench.low / 10
    seen: set[int] = set()

    def run(load: int) -> Window:
        settle_s = warm_up_s if load in seen else first_warm_up_s
        seen.add(load)
        return bench.run_requests(load * unit, 1000, settle_s=settle_s)

    trial = at_most(RUNS, run)

    def passes(load: int) -> bool:
        votes = {True: 0, False: 0}
        while max(votes.values()) < AGREE:
            votes[meets(bench, trial(load))] += 1
        return votes[True] == AGREE

    for load in double_and_bisect(
        passes, 10, round(bench.high / unit), close=lambda good, bad: (bad - good) / bad < PRECISION
    ):
        yield load * unit
