"""The true capacity of a simulated server, by long runs at fixed loads: what a search's answer can be held against.

The capacity is where the share of bad requests crosses what the SLO allows. Near the crossing the logarithm of the
share is close to linear in the logarithm of the load, so a line is fitted through runs close by; the standard error
is a jackknife over stretches of the runs (Efron & Tibshirani 1993, chapter 11).

The server is as it is in the long run: after a cold start and a drift, with all the workers that it adds, with
neighbours, slow phases and bursts. A time in which nobody was there is left out.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..search.settings import Settings
from ..search.slo import Objective
from .arrivals import Arrivals
from .describe import Target
from .mischief import Misbehaviour, Mischief
from .server import RunningServer

Floats = NDArray[np.float64]

SETTLED_S = 1e6
"""Age of the server: long after any cold start or drift that a search could meet."""
LOOK, FACTORS = 40_000, (0.5, 0.65, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)
"""Requests of a run that looks for the crossing, and its loads, as ratios to the answer."""
CLOSE = 1.06
"""Between the two loads at which looking ends."""
SPREAD, NEAREST, FARTHEST = 0.6, 0.006, 0.05
"""The loads of runs close by are so far apart that their bad requests differ by SPREAD in the logarithm; as a ratio, at
least and at most."""
REQUESTS, MOST, MISSES, CYCLES = 200_000, 1_000_000, 4000, 60
"""Requests of a run close by: at least, at most, and otherwise so many that as many miss, and as many times what comes
and goes has come."""
STRETCHES = 20
EMPTY = 0.05
"""Share of a run that is left out at its start, when the queue is still empty."""


@dataclass(frozen=True)
class Truth:
    """A capacity, 1/s or users, and its standard error. In closed loop the highest whole number of users."""

    capacity: float
    se: float


@dataclass(frozen=True)
class Truths:
    """`whole`: of the server as it is, None if its pauses leave no load that meets the SLO. `unpaused`: without its
    pauses, None if it has none. One of the two is there."""

    whole: Truth | None
    unpaused: Truth | None

    def of(self, forgiven: bool) -> Truth:
        """What the answer of a search is held against: without the pauses, if it left stalls out."""
        found = self.unpaused if forgiven or self.whole is None else self.whole
        found = found or self.whole
        assert found is not None
        return found


def truths(settings: Settings, target: Target, near: float, seed: int) -> Truths:
    """The capacities from half to twice `near`. ValueError if there is none, or the server never stays the same."""
    if target.server.leak:
        raise ValueError("a server that leaks has another capacity each hour")
    still = replace(target, server=replace(target.server, pauses=None, beat=None))
    if still == target:
        return Truths(_true_capacity(settings, target, near, seed), None)
    unpaused = _true_capacity(settings, still, near, seed)
    try:
        return Truths(_true_capacity(settings, target, near, seed), unpaused)
    except ValueError:
        return Truths(None, unpaused)


def _true_capacity(settings: Settings, target: Target, near: float, seed: int) -> Truth:
    objectives = [o for o in settings.objectives if o.role == "constraint"]
    budgets = np.array([o.budget for o in objectives], dtype=float)
    closed = settings.loop == "closed"

    def logs(load: float, requests: float) -> Floats:
        """Logarithm of bad requests over what is allowed, [stretch left out, objective]; the last leaves none out."""
        bad = _bad(target, objectives, load, int(requests), seed, closed)
        shares = np.vstack([(bad.sum(axis=0) - bad) / (STRETCHES - 1), bad.mean(axis=0)])
        # None at all is taken for half a request: a logarithm needs some.
        return np.asarray(np.log(np.maximum(shares, 0.5 / requests) / budgets))

    centre, slope = _crossing(
        _loads(near, FACTORS, closed), lambda load: float(np.clip(logs(load, LOOK)[-1].max(), -5, 5)), closed
    )
    step = min(max(SPREAD / slope, NEAREST), FARTHEST)
    requests = min(max(REQUESTS, MISSES / budgets.min(), CYCLES * _cycle_s(target) * near), MOST)
    for _ in range(3):
        loads = _loads(centre, (1 - step, 1.0, 1 + step), closed)
        found = _fit(loads, np.array([logs(load, requests) for load in loads]), slope / 3)
        if loads[0] <= found[-1] <= loads[-1]:
            break
        centre = min(max(found[-1], centre * (1 - 3 * step)), centre * (1 + 3 * step))
    se = math.sqrt((STRETCHES - 1) * float(np.var(found[:-1])))
    value = float(found[-1])
    return Truth(float(math.floor(value)) if closed else value, se)


def _cycle_s(target: Target) -> float:
    """The mean time from one disturbance to the next, of the slowest kind."""
    server, bursts = target.server, target.bursts
    cycles = [
        sum(server.pauses[1:]) if server.pauses else 0.0,
        server.beat[1] if server.beat else 0.0,
        sum(server.tenant[1:]) if server.tenant else 0.0,
        server.modes[2] / server.modes[1] if server.modes else 0.0,
        bursts.length + bursts.gap if bursts else 0.0,
    ]
    return max(cycles)


def _loads(centre: float, factors: Sequence[float], closed: bool) -> list[float]:
    if not closed:
        return [centre * factor for factor in factors]
    users = {round(centre * factor) for factor in factors} | {math.floor(centre), math.floor(centre) + 1}
    return [float(n) for n in sorted(users) if n >= 1]


def _crossing(loads: Sequence[float], excess: Callable[[float], float], closed: bool) -> tuple[float, float]:
    """The highest load at which the logarithm of the excess comes up through 0, and how fast it does so with the
    logarithm of the load; by bisection, and then interpolation."""
    known = [(load, excess(load)) for load in loads]
    pairs = [(low, high) for low, high in pairwise(known) if low[1] <= 0 < high[1]]
    if not pairs:
        raise ValueError(f"no load from {loads[0]:.3g} to {loads[-1]:.3g} is the capacity")
    low, high = pairs[-1]
    while high[0] / low[0] > CLOSE and not (closed and high[0] - low[0] <= 1):
        middle = math.sqrt(low[0] * high[0])
        middle = float(math.ceil(middle)) if closed else middle
        found = (middle, excess(middle))
        low, high = (found, high) if found[1] <= 0 else (low, found)
    slope = (high[1] - low[1]) / math.log(high[0] / low[0])
    return low[0] * math.exp(-low[1] / slope), slope


def _fit(loads: Sequence[float], logs: Floats, flattest: float) -> Floats:
    """Where a line through the logarithms, [load, left out, objective], crosses 0; the lowest of the objectives'.

    The variance of the logarithm of a count goes with one over the count, so the weights are the shares; no more than
    twice what is allowed, as the line is for the crossing. Its slope is that of all stretches together.
    """
    x = np.log(loads)[:, None, None]
    weights = np.exp(np.minimum(logs, math.log(2)))
    weights /= weights.sum(axis=0)
    mid_x, mid_y = (weights * x).sum(axis=0), (weights * logs).sum(axis=0)
    dx, dy = x - mid_x, logs - mid_y
    slopes = (weights * dx * dy).sum(axis=0)[-1] / (weights * dx**2).sum(axis=0)[-1]
    # A line too flat by chance would put the crossing anywhere.
    return np.asarray(np.exp(mid_x - mid_y / np.maximum(slopes, flattest)).min(axis=1))


def _bad(
    target: Target, objectives: Sequence[Objective], load: float, requests: int, seed: int, closed: bool
) -> Floats:
    """Shares of requests that miss each objective at a fixed load, [stretch, objective]."""
    run = _closed if closed else _open
    at, latencies = run(target, load, requests, np.random.default_rng([seed, 0]))
    counted = latencies[at >= EMPTY * at[-1]]
    limits = [o.limit if o.signal == "latency" else math.inf for o in objectives]
    bad = np.stack([counted >= limit for limit in limits], axis=1)
    return np.array([part.mean(axis=0) for part in np.array_split(bad, STRETCHES)])


def _open(target: Target, load: float, requests: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """When requests were sent, and how long each took: inf if it failed."""
    at = Arrivals(rng.spawn(1)[0], target.bursts).times(0.0, requests / load, load)
    server = _settled(target, rng)
    mischief = replace(target.mischief or Mischief(), gone=None)
    misbehaviour = Misbehaviour(mischief, random.Random(0)) if mischief != Mischief() else None
    done = np.full(len(at), np.inf)
    for number, t in enumerate(at.tolist()):
        for end, answered in server.advance(t):
            done[answered] = end
        if misbehaviour is None or misbehaviour.fate(t) is None:
            server.submit(t, number)
    for end, answered in server.advance(math.inf):
        done[answered] = end
    return at, done - at


def _closed(target: Target, load: float, requests: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The same where so many users each send again when they have their answer."""
    server = _settled(target, rng)
    sent = [0.0] * int(load)
    for user in range(len(sent)):
        server.submit(0.0, user)
    at: list[float] = []
    latencies: list[float] = []
    while len(at) < requests:
        for end, user in server.advance(server.next_event()):
            at.append(sent[user])
            latencies.append(end - sent[user])
            sent[user] = end
            server.submit(end, user)
    return np.array(at), np.array(latencies)


def _settled(target: Target, rng: np.random.Generator) -> RunningServer:
    described = target.server
    if described.scale is not None:
        # At a load that is too much for all of them it was too much for fewer.
        described = replace(described, workers=described.scale[0], scale=None)
    server = RunningServer(described, rng)
    server.restart(-SETTLED_S)
    return server
