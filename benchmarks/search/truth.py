"""The capacity of each scenario, by long runs, and how precise counting misses can be: writes truths.json.

    python -m benchmarks.search.truth            every scenario (some 10 minutes)
    python -m benchmarks.search.truth 01 H3      those whose name begins so

A run at a load gives the share of bad requests; the capacity is where its logarithm, fitted by a parabola in the
logarithm of the load, crosses the budget. Close to the crossing only: the share goes from half of the budget to twice
that much. The standard error is a jackknife over independent sets of runs.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from locust_adaptive.search.slo import Objective
from locust_adaptive.simulation.arrivals import Arrivals
from locust_adaptive.simulation.mischief import Mischief
from locust_adaptive.simulation.server import Server

from .engine import Floats, Machine, State, closed_loop, open_loop
from .scenarios import HELD_OUT, SUITE, Scenario, service_rate

FILE = Path(__file__).with_name("truths.json")
CHUNK, COARSE, FINE = 200_000, 400_000, 16_000_000
"""Requests: simulated at once, in a run that only looks for the region, and in all the others together."""
LEAST_S, ENOUGH = 4000.0, 1_200_000
"""A run lasts as long as the one at least, or has as many requests as the other."""
WINDOWS = 60
"""Stretches of which a variance is taken, at least."""
SPREAD = 0.6
REPLICAS = 10
PRECISE = 0.0015
"""Standard error, as a ratio, with which a truth is good enough; up to three times as many runs again are made."""
TIMES = (60, 120, 200, 400)
MOMENTS = (0.0, 1200.0, 2400.0, 3600.0)
"""Seconds: of the search, at which the capacity of a server that never settles is known."""


@dataclass(frozen=True)
class Truth:
    """`capacity` with its standard error `se`, both 1/s or users; one for each moment of MOMENTS, or one at all.

    `objective`: which is binding. `slope`: of the log share of bad requests over the log load, there. `limit`: the
    standard error, as a ratio of the capacity, of any search that only counts misses, after TIMES seconds at capacity.
    """

    capacity: tuple[float, ...]
    se: float
    objective: int
    slope: float
    limit: tuple[float, ...]

    def at(self, t: float) -> float:
        """The capacity at second `t` of a search."""
        return self.capacity[0] if len(self.capacity) == 1 else float(np.interp(t, MOMENTS, self.capacity))

    def counting_limit(self, seconds: float) -> float:
        """`limit` after any number of seconds."""
        logs = np.log(TIMES), np.log(self.limit)
        inside = math.exp(np.interp(math.log(seconds), *logs))
        # The error of a mean falls with the square root of the time.
        return inside * math.sqrt(max(TIMES[0] / seconds, 1.0) * min(TIMES[-1] / seconds, 1.0))


@cache
def truths() -> dict[str, Truth]:
    """The truths on file, by the name of the scenario."""
    plain = json.loads(FILE.read_text()) if FILE.exists() else {}
    return {
        name: Truth(tuple(t["capacity"]), t["se"], t["objective"], t["slope"], tuple(t["limit"]))
        for name, t in plain.items()
    }


def truth(scenario: Scenario, t: float = 0.0) -> float:
    """The capacity of a scenario, at second `t` of a search where that matters; KeyError if it is not on file."""
    return truths()[scenario.name].at(t)


# -- long runs -------------------------------------------------------------------------------------------------------


def settled(scenario: Scenario, t: float) -> Server:
    """The server whose capacity is asked, at second `t`."""
    server = replace(scenario.server, cold=None)
    if scenario.truth_of == "pooled":
        return server
    slower = 1 + server.leak * t / 3600
    if server.drift is not None:
        slower *= 1 + server.drift[0]
    if server.scale is not None:
        server = replace(server, workers=server.scale[0], scale=None)
    return replace(
        server,
        base=server.base * slower,
        per_request=server.per_request * slower,
        pauses=None,
        beat=None,
        tenant=None,
        drift=None,
        leak=0.0,
    )


def outcomes(scenario: Scenario, server: Server, load: float, seed: int) -> Iterator[tuple[Floats, Floats]]:
    """`(sent, latency)` of some CHUNK requests after the other, without end. A refused one takes for ever; those in
    the queue where one ends and the next begins are left out."""
    traffic, service = np.random.SeedSequence(seed).spawn(2)
    limiter = Mischief("http 429", scenario.mischief.above) if scenario.mischief else None
    machine = Machine.of(server, limiter)
    state = State.new(machine, np.random.default_rng(service))
    arrivals = Arrivals(np.random.default_rng(traffic), scenario.bursts)
    t, serving, others = 0.0, np.empty(0), np.empty(0)
    while True:
        until = t + CHUNK / (load if scenario.loop == "open" else service_rate(server))
        if scenario.loop == "open":
            sent = arrivals.times(t, until, load)
            finish, _ = open_loop(machine, state, sent, until)
        else:
            sent, finish, others = closed_loop(machine, state, int(load), serving, t, until)
            serving = np.concatenate([serving, finish, others])
            serving = serving[np.isfinite(serving) & (serving > until)]
        known = ~np.isnan(finish)
        yield sent[known], (finish - sent)[known]
        t = until


def shares(scenario: Scenario, server: Server, load: float, requests: int, seed: int) -> Floats:
    """The share of requests that are bad by each objective, the first twentieth left out; over more `requests` where
    they come fast: what matters is how often the queue is new."""
    requests = max(requests, min(int(LEAST_S * service_rate(server)), ENOUGH))
    bad, n, seen = np.zeros(len(scenario.objectives)), 0, 0
    for _, latency in outcomes(scenario, server, load, seed):
        latency = latency[max(requests // 20 - seen, 0) :]
        seen += CHUNK
        n += len(latency)
        bad += [misses(objective, latency).sum() for objective in scenario.objectives]
        if seen >= requests:
            return bad / n
    raise AssertionError


def misses(objective: Objective, latency: Floats) -> Any:
    """Which of these are bad?"""
    return np.isinf(latency) if objective.signal == "errors" else latency > objective.limit


# -- the crossing ----------------------------------------------------------------------------------------------------


def region(excess: Callable[[float], float], top: float) -> float:
    """The highest load up to `top` at which `excess` is not above 0, to 0.2 %; loads below may have it above again."""
    fails = passes = top
    while excess(passes) > 0:
        fails, passes = passes, passes / 1.06
    while fails / passes > 1.002:
        middle = math.sqrt(fails * passes)
        fails, passes = (middle, passes) if excess(middle) > 0 else (fails, middle)
    return passes


def find(scenario: Scenario, t: float = 0.0) -> tuple[float, float, int, float]:
    """`(capacity, standard error, binding objective, slope)` at second `t`."""
    server = settled(scenario, t)
    budgets = np.array([o.budget for o in scenario.objectives], float)

    def excess(load: float) -> Floats:
        return np.log(np.maximum(shares(scenario, server, load, COARSE, 1), 1e-9) / budgets)

    top = 1.3 * service_rate(server)
    if scenario.loop == "closed":
        top *= max(o.limit for o in scenario.objectives)
    centre = region(lambda load: float(excess(load).max()), top)
    objective = int(excess(centre).argmax())
    step = 0.01 if scenario.loop == "open" else max(0.01, 2 / centre)
    slope = float((excess(centre * (1 + step)) - excess(centre * (1 - step)))[objective]) / (2 * step)
    spread = SPREAD / slope
    loads = centre * np.exp(np.linspace(-spread, spread, 5))
    if scenario.loop == "closed":
        loads = np.unique(np.round(np.linspace(centre - 4, centre + 4, 9)))
    logs = np.log(loads / centre)
    each = FINE // (REPLICAS * len(loads))

    def crossing(bad: Floats) -> float:
        """From the mean share at each load."""
        c, b, a = np.polyfit(logs, np.log(bad.mean(0) / budgets[objective]), 2)
        bend = 4 * a * c / b**2
        return centre * math.exp(b * (math.sqrt(1 - bend) - 1) / (2 * c) if 1e-9 < abs(bend) < 1 else -a / b)

    bad, se = np.empty((0, len(loads))), math.inf
    while se > PRECISE * centre and len(bad) < 4 * REPLICAS:
        for _ in range(REPLICAS):
            seeds = range(1000 * (len(bad) + 1), 1000 * (len(bad) + 1) + len(loads))
            row = [shares(scenario, server, x, each, seed)[objective] for x, seed in zip(loads, seeds, strict=True)]
            bad = np.vstack([bad, row])
        without = [crossing(np.delete(bad, r, axis=0)) for r in range(len(bad))]
        se = math.sqrt((len(bad) - 1) * float(np.var(without)))
    slope = float(np.polyfit(logs, np.log(bad.mean(0)), 1)[0])
    return crossing(bad), se, objective, slope


def counting_limit(scenario: Scenario, capacity: float, objective: int, slope: float) -> list[float]:
    """Standard error of log capacity by the share of bad requests over TIMES seconds at capacity (delta method)."""
    server, second = settled(scenario, 0.0), 20.0
    bad, sent = np.zeros(0), np.zeros(0)
    total = 0
    for at, latency in outcomes(scenario, server, capacity, seed=7):
        place = (at / second).astype(int)
        missed = place[misses(scenario.objectives[objective], latency)]
        size = int(place.max()) + 1
        bad, sent = (np.pad(x, (0, size - len(x))) for x in (bad, sent))
        bad += np.bincount(missed, minlength=size)
        sent += np.bincount(place, minlength=size)
        total += len(at)
        if total >= FINE // 2 and at[-1] > WINDOWS * TIMES[0]:
            break
    out: list[float] = []
    for seconds in TIMES:
        each = int(seconds / second)
        windows = len(bad) // each
        if windows < WINDOWS:  # too few to see the variance: independent from there on
            out.append(out[-1] * math.sqrt(TIMES[len(out) - 1] / seconds) if out else math.nan)
            continue
        k, n = (x[: windows * each].reshape(windows, each).sum(1) for x in (bad, sent))
        out.append(float(np.std(k / np.maximum(n, 1), ddof=1) / (k.sum() / n.sum()) / slope))
    return out


def measure(scenario: Scenario) -> dict[str, Any]:
    """The row of a scenario in truths.json."""
    capacity, se, objective, slope = find(scenario)
    limit = counting_limit(scenario, capacity, objective, slope)
    if scenario.loop == "closed":
        capacity = math.floor(capacity)
    capacities = [capacity]
    if scenario.truth_of == "moment":
        capacities += [find(scenario, t)[0] for t in MOMENTS[1:]]
    return {
        "capacity": [float(f"{c:.6g}") for c in capacities],
        "se": float(f"{se:.3g}"),
        "objective": objective,
        "slope": float(f"{slope:.4g}"),
        "limit": [float(f"{x:.4g}") for x in limit],
    }


def main(names: list[str]) -> None:
    plain = json.loads(FILE.read_text()) if FILE.exists() else {}
    for scenario in (*SUITE, *HELD_OUT):
        if names and not scenario.name.startswith(tuple(names)):
            continue
        plain[scenario.name] = row = measure(scenario)
        print(scenario.name, row, flush=True)
        order = [s.name for s in (*SUITE, *HELD_OUT)]
        lines = [f"  {json.dumps(n)}: {json.dumps(plain[n])}" for n in order if n in plain]
        FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
