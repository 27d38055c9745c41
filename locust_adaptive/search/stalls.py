"""Stalls: told apart from saturation by their cause, no completion while work is outstanding, never by latency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .slices import SLICE_S, Flow
from .trial import Timeline

FLOOR_S = 0.05
FACTOR = 4.0
"""A gap is a stall when it is longer than 50 ms and than four times the 99th percentile of the gaps seen before."""
ENOUGH = 30
"""Gaps needed before any can be called unusual."""
HANG_S = 10.0
"""A gap of this and a latency limit is a hang, which no tolerance forgives."""


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

    def __init__(self, bin_s: float) -> None:
        self._bin_s = bin_s
        self._known: list[float] = []
        self.bound: float | None = None
        """Seconds above which a gap is a stall; None while too few are known."""

    def learn(self, flows: list[Flow]) -> None:
        """Remember the gaps of a probe that went undisturbed."""
        self._known += [end - start for start, end in self._runs(flows)]
        self._known = self._known[-5000:]
        if len(self._known) >= ENOUGH:
            self.bound = max(FLOOR_S, FACTOR * float(np.quantile(self._known, 0.99)))

    def look(self, flows: list[Flow]) -> Gap | None:
        """The last unusual gap of a probe, if it has one."""
        if self.bound is None:
            return None
        # A gap longer than a hang need not be seen whole.
        recent = flows[-round((3 * HANG_S) / SLICE_S) :]
        before = recent[0].index * SLICE_S if recent else 0.0
        end_of_time = sum(f.span for f in recent)
        for start, end in reversed(self._runs(recent)):
            if end - start > self.bound:
                return Gap(before + start, before + end, open=end >= end_of_time - self._bin_s)
        return None

    def _runs(self, flows: list[Flow]) -> list[tuple[float, float]]:
        """Stretches of bins without a completion while requests were open throughout."""
        timeline = Timeline.of(flows, self._bin_s)
        idle = np.concatenate([[False], (timeline.completions == 0) & (timeline.open > 0), [False]])
        edges = np.flatnonzero(np.diff(idle.astype(np.int8)))
        return [
            (a * self._bin_s, b * self._bin_s) for a, b in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
        ]
