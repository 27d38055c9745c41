"""Recorded arrivals in a real run: each sends the request that belongs to it, in a search and without one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from locust.env import Environment

from locust_adaptive import ReplayUser
from locust_adaptive.plugin import inflight, playlist, scheduler
from locust_adaptive.plugin.arriving import pacing
from locust_adaptive.plugin.exchange import REFUSED
from locust_adaptive.plugin.scheduler import scheduler_of
from locust_adaptive.plugin.worker import Agent
from locust_adaptive.replay.record import Record
from locust_adaptive.replay.recorded import Recorded
from locust_adaptive.replay.store import Trace, TraceWriter
from locust_adaptive.replay.timeline import Draw, Timeline
from tests.plugin.test_worker import Worker
from tests.support.lab import Backend, Lab
from tests.support.scripted import Rig, Script
from tests.support.wait import wait_until

REQUESTS, GAP_NS = 600, 10_000_001


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playlist, "_playlists", {})
    monkeypatch.setattr(playlist, "_shard", None)
    monkeypatch.setattr(playlist, "_probe", 0)
    monkeypatch.setattr(scheduler, "LATE_S", 1e9)  # a machine that is busy with other things is not what is tested


@pytest.fixture
def replaying(tmp_path: Path) -> Callable[..., Any]:
    """A user class with a steady trace at 100/s; `sent` are the rows and laps it was asked to send, in order."""

    def make(quality: str | None = None, **attributes: Any) -> Any:
        path = tmp_path / "day.trace"
        with TraceWriter(path, origin="test") as writer:
            writer.time_quality = quality
            for n in range(REQUESTS):
                writer.append(Record(n * GAP_NS, f"s{n % 200}", "GET", f"/{n}"))
        sent: list[tuple[int, int]] = []

        def on_request(self: Any, record: Record, lap: int) -> Record:
            sent.append((int(record.path[1:]), lap))
            return record

        of_class = {"trace": str(path), "on_request": on_request, "sent": sent}
        return type("Replaying", (ReplayUser,), {**of_class, **attributes})

    return make


def planned(user_class: Any, probe: int, rate: float, seconds: float = 30.0) -> list[tuple[int, int]]:
    """What a single worker with seed 1 is to send in a probe."""
    made = Recorded(Timeline(Trace.open(user_class.trace).index(), 1), Draw((1, probe)))
    made.set_rate(0.0, rate)
    found = []
    while made.next_due() < seconds:
        play = made.pop().play
        assert play is not None
        found.append((play.row, play.repeat))
    return found


@pytest.fixture
def close() -> Iterator[list[Callable[[], None]]]:
    todo: list[Callable[[], None]] = []
    yield todo
    for each in reversed(todo):
        each()


def test_in_a_search_each_probe_sends_its_own_draw(replaying, close) -> None:
    cls = replaying()
    worker = Worker(cls)
    close.append(worker.close)
    worker.setup("open", arrivals="recorded")
    worker.users(1)
    done = 0
    for probe, rate, enough in ((1, 250.0, 200), (3, 60.0, 50)):
        worker.hold(probe, rate)
        wait_until(lambda until=done + enough: len(cls.sent) > until, "load")
        worker.hold(probe + 1, 0.0)
        # What was overdue is skipped in the hub's next turn; a rate that came before would still have it sent.
        over = scheduler_of(worker.environment)
        wait_until(lambda over=over: over.in_flight == 0 and over._pacing.next_due() == math.inf, "the end of it")
        sent, done = cls.sent[done:], len(cls.sent)
        # Two that are due close together may be sent the other way round.
        assert sorted(sent) == sorted(planned(cls, probe, rate)[: len(sent)])
        assert probe > 1 or len({lap for _, lap in sent}) > 1, "of several copies"
    assert worker.backend.received == done


def test_arrivals_that_wait_for_a_virtual_user_or_are_dropped_keep_or_take_their_requests(replaying) -> None:
    cls = replaying(on_start=lambda self: gevent.sleep(0.3))
    with Lab(cls) as lab:
        lab.scheduler.set_arrivals(pacing("recorded", [cls], ""))
        lab.scheduler.set_rate(150)
        lab.users(1)
        lab.arrivals(60)
        assert lab.scheduler.dropped == 0
        lab.scheduler.cap = 0
        lab.arrivals(100)
        dropped = lab.scheduler.dropped
        assert dropped > 0
        lab.scheduler.cap = 2000
        lab.arrivals(150)
        lab.drain()
        assert set(cls.sent) < set(planned(cls, 0, 150.0)[: lab.scheduler.arrivals])
        assert len(cls.sent) == lab.backend.received == lab.scheduler.arrivals - lab.scheduler.dropped


def plain_run(user_class: Any, close: list[Callable[[], None]]) -> Any:
    """An environment as any Locust run without a shape has it."""
    backend = Backend()
    environment = Environment(user_classes=[user_class], host=backend.url)
    runner = environment.create_local_runner()
    Agent(environment)
    close += [backend.close, lambda: scheduler_of(environment).close(), runner.quit]
    runner.start(1, spawn_rate=100)
    inflight.instruments.meter = None
    return environment


def test_without_a_search_the_recording_can_be_played_from_its_start(replaying, close) -> None:
    cls = replaying(order="recorded", rate=1e9 / GAP_NS)
    plain_run(cls, close)
    wait_until(lambda: len(cls.sent) >= 150, "load")
    rows = [row for row, _ in cls.sent]
    assert sorted(rows)[:100] == list(range(100))
    assert max(rows) < len(rows) + 50


def test_without_a_search_a_trace_that_is_not_fit_gets_poisson_s(replaying, close, caplog) -> None:
    cls = replaying("send_time", rate=200.0)
    plain_run(cls, close)
    wait_until(lambda: len(cls.sent) >= 20, "load")
    assert "Replaying: arrivals are Poisson's, and not those of the trace: its times are when" in caplog.text


def test_without_a_search_what_cannot_be_ends_the_run(replaying, close, caplog) -> None:
    cls = replaying("none", rate=200.0, arrivals="recorded")
    environment = plain_run(cls, close)
    wait_until(lambda: environment.process_exit_code == 2, "the end")
    assert "cannot say when arrivals come" in caplog.text
    assert not cls.sent


@pytest.fixture
def borrowing(replaying, tmp_path: Path) -> Callable[..., Any]:
    """A user class as `replaying`'s, of a trace in which each session lacks a body that others have; `bodies` of what
    it was asked to send."""

    def make(**attributes: Any) -> Any:
        path = tmp_path / "borrowing.trace"
        with TraceWriter(path, origin="test") as writer:
            for n in range(REQUESTS):
                body, omitted = (b"", 3) if n % 4 in (0, 3) else (b"%03d" % n, 0)
                writer.append(Record(n * GAP_NS, f"s{n // 2}", "POST", f"/{n % 2}", (), body, omitted=omitted))
        bodies: list[bytes] = []

        def on_request(self: Any, record: Record, lap: int) -> Record:
            bodies.append(record.body)
            return record

        return replaying(trace=str(path), on_request=on_request, bodies=bodies, **attributes)

    return make


def test_sessions_that_all_borrow_are_played_in_a_run_as_recorded(borrowing, close) -> None:
    cls = borrowing(rate=1e9 / GAP_NS)
    plain_run(cls, close)
    wait_until(lambda: len(cls.bodies) >= 50, "load")
    assert all(cls.bodies)


@pytest.mark.parametrize("attributes", [{"arrivals": "poisson"}, {"load": "closed"}])
def test_and_no_run_begins_that_would_draw_them(borrowing, close, caplog, attributes) -> None:
    cls = borrowing(**attributes)
    environment = plain_run(cls, close)
    wait_until(lambda: environment.process_exit_code == 2, "the end")
    assert "has all its bodies" in caplog.text
    assert not cls.bodies


@pytest.mark.parametrize("loop", ["open", "closed"])
def test_nor_a_search(borrowing, close, loop: str) -> None:
    worker = Worker(borrowing(load=loop))
    close.append(worker.close)
    worker.setup(loop)
    (refusal,) = worker.told(REFUSED)
    assert "arrivals = 'recorded'" in refusal


def test_the_result_of_a_search_names_the_arrivals(replaying, tmp_path: Path, close) -> None:
    cls, backend = replaying(), Backend()
    close.append(backend.close)
    with Rig(tmp_path / "out", backend.url, cls) as rig:
        rig.start(Script([(40, 1.5)]))
        rig.ends(60)
        assert rig.journal.header.arrivals == "recorded"
        assert rig.session.block is not None
        assert " arrivals  recorded, open loop, 1 request each" in rig.session.block
    assert set(cls.sent) < set(planned(cls, 1, 40.0))
