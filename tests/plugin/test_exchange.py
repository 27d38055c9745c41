"""Messages between master and workers: who gets them, and that they survive the wire."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

from locust.dispatch import UsersDispatcher
from locust.env import Environment
from locust.rpc.protocol import Message
from locust.runners import WorkerNode
from locust.user import User

from locust_adaptive.plugin.exchange import (
    ALIVE,
    ASK,
    END,
    HOLD,
    LEASE,
    LEAVE,
    LOCAL,
    REFUSED,
    SETUP,
    SLICES,
    WHO,
    MasterSide,
    WorkerSide,
    leads,
    makes_load,
)
from locust_adaptive.plugin.identity import versions
from locust_adaptive.replay.sharding import ShardMap
from locust_adaptive.search.slices import Cohort, Flow, NameCounts, Shipment


class Ranker(User):
    pass


class Told:
    """An agent that only remembers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def ask(self) -> None:
        self.calls.append((ASK, None))

    def lease(self, at: float) -> None:
        self.calls.append((LEASE, at))

    def leave(self, why: str) -> None:
        self.calls.append((LEAVE, why))

    def setup(self, data: Any) -> None:
        self.calls.append((SETUP, data))

    def hold(self, data: Any) -> None:
        self.calls.append((HOLD, data))

    def end(self) -> None:
        self.calls.append((END, None))


def local() -> tuple[MasterSide, WorkerSide, Told]:
    runner = Environment(user_classes=[User]).create_local_runner()
    agent = Told()
    return MasterSide(runner), WorkerSide(runner, agent), agent


def test_locally_master_and_worker_are_one_process() -> None:
    master, worker, agent = local()
    heard: list[Any] = []
    master.on_message = lambda *message: heard.append(message)
    assert master.workers() == [worker.name] == [LOCAL]
    assert (master.users(LOCAL), master.intended(LOCAL), worker.is_remote) == (0, math.inf, False)
    hold = {"probe": 1, "share": 2.0, "at": None}
    told = [
        (ASK, {}),
        (SETUP, {"slo": "p99<1s"}),
        (HOLD, hold),
        (LEASE, {"at": 3.5}),
        (LEAVE, {"why": "no"}),
        (END, {}),
    ]
    for kind, data in told:
        master.send(kind, data, LOCAL)
    assert agent.calls == [
        (ASK, None),
        (SETUP, {"slo": "p99<1s"}),
        (HOLD, hold),
        (LEASE, 3.5),
        (LEAVE, "no"),
        (END, None),
    ]
    answers = [
        (WHO, versions()),
        (REFUSED, "no trace"),
        (ALIVE, {"at": 1.0, "setup": 2, "users": 3}),
        (SLICES, {"setup": 2}),
    ]
    for kind, data in answers:
        worker.send(kind, data)
    assert heard == [(kind, LOCAL, data) for kind, data in answers]


def test_the_master_knows_only_workers_that_can_make_load() -> None:
    class Fake(SimpleNamespace):
        def register_message(self, *_: Any) -> None:
            pass

    from locust_adaptive.plugin import exchange

    master = exchange.MasterSide(Fake())

    class Clients(dict[str, Any]):
        ready, spawning, running, missing = ([WorkerNode(n)] for n in ("c", "a", "b", "gone"))

    clients = Clients(b=SimpleNamespace(user_count=4))
    master._runner = object.__new__(exchange.MasterRunner)
    master._runner.greenlet = None
    master._runner.clients = clients
    assert master.workers() == ["a", "b", "c"]
    assert (master.users("b"), master.users("gone")) == (4, 0)
    master._runner._users_dispatcher = None
    assert master.intended("b") == 0
    nodes = [WorkerNode("a"), WorkerNode("b")]
    dispatcher = master._runner._users_dispatcher = UsersDispatcher(nodes[:1], [Ranker])
    dispatcher.new_dispatch(5, 100.0)
    assert [sum(users.values()) for users in next(dispatcher).values()] == [5]
    assert [master.intended(worker) for worker in "ab"] == [5, 0]
    dispatcher.add_worker(nodes[1])
    assert [master.intended(worker) for worker in "ab"] == [3, 2], "before anybody is told"


def test_a_worker_is_told_why_before_it_must_quit() -> None:
    """Any Locust worker understands the second message, one without this package only that."""
    sent: list[tuple[Any, ...]] = []
    runner = SimpleNamespace(
        register_message=lambda *_: None, send_message=lambda *message, client_id: sent.append((*message, client_id))
    )
    MasterSide(runner).dismiss("b", "another version")
    assert sent == [(LEAVE, {"why": "another version"}, "b"), ("quit", {}, "b")]


def test_a_runner_leads_or_makes_load_or_both() -> None:
    environment = Environment(user_classes=[User])
    runner = environment.create_local_runner()
    assert leads(runner)
    assert makes_load(runner)
    assert not leads(None)
    assert not makes_load(None)


def travelled(data: Any) -> Any:
    """What the other side gets, by Locust's own wire format."""
    return Message.unserialize(Message("kind", data, "worker").serialize()).data


def test_every_message_survives_the_wire() -> None:
    flow = Flow(3, arrivals={1: 2, 7: 1}, completions={4: 3}, open=1, lag={100: 3}, cpu=0.25, users=7, tasks=3)
    cohort = Cohort(2, [[1] * 8 + [2], [3, 0]], {"/a": NameCounts(3, 1, {"http 503": 1}, {450: 2})})
    shipment = Shipment(4, (flow,), (cohort,), final=True)
    assert Shipment.from_plain(travelled(shipment.to_plain())) == shipment
    shards = ShardMap(["a", "b"])
    assert ShardMap.from_dict(travelled(shards.to_dict())) == shards
    for data in (
        {"why": "Locust 1.0, not 2.47.0"},
        {"probe": 3, "share": 33.3, "at": None},
        {"at": 1e6 + 0.123456789},
        versions(),
    ):
        assert travelled(data) == data
