"""Warm-up: when did the server become itself?

A cold server answers slower at a load that is light for a warm one: `steady` ends the gate once latency has stopped
falling, `slow_start` looks back over the whole search. Many servers are slower at lower loads too (batch timers, clocks
that idle), so a warm-up is what has gone when a load is held for longer, or again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .histogram import Histogram
from .slices import SLICE_S, Cohort
from .trial import Measurement, Trial

FALLING = 0.93
"""Latency counts as still falling while its last windows are below this share of those before."""
SLOWER = 1.35
"""A start is slow while the lower quartile of latency is above this times the later one, for two windows at least."""
FELL, FELL_NEAR_S = 1.12, 10.0
"""It was a warm-up where latency fell by this factor from the first half of a light load to the second, and that load
ended at most so long before the slow start did."""
HALF, ENOUGH = 2, 10
"""Least windows in each half; least answers of two probes that are compared."""


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


@dataclass(frozen=True, slots=True)
class SlowStart:
    """A search that began with slow answers: until second `end`. `cold`: the server was slow because it was cold.
    `recheck`: the load to hold again to see whether it was; None if that is known, or cannot be."""

    end: float
    cold: bool
    recheck: float | None


def slow_start(trials: Sequence[Trial], light: float) -> SlowStart | None:
    """How a search began, by its valid trials; None if it began as it went on. Loads up to `light` hardly queue.

    Looks at the lower quartile of latency, which queueing moves least. The slow start ends where that first comes down
    to the level of the second half of the search and stays there: in the middle between the last slow window and the
    first that is not. Queueing only makes slower, so a heavy load says nothing while it is slow, and as much as a light
    one while it is not.
    """
    lightly = [t for t in trials if t.load <= light and not t.overloaded]
    heavily = [t for t in trials if t.load > light or t.overloaded]
    series = [window for t in lightly for window in _quartiles(t)]
    if len(series) < 10:
        return None
    slow_from = float(np.median([y for _, y in series[len(series) // 2 :]])) + math.log(SLOWER)
    series = sorted(series + [window for t in heavily for window in _quartiles(t) if window[1] <= slow_from])
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(np.pad([y for _, y in series], 1, mode="edge"), 3), 1)
    slow = smooth > slow_from
    itself = next((i for i in range(len(slow)) if not slow[i : i + 3].any()), len(slow) - 1)
    if itself < 2:
        return None
    last_slow, first_warm = series[itself - 1][0], series[itself][0]

    enough = [t for t in lightly if t.measurement.latencies().count >= ENOUGH]
    before = [t for t in enough if t.started < last_slow and _lower_quartile(t) > slow_from]
    again = [(b, a) for b in before for a in enough if a.load == b.load and a.started >= last_slow]
    cold = any(_lower_quartile(b) - _lower_quartile(a) > math.log(SLOWER) for b, a in again) or any(
        t.started < last_slow < t.ended + FELL_NEAR_S and _fell(t) for t in lightly
    )
    recheck = max(before, key=_lower_quartile).load if before and not again and not cold else None
    return SlowStart(round((last_slow + first_warm) / 2, 3), cold, recheck)


def _quartiles(trial: Trial) -> list[tuple[float, float]]:
    """End, in seconds of the search, and logarithm of the lower quartile of latency of each window."""
    cohorts = trial.measurement.cohorts
    return [(trial.started + at, math.log(value)) for at, value in windows(cohorts, 8, 0.25) if value > 0]


def _lower_quartile(trial: Trial) -> float:
    return math.log(trial.measurement.latencies().quantile(0.25))


def _fell(trial: Trial) -> bool:
    values = [y for _, y in _quartiles(trial)]
    half = len(values) // 2
    return half >= HALF and float(np.median(values[:half]) - np.median(values[half:])) > math.log(FELL)
