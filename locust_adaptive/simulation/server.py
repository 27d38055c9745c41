"""A model server in virtual time: c workers, dynamic batching, log-normal work, and the ways real ones misbehave.

A batch of n takes `base + per_request * n` seconds, times the mean of n log-normal works of mean 1. Randomness comes
in as an argument.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np


@dataclass(frozen=True)
class Server:
    """What a simulated server is. Times in seconds.

    `cold = (factor, seconds)`: that much slower, flat for 60 % of the time, then linearly back to 1.
    `pauses = (shortest, longest, mean gap)`: nothing is served meanwhile. `beat = (length, period)`: the same, but as
    regular as a clock.
    `tenant = (factor, mean on, mean off)`: a neighbour slows it down now and then.
    `drift = (amplitude, time constant)`: 1 + amplitude (1 - e^(-t / tau)) slower. `queue`: how many may wait.
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


@dataclass
class _Switch:
    """On and off by turns, with lengths drawn as needed."""

    lengths: Iterator[tuple[float, float]]
    start: float = math.inf
    end: float = -math.inf
    past: list[tuple[float, float]] = field(default_factory=list)

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
        self._tenant = _Switch(self._lengths(*server.tenant)) if server.tenant else None
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

    def advance(self, until: float) -> list[tuple[float, int]]:
        """`(time, request)` of what has been answered by `until`, in order. Call it before submitting at `until`."""
        server, waiting = self.server, self._waiting
        while waiting:
            start = self._next_start()
            if start > until:
                break
            size = 0
            while size < server.batch and size < len(waiting) and waiting[size][0] <= start:
                size += 1
            taken = [waiting.popleft()[1] for _ in range(size)]
            work = sum(next(self._works) for _ in range(size)) / size
            service = (server.base + server.per_request * size) * work * self._slowness(start)
            end = start + service
            if self._pauses is not None and start < self._pauses.start < end:
                end += self._pauses.end - self._pauses.start
            heapq.heapreplace(self._free, end)
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

    def _slowness(self, t: float) -> float:
        server, factor = self.server, 1.0
        if server.cold is not None:
            slow, seconds = server.cold
            factor *= 1 + (slow - 1) * min(max((seconds - t) / (0.4 * seconds), 0.0), 1.0)
        if server.drift is not None:
            amplitude, tau = server.drift
            factor *= 1 + amplitude * (1 - math.exp(-t / tau))
        if self._tenant is not None and server.tenant is not None and self._tenant.at(t):
            factor *= server.tenant[0]
        return factor

    def _draw(self) -> Iterator[float]:
        sigma = self.server.sigma
        while True:
            yield from self._rng.lognormal(-(sigma**2) / 2, sigma, 4096).tolist()

    def _lengths(self, _factor: float, on: float, off: float) -> Iterator[tuple[float, float]]:
        while True:
            yield self._rng.exponential(off), self._rng.exponential(on)

    def _pause_lengths(self, shortest: float, longest: float, gap: float) -> Iterator[tuple[float, float]]:
        while True:
            yield self._rng.exponential(gap), self._rng.uniform(shortest, longest)
