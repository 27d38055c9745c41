"""Whole searches of traffic that comes in bursts: the answer is what the server takes of them, not of Poisson's."""

import pytest

from locust_adaptive.search.grid import Grid
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.slo import Slo
from locust_adaptive.simulation.arrivals import Bursts
from locust_adaptive.simulation.search import simulate
from locust_adaptive.simulation.server import Server

BATCHES = Server(1, 0.030, 0.0020, 16, 0.005, 0.15)
TAKES_OF_POISSON = 235
"""Requests/s that just hold the SLO below: scenario 03 of the search suite."""


@pytest.mark.parametrize("seed", [0, 1])
def test_bursts_lower_the_answer(seed: int) -> None:
    settings = Settings(Slo.parse("p95<150ms"), "open", Grid.rate(4, 400), 4)
    end = simulate(settings, BATCHES, seed, bursts=Bursts(1.5, 2.0, 8.0)).conclusion
    assert end.capacity.high is not None
    assert end.capacity.high < 0.9 * TAKES_OF_POISSON
    assert end.capacity.verified is not None or end.verdict == "unresolved"
