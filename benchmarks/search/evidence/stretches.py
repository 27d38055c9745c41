"""Long stationary runs of a server at loads around its capacity, cut into blocks of 5 s, and what each block shows.

The virtual queue runs over all arrivals of a run, so a block begins with what was in it: as between the dwells of a
search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numba import njit

from locust_adaptive.search.queue import threshold, workload
from locust_adaptive.search.slices import LADDER
from locust_adaptive.simulation.arrivals import Arrivals

from ..engine import Floats
from ..scenarios import SUITE, Scenario, service_rate
from ..truth import CHUNK, outcomes, settled, truths
from .disciplines import newest_first, share, works

Discipline = Literal["FIFO", "PS", "LIFO"]

BLOCK_S, STRETCH_S, PER_RUN = 5.0, 600.0, 8
"""A stretch is cut into pieces of 60, 120 or 200 s; a run has so many stretches."""
OFFSETS = (-1, 0, 1)
REACH, STEEP = 0.03, 0.7
"""The loads are 3 % apart, or so that the share of misses changes e^0.7 fold, if that is less."""
SPAN = np.linspace(-0.15, 0.15, 31)
"""Logarithms of the capacities for which the virtual queue's misses are counted, relative to the load."""
WRONG, GUESS = 1.05, 0.85
"""A service rate believed too high by this factor; and one that is guessed: the load is this share of it."""
RATIO = 0.995
"""The highest capacity considered, over the service rate: as in `by_queue`."""
ROUGH = 400_000

# Columns of a block.
SENT, ANSWERED, TIME, DEPTH, SQUARES, PRODUCTS, WRONGED, GUESSED = range(8)
RUNGS = slice(8, 8 + len(LADDER))
"""Requests above each rung."""
LIMIT = RUNGS.start + LADDER.index(1.0)
VIRTUAL = slice(RUNGS.stop, RUNGS.stop + len(SPAN))
"""Arrivals that find the virtual queue deeper than its threshold for each capacity of SPAN."""
HERE = VIRTUAL.start + len(SPAN) // 2
STEPS = slice(VIRTUAL.stop, VIRTUAL.stop + len(LADDER))
"""The virtual queue's own ladder."""
BINNED = slice(STEPS.stop, STEPS.stop + len(LADDER) + 1)
"""Misses of the limit by how many of those steps the virtual queue was above."""
COLUMNS = BINNED.stop


@dataclass(frozen=True)
class Cell:
    """A server under a discipline, and what is asked of it."""

    discipline: Discipline
    scenario: Scenario

    @property
    def name(self) -> str:
        return f"{self.discipline} {self.scenario.name}"

    @property
    def server_rate(self) -> float:
        """Requests/s of the saturated server, in the long run."""
        server = settled(self.scenario, 0.0)
        rate = service_rate(server)
        if server.modes is not None:
            rate *= 1 - server.modes[1] * (1 - 1 / server.modes[0])
        if server.tenant is not None:
            factor, on, off = server.tenant
            rate *= 1 - on / (on + off) * (1 - 1 / factor)
        return rate

    @property
    def budget(self) -> float:
        return 1 - self.scenario.quantile


def cells() -> list[Cell]:
    """Each different server of the suite, and those without batches or trouble under the other disciplines too."""
    suite = {s.name[:2]: s for s in SUITE}
    alike = ("08", "09", "10", "12", "16")
    out = [Cell("FIFO", s) for number, s in suite.items() if number not in alike]
    for discipline in ("PS", "LIFO"):
        out += [Cell(discipline, settled_scenario(suite[n])) for n in ("01", "02", "05", "06", "07", "11")]
    return out


def settled_scenario(scenario: Scenario) -> Scenario:
    return replace(scenario, server=settled(scenario, 0.0))


@dataclass(frozen=True)
class Blocks:
    """What was seen at one load: `[stretch, block of it, column]`; `fastest` is the 5th percentile of latency, s."""

    load: float
    rate: float
    fastest: float
    counts: Floats


def answers(cell: Cell, load: float, seconds: float, seed: int) -> tuple[Floats, Floats]:
    """When requests were sent at `load` for so many seconds, and their latency; inf if refused."""
    if cell.discipline == "FIFO":
        server = settled(cell.scenario, 0.0)
        chunks = math.ceil(seconds * load / CHUNK * 1.01)
        parts = [part for part, _ in zip(outcomes(cell.scenario, server, load, seed), range(chunks), strict=False)]
        sent, latency = (np.concatenate(column) for column in zip(*parts, strict=True))
        return sent, latency
    traffic, service = np.random.SeedSequence(seed).spawn(2)
    sent = Arrivals(np.random.default_rng(traffic)).times(0.0, seconds, load)
    return sent, _serve(cell, sent, works(cell.scenario.server, np.random.default_rng(service), len(sent))) - sent


def _serve(cell: Cell, sent: Floats, work: Floats) -> Floats:
    server = cell.scenario.server
    return {"PS": share, "LIFO": newest_first}[cell.discipline](sent, work, server.workers, server.queue)


def whereabouts(cell: Cell) -> tuple[float, float]:
    """Roughly, the capacity and the slope of the log share of misses over the log load. The same luck at each load."""
    if cell.discipline == "FIFO":
        known = truths()[cell.scenario.name]
        return known.capacity[0], known.slope
    rng = np.random.default_rng(1)
    even, work = np.cumsum(rng.exponential(size=ROUGH)), works(cell.scenario.server, rng, ROUGH)

    def excess(load: float) -> float:
        latency = _serve(cell, even / load, work) - even / load
        missed = float((latency[ROUGH // 20 :] > cell.scenario.limit_s).mean())
        return math.log(max(missed, 1e-9) / cell.budget)

    low, high = 0.2 * cell.server_rate, cell.server_rate
    while high / low > 1.002:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if excess(middle) > 0 else (middle, high)
    return low, max((excess(low * 1.02) - excess(low / 1.02)) / (2 * math.log(1.02)), 2.0)


def observe(cell: Cell, runs: int, stretch_s: float = STRETCH_S) -> list[Blocks]:
    """Blocks at three loads, one of them about the capacity, of so many runs each."""
    about, slope = whereabouts(cell)
    step = min(REACH, STEEP / slope)
    return [_at(cell, about * math.exp(step * k), runs, stretch_s, 100 * (k + 2)) for k in OFFSETS]


def _at(cell: Cell, load: float, runs: int, stretch_s: float, seed: int) -> Blocks:
    limit, mu = cell.scenario.limit_s, cell.server_rate
    lead = max(40.0, 20 * limit)
    seconds = lead + PER_RUN * stretch_s
    believed = np.minimum(load / mu * np.exp(SPAN), RATIO)
    depths = threshold(believed, cell.budget)
    here = float(depths[len(SPAN) // 2])
    others = (WRONG * mu, load / GUESS)
    limits = threshold(np.array([load / rate for rate in others]), cell.budget)
    steps = virtual_steps(here)
    rungs = limit * np.array(LADDER)
    out, fastest = [], []
    for run in range(runs):
        sent, latency = answers(cell, load, seconds, seed * 1000 + run)
        depth = workload(sent, mu)
        wronged, guessed = (workload(sent, rate) > most for rate, most in zip(others, limits, strict=True))
        blocks = round(PER_RUN * stretch_s / BLOCK_S)
        counts = _tally(sent - lead, latency, depth, wronged, guessed, rungs, depths, steps, blocks, COLUMNS)
        out.append(counts.reshape(PER_RUN, -1, COLUMNS))
        fastest.append(float(np.quantile(latency, 0.05)))
    return Blocks(load, mu, float(np.mean(fastest)), np.concatenate(out))


def virtual_steps(here: float) -> Floats:
    """Depths of the virtual queue's ladder, whose limit is `here`."""
    return 1 + (here - 1) * np.array(LADDER)


@njit(cache=True)
def _tally(
    at: Floats,
    latency: Floats,
    depth: Floats,
    wronged: Any,
    guessed: Any,
    rungs: Floats,
    depths: Floats,
    steps: Floats,
    blocks: int,
    columns: int,
) -> Floats:
    """The columns of each block. `at`: since the first block's start; earlier and later ones are left out."""
    out = np.zeros((blocks, columns))
    first_virtual = 8 + len(rungs)
    first_step = first_virtual + len(depths)
    first_bin = first_step + len(steps)
    for i in range(len(at)):
        if at[i] < 0 or at[i] >= blocks * 5.0:
            continue
        row = out[int(at[i] / 5.0)]
        row[0] += 1
        if latency[i] < np.inf:
            row[1] += 1
            row[2] += latency[i]
            row[3] += depth[i]
            row[4] += depth[i] * depth[i]
            row[5] += depth[i] * latency[i]
        row[6] += wronged[i]
        row[7] += guessed[i]
        for j in range(len(rungs)):
            if latency[i] <= rungs[j]:
                break
            row[8 + j] += 1
        for j in range(len(depths)):
            if depth[i] <= depths[j]:
                break
            row[first_virtual + j] += 1
        above = 0
        while above < len(steps) and depth[i] > steps[above]:
            row[first_step + above] += 1
            above += 1
        row[first_bin + above] += latency[i] > rungs[4]
    return out
