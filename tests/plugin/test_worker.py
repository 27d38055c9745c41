"""The worker's agent: load only when told and only its share, slices of all that happened, refusals said."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from locust import FastHttpUser, constant, task
from locust.env import Environment
from locust.runners import WorkerRunner

from locust_adaptive import OpenLoop, ReplayUser
from locust_adaptive.plugin import inflight
from locust_adaptive.plugin import worker as worker_module
from locust_adaptive.plugin.exchange import ALIVE, LOCAL, REFUSED, SLICES, WHO, MasterSide
from locust_adaptive.plugin.guards import clock
from locust_adaptive.plugin.identity import identity
from locust_adaptive.plugin.lease import lease_of
from locust_adaptive.plugin.scheduler import scheduler_of
from locust_adaptive.plugin.worker import Agent
from locust_adaptive.replay.sharding import ShardMap
from locust_adaptive.search.slices import Shipment
from tests.support.lab import Backend
from tests.support.scripted import Shape
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
    """An agent in a local runner, what it said and what it shipped. Its master gives a lease for each sign of life."""

    def __init__(self, user_class: Any) -> None:
        self.backend = Backend()
        self.environment = Environment(user_classes=[user_class], host=self.backend.url, shape_class=Shape())
        self.runner = self.environment.create_local_runner()
        self.agent = Agent(self.environment)
        self.shipments: list[Shipment] = []
        self.said: list[tuple[str, Any]] = []
        self.answers = True
        MasterSide(self.runner).on_message = self.hear

    def hear(self, kind: str, name: str, data: Any) -> None:
        if kind == SLICES:
            self.shipments.append(Shipment.from_plain(data["shipment"]))
            return
        self.said.append((kind, data))
        if kind == ALIVE and self.answers:
            self.agent.lease(data["at"])

    def told(self, kind: str) -> list[Any]:
        return [data for told, data in self.said if told == kind]

    def setup(self, loop: str, **more: Any) -> None:
        self.agent.ask()
        plain = {"slo": "p99<200ms", "loop": loop, "bin_s": 0.005, "patience": 10.0, "cap": 100, "seed": 1}
        plain["arrivals"] = "poisson" if loop == "open" else None
        plain |= {"number": 1, "workers": [LOCAL], "shards": ShardMap([LOCAL]).to_dict()}
        self.agent.setup({**plain, **more})

    def hold(self, probe: int, share: float) -> None:
        self.agent.hold({"probe": probe, "share": share, "at": clock() if self.answers else None})

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
    worker.hold(1, 50.0)
    assert scheduler.rate == 50.0
    wait_until(lambda: worker.backend.received > 5, "load")
    worker.agent.end()
    assert scheduler.rate == 0
    assert inflight.instruments.meter is None


@of("worker", [Arriving], indirect=True)
def test_slices_hold_what_happened_by_probe(worker: Worker) -> None:
    worker.setup("open")
    worker.users(1)
    worker.hold(1, 80.0)
    wait_until(lambda: len(worker.flows(1)) >= 2, "two slices")
    worker.hold(2, 0.0)
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
    worker.hold(1, 4.0)
    wait_until(lambda: len(worker.flows(1)) >= 2, "two slices")
    assert worker.flows(1)[-1].users == 4
    assert sum(flow.sent for flow in worker.flows(1)) > 10
    assert worker.flows(1)[-1].tasks == 0


@of("worker", [Arriving], indirect=True)
def test_a_probe_without_a_set_up_is_ignored(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    worker.hold(1, 50.0)
    assert "before the set-up" in caplog.text
    assert not worker.shipments


Lost = type("Lost", (ReplayUser,), {"trace": "none.trace"})


@of("worker", [Lost], indirect=True)
def test_a_worker_that_cannot_take_part_says_why_and_counts_nothing(worker: Worker) -> None:
    worker.agent.ask()
    wait_until(lambda: worker.told(REFUSED), "a refusal")
    assert "Lost: there is no trace 'none.trace'" in worker.told(REFUSED)[0]
    assert not worker.told(WHO)
    assert inflight.instruments.meter is None
    worker.hold(1, 50.0)
    assert scheduler_of(worker.environment).rate == 0


@of("worker", [Arriving], indirect=True)
def test_a_set_up_that_cannot_be_is_refused(worker: Worker) -> None:
    worker.setup("open", workers=["another"], shards=ShardMap(["another"]).to_dict())
    assert len(worker.told(REFUSED)) == 1
    worker.users(1)
    worker.hold(1, 50.0)
    assert scheduler_of(worker.environment).rate == 0


@of("worker", [Arriving], indirect=True)
def test_asked_it_says_who_it_is_and_that_it_lives(worker: Worker) -> None:
    worker.agent.ask()
    wait_until(lambda: worker.told(WHO) and len(worker.told(ALIVE)) > 1, "an answer")
    assert worker.told(WHO) == [identity([Arriving])]
    first, second = (data["at"] for data in worker.told(ALIVE)[:2])
    assert second - first > 0
    worker.setup("open", number=4)
    gevent.sleep(0)
    assert worker.told(ALIVE)[-1] | {"at": 0.0} == {"at": 0.0, "setup": 4, "users": 0}, "at once: the master waits"


@of("worker", [Arriving], indirect=True)
def test_without_a_lease_there_is_no_load_and_what_is_missing_is_told(worker: Worker) -> None:
    """The master is dead, or takes this worker for dead and gave its share to others."""
    worker.answers = False
    worker.setup("open")
    worker.users(1)
    worker.hold(1, 100.0)
    wait_until(lambda: len(worker.flows(1)) >= 2, "two slices")
    assert worker.backend.received == 0
    assert sum(flow.intended for flow in worker.flows(1)) == sum(flow.dropped for flow in worker.flows(1)) > 10
    worker.agent.lease(clock() - 100)
    gevent.sleep(0.1)
    assert worker.backend.received == 0, "an old one, found in the mailbox"
    worker.agent.lease(clock())
    wait_until(lambda: worker.backend.received > 5, "load")


@of("worker", [Arriving], indirect=True)
def test_a_lease_ends(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locust_adaptive.plugin.worker.LEASE_S", 0.3)
    worker.setup("open")
    worker.users(1)
    worker.hold(1, 100.0)
    wait_until(lambda: worker.backend.received > 5, "load")
    worker.answers = False
    gevent.sleep(0.4)
    before = worker.backend.received
    gevent.sleep(0.2)
    assert worker.backend.received == before


@of("worker", [Arriving], indirect=True)
def test_users_that_come_before_the_master_s_word_send_nothing(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locust shares users with a worker that joins before anyone could ask it."""
    monkeypatch.setattr("locust_adaptive.plugin.worker.LEASE_S", 0.3)
    worker.users(50)
    assert lease_of(worker.environment).until == -math.inf
    assert worker.backend.received == 0
    wait_until(lambda: worker.backend.received > 5, "a plain run, without the shape")


@of("worker", [Arriving], indirect=True)
def test_after_a_search_a_plain_run_makes_load(worker: Worker) -> None:
    """The class picker of the web UI can leave the shape out."""
    worker.setup("open")
    worker.users(1)
    worker.agent.end()
    worker.runner.stop()
    worker.environment.shape_class = None
    worker.users(50)
    wait_until(lambda: worker.backend.received > 5, "a plain run, without the shape")


@of("worker", [Arriving], indirect=True)
def test_a_remote_worker_whose_master_is_gone_leaves(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locust_adaptive.plugin.worker.ORPHANED_S", 1.0)
    monkeypatch.setattr("locust_adaptive.plugin.exchange.WorkerSide.is_remote", True)
    left: list[bool] = []
    monkeypatch.setattr(worker.runner, "quit", lambda: left.append(True))
    worker.agent.ask()
    heartbeats = worker.environment.events.heartbeat_received
    for _ in range(15):
        heartbeats.fire(client_id="x", timestamp=0)
        gevent.sleep(0.1)
    assert not left
    wait_until(lambda: left, "its end", 3)
    assert worker.environment.process_exit_code == 3
    assert lease_of(worker.environment).until == -math.inf


@of("worker", [Arriving], indirect=True)
def test_time_in_which_the_process_stood_still_is_not_the_master_s_silence(worker: Worker) -> None:
    """After SIGSTOP and SIGCONT the answers of the master are in the mailbox."""
    worker.agent.ask()
    gevent.sleep(0)
    stood = worker.agent._unheard
    blocked = clock()
    while clock() - blocked < 1.2:
        pass
    gevent.sleep(0)
    assert worker.agent._unheard - stood <= 2 * worker_module.PASS_S


@of("worker", [Arriving], indirect=True)
def test_a_worker_that_does_not_fit_says_why_and_loads_no_more(worker: Worker, caplog: Any) -> None:
    worker.setup("open")
    worker.agent.leave("Locust 1.0, not 2.47.0")
    assert "takes no part in the search: Locust 1.0, not 2.47.0" in caplog.text
    assert worker.environment.process_exit_code == 2
    assert lease_of(worker.environment).until == -math.inf


def test_the_master_s_heartbeats_can_be_heard() -> None:
    """What is needed of Locust; without it, an orphan would go on for a minute in closed loop."""
    assert "heartbeat_received" in WorkerRunner.handle_message.__code__.co_names


@of("worker", [Arriving], indirect=True)
def test_another_set_up_begins_anew_but_forgets_nothing_that_is_open(worker: Worker) -> None:
    """After the workers changed: the load is away until the next probe, and old slices stay where they were."""
    worker.setup("open")
    worker.users(1)
    worker.hold(1, 80.0)
    wait_until(lambda: worker.flows(1), "a slice")
    hanging = inflight.instruments.meter.begin(clock(), clock(), "/hang")
    worker.setup("open", number=2)
    assert scheduler_of(worker.environment).rate == 0
    worker.hold(2, 0.0)
    wait_until(lambda: worker.flows(2) and worker.flows(2)[-1].open <= 1, "the others' end")
    assert worker.flows(2)[0].index == 0
    assert all(flow.open >= 1 for flow in worker.flows(2)), "the server is not empty"
    inflight.instruments.meter.finish(hanging, clock())
