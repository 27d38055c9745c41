"""Whole searches of servers under each discipline: does the shipped estimate lean on a queue that is first in, first
out? Beside it, what other estimates make of the same trials."""

from __future__ import annotations

import math
from dataclasses import dataclass
from unittest.mock import patch

from locust_adaptive.search.estimate import by_counts, by_queue, service_rate
from locust_adaptive.search.grid import Grid
from locust_adaptive.search.past import Past
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.slo import Slo
from locust_adaptive.simulation import search as simulation
from locust_adaptive.simulation.server import RunningServer

from ..truth import settled
from .disciplines import NewestFirst, Sharing
from .stretches import Cell
from .tempered import by_learnt_queue

RUNNING = {"PS": Sharing, "LIFO": NewestFirst}
TOLD_SD = 0.03
"""Relative standard error of a service rate that is told."""


@dataclass(frozen=True)
class Found:
    """One search. Errors of the log of the capacity, None without one: of the answer, of counts alone, and of the
    virtual queue told the service rate, as shipped and with what `tempered` learns: `trust` and `steepness`. `covered`:
    the interval holds the truth. `rate`: the service rate taken over the true one, None if none was. `seconds` it
    took."""

    error: float | None
    covered: bool
    rate: float | None
    seconds: float
    counted: float | None = None
    told: float | None = None
    learnt: float | None = None
    trust: float | None = None
    steepness: float | None = None


def search(cell: Cell, capacity: float, number: int) -> Found:
    """Search `number` of a cell whose capacity is known."""
    scenario = cell.scenario
    low, high = scenario.loads(capacity, number)
    settings = Settings(Slo.parse(scenario.slo), "open", Grid.rate(low, high), low)
    server = RUNNING.get(cell.discipline, RunningServer)
    with patch.object(simulation, "RunningServer", server):
        run = simulation.simulate(settings, settled(scenario, 0.0), scenario.seed(number))
    found, seconds = run.conclusion.capacity, run.log[-1][0].t
    past = Past(settings, run.controller.trials, seconds)
    covered = found.low is not None and found.low <= capacity <= (found.high or math.inf)
    if found.value is None or not past.located:
        return Found(None, covered, None, seconds)
    # Each has one objective.
    spread = 0.1 + 0.5 * abs(math.log(past.worst / past.best))
    counted = by_counts(past.world, 0, cell.budget, math.sqrt(past.best * past.worst), spread)
    told = (past.world, 0, cell.budget, cell.server_rate, TOLD_SD)
    learnt = by_learnt_queue(*told)
    rate = service_rate(past.world, settings.limit) or service_rate(past.trials, settings.limit)
    return Found(
        math.log(found.value / capacity),
        covered,
        rate[0] / cell.server_rate if rate else None,
        seconds,
        math.log(counted.value / capacity),
        math.log(by_queue(*told).value / capacity),
        math.log(learnt.value / capacity),
        learnt.trust,
        learnt.steepness,
    )
