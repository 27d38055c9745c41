"""MLPerf LoadGen, FindPeakPerformance in the Server scenario.

Source: its description of the mode. The rate is doubled until a run fails, then bisected to a fixed number of decimals.
The early-stopping test of LoadGen is applied to a run's validity, not within this search, so it is not here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..bench import Bench
from .shared import anytime, double_and_bisect, meets

NAME = "LoadGen FindPeakPerformance"
ASSUMPTIONS = (
    "target_qps, where it starts, is low; it knows no upper end, and is stopped at high.",
    "decimals_of_precision is 1, its default, but such that high has at least two figures before the last.",
    "A run lasts at least min_duration, 10 s by default (a second row: 60 s), and has at least 100 queries.",
    "Its percentile is the nearest rank.",
)

QUERIES = 100


@anytime
def search(bench: Bench, seconds: float = 10.0) -> Iterator[float]:
    """The highest rate that met the latency constraint, 1/s."""
    decimals = max(1, 2 - math.floor(math.log10(bench.high)))
    step = 10.0**-decimals

    def passes(load: int) -> bool:
        rate = load * step
        long = rate * seconds >= QUERIES
        return meets(bench, bench.run(rate, seconds) if long else bench.run_requests(rate, QUERIES))

    for load in double_and_bisect(passes, math.ceil(bench.low / step), math.floor(bench.high / step)):
        yield load * step
