"""Warm-up: when did the server become itself?

Two uses of the same fact, that a cold server answers slower at a load that is light for a warm one: `steady` ends the
gate once latency has stopped falling, `warmup_end` looks back over every light load of the search.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .histogram import Histogram
from .slices import SLICE_S, Cohort
from .trial import Measurement, Trial

FALLING = 0.93
"""Latency counts as still falling while its last windows are below this share of those before."""
SLOWER = 1.35
"""A warm-up is reported when the server was slower than this in it, by its lower quartile of latency, for two windows
at least."""

FELL, FELL_NEAR_S = 1.12, 10.0
"""A warm-up shows in a probe, near its end, whose latency fell by this factor while its load was held."""


def windows(cohorts: Sequence[Cohort], enough: int, quantile: float) -> list[tuple[float, float]]:
    """`(end in s, latency quantile in s)` of consecutive windows of at least `enough` answers and one second."""
    out = []
    total, slices = Histogram(), 0
    for cohort in cohorts:
        slices += 1
        for counts in cohort.names.values():
            for bucket, n in counts.hist.items():
                total.buckets[bucket] = total.buckets.get(bucket, 0) + n
        if slices * SLICE_S >= 1 and total.count >= enough:
            out.append(((cohort.index + 1) * SLICE_S, total.quantile(quantile)))
            total, slices = Histogram(), 0
    return out


def steady(measurement: Measurement) -> bool:
    """Has the median latency stopped falling? Needs six windows of at least 20 answers and two seconds each."""
    merged = windows(measurement.clean, 20, 0.5)
    size = max(round(2 / max(merged[0][0], 0.5)), 1) if merged else 1
    medians = [float(np.median([m for _, m in merged[i : i + size]])) for i in range(0, len(merged), size)]
    if len(medians) < 6:
        return False
    return float(np.median(medians[-3:])) >= FALLING * float(np.median(medians[-6:-3]))


def warmup_end(trials: Sequence[Trial], light: float) -> float | None:
    """Seconds from the start of the search to the end of the warm-up; None when no slow start was seen.

    Looks at the lower quartile of latency, which queueing hardly moves, over all loads up to `light` that did not
    fail. The warm-up ends where it first comes down to the level of the second half of the search and stays there: in
    the middle between the last slow window and the first that is not, which heavy loads may part.
    """
    series: list[tuple[float, float]] = []
    fell_until = 0.0
    for trial in trials:
        if trial.load <= light and not trial.overloaded:
            values = windows(trial.measurement.cohorts, 8, 0.25)
            series += [(trial.started + at, math.log(value)) for at, value in values if value > 0]
            if len(values) > 1 and values[0][1] > FELL * values[-1][1]:
                fell_until = trial.started + values[-1][0]
    if len(series) < 10:
        return None
    y = np.array([value for _, value in series])
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(y, 1, mode="edge"), 3), axis=1)
    slow = smooth > float(np.median(y[len(y) // 2 :])) + math.log(SLOWER)
    itself = next((i for i in range(len(slow)) if not slow[i : i + 3].any()), len(slow) - 1)
    # Slow at low loads only is a batch timer; a warm-up shows while the load stays the same.
    if itself < 2 or fell_until < series[itself - 1][0] - FELL_NEAR_S:
        return None
    return (series[itself - 1][0] + series[itself][0]) / 2
