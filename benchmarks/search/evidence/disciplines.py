"""Servers that are no first-in-first-out queue: processor sharing, and last in first out. Whatever the virtual queue of
the search gains on them, it does not owe to being like the simulated server.

Each is here twice, for a test to compare: compiled, for long runs, and as a server at work, for whole searches. Of a
`Server` they have its workers, its work of one request each, and the bound of its queue; no batches and no trouble.
"""

from __future__ import annotations

import heapq
import math

import numpy as np
from numba import njit

from locust_adaptive.simulation.server import RunningServer, Server

from ..engine import Floats


def works(server: Server, rng: np.random.Generator, n: int) -> Floats:
    """Seconds of work of `n` requests."""
    out: Floats = server.base * rng.lognormal(-(server.sigma**2) / 2, server.sigma, n)
    if server.bimodal is not None:
        out[rng.random(n) < server.bimodal[0]] *= server.bimodal[1]
    return out


@njit(cache=True)
def share(sent: Floats, work: Floats, workers: int, queue: int) -> Floats:
    """Processor sharing: when each request, sent at the ascending seconds `sent`, is answered; inf if refused.

    All who are in get the same speed: 1, or `workers` split between them where they are more. Done by the clock of what
    one of them has been given so far: who comes when it stands at V with work w leaves when it stands at V + w
    (Kleinrock 1967, the virtual time of fair queueing).
    """
    finish = np.full(len(sent), np.inf)
    inside = [(0.0, 0)]
    inside.pop()
    given, now = 0.0, 0.0
    for i in range(len(sent) + 1):
        until = sent[i] if i < len(sent) else np.inf
        while len(inside) > 0:
            speed = min(1.0, workers / len(inside))
            end = now + (inside[0][0] - given) / speed
            if end > until:
                given += (until - now) * speed
                break
            given, now = inside[0][0], end
            finish[heapq.heappop(inside)[1]] = end
        now = until
        if i < len(sent) and len(inside) < workers + queue:
            heapq.heappush(inside, (given + work[i], i))
    return finish


@njit(cache=True)
def newest_first(sent: Floats, work: Floats, workers: int, queue: int) -> Floats:
    """Last in, first out, as `share`: a worker that gets free takes who came last. Nobody is interrupted."""
    finish = np.full(len(sent), np.inf)
    free = [0.0 for _ in range(workers)]
    waiting = [0]
    waiting.pop()
    for i in range(len(sent) + 1):
        until = sent[i] if i < len(sent) else np.inf
        while len(waiting) > 0 and free[0] <= until:
            last = waiting.pop()
            finish[last] = free[0] + work[last]
            heapq.heapreplace(free, finish[last])
        if i == len(sent):
            break
        if free[0] <= until:
            finish[i] = until + work[i]
            heapq.heapreplace(free, finish[i])
        elif len(waiting) < queue:
            waiting.append(i)
    return finish


class Sharing(RunningServer):
    """`share`, at work."""

    def __init__(self, server: Server, rng: np.random.Generator) -> None:
        super().__init__(server, rng)
        self._inside: list[tuple[float, int]] = []
        self._given = self._now = 0.0

    def submit(self, t: float, request: int) -> bool:
        if len(self._inside) >= self.server.workers + self.server.queue:
            return False
        self._now = max(self._now, t)
        heapq.heappush(self._inside, (self._given + self.server.base * next(self._works), request))
        return True

    def advance(self, until: float) -> list[tuple[float, int]]:
        out = []
        while self._inside:
            if (end := self.next_event()) > until:
                self._given += (until - self._now) * self._speed
                break
            self._now = end
            self._given, request = heapq.heappop(self._inside)
            out.append((end, request))
        self._now = until
        return out

    def next_event(self) -> float:
        return self._now + (self._inside[0][0] - self._given) / self._speed if self._inside else math.inf

    @property
    def _speed(self) -> float:
        return min(1.0, self.server.workers / len(self._inside))


class NewestFirst(RunningServer):
    """`newest_first`, at work."""

    def submit(self, t: float, request: int) -> bool:
        if self._free[0] <= t:
            self._start(t, request)
        elif len(self._waiting) < self.server.queue:
            self._waiting.append((t, request))
        else:
            return False
        return True

    def advance(self, until: float) -> list[tuple[float, int]]:
        while self._waiting and self._free[0] <= until:
            self._start(self._free[0], self._waiting.pop()[1])
        out = []
        while self._answers and self._answers[0][0] <= until:
            out.append(heapq.heappop(self._answers))
        return out

    def next_event(self) -> float:
        return min(self._answers[0][0] if self._answers else math.inf, self._free[0] if self._waiting else math.inf)

    def _start(self, t: float, request: int) -> None:
        end = t + self.server.base * next(self._works)
        heapq.heapreplace(self._free, end)
        heapq.heappush(self._answers, (end, request))
