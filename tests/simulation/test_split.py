"""The same arrivals through 1, 2 or 8 workers: the same facts, decisions and answer (DESIGN 13: identical)."""

import pytest

from locust_adaptive.search.events import CohortArrived, Event, FlowArrived
from locust_adaptive.search.grid import Grid
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.slices import Flow
from locust_adaptive.search.slo import Slo
from locust_adaptive.simulation.search import Run, simulate
from locust_adaptive.simulation.server import Server

OPEN = Settings(Slo.parse("p95<100ms & errors<1%"), "open", Grid.rate(0.5, 5000), 10.0)
CLOSED = Settings(Slo.parse("p99<200ms"), "closed", Grid.users(1, 200), 2)


def rough(flow: Flow) -> dict[str, object]:
    """A flow without the two float sums, whose last digit depends on the order of adding."""
    plain = flow.to_plain()
    return {key: value for key, value in plain.items() if key not in ("area", "residence")}


def assert_same_event(one: Event, other: Event) -> None:
    if isinstance(one, FlowArrived) and isinstance(other, FlowArrived):
        assert (one.t, one.probe, rough(one.flow)) == (other.t, other.probe, rough(other.flow))
        assert one.flow.area == pytest.approx(other.flow.area, abs=1e-6)
        assert one.flow.residence == pytest.approx(other.flow.residence, abs=1e-6)
    elif isinstance(one, CohortArrived) and isinstance(other, CohortArrived):
        assert (one.t, one.probe, one.cohort.to_plain()) == (other.t, other.probe, other.cohort.to_plain())
    else:
        assert type(one) is type(other)
        assert one.t == other.t


def assert_same(one: Run, other: Run) -> None:
    assert len(one.log) == len(other.log)
    for (event, _), (twin, _) in zip(one.log, other.log, strict=True):
        assert_same_event(event, twin)
    assert [t.to_plain() for t in one.controller.trials] == [t.to_plain() for t in other.controller.trials]
    assert one.controller.stalls == other.controller.stalls
    assert one.conclusion == other.conclusion
    assert one.sent == other.sent


@pytest.mark.parametrize(
    ("settings", "server", "seed"),
    [
        (OPEN, Server(1, 0.010, sigma=0.3), 1),
        (OPEN, Server(4, 0.020, sigma=0.3, pauses=(0.1, 0.4, 15.0), queue=50), 2),
        (CLOSED, Server(1, 0.0125, sigma=0.3), 3),
    ],
)
def test_workers_share_the_arrivals_and_change_nothing(settings: Settings, server: Server, seed: int) -> None:
    alone = simulate(settings, server, seed)
    assert len(alone.controller.trials) > 5
    for workers in (2, 8):
        assert_same(alone, simulate(settings, server, seed, workers=workers))


def test_another_seed_is_another_search() -> None:
    server = Server(1, 0.010, sigma=0.3)
    one, other = simulate(OPEN, server, 1), simulate(OPEN, server, 2)
    assert one.conclusion != other.conclusion
    assert_same(one, simulate(OPEN, server, 1))
