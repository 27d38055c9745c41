"""Which arrivals a run gets, and what is said where they are not those that one would think."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from locust import FastHttpUser, task

from locust_adaptive import OpenLoop, ReplayUser
from locust_adaptive.plugin import playlist
from locust_adaptive.plugin.arriving import check_bodies, check_search, chosen, pacing
from locust_adaptive.plugin.options import ConfigError
from locust_adaptive.replay.arrivals import Pacer
from locust_adaptive.replay.record import Record, TraceError
from locust_adaptive.replay.recorded import Recorded
from locust_adaptive.replay.sharding import ShardMap
from locust_adaptive.replay.store import TraceWriter

STEADY_NS = 10_000_001


class Coded(OpenLoop, FastHttpUser):
    @task
    def get(self) -> None:
        self.client.get("/")


@pytest.fixture(autouse=True)
def no_playlists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playlist, "_playlists", {})
    monkeypatch.setattr(playlist, "_shard", None)
    monkeypatch.setattr(playlist, "_probe", 0)


@pytest.fixture
def replaying(tmp_path: Path) -> Callable[..., Any]:
    """A user class with a trace of 600 requests of 200 sessions: steady, without times, or all in one burst; or steady,
    of 300 sessions that each lack one body of two, and so can borrow it."""

    def make(like: str = "steady", name: str = "Replaying", **attributes: Any) -> Any:
        path = tmp_path / f"{like}.trace"
        if not path.exists():
            with TraceWriter(path, origin="test") as writer:
                writer.time_quality = {"none": "none", "sent": "send_time"}.get(like)
                for n in range(600):
                    due = n * STEADY_NS + (10**12 if like == "burst" and n > 300 else 0)
                    if like == "borrowing":
                        body, omitted = (b"", 9) if n % 4 in (0, 3) else (b"123456789", 0)
                        writer.append(Record(due, f"s{n // 2}", "POST", f"/{n % 2}", (), body, omitted=omitted))
                    else:
                        writer.append(Record(due, f"s{n % 200}", "GET", f"/{n}"))
        return type(name, (ReplayUser,), {"trace": str(path), **attributes})

    return make


def test_task_code_gets_poisson_s_unless_it_asks() -> None:
    assert chosen([Coded]) == ("poisson", None)
    assert chosen([type("Even", (Coded,), {"arrivals": "constant"})]) == ("constant", None)


def test_a_fit_trace_is_played_as_recorded(replaying) -> None:
    assert chosen([replaying()]) == ("recorded", None)
    assert chosen([replaying(arrivals="recorded")]) == ("recorded", None)
    assert chosen([replaying(arrivals="poisson")]) == ("poisson", None)
    assert chosen([replaying(arrivals="constant")]) == ("constant", None)


@pytest.mark.parametrize(("like", "why"), [("none", "no arrival times"), ("sent", "sent on"), ("burst", "too short")])
def test_a_trace_that_is_not_fit_gets_poisson_s_and_that_is_said(replaying, like: str, why: str) -> None:
    kind, doubt = chosen([replaying(like)])
    assert kind == "poisson"
    assert doubt is not None
    assert why in doubt
    assert "set arrivals = 'poisson' or 'recorded'" in doubt
    assert chosen([replaying(like, arrivals="poisson")]) == ("poisson", None), "nothing to say to who knows"


@pytest.mark.parametrize(("like", "why"), [("sent", "sent on"), ("burst", "too short")])
def test_who_asks_for_recorded_arrivals_gets_them_with_a_warning(replaying, like: str, why: str) -> None:
    kind, doubt = chosen([replaying(like, arrivals="recorded")])
    assert kind == "recorded"
    assert doubt is not None
    assert why in doubt


def test_no_times_cannot_be_replayed(replaying) -> None:
    with pytest.raises(ConfigError, match="cannot say when arrivals come: it has no arrival times"):
        chosen([replaying("none", arrivals="recorded")])


def test_a_master_without_the_trace_takes_it_for_fit() -> None:
    assert chosen([type("Away", (ReplayUser,), {"trace": "away.trace"})]) == ("recorded", None)


def test_a_master_without_the_credentials_knows_the_trace_all_the_same(replaying) -> None:
    kind, doubt = chosen([replaying("burst", headers={"Authorization": "env:NO_SUCH"})])
    assert kind == "poisson"
    assert "too short" in str(doubt)


def test_and_a_worker_that_has_it_knows_better(replaying) -> None:
    with pytest.raises(ConfigError, match=r"a master that does not have the trace.*too short"):
        pacing("recorded", [replaying("burst")], "seed")
    assert isinstance(pacing("recorded", [replaying("burst", arrivals="recorded")], "seed"), Recorded)


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        (lambda make: [make(arrivals="recorded"), Coded], "ask for several: Replaying recorded, Coded poisson"),
        (lambda make: [make(arrivals="recorded"), make(name="B")], "those of one trace"),
        (lambda make: [type("Odd", (Coded,), {"arrivals": "recorded"})], "need one ReplayUser"),
        (lambda make: [make(arrivals="bursty")], "arrivals is 'bursty'; known are poisson, recorded, constant"),
    ],
)
def test_what_cannot_be_is_refused(replaying, classes, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        chosen(classes(replaying))


def test_several_classes_get_poisson_s(replaying) -> None:
    assert chosen([replaying(), Coded]) == ("poisson", None)
    kind, doubt = chosen([replaying(), replaying(name="B")])
    assert kind == "poisson"
    assert doubt is not None


def test_users_of_a_closed_loop_have_no_say(replaying) -> None:
    assert chosen([Coded, replaying(load="closed", arrivals="recorded")]) == ("poisson", None)


@pytest.mark.parametrize("load", ["open", "closed"])
def test_a_search_does_not_play_in_order(replaying, load: str) -> None:
    check_search([replaying()])
    with pytest.raises(ConfigError, match="order = 'recorded' is for runs at a fixed rate"):
        check_search([replaying(order="recorded", load=load)])
    with pytest.raises(ConfigError, match="order is 'random'; known are shuffled, recorded"):
        check_search([replaying(order="random", load=load)])


@pytest.mark.parametrize("speed", [0, -1.0, float("nan"), float("inf"), "fast"])
def test_a_speed_that_makes_no_sense_is_refused(replaying, speed: Any) -> None:
    with pytest.raises(ConfigError, match=r"speed is .*; it is a positive number"):
        replaying(speed=speed).prepare()


# -- what comes ------------------------------------------------------------------------------------------------------


def arrivals(of: Any, rate: float, seconds: float) -> list[Any]:
    of.set_rate(0.0, rate)
    popped = []
    while of.next_due() <= seconds:
        popped.append(of.pop())
    return popped


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_play_the_same_arrivals_whatever_their_number(replaying, workers: int, monkeypatch) -> None:
    cls, together = replaying(), []
    shards = ShardMap([f"w{i}" for i in range(workers)])
    for part, worker in enumerate(shards.workers):
        monkeypatch.setattr(playlist, "_playlists", {})
        playlist.configure(7, shards.shard(worker))
        made = pacing("recorded", [cls], f"7/1/{part}", part, workers)
        playlist.begin(3)
        together += arrivals(made, 250 / workers, 20)
    monkeypatch.setattr(playlist, "_playlists", {})
    playlist.configure(7, None)
    alone = pacing("recorded", [cls], "another")
    playlist.begin(3)
    assert sorted(together) == sorted(arrivals(alone, 250.0, 20))
    assert len(together) == pytest.approx(5000, rel=0.02)


def test_each_probe_draws_anew(replaying) -> None:
    playlist.configure(7, None)
    made, drawn = pacing("recorded", [replaying()], ""), []
    for begun, probe in ((100.0, 1), (200.0, 2), (300.0, 1)):
        playlist.begin(probe)
        made.set_rate(begun, 150.0)
        drawn.append([made.pop().play for _ in range(50)])
        made.set_rate(begun, 0.0)
    assert drawn[0] != drawn[1]
    assert drawn[0] == drawn[2]


def test_in_order_at_the_trace_s_own_rate_and_twice_as_fast_is_the_recording(replaying) -> None:
    made = pacing("recorded", [replaying(order="recorded", arrivals="recorded", speed=2.0)], "")
    got = arrivals(made, 2e9 / STEADY_NS, 2.9)
    assert [arrival.play.row for arrival in got] == list(range(len(got)))
    assert got[100].due - got[0].due == pytest.approx(100 * STEADY_NS / 2e9)


def test_constant_arrivals_of_several_workers_do_not_beat_together() -> None:
    made = [pacing("constant", [Coded], "", part, 4) for part in range(4)]
    first = [arrivals(each, 1.0, 3.0)[0].due for each in made]
    assert first == [0.25, 0.5, 0.75, 1.0]


def test_poisson_s_depend_on_the_seed_alone() -> None:
    one, same, other = (pacing("poisson", [Coded], seed) for seed in "aab")
    assert isinstance(one, Pacer)
    assert arrivals(one, 5.0, 20) == arrivals(same, 5.0, 20) != arrivals(other, 5.0, 20)


def test_in_order_without_recorded_arrivals_the_requests_come_as_recorded(replaying) -> None:
    own = replaying(order="recorded", arrivals="poisson").prepare()[0]
    rows = [own.next().row for _ in range(1300)]
    assert rows == [*range(600), *range(600), *range(100)]


def test_in_order_a_worker_plays_its_own_part(replaying) -> None:
    shards = ShardMap(["a", "b"])
    parts = []
    for worker in "ab":
        playlist.configure(7, shards.shard(worker))
        own = replaying(order="recorded", arrivals="poisson").prepare()[0]
        parts.append([play.row for play in itertools.takewhile(lambda play: play.lap == 0, iter(own.next, None))])
    assert all(part == sorted(part) for part in parts)
    assert sorted(parts[0] + parts[1]) == list(range(600))


# -- sessions that all borrow ------------------------------------------------------------------------------------------


def test_a_trace_whose_sessions_all_borrow_is_played_at_its_own_arrivals(replaying) -> None:
    cls = replaying("borrowing")
    assert chosen([cls]) == ("recorded", None)
    check_bodies([cls], "recorded")
    arrivals = pacing("recorded", [cls], "seed")
    arrivals.set_rate(0.0, 1e9 / STEADY_NS)
    plays = [arrivals.pop().play for _ in range(600)]
    sent = [playlist.playlist_of(cls.trace_path()).record(play) for play in plays]
    assert {(record.path, record.body) for record in sent} == {("/0", b"123456789"), ("/1", b"123456789")}
    assert len({play.session for play in plays}) > 290, "every session comes"


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("poisson", {}),
        ("constant", {"arrivals": "constant"}),
        (None, {"load": "closed"}),
        ("recorded", {"load": "closed"}),  # beside another class, which has these arrivals
    ],
)
def test_of_such_a_trace_no_sessions_can_be_drawn(replaying, kind, attributes) -> None:
    with pytest.raises(ConfigError, match=r"Replaying: none of the 300 sessions.*arrivals = 'recorded'"):
        check_bodies([replaying("borrowing", **attributes)], kind)
    check_bodies([replaying(**attributes), Coded], kind)


def test_without_arrivals_that_say_what_to_send_it_is_said_each_time(replaying) -> None:
    own = playlist.playlist_of(replaying("borrowing").trace_path())
    playlist.begin(3)
    for _ in range(2):
        with pytest.raises(TraceError, match="has all its bodies"):
            own.next()
