"""The worker's agent: load only when told and only its share, slices of all that happened, refusals said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from locust import FastHttpUser, constant, task
from locust.env import Environment

from locust_adaptive import OpenLoop, ReplayUser
from locust_adaptive.plugin import inflight
from locust_adaptive.plugin.exchange import LOCAL, MasterSide
from locust_adaptive.plugin.scheduler import scheduler_of
from locust_adaptive.plugin.worker import Agent
from locust_adaptive.replay.sharding import ShardMap
from locust_adaptive.search.slices import Shipment
from tests.support.lab import Backend
from tests.support.wait import wait_until


class Arriving(OpenLoop, FastHttpUser):
    @task
    def rank(self) -> None:
        self.client.get("/rank")


class Visiting(FastHttpUser):
    wait_time = constant(0.02)

    @task
    def rank(self) -> None:
        self.client.get("/rank")


class Worker:
    """An agent in a local runner, and what it shipped."""

    def __init__(self, user_class: Any) -> None:
        self.backend = Backend()
        self.environment = Environment(user_classes=[user_class], host=self.backend.url)
        self.runner = self.environment.create_local_runner()
        self.agent = Agent(self.environment)
        self.shipments: list[Shipment] = []
        self.refused: list[str] = []
        side = MasterSide(self.runner)
        side.on_slices = lambda name, data: self.shipments.append(Shipment.from_plain(data))
        side.on_refused = lambda name, reason: self.refused.append(reason)

    def setup(self, loop: str, **more: Any) -> None:
        plain = {"slo": "p99<200ms", "loop": loop, "bin_s": 0.005, "patience": 10.0, "cap": 100, "seed": 1}
        plain |= {"workers": [LOCAL], "shards": ShardMap([LOCAL]).to_dict()}
        self.agent.setup({**plain, **more})

    def users(self, n: int) -> None:
        self.runner.start(n, spawn_rate=100)
        wait_until(lambda: self.runner.user_count == n, f"{n} users")

    def flows(self, probe: int) -> list[Any]:
        return [flow for s in self.shipments if s.probe == probe for flow in s.flows]

    def close(self) -> None:
        self.agent.end()
        self.runner.quit()
        scheduler_of(self.environment).close()
        self.backend.close()
        inflight.instruments.meter = None


@pytest.fixture
def worker(request: Any) -> Iterator[Worker]:
    made = Worker(request.param)
    yield made
    made.close()


of = pytest.mark.parametrize


@of("worker", [Arriving], indirect=True)
def test_no_load_before_it_is_told_and_none_after_the_end(worker: Worker) -> None:
    worker.setup("open")
    worker.users(3)  # without a search, each would make one arrival a second
    scheduler = scheduler_of(worker.environment)
    assert scheduler.rate == 0
    worker.agent.hold({"probe": 1, "share": 50.0})
    assert scheduler.rate == 50.0
    wait_until(lambda: worker.backend.received > 5, "load")
    worker.agent.end()
    assert scheduler.rate == 0
    assert inflight.instruments.meter is None


@of("worker", [Arriving], indirect=True)
def test_slices_hold_what_happened_by_probe(worker: Worker) -> None:
    worker.setup("open")
    worker.users(1)
    worker.agent.hold({"probe": 1, "share": 80.0})
    wait_until(lambda: len(worker.flows(1)) >= 2, "two slices")
    worker.agent.hold({"probe": 2, "share": 0.0})
    wait_until(lambda: len(worker.flows(2)) >= 2, "two slices of rest")
    assert sum(flow.sent for flow in worker.flows(1)) == worker.backend.received
    assert sum(flow.tasks for flow in worker.flows(1)) == pytest.approx(worker.backend.received, abs=20)
    assert sum(flow.sent for flow in worker.flows(2)) == 0
    assert worker.flows(2)[-1].open == 0
    assert [flow.index for flow in worker.flows(1)] == list(range(len(worker.flows(1))))
    assert any(s.final for s in worker.shipments if s.probe == 1)
    assert all(0 <= flow.cpu < 2 and flow.hub_lag >= 0 for flow in worker.flows(1))


@of("worker", [Visiting], indirect=True)
def test_in_closed_loop_the_users_are_the_load(worker: Worker) -> None:
    worker.setup("closed")
    worker.users(4)
    worker.agent.hold({"probe": 1, "share": 4.0})
    wait_until(lambda: len(worker.flows(1)) >= 2, "two slices")
    assert worker.flows(1)[-1].users == 4
    assert sum(flow.sent for flow in worker.flows(1)) > 10
    assert worker.flows(1)[-1].tasks == 0


@of("worker", [Arriving], indirect=True)
def test_a_probe_without_a_set_up_is_ignored(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    worker.agent.hold({"probe": 1, "share": 50.0})
    assert "before the set-up" in caplog.text
    assert not worker.shipments


@of("worker", [type("Lost", (ReplayUser,), {"trace": "none.trace"})], indirect=True)
def test_a_worker_that_cannot_take_part_says_why_and_counts_nothing(worker: Worker) -> None:
    worker.setup("open")
    assert len(worker.refused) == 1
    assert "Lost: there is no trace 'none.trace'" in worker.refused[0]
    assert inflight.instruments.meter is None
    worker.agent.hold({"probe": 1, "share": 50.0})
    assert scheduler_of(worker.environment).rate == 0


@of("worker", [Arriving], indirect=True)
def test_another_set_up_begins_anew(worker: Worker) -> None:
    """After the workers changed: the load is away until the next probe, and old slices stay where they were."""
    worker.setup("open")
    worker.users(1)
    worker.agent.hold({"probe": 1, "share": 80.0})
    wait_until(lambda: worker.flows(1), "a slice")
    worker.setup("open")
    assert scheduler_of(worker.environment).rate == 0
    worker.agent.hold({"probe": 2, "share": 20.0})
    wait_until(lambda: worker.flows(2), "a slice")
    assert worker.flows(2)[0].index == 0
