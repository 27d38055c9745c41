"""Simulated searches that the tests of this room share."""

from functools import cache

import pytest

from locust_adaptive.search.grid import Grid
from locust_adaptive.search.settings import Settings
from locust_adaptive.simulation.search import Run, simulate
from locust_adaptive.simulation.server import Server
from tests.journals.record import QUICK, RECORDED, SLOW


def busy(_t, meter):
    meter.health(0.95, 0.001, 0)


def unfit() -> tuple[Settings, Run]:
    """A generator that is too busy to measure."""
    settings = Settings(QUICK, "open", Grid.rate(0.5, 200), 2.0)
    return settings, simulate(settings, Server(base=0.02), seed=2, disturb=busy)


def rejecting() -> tuple[Settings, Run]:
    """A short queue: errors limit the capacity. Cut short by its budget."""
    settings = Settings(QUICK, "open", Grid.rate(0.5, 200), 2.0, budget_s=90)
    return settings, simulate(settings, Server(base=0.02, queue=4), seed=2)


def resolved() -> tuple[Settings, Run]:
    settings = Settings(SLOW, "open", Grid.rate(0.5, 500), 2.0, precision=0.15)
    return settings, simulate(settings, Server(base=0.08, cold=(3, 30)), seed=1)


SEARCHES = {name: cache(search) for name, search in {**RECORDED, "unfit": unfit, "rejecting": rejecting}.items()}
SEARCHES["resolved"] = cache(resolved)


@pytest.fixture(params=list(SEARCHES))
def search(request):
    """Settings and run of each search in turn; simulated once."""
    return SEARCHES[request.param]()


@pytest.fixture
def short():
    """The settings and run of a search of a minute."""
    return SEARCHES["ceiling"]()
