"""Stalls: told apart from saturation by their cause, no completion while work is outstanding, never by latency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .slices import Flow
from .trial import Timeline

FLOOR_S = 0.05
FACTOR = 4.0
"""A gap is a stall when it is longer than 50 ms and than four times the 99th percentile of the gaps seen before."""
ENOUGH = 30
"""Gaps needed before any can be called unusual."""
HANG_S = 10.0
"""A gap of this and a latency limit is a hang, which no tolerance forgives."""
SHARE, ALLOWANCE_S = 0.10, 3.0
"""Stalls are measured around while they take at most this share of the time, and a little more so that an early one is
not judged by a short past. A server that stands still more often than that is measured as it is."""


def forgivable(stalled: float, now: float) -> bool:
    """May so many seconds of stalls, by second `now` of a search, be left out?"""
    return stalled <= SHARE * now + ALLOWANCE_S


@dataclass(frozen=True)
class Gap:
    """From `start` to `end`, in seconds of the probe, nothing came back. `open`: it has not ended."""

    start: float
    end: float
    open: bool

    @property
    def length(self) -> float:
        return self.end - self.start


class Gaps:
    """What gaps between completions are usual for this server."""

    def __init__(self, bin_s: float, open_loop: bool = False) -> None:
        self._bin_s = bin_s
        self._open_loop = open_loop
        self._known: list[float] = []
        self.bound: float | None = None
        """Seconds above which a gap is a stall; None while too few are known."""

    def learn(self, flows: list[Flow]) -> None:
        """Remember the gaps of a probe that went undisturbed."""
        runs = self._runs(flows)
        self._known += (runs[:, 1] - runs[:, 0]).tolist()
        self._known = self._known[-5000:]
        if len(self._known) >= ENOUGH:
            self.bound = max(FLOOR_S, FACTOR * float(np.quantile(self._known, 0.99)))

    def look(self, flows: list[Flow]) -> Gap | None:
        """The last unusual gap of a probe that reaches into its last slice: to be asked at each slice."""
        if self.bound is None or not flows:
            return None
        first = len(flows) - 1
        while first and not flows[first - 1].done:
            first -= 1
        # One slice with a completion before it: there the gap began.
        first = max(first - 1, 0)
        before = sum(f.span for f in flows[:first])
        newest = sum(f.span for f in flows[first:-1]) - self._bin_s / 2
        runs = self._runs(flows[first:])
        long = runs[(runs[:, 1] - runs[:, 0] > self.bound) & (runs[:, 1] > newest)]
        if self._open_loop and len(long):
            arrivals = Timeline.of(flows[first:], self._bin_s).arrivals
            long = long[[self._ignores(arrivals, run) for run in long]]
        if not len(long):
            return None
        start, end = (before + long[-1]).tolist()
        return Gap(start, end, open=end > sum(f.span for f in flows) - self._bin_s / 2)

    def _ignores(self, arrivals: np.ndarray, run: np.ndarray) -> bool:
        """Did requests arrive in the gap that the target then left waiting? Where none came, it is only that a slow one
        was still open."""
        assert self.bound is not None
        first, last = np.round(run / self._bin_s).astype(int)
        came = np.flatnonzero(arrivals[first:last])
        return len(came) > 0 and (last - first - came[0]) * self._bin_s > self.bound

    def _runs(self, flows: list[Flow]) -> np.ndarray:
        """Stretches `[start, end)` in seconds of bins without a completion while requests were open throughout."""
        timeline = Timeline.of(flows, self._bin_s)
        idle = np.concatenate([[False], (timeline.completions == 0) & (timeline.open > 0), [False]])
        stretches: np.ndarray = np.flatnonzero(np.diff(idle.astype(np.int8))).reshape(-1, 2) * self._bin_s
        return stretches
