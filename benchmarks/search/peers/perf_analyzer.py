"""Triton perf_analyzer (2025-12), `--binary-search` over request rates under a latency threshold.

Source: its documentation of measurement windows, stability and search. A load is measured in windows of 5 s until three
in a row agree, or one of the three is over the threshold; a load that never becomes stable does not meet it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..bench import Arrivals, Bench, Window
from .shared import anytime, drain

NAME = "perf_analyzer --binary-search"
ASSUMPTIONS = (
    "start:end:step is high/8:high:(high - low)/128; from low, windows hold too few requests to be stable.",
    "--percentile of the SLO, otherwise defaults: synchronous, -p 5000, -r 10, -s 10, and requests sent evenly, which "
    "over-estimates what the server takes at random; with --request-distribution poisson few loads are stable.",
    "A second row: -s 9999, as the tests of Triton have it, and poisson.",
    "A window's latencies are of the requests sent in it; one still open counts once it is over the limit.",
    "The percentile of the three windows together decides; if start fails, there is no answer.",
)

WINDOW_S, WINDOWS, TRIALS = 5.0, 3, 10


@anytime
def search(bench: Bench, stability: float = 0.10, arrivals: Arrivals = "constant") -> Iterator[float]:
    """The highest rate that was stable and under the threshold, 1/s."""
    start, end, step = max(bench.low, bench.high / 8), bench.high, (bench.high - bench.low) / 128
    if not _meets(bench, start, stability, arrivals):
        return
    yield start
    if _meets(bench, end, stability, arrivals):
        yield end
        return
    while end - start > step:
        rate = (start + end) / 2
        if _meets(bench, rate, stability, arrivals):
            yield (start := rate)
        else:
            end = rate


def _meets(bench: Bench, rate: float, stability: float, arrivals: Arrivals) -> bool:
    windows: list[Window] = []
    stable, slow = False, False
    while len(windows) < TRIALS and not (stable or slow):
        windows.append(bench.run(rate, WINDOW_S, drain=False, arrivals=arrivals))
        if len(windows) >= WINDOWS:
            last = windows[-WINDOWS:]
            tails = [window.quantile(bench.quantile) for window in last]
            stable = _steady([window.done for window in last], stability) and _steady(tails, stability)
            slow = max(tails) >= bench.limit_s
    drain(bench)
    merged = replace(windows[-1], latencies=np.concatenate([window.latencies for window in windows[-WINDOWS:]]))
    return stable and merged.quantile(bench.quantile) < bench.limit_s


def _steady(values: Sequence[float], stability: float) -> bool:
    return min(values) > 0 and max(values) <= (1 + stability) * min(values)
