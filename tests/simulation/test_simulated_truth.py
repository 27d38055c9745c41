"""Long runs against capacities that were computed in another way."""

import pytest

from locust_adaptive.search.grid import Grid
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.slo import Slo
from locust_adaptive.simulation import truth
from locust_adaptive.simulation.arrivals import Bursts
from locust_adaptive.simulation.describe import Target
from locust_adaptive.simulation.mischief import Mischief
from locust_adaptive.simulation.server import Server
from locust_adaptive.simulation.truth import truths
from tests.support.truth import CLOSED, SMALL


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(truth, "LOOK", 8_000)
    monkeypatch.setattr(truth, "REQUESTS", 80_000)
    monkeypatch.setattr(truth, "MISSES", 800)
    monkeypatch.setattr(truth, "CYCLES", 0)


def settings(slo, loop="open"):
    return Settings(Slo.parse(slo), loop, Grid.rate(1, 1000) if loop == "open" else Grid.users(1, 100), 2.0)


def server(setting, **more):
    return Server(setting.service.workers, setting.service.mean_s, sigma=setting.service.sigma, **more)


def test_an_open_loop():
    found = truths(settings("p99<250ms"), Target(server(SMALL)), near=0.8 * SMALL.capacity, seed=1)
    assert found.unpaused is None
    assert found.whole is not None
    assert found.whole.capacity == pytest.approx(SMALL.capacity, rel=0.02)
    assert 0 < found.whole.se < 0.02 * SMALL.capacity
    assert abs(found.whole.capacity - SMALL.capacity) < 4 * found.whole.se


def test_a_closed_loop():
    found = truths(settings("p99<250ms", "closed"), Target(server(CLOSED)), near=1.3 * CLOSED.capacity, seed=1)
    assert found.whole is not None
    assert found.whole.capacity == CLOSED.capacity


def test_a_start_and_a_time_away_are_left_out_and_pauses_known_apart():
    disturbed = server(SMALL, cold=(5.0, 300.0), drift=(0.001, 300.0), beat=(0.2, 10.0))
    found = truths(settings("p99<250ms"), Target(disturbed, Mischief(gone=(10.0, 1000.0))), SMALL.capacity, seed=2)
    assert found.unpaused is not None
    assert found.whole is not None
    assert found.unpaused.capacity == pytest.approx(SMALL.capacity, rel=0.02)
    assert found.whole.capacity < 0.98 * found.unpaused.capacity
    assert (found.of(True), found.of(False)) == (found.unpaused, found.whole)


def test_pauses_that_no_load_can_bear_leave_the_other_truth():
    found = truths(settings("p99<250ms"), Target(server(SMALL, beat=(2.0, 60.0))), SMALL.capacity, seed=2)
    assert found.whole is None
    assert found.of(False) is found.of(True) is found.unpaused


def test_what_fails_counts():
    limited = Target(server(SMALL), Mischief("http 429", above=30.0))
    found = truths(settings("errors<1%"), limited, near=28.0, seed=1)
    assert found.whole is not None
    # A bucket of 7.5 tokens refuses some already below its rate.
    assert 20 < found.whole.capacity < 30


def test_bursts_cost():
    found = truths(settings("p99<250ms"), Target(server(SMALL), None, Bursts(3.0, 0.5, 2.0)), 50.0, seed=1)
    assert found.whole is not None
    assert found.whole.capacity < 0.9 * SMALL.capacity


def test_a_server_that_grows_is_taken_as_grown():
    growing = Server(1, 0.0131, sigma=0.4, scale=(2, 0.3, 30.0))
    found = truths(settings("p99<250ms"), Target(growing), near=2 * SMALL.capacity, seed=1)
    assert found.whole is not None
    assert found.whole.capacity > 1.9 * SMALL.capacity


@pytest.mark.parametrize(
    ("target", "slo", "near", "says"),
    [
        (Target(Server(base=0.01, leak=0.3)), "p99<250ms", 90.0, "another capacity each hour"),
        (Target(Server(base=0.01)), "p99<5ms", 10.0, "no load from 5 to 20"),
        (Target(Server(base=0.01)), "p99<250ms", 10.0, "no load from 5 to 20"),
    ],
)
def test_where_there_is_no_truth_it_says_so(target, slo, near, says):
    with pytest.raises(ValueError, match=says):
        truths(settings(slo), target, near, seed=1)
