"""The conductor: commands become messages and users, slices become events, whatever workers come and go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from locust import FastHttpUser

from locust_adaptive import OpenLoop
from locust_adaptive.plugin.conductor import Conductor
from locust_adaptive.plugin.exchange import END, HOLD, SETUP
from locust_adaptive.plugin.options import resolve
from locust_adaptive.replay.sharding import ShardMap
from locust_adaptive.search.controller import Controller
from locust_adaptive.search.events import Command, Done, Event, FlowArrived, Hold, Judged, Started, WorkersChanged
from locust_adaptive.search.slices import Flow, Shipment
from locust_adaptive.search.trial import Purpose, Verdict
from tests.support.scripted import Script, Shape
from tests.support.wait import wait_until


class Arriving(OpenLoop, FastHttpUser):
    pass


class Visiting(FastHttpUser):
    pass


class Side:
    """Workers that only listen."""

    def __init__(self, *workers: str) -> None:
        self.names = list(workers)
        self.sent: list[tuple[str, dict[str, Any], str]] = []
        self.on_slices: Any = None
        self.on_refused: Any = None

    def workers(self) -> list[str]:
        return sorted(self.names)

    def send(self, kind: str, data: Mapping[str, Any], worker: str) -> None:
        self.sent.append((kind, dict(data), worker))

    def shares(self, probe: int) -> dict[str, float]:
        """What each worker was last told of this probe."""
        return {w: data["share"] for kind, data, w in self.sent if kind == HOLD and data["probe"] == probe}


class Conducted:
    """A conductor with a script, its workers, and all that it recorded."""

    def __init__(self, side: Side, *steps: tuple[float, float], user_class: Any = Arriving, shape: Any = Shape) -> None:
        self.side, self.users = side, 1000
        self.log: list[tuple[Event, list[Command]]] = []
        self.ends = 0
        plan = resolve(shape, None, [user_class], None)
        self.controller = Controller(plan.settings, Script(steps))
        self.conductor = Conductor(
            plan,
            side,  # type: ignore[arg-type]
            self.controller,
            lambda: self.users,
            lambda event, commands: self.log.append((event, commands)),
            self.finish,
        )

    def finish(self) -> None:
        self.ends += 1

    def start(self) -> Conducted:
        self.conductor.prepare()
        self.conductor.start()
        wait_until(lambda: self.log, "the start")
        return self

    def commands(self, kind: type) -> list[Any]:
        return [c for _, commands in self.log for c in commands if isinstance(c, kind)]

    def ship(self, probe: int, *indices: int, by: str | None = None, final: bool = False, sent: int = 5) -> None:
        """Slices of a probe, by one worker or all; every request is answered at once."""
        flows = tuple(Flow(i, arrivals={0: sent}, completions={0: sent}, intended=sent, lag={0: sent}) for i in indices)
        for worker in [by] if by else self.side.workers():
            self.side.on_slices(worker, Shipment(probe, flows, (), final).to_plain())


@pytest.fixture
def two():
    made = Conducted(Side("b", "a"), (30.0, 60.0)).start()
    yield made
    made.conductor.stop("the test is over")


def test_workers_are_told_what_to_count_before_any_load(two: Conducted) -> None:
    kinds = [(kind, worker) for kind, _, worker in two.side.sent]
    assert kinds == [(SETUP, "a"), (SETUP, "b"), (HOLD, "a"), (HOLD, "b")]
    setup = two.side.sent[0][1]
    assert setup["workers"] == ["a", "b"]
    assert ShardMap.from_dict(setup["shards"]) == ShardMap(["a", "b"])
    assert (setup["slo"], setup["loop"]) == (Shape.slo, "open")


def test_each_worker_gets_its_share_of_the_load(two: Conducted) -> None:
    assert two.side.shares(1) == {"a": 15.0, "b": 15.0}


def test_it_waits_for_a_user_on_each_worker() -> None:
    """A worker without one sends nothing, and the first probe would be half."""
    made = Conducted(Side("a", "b"), (30.0, 60.0))
    made.users = 1
    made.conductor.prepare()
    made.conductor.start()
    wait_until(lambda: made.side.sent, "the set-up")
    with pytest.raises(AssertionError):
        wait_until(lambda: made.log, "a start", 0.2)
    made.users = 2
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
            made.side.on_slices(worker, Shipment(1, (flow,), ()).to_plain())
    wait_until(lambda: any(c.load == 0 for c in made.commands(Hold)), "the drain")
    drain = made.commands(Hold)[-1].probe
    made.side.names = ["a"]
    wait_until(lambda: any(isinstance(e, WorkersChanged) for e, _ in made.log), "the change")
    made.ship(drain, 0, sent=0)
    wait_until(lambda: made.commands(Hold)[-1].load == 20, "the next probe")
    made.conductor.stop("over")


def test_a_worker_that_refuses_ends_the_search_with_its_words(two: Conducted) -> None:
    two.side.on_refused("b", "there is no trace 'day.trace'")
    wait_until(lambda: two.conductor.finished, "the end")
    assert two.conductor.failure == "worker b: there is no trace 'day.trace'"
    assert two.commands(Done)[0].conclusion.verdict == "aborted"
    assert two.ends == 1


def test_a_refusal_before_the_start_comes_before_any_load() -> None:
    made = Conducted(Side("local"), (30.0, 60.0))
    made.conductor.prepare()
    made.side.on_refused("local", "no session falls to this worker")
    made.conductor.start()
    wait_until(lambda: made.conductor.finished, "the end")
    assert made.conductor.failure == "no session falls to this worker"
    assert not [kind for kind, _, _ in made.side.sent if kind == HOLD]


def test_every_end_tells_the_workers_and_finishes_once(two: Conducted) -> None:
    two.conductor.stop("by the user")
    two.conductor.stop("again")
    assert [w for kind, _, w in two.side.sent if kind == END] == ["a", "b"]
    assert two.ends == 1
    assert two.commands(Done)[0].conclusion.reason == "by the user"
    assert two.conductor.failure is None
