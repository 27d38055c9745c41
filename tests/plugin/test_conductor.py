"""The conductor: commands become messages and users, slices become events, whatever workers come and go."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from locust import FastHttpUser

from locust_adaptive import OpenLoop
from locust_adaptive.plugin import roll
from locust_adaptive.plugin.conductor import Conductor
from locust_adaptive.plugin.exchange import ALIVE, ASK, END, HOLD, LEASE, LEAVE, LOCAL, REFUSED, SETUP, SLICES, WHO
from locust_adaptive.plugin.identity import versions
from locust_adaptive.plugin.options import resolve
from locust_adaptive.replay.sharding import ShardMap
from locust_adaptive.search.controller import Controller
from locust_adaptive.search.events import (
    Command,
    Done,
    Event,
    FlowArrived,
    Hold,
    Judged,
    Started,
    TimePassed,
    WorkersChanged,
)
from locust_adaptive.search.slices import Flow, Shipment
from locust_adaptive.search.trial import Purpose, Verdict
from tests.support.scripted import Script, Shape
from tests.support.wait import wait_until


class Arriving(OpenLoop, FastHttpUser):
    pass


class Visiting(FastHttpUser):
    pass


class Side:
    """Workers that say who they are and that they live, take a set-up, and else only listen.

    `who`: what a worker answers when it is asked, instead of this package's versions. `mute`: say nothing any more.
    """

    def __init__(self, *workers: str) -> None:
        self.names = list(workers)
        self.who: dict[str, dict[str, str] | str | None] = {}
        self.mute: set[str] = set()
        self.live = 5
        self.has: dict[str, int] = {}
        self.means: dict[str, int] = {}
        self.sent: list[tuple[str, dict[str, Any], str]] = []
        self.on_message: Any = None
        self.setup = 0

    def workers(self) -> list[str]:
        self.beat()
        return sorted(self.names)

    def users(self, worker: str) -> int:
        return self.live

    def intended(self, worker: str) -> float:
        return self.means.get(worker, math.inf)

    def beat(self) -> None:
        """A sign of life from all."""
        for worker in set(self.names) - self.mute:
            self.on_message(ALIVE, worker, {"at": 7.0, "setup": self.setup, "users": self.has.get(worker, 0)})

    def send(self, kind: str, data: Mapping[str, Any], worker: str) -> None:
        self.sent.append((kind, dict(data), worker))
        if kind == ASK and worker not in self.mute:
            who = self.who.get(worker, versions())
            self.on_message(REFUSED if isinstance(who, str) else WHO, worker, who)
        elif kind == SETUP:
            self.setup = data["number"]
            self.beat()

    def dismiss(self, worker: str, why: str) -> None:
        self.send(LEAVE, {"why": why}, worker)

    def told(self, *kinds: str) -> list[tuple[str, str]]:
        """Messages of these kinds: kind and worker."""
        return [(kind, worker) for kind, _, worker in self.sent if kind in kinds]

    def shares(self, probe: int) -> dict[str, float]:
        """What each worker was last told of this probe."""
        return {w: data["share"] for kind, data, w in self.sent if kind == HOLD and data["probe"] == probe}


class Conducted:
    """A conductor with a script, its workers, and all that it recorded."""

    def __init__(self, side: Side, *steps: tuple[float, float], user_class: Any = Arriving, shape: Any = Shape) -> None:
        self.side = side
        self.log: list[tuple[Event, list[Command]]] = []
        self.ends = 0
        plan = resolve(shape, None, [user_class], None)
        self.controller = Controller(plan.settings, Script(steps))
        self.conductor = Conductor(
            plan,
            side,  # type: ignore[arg-type]
            self.controller,
            lambda event, commands: self.log.append((event, commands)),
            self.finish,
        )

    def finish(self) -> None:
        self.ends += 1

    def start(self) -> Conducted:
        self.conductor.start()
        wait_until(lambda: self.log, "the start")
        return self

    def commands(self, kind: type) -> list[Any]:
        return [c for _, commands in self.log for c in commands if isinstance(c, kind)]

    def ship(self, probe: int, *indices: int, by: str | None = None, final: bool = False, sent: int = 5) -> None:
        """Slices of a probe, by one worker or all; every request is answered at once."""
        flows = tuple(Flow(i, arrivals={0: sent}, completions={0: sent}, intended=sent, lag={0: sent}) for i in indices)
        for worker in [by] if by else self.side.workers():
            self.tell(worker, Shipment(probe, flows, (), final))

    def tell(self, worker: str, shipment: Shipment) -> None:
        self.side.on_message(SLICES, worker, {"setup": self.side.setup, "shipment": shipment.to_plain()})


@pytest.fixture
def two():
    made = Conducted(Side("b", "a"), (30.0, 60.0)).start()
    yield made
    made.conductor.stop("the test is over")


def test_workers_are_told_what_to_count_before_any_load(two: Conducted) -> None:
    told = two.side.told(ASK, SETUP, HOLD)
    assert told == [(kind, worker) for kind in (ASK, SETUP, HOLD) for worker in "ab"]
    setup = next(data for kind, data, _ in two.side.sent if kind == SETUP)
    assert setup["workers"] == ["a", "b"]
    assert ShardMap.from_dict(setup["shards"]) == ShardMap(["a", "b"])
    assert (setup["slo"], setup["loop"]) == (Shape.slo, "open")


def test_each_worker_gets_its_share_of_the_load(two: Conducted) -> None:
    assert two.side.shares(1) == {"a": 15.0, "b": 15.0}


def test_it_waits_for_a_user_on_each_worker() -> None:
    """A worker without one sends nothing, and the first probe would be half."""
    made = Conducted(Side("a", "b"), (30.0, 60.0))
    made.side.live = 0
    made.conductor.start()
    wait_until(lambda: made.side.told(SETUP), "the set-up")
    with pytest.raises(AssertionError):
        wait_until(lambda: made.log, "a start", 0.2)
    made.side.live = 1
    wait_until(lambda: made.log, "the start")
    assert made.log[0][0] == Started(0.0, 2)
    made.conductor.stop("over")


@pytest.mark.parametrize(
    ("user_class", "load", "workers", "users"),
    [
        (Visiting, 7.0, ["a"], 7),
        (Visiting, 7.0, ["a", "b", "c"], 7),
        (Arriving, 30.0, ["a"], 3),  # by default up to 10 000/s: 10 arrivals/s a user
        (Arriving, 31.0, ["a"], 4),
        (Arriving, 0.5, ["a"], 1),
        (Arriving, 2.0, ["a", "b", "c"], 3),
    ],
)
def test_users_follow_the_load(user_class, load, workers, users) -> None:
    made = Conducted(Side(*workers), (load, 60.0), user_class=user_class).start()
    assert made.conductor.users == users
    made.conductor.stop("over")


def test_a_drain_takes_the_rate_away_but_leaves_the_users(two: Conducted) -> None:
    users = two.conductor.users
    two.conductor._hold(Hold(2, 0.0, Purpose.DRAIN))
    assert two.side.shares(2) == {"a": 0.0, "b": 0.0}
    assert two.conductor.users == users


def test_a_slice_counts_once_it_is_there_from_every_worker(two: Conducted) -> None:
    def flows() -> list[FlowArrived]:
        return [event for event, _ in two.log if isinstance(event, FlowArrived)]

    two.ship(1, 0, 1, by="a")
    two.ship(1, 0, by="b")
    wait_until(flows, "a slice")
    two.ship(1, 1, by="b")
    wait_until(lambda: len(flows()) == 2, "the next")
    assert [(event.flow.index, event.flow.sent) for event in flows()] == [(0, 10), (1, 10)]


def test_slices_of_no_probe_are_left_alone(two: Conducted) -> None:
    two.ship(77, 0)
    two.ship(1, 0)
    wait_until(lambda: len(two.log) > 1, "a slice of the probe")
    assert all(event.probe == 1 for event, _ in two.log if isinstance(event, FlowArrived))


@pytest.mark.parametrize("now", [["a"], ["a", "b", "c"], ["a", "c"]])
def test_workers_that_change_void_the_probe_and_it_goes_on_with_those_there(two: Conducted, now: list[str]) -> None:
    two.ship(1, 0, 1)
    two.side.names = list(now)
    two.side.sent.clear()
    wait_until(lambda: two.commands(Judged), "the verdict")
    trial = two.commands(Judged)[0].trial
    assert (trial.verdict, trial.reason) == (Verdict.INVALID, "workers_changed")
    assert [e.workers for e, _ in two.log if isinstance(e, WorkersChanged)] == [len(now)]
    assert [w for kind, _, w in two.side.sent if kind == SETUP] == now


def test_what_a_lost_worker_had_in_flight_when_last_heard_is_counted(two: Conducted, caplog) -> None:
    for index, (a, b) in enumerate([(9, 2), (7, 3)]):
        two.tell("a", Shipment(1, (Flow(index, open=a),)))
        two.tell("b", Shipment(1, (Flow(index, open=b),)))
    wait_until(lambda: len(two.log) > 2, "their slices")
    two.side.names = ["b"]
    wait_until(lambda: two.commands(Judged), "the verdict")
    (change,) = (event for event, _ in two.log if isinstance(event, WorkersChanged))
    assert (change.workers, change.lost) == (1, 7)
    assert "2 before, 1 now; the probe is void; those that are gone had 7 requests in flight" in caplog.text


def test_after_a_change_of_workers_each_is_told_of_the_next_probe_once() -> None:
    """Told twice, it would close its slices and number them anew."""
    made = Conducted(Side("a", "b"), (30.0, 60.0), (30.0, 60.0)).start()
    made.side.names = ["b", "c"]
    wait_until(lambda: made.commands(Judged), "the verdict")
    assert made.conductor.workers == ["b", "c"]
    wait_until(lambda: made.side.shares(2), "the next probe")
    assert [w for kind, data, w in made.side.sent if kind == HOLD and data["probe"] == 2] == ["b", "c"]
    made.ship(2, 0)
    wait_until(lambda: any(isinstance(e, FlowArrived) and e.probe == 2 for e, _ in made.log), "its slices")
    made.conductor.stop("over")


def test_a_change_of_workers_during_a_drain_does_not_end_it() -> None:
    """The slices of the drain have to come from those who are there now."""
    made = Conducted(Side("a", "b"), (30.0, 60.0), (20.0, 60.0)).start()
    stuck = tuple(Flow(i, arrivals={0: 60}, intended=60, open=60 * (i + 1), oldest=0.5 * i) for i in range(8))
    for flow in stuck:
        for worker in ("a", "b"):
            made.tell(worker, Shipment(1, (flow,), ()))
    wait_until(lambda: any(c.load == 0 for c in made.commands(Hold)), "the drain")
    drain = made.commands(Hold)[-1].probe
    made.side.names = ["a"]
    wait_until(lambda: any(isinstance(e, WorkersChanged) for e, _ in made.log), "the change")
    made.ship(drain, 0, sent=0)
    wait_until(lambda: made.commands(Hold)[-1].load == 20, "the next probe")
    made.conductor.stop("over")


DAY, NIGHT = {"trace": "day"}, {"trace": "night"}


@pytest.mark.parametrize(
    ("who", "said"),
    [
        ({"b": "there is no trace 'day.trace'"}, "worker b: there is no trace 'day.trace'. No load was made."),
        ({"b": versions() | {"Locust": "1.0"}}, "worker b: Locust 1.0, not "),
        ({w: versions() | t for w, t in (("a", DAY), ("b", NIGHT), ("c", DAY))}, "worker b: trace night, not day"),
        ({"b": None}, "worker b: no answer for 0 s"),
    ],
)
def test_workers_that_differ_end_it_before_any_load(who, said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roll, "ANSWER_S", 0.0)
    made = Conducted(Side("a", "b", "c"), (30.0, 60.0))
    made.side.who = who
    made.side.mute = {worker for worker, answer in who.items() if answer is None}
    made.conductor.start()
    wait_until(lambda: made.conductor.finished, "the end")
    assert said in (made.conductor.failure or "")
    assert "worker a" not in made.conductor.failure
    assert made.commands(Done)[0].conclusion.verdict == "aborted"
    assert not made.side.told(SETUP, HOLD)
    assert (made.conductor.users, made.ends) == (0, 1)


def test_alone_it_names_no_worker() -> None:
    made = Conducted(Side(LOCAL), (30.0, 60.0))
    made.side.who = {LOCAL: "no session falls to this worker"}
    made.conductor.start()
    wait_until(lambda: made.conductor.finished, "the end")
    assert made.conductor.failure == "no session falls to this worker"


def test_a_set_up_that_is_refused_ends_it_before_any_load() -> None:
    made = Conducted(Side("a", "b"), (30.0, 60.0))
    made.side.live = 0
    made.conductor.start()
    wait_until(lambda: made.side.told(SETUP), "the set-up")
    made.side.on_message(REFUSED, "b", "no session falls to this worker")
    wait_until(lambda: made.conductor.finished, "the end")
    assert "worker b: no session" in made.conductor.failure
    assert not made.side.told(HOLD)


def test_a_worker_that_comes_later_and_differs_is_sent_away(two: Conducted) -> None:
    two.side.who["c"] = versions() | {"locust-adaptive": "0.0.1"}
    two.side.names = ["a", "b", "c"]
    wait_until(lambda: two.side.told(LEAVE), "a word to it")
    wait_until(lambda: two.side.names and len(two.log) > 2, "some time")
    assert two.side.told(LEAVE) == [(LEAVE, "c")]
    assert two.conductor.workers == ["a", "b"]
    assert not two.commands(Judged)
    assert "c" not in [w for _, w in two.side.told(SETUP, HOLD)]


def test_a_sign_of_life_is_answered_with_a_lease_only_if_it_takes_part(two: Conducted) -> None:
    two.side.on_message(ALIVE, "gone", {"at": 4.0, "setup": 1, "users": 1})
    two.side.on_message(ALIVE, "b", {"at": 5.0, "setup": 1, "users": 1})
    leases = lambda: [(data["at"], w) for kind, data, w in two.side.sent if kind == LEASE]  # noqa: E731
    wait_until(lambda: (5.0, "b") in leases(), "a lease")
    assert "gone" not in [w for _, w in leases()]


def test_a_hold_carries_a_lease(two: Conducted) -> None:
    assert [data["at"] for kind, data, _ in two.side.sent if kind == HOLD] == [7.0, 7.0]


def test_a_worker_that_falls_silent_is_left_out_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though Locust lists it: its hub stands still, or its messages do not arrive."""
    monkeypatch.setattr(roll, "AWAY_S", 0.6)
    made = Conducted(Side("a", "b"), (30.0, 60.0), (30.0, 60.0), (30.0, 60.0)).start()
    made.side.mute = {"b"}
    wait_until(lambda: made.conductor.workers == ["a"], "the loss")
    wait_until(lambda: made.side.shares(2) == {"a": 30.0}, "all of the load on the other")
    made.side.mute = set()
    wait_until(lambda: made.side.shares(3) == {"a": 15.0, "b": 15.0}, "both again")
    assert [t.trial.reason for t in made.commands(Judged)] == ["workers_changed"] * 2
    made.conductor.stop("over")


@pytest.mark.parametrize(("user_class", "at_once"), [(Visiting, False), (Arriving, True)])
def test_one_that_comes_back_has_its_lease_when_its_users_are_not_too_many(
    user_class: Any, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In closed loop: others have the users that were taken for lost, until Locust has stopped them."""
    monkeypatch.setattr(roll, "AWAY_S", 0.6)
    made = Conducted(Side("a", "b"), *[(16.0, 60.0)] * 3, user_class=user_class).start()
    side = made.side

    def leased() -> set[str]:
        """Who gets a lease for the next sign of life."""
        side.sent.clear()
        side.beat()
        wait_until(lambda: made.conductor._queue.empty(), "its answer")
        return {worker for _, worker in side.told(LEASE)}

    assert leased() == {"a", "b"}
    side.mute = {"b"}
    side.has = {"a": 16, "b": 8}
    wait_until(lambda: made.conductor.workers == ["a"], "the loss")
    assert leased() == {"a"}
    side.means = {"a": 8, "b": 8}
    side.mute = set()
    wait_until(lambda: made.conductor.workers == ["a", "b"], "both again")
    assert leased() == ({"a", "b"} if at_once else {"a"})
    side.has["a"] = 8
    leased()
    assert leased() == {"a", "b"}
    side.has["a"] = 16
    assert leased() == {"a", "b"}, "it keeps it while users come and go"
    made.conductor.stop("over")


def test_slices_counted_under_an_earlier_set_up_are_left_alone(two: Conducted) -> None:
    """A drain goes on under its number after the workers changed: what was on its way is of the one before."""
    shipment = Shipment(1, (Flow(0, intended=5),)).to_plain()
    for worker in ("a", "b"):
        two.side.on_message(SLICES, worker, {"setup": 0, "shipment": shipment})
    two.ship(1, 0)
    wait_until(lambda: any(isinstance(e, FlowArrived) for e, _ in two.log), "a slice")
    assert [e.flow.sent for e, _ in two.log if isinstance(e, FlowArrived)] == [10]


def test_time_passes_although_messages_keep_coming(two: Conducted) -> None:
    """Else the loss of one of many workers would not be seen while the others talk."""

    def passed() -> bool:
        two.side.on_message(ALIVE, "a", {"at": 1.0, "setup": 1, "users": 1})
        return any(isinstance(event, TimePassed) for event, _ in two.log)

    wait_until(passed, "a tick", 3)


@pytest.mark.parametrize("named", [True, False])
def test_the_loss_of_all_workers_ends_it_and_is_the_reason(
    named: bool, two: Conducted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sees it first: we, or Locust, which then stops the test."""
    monkeypatch.setattr(roll, "AWAY_S", 0.6)
    if named:
        two.side.names = []
    else:
        two.side.mute = {"a", "b"}
        wait_until(lambda: two.conductor._roll.deserted, "the silence")
        two.conductor.stop("stopped")
    wait_until(lambda: two.conductor.finished, "the end")
    assert two.commands(Done)[0].conclusion.reason == "workers_lost"
    assert two.conductor.failure is None


def test_eight_workers_share_a_low_load() -> None:
    names = [f"w{i}" for i in range(8)]
    made = Conducted(Side(*names), (2.0, 60.0)).start()
    assert made.side.shares(1) == dict.fromkeys(names, 0.25)
    assert made.conductor.users == 8
    made.conductor.stop("over")


def test_every_end_tells_the_workers_and_finishes_once(two: Conducted) -> None:
    two.conductor.stop("by the user")
    two.conductor.stop("again")
    assert [w for kind, _, w in two.side.sent if kind == END] == ["a", "b"]
    assert two.ends == 1
    assert two.commands(Done)[0].conclusion.reason == "by the user"
    assert two.conductor.failure is None
