"""A model server in virtual time: c workers, dynamic batching, log-normal work, and the ways real ones misbehave.

A batch of n takes `base + per_request * n` seconds, times the mean of n log-normal works of mean 1. Randomness comes
in as an argument.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, repeat

import numpy as np


@dataclass(frozen=True)
class Server:
    """What a simulated server is. Times in seconds.

    `cold = (factor, seconds)`: that much slower, flat for 60 % of the time, then linearly back to 1.
    `pauses = (shortest, longest, mean gap)`: nothing is served meanwhile. `beat = (length, period)`: the same, but as
    regular as a clock.
    `tenant = (factor, mean on, mean off)`: a neighbour slows it down now and then.
    `drift = (amplitude, time constant)`: 1 + amplitude (1 - e^(-t / tau)) slower. `leak`: slower by this share of
    itself each hour. `queue`: how many may wait.
    `bimodal = (share, factor)`: that share of the works is so much longer.
    `modes = (factor, probability, mean length)`: each stretch of time is slow with that probability.
    `metastable = (share, factor)`: slower from a queue of that share of its bound on, until it is empty.
    `scale = (most, busy, period)`: after each period in which its workers were busy for more than that share of the
    time, one is added, until there are `most`.
    """

    workers: int = 1
    base: float = 0.010
    per_request: float = 0.0
    batch: int = 1
    delay: float = 0.0
    sigma: float = 0.3
    queue: int = 10_000
    cold: tuple[float, float] | None = None
    pauses: tuple[float, float, float] | None = None
    beat: tuple[float, float] | None = None
    tenant: tuple[float, float, float] | None = None
    drift: tuple[float, float] | None = None
    leak: float = 0.0
    bimodal: tuple[float, float] | None = None
    modes: tuple[float, float, float] | None = None
    metastable: tuple[float, float] | None = None
    scale: tuple[int, float, float] | None = None


@dataclass
class _Switch:
    """On and off by turns, with lengths drawn as needed."""

    lengths: Iterator[tuple[float, float]]
    start: float = math.inf
    end: float = -math.inf

    def __post_init__(self) -> None:
        gap, length = next(self.lengths)
        self.start, self.end = gap, gap + length

    def at(self, t: float) -> bool:
        while t >= self.end:
            gap, length = next(self.lengths)
            self.start = self.end + gap
            self.end = self.start + length
        return t >= self.start


class RunningServer:
    """A server at work: `submit` requests in the order of time, `advance` to learn which have been answered."""

    def __init__(self, server: Server, rng: np.random.Generator) -> None:
        self.server = server
        self._rng = rng
        self._free = [0.0] * server.workers
        self._waiting: deque[tuple[float, int]] = deque()
        self._answers: list[tuple[float, int]] = []
        self._works = self._draw()
        self._born = 0.0
        self._is_slow = False
        self._busy, self._period_end = 0.0, server.scale[2] if server.scale else math.inf
        self._tenant = _Switch(self._lengths(*server.tenant)) if server.tenant else None
        self._modes = _Switch(self._mode_lengths(*server.modes)) if server.modes else None
        self._pauses: _Switch | None = None
        if server.pauses is not None:
            self._pauses = _Switch(self._pause_lengths(*server.pauses))
        elif server.beat is not None:
            length, period = server.beat
            self._pauses = _Switch(repeat((period - length, length)))

    def submit(self, t: float, request: int) -> bool:
        """A request arrives; False if the queue is full."""
        if len(self._waiting) >= self.server.queue:
            return False
        self._waiting.append((t, request))
        return True

    def restart(self, at: float) -> None:
        """What waits or is being served is lost; from `at` on the server is there again, as at its first second."""
        self._waiting.clear()
        self._answers.clear()
        self._free = [at] * len(self._free)
        self._born = at
        self._is_slow = False

    def advance(self, until: float) -> list[tuple[float, int]]:
        """`(time, request)` of what has been answered by `until`, in order. Call it before submitting at `until`."""
        server, waiting = self.server, self._waiting
        while waiting:
            start = self._next_start()
            if start > until:
                break
            if start >= self._period_end:
                self._end_periods(start)
                continue
            if server.metastable is not None and len(waiting) >= server.metastable[0] * server.queue:
                self._is_slow = True
            size = 0
            while size < server.batch and size < len(waiting) and waiting[size][0] <= start:
                size += 1
            taken = [waiting.popleft()[1] for _ in range(size)]
            work = next(self._works) if size == 1 else sum(islice(self._works, size)) / size
            service = (server.base + server.per_request * size) * work * self._slowness(start)
            end = start + service
            if self._pauses is not None and start < self._pauses.start < end:
                end += self._pauses.end - self._pauses.start
            heapq.heapreplace(self._free, end)
            self._busy += service
            self._is_slow = self._is_slow and bool(waiting)
            for request in taken:
                heapq.heappush(self._answers, (end, request))
        out = []
        while self._answers and self._answers[0][0] <= until:
            out.append(heapq.heappop(self._answers))
        return out

    def next_event(self) -> float:
        """The earliest time at which `advance` may have something new."""
        answer = self._answers[0][0] if self._answers else math.inf
        return min(answer, self._next_start()) if self._waiting else answer

    def _next_start(self) -> float:
        """When the next batch of those that wait starts: a worker is free, and it is full or its first has waited."""
        server, waiting = self.server, self._waiting
        full = waiting[server.batch - 1][0] if len(waiting) >= server.batch else math.inf
        start = max(self._free[0], min(full, waiting[0][0] + server.delay))
        if self._pauses is not None and self._pauses.at(start):
            return self._pauses.end
        return start

    def _end_periods(self, t: float) -> None:
        """One more worker for each period that has ended by `t` and in which they were too busy."""
        assert self.server.scale is not None
        most, busy, period = self.server.scale
        while t >= self._period_end:
            if len(self._free) < most and self._busy > busy * period * len(self._free):
                heapq.heappush(self._free, self._period_end)
            self._busy = 0.0
            self._period_end += period

    def _slowness(self, t: float) -> float:
        server, age = self.server, t - self._born
        factor = 1 + server.leak * age / 3600
        if server.cold is not None:
            slow, seconds = server.cold
            factor *= 1 + (slow - 1) * min(max((seconds - age) / (0.4 * seconds), 0.0), 1.0)
        if server.drift is not None:
            amplitude, tau = server.drift
            factor *= 1 + amplitude * (1 - math.exp(-age / tau))
        if self._tenant is not None and server.tenant is not None and self._tenant.at(t):
            factor *= server.tenant[0]
        if self._modes is not None and server.modes is not None and self._modes.at(t):
            factor *= server.modes[0]
        if self._is_slow and server.metastable is not None:
            factor *= server.metastable[1]
        return factor

    def _draw(self) -> Iterator[float]:
        sigma, bimodal = self.server.sigma, self.server.bimodal
        while True:
            works = self._rng.lognormal(-(sigma**2) / 2, sigma, 4096)
            if bimodal is not None:
                works[self._rng.random(len(works)) < bimodal[0]] *= bimodal[1]
            yield from works.tolist()

    def _lengths(self, _factor: float, on: float, off: float) -> Iterator[tuple[float, float]]:
        while True:
            yield self._rng.exponential(off), self._rng.exponential(on)

    def _pause_lengths(self, shortest: float, longest: float, gap: float) -> Iterator[tuple[float, float]]:
        while True:
            yield self._rng.exponential(gap), self._rng.uniform(shortest, longest)

    def _mode_lengths(self, _factor: float, probability: float, mean: float) -> Iterator[tuple[float, float]]:
        while True:
            length = self._rng.exponential(mean)
            yield (0.0, length) if self._rng.random() < probability else (length, 0.0)
