"""The simulated server again (`locust_adaptive.simulation.server`), compiled: for the peers and for the truths.

The same server in law, not draw by draw: a test compares the two. A state goes on from call to call, so what one
measurement leaves in the queue is there for the next.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from locust_adaptive.simulation.mischief import Mischief
from locust_adaptive.simulation.server import Server

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RETRY_S = 1.0
"""A user who is refused tries again after so long."""

# Places in State.clock. A switch has two: the start and the end of its next (or present) stretch.
PAUSE, TENANT, MODE, SCALE_END, BUSY, TOKENS, FILLED, BORN = 0, 2, 4, 6, 7, 8, 9, 10
# Places in State.tally.
HEAD, WAITING, ACTIVE, SLOW, SLOW_MODE = range(5)


class Machine(NamedTuple):
    """A `Server` and its `Mischief` as numbers that compiled code reads. What is absent has neutral ones."""

    workers: int
    base: float
    per_request: float
    batch: int
    delay: float
    sigma: float
    queue: int
    bimodal: tuple[float, ...]
    cold: tuple[float, ...]
    pauses: tuple[float, ...]
    beat: tuple[float, ...]
    tenant: tuple[float, ...]
    modes: tuple[float, ...]
    drift: tuple[float, ...]
    metastable: tuple[float, ...]
    leak: float
    scale: tuple[float, ...]
    limiter: float
    gone: tuple[float, ...]

    @classmethod
    def of(cls, server: Server, mischief: Mischief | None = None) -> Machine:
        """ValueError for mischief that has no compiled twin."""
        mischief = mischief or Mischief("http 429")
        if mischief.share or (mischief.mode != "http 429" and mischief.above < math.inf):
            raise ValueError(f"the compiled server has a rate limiter (http 429) and an absence, but no {mischief}")
        return cls(
            server.workers,
            float(server.base),
            float(server.per_request),
            server.batch,
            float(server.delay),
            float(server.sigma),
            server.queue,
            _floats(server.bimodal, 0, 1),
            _floats(server.cold, 1, 0),
            _floats(server.pauses, 0, 0, 0),
            _floats(server.beat, 0, 0),
            _floats(server.tenant, 1, 0, 0),
            _floats(server.modes, 1, 0, 0),
            _floats(server.drift, 0, 1),
            _floats(server.metastable, math.inf, 1),
            float(server.leak),
            _floats(server.scale, server.workers, 1, 0),
            float(mischief.above),
            _floats(mischief.gone, math.inf, math.inf),
        )


def _floats(given: Iterable[float] | None, *neutral: float) -> tuple[float, ...]:
    """All of one type: another would be compiled anew."""
    return tuple(map(float, neutral if given is None else given))


class State(NamedTuple):
    """What of a server changes. The ring holds those that wait: when they came, and their place in the caller's list
    (-1: nobody asks)."""

    clock: Floats
    tally: Ints
    free: Floats
    ring_t: Floats
    ring_i: Ints
    taken: Ints
    rng: np.random.Generator

    @classmethod
    def new(cls, machine: Machine, rng: np.random.Generator) -> State:
        clock, tally = np.zeros(BORN + 1), np.zeros(SLOW_MODE + 1, np.int64)
        for switch in (PAUSE, TENANT, MODE):
            clock[switch : switch + 2] = math.inf, -math.inf
        clock[SCALE_END] = machine.scale[2]
        clock[TOKENS] = machine.limiter / 4
        tally[ACTIVE] = machine.workers
        free = np.full(max(machine.workers, int(machine.scale[0])), math.inf)
        free[: machine.workers] = 0.0
        size = machine.queue
        return cls(clock, tally, free, np.zeros(size), np.zeros(size, np.int64), np.zeros(machine.batch, np.int64), rng)

    def restart(self, at: float) -> None:
        """All that waits is lost; the server is there again from `at`, as at its first second."""
        self.tally[WAITING] = 0
        self.tally[SLOW] = 0
        self.clock[BORN] = at
        self.free[: self.tally[ACTIVE]] = at


@njit(cache=True)
def _paused_until(m: Machine, s: State, t: float) -> float:
    """The end of the pause at `t`, or `t`."""
    clock = s.clock
    if m.beat[1] > 0:
        while t >= clock[PAUSE + 1]:
            clock[PAUSE] = max(clock[PAUSE + 1], 0.0) + m.beat[1] - m.beat[0]
            clock[PAUSE + 1] = clock[PAUSE] + m.beat[0]
    elif m.pauses[2] > 0:
        while t >= clock[PAUSE + 1]:
            clock[PAUSE] = max(clock[PAUSE + 1], 0.0) + s.rng.exponential(m.pauses[2])
            clock[PAUSE + 1] = clock[PAUSE] + s.rng.uniform(m.pauses[0], m.pauses[1])
    return clock[PAUSE + 1] if t >= clock[PAUSE] else t


@njit(cache=True)
def _slowness(m: Machine, s: State, t: float) -> float:
    clock, tally = s.clock, s.tally
    age = t - clock[BORN]
    factor = 1.0 + m.leak * age / 3600
    if age < m.cold[1]:
        factor *= 1 + (m.cold[0] - 1) * min((m.cold[1] - age) / (0.4 * m.cold[1]), 1.0)
    if m.drift[0] > 0:
        factor *= 1 + m.drift[0] * (1 - math.exp(-age / m.drift[1]))
    if m.tenant[1] > 0:
        while t >= clock[TENANT + 1]:
            clock[TENANT] = max(clock[TENANT + 1], 0.0) + s.rng.exponential(m.tenant[2])
            clock[TENANT + 1] = clock[TENANT] + s.rng.exponential(m.tenant[1])
        if t >= clock[TENANT]:
            factor *= m.tenant[0]
    if m.modes[2] > 0:
        while t >= clock[MODE + 1]:
            clock[MODE + 1] = max(clock[MODE + 1], 0.0) + s.rng.exponential(m.modes[2])
            tally[SLOW_MODE] = s.rng.random() < m.modes[1]
        if tally[SLOW_MODE]:
            factor *= m.modes[0]
    if tally[SLOW]:
        factor *= m.metastable[1]
    return factor


@njit(cache=True)
def _next_start(m: Machine, s: State) -> float:
    """When those that wait (there are some) would start, pauses left aside."""
    size, head = len(s.ring_t), s.tally[HEAD]
    ready = s.ring_t[head] + m.delay
    if s.tally[WAITING] >= m.batch:
        ready = min(ready, s.ring_t[(head + m.batch - 1) % size])
    return max(ready, s.free[: s.tally[ACTIVE]].min())


@njit(cache=True)
def _scale(m: Machine, s: State, t: float) -> bool:
    """Look at how busy the workers were in the periods that have ended by `t`; has one been added?"""
    added = False
    while m.scale[2] > 0 and t >= s.clock[SCALE_END]:
        active = s.tally[ACTIVE]
        if active < m.scale[0] and s.clock[BUSY] > m.scale[1] * m.scale[2] * active:
            s.free[active] = s.clock[SCALE_END]
            s.tally[ACTIVE] += 1
            added = True
        s.clock[BUSY] = 0.0
        s.clock[SCALE_END] += m.scale[2]
    return added


@njit(cache=True)
def _start_batch(m: Machine, s: State, until: float) -> tuple[float, int]:
    """`(end, size)` of the next batch that starts by `until`, with `taken` filled; size 0 if none does."""
    tally, ring = s.tally, len(s.ring_t)
    if tally[WAITING] == 0:
        return math.inf, 0
    start = _next_start(m, s)
    if start > until:
        return math.inf, 0
    if _scale(m, s, start):
        start = _next_start(m, s)
    start = _paused_until(m, s, start)
    if start > until:
        return math.inf, 0
    if tally[WAITING] >= m.metastable[0] * m.queue:
        tally[SLOW] = 1
    size, work = 0, 0.0
    while size < m.batch and tally[WAITING] > 0 and s.ring_t[tally[HEAD]] <= start:
        s.taken[size] = s.ring_i[tally[HEAD]]
        one = math.exp(m.sigma * s.rng.standard_normal() - m.sigma * m.sigma / 2)
        if m.bimodal[0] > 0 and s.rng.random() < m.bimodal[0]:
            one *= m.bimodal[1]
        work += one
        tally[HEAD] = (tally[HEAD] + 1) % ring
        tally[WAITING] -= 1
        size += 1
    service = (m.base + m.per_request * size) * work / size * _slowness(m, s, start)
    if tally[WAITING] == 0:
        tally[SLOW] = 0
    s.clock[BUSY] += service
    end = start + service
    if start < s.clock[PAUSE] < end:
        end += s.clock[PAUSE + 1] - s.clock[PAUSE]
    s.free[np.argmin(s.free[: tally[ACTIVE]])] = end
    return end, size


@njit(cache=True)
def _submit(m: Machine, s: State, t: float, place: int) -> bool:
    if m.gone[0] <= t < m.gone[1]:
        return False
    if m.limiter < math.inf:
        s.clock[TOKENS] = min(s.clock[TOKENS] + (t - s.clock[FILLED]) * m.limiter, m.limiter / 4)
        s.clock[FILLED] = t
        if s.clock[TOKENS] < 1:
            return False
        s.clock[TOKENS] -= 1
    if s.tally[WAITING] >= m.queue:
        return False
    last = (s.tally[HEAD] + s.tally[WAITING]) % len(s.ring_t)
    s.ring_t[last], s.ring_i[last] = t, place
    s.tally[WAITING] += 1
    return True


@njit(cache=True)
def open_loop(m: Machine, s: State, sent: Floats, until: float) -> tuple[Floats, Floats]:
    """Requests arrive at the seconds `sent`, in order, and are served as far as `until` sees it.

    Returns when each was answered: inf if refused, nan if it still waits; and when those were that waited before.
    An answer may lie behind `until`: it is being served.
    """
    s.ring_i[:] = -1
    finish = np.full(len(sent), np.nan)
    others = np.empty(s.tally[WAITING])
    found = 0
    for i in range(len(sent) + 1):
        t = sent[i] if i < len(sent) else until
        while True:
            end, size = _start_batch(m, s, t)
            if size == 0:
                break
            for j in range(size):
                if s.taken[j] >= 0:
                    finish[s.taken[j]] = end
                else:
                    others[found] = end
                    found += 1
        if i < len(sent) and not _submit(m, s, t, i):
            finish[i] = math.inf
    return finish, others[:found]


@njit(cache=True)
def closed_loop(
    m: Machine, s: State, users: int, busy: Floats, t: float, until: float
) -> tuple[Floats, Floats, Floats]:
    """`users` send again as soon as they are answered. What is open at `t` is theirs: those being served are answered
    at the seconds `busy`; the users who are too many leave with their answer.

    Returns when each new request was sent, when it was answered (as in `open_loop`), and when the others were.
    """
    s.ring_i[:] = -1
    sent, finish, others = [0.0], [0.0], [0.0]  # the first goes again: it tells the types
    answers = [(end, -1) for end in busy]
    heapq.heapify(answers)
    alive = len(busy) + s.tally[WAITING]
    while alive < users:
        heapq.heappush(answers, (t, -2))
        alive += 1
    while True:
        answer = answers[0][0] if len(answers) > 0 else math.inf
        end, size = _start_batch(m, s, min(answer, until))
        if size > 0:
            for j in range(size):
                place = s.taken[j]
                heapq.heappush(answers, (end, place))
                if place >= 0:
                    finish[place] = end
                else:
                    others.append(end)
            continue
        if answer >= until:
            break
        heapq.heappop(answers)
        if alive > users:
            alive -= 1
            continue
        place = len(sent)
        sent.append(answer)
        if _submit(m, s, answer, place):
            finish.append(np.nan)
        else:
            finish.append(math.inf)
            heapq.heappush(answers, (answer + RETRY_S, -2))
    # Places in the caller's lists are one less.
    return np.array(sent[1:]), np.array(finish[1:]), np.array(others[1:])
