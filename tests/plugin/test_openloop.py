"""Open loop inside a real Locust run: what the server saw, Locust counted and the meter counted is one number."""

import itertools
import logging
import math
import random
from typing import Any

import gevent
import pytest
from locust import FastHttpUser, HttpUser, SequentialTaskSet, TaskSet, User, constant, run_single_user, tag, task
from locust.env import Environment
from locust.exception import RescheduleTask, RescheduleTaskImmediately, StopUser

from locust_adaptive.plugin import scheduler, taskloop
from locust_adaptive.plugin.guards import HubLag, clock
from locust_adaptive.plugin.inflight import instruments
from locust_adaptive.plugin.lease import lease_of
from locust_adaptive.plugin.openloop import OpenLoop, is_open_loop
from locust_adaptive.plugin.scheduler import ARRIVAL, scheduler_of
from locust_adaptive.plugin.timers import LoopTimer, TimerFd
from locust_adaptive.plugin.virtualuser import MAX_PASSES
from locust_adaptive.replay.arrivals import Constant, Pacer
from locust_adaptive.search.histogram import index_of
from locust_adaptive.search.meter import Request
from locust_adaptive.search.slices import Flow, NameCounts
from tests.support.lab import Backend, Lab, sent
from tests.support.wait import wait_until


@pytest.fixture(autouse=True)
def _no_stop_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy with other things may stop this process for a second: not what is tested here."""
    monkeypatch.setattr(scheduler, "LATE_S", math.inf)


class Fast(OpenLoop, FastHttpUser):
    @task
    def get(self) -> None:
        self.client.get("/")


class Plain(OpenLoop, HttpUser):
    @task
    def get(self) -> None:
        self.client.get("/")


def test_task_loop_internals_are_there() -> None:
    assert taskloop.missing_internals() == []


# -- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user_class", [Fast, Plain])
@pytest.mark.parametrize("stop_timeout", [0.0, 5.0])
def test_no_request_is_lost_while_users_come_and_go(user_class: Any, stop_timeout: float) -> None:
    with Lab(user_class) as lab:
        lab.environment.stop_timeout = stop_timeout
        lab.scheduler.set_rate(300)
        for step, users in enumerate((100, 3, 100, 0, 1), start=1):
            lab.users(users)
            assert sum(lab.scheduler.tokens.values()) == users
            if users:
                lab.arrivals(60 * step)
        lab.drain()
        results = lab.results()
        assert results["/"].sent == sum(results["/"].hist.values()) == lab.scheduler.arrivals
        assert lab.scheduler.dropped == results["/"].open == 0
        assert sent(results) == lab.stats == lab.backend.received


def test_without_a_live_token_nothing_is_sent_nor_made_up_later() -> None:
    with Lab(Fast) as lab:
        lab.scheduler.set_rate(200)
        gevent.sleep(0.2)
        assert (lab.scheduler.arrivals, lab.scheduler.rate) == (0, 0)
        lab.users(1)
        assert lab.scheduler.rate == 200
        lab.arrivals(20)
        lab.users(0)
        before = lab.scheduler.arrivals
        gevent.sleep(0.3)
        assert lab.scheduler.arrivals - before <= 1
        started = clock()
        lab.users(1)
        lab.arrivals(before + 10)
        assert lab.scheduler.arrivals - before < 10 + 200 * (clock() - started) + 4 * math.sqrt(60)


def test_a_plain_run_makes_each_token_s_own_rate() -> None:
    class Brisk(Fast):
        rate = 12.5

    with Lab(Brisk) as lab:
        lab.users(4)
        assert lab.scheduler.rate == 50
        lab.users(2)
        assert lab.scheduler.rate == 25
        lab.arrivals(5)


def test_a_token_is_an_instance_without_init() -> None:
    made = []

    class Heavy(Fast):
        def __init__(self, environment: Any) -> None:
            super().__init__(environment)
            made.append(self)

    with Lab(Heavy) as lab:
        lab.scheduler.set_rate(0)
        lab.users(50)
        assert made == []
        assert lab.runner.user_classes_count == {"Heavy": 50}
        tokens = [greenlet.args[0] for greenlet in lab.runner.user_greenlets]
        assert {type(token) for token in tokens} == {Heavy}
        assert not any(greenlet.started for greenlet in lab.runner.user_greenlets)


def test_is_open_loop() -> None:
    class Closed(Fast):
        load = "closed"

    assert [is_open_loop(cls) for cls in (Fast, Closed, FastHttpUser, TaskSet, OpenLoop)] == [
        True,
        False,
        False,
        False,
        True,
    ]
    assert OpenLoop.abstract
    assert not Fast.abstract


def test_closed_load_is_plain_locust() -> None:
    class Closed(Fast):
        load = "closed"
        wait_time = constant(0.01)
        started = 0

        def on_start(self) -> None:
            type(self).started += 1
            self.client.get("/login")

    with Lab(Closed) as lab:
        lab.users(3)
        wait_until(lambda: lab.backend.received >= 30, "30 requests")
        assert (Closed.started, lab.scheduler.arrivals) == (3, 0)
        lab.environment.stop_timeout = 1
        lab.users(0)
        results = lab.results()
        assert results.keys() == {"/"}, "requests of on_start are not counted"
        assert results["/"].sent == lab.backend.paths["/"] == lab.stats - 3


def test_a_single_user_runs_without_a_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Backend()

    class Once(OpenLoop, FastHttpUser):
        host = backend.url

        @task
        def leave(self) -> None:
            self.client.get("/once")
            raise StopUser

    monkeypatch.setattr("sys.argv", ["locust"])
    run_single_user(Once)
    assert backend.paths == {"/once": 1}
    backend.close()


# -- tasks -----------------------------------------------------------------------------------------------------------


def test_weights_of_tasks_and_of_classes() -> None:
    class Weighted(OpenLoop, FastHttpUser):
        weight = 3

        @task(3)
        def often(self) -> None:
            self.client.get("/often")

        @task
        def seldom(self) -> None:
            self.client.get("/seldom")

    class Other(OpenLoop, FastHttpUser):
        @task
        def other(self) -> None:
            self.client.get("/other")

    with Lab(Weighted, Other) as lab:
        lab.scheduler.set_rate(800)
        lab.users(1)  # one token cannot show the weights: the classes' own must
        lab.arrivals(800)
        lab.drain()
        counts, n = lab.backend.paths, lab.backend.received
        for path, share in (("/often", 9 / 16), ("/seldom", 3 / 16), ("/other", 4 / 16)):
            assert abs(counts[path] - n * share) < 4 * math.sqrt(n * share * (1 - share)), path


def test_without_a_rate_the_mix_follows_the_live_tokens() -> None:
    class Few(OpenLoop, FastHttpUser):
        fixed_count = 1
        rate = 200.0

        @task
        def get(self) -> None:
            self.client.get("/few")

    class Many(Fast):
        rate = 200.0

    with Lab(Few, Many) as lab:
        lab.users(4)
        lab.arrivals(600)
        lab.drain()
        share, n = 1 / 4, lab.backend.received
        assert abs(lab.backend.paths["/few"] - n * share) < 4 * math.sqrt(n * share * (1 - share))


def test_nested_and_sequential_tasksets() -> None:
    order: list[str] = []

    class Inner(TaskSet):
        @task
        def inside(self) -> None:
            self.client.get("/inner")

        @task
        def leave(self) -> None:
            self.interrupt()

    class Steps(SequentialTaskSet):
        @task
        def one(self) -> None:
            order.append("1")
            self.client.get("/1")

        @task
        def two(self) -> None:
            order.append("2")
            self.client.get("/2")

        @task
        def back(self) -> None:
            order.append("-")
            self.interrupt()

    class Nesting(OpenLoop, FastHttpUser):
        tasks = [Inner, Steps]  # noqa: RUF012

        @task
        def outer(self) -> None:
            self.client.get("/outer")

    with Lab(Nesting) as lab:
        lab.scheduler.set_rate(300)
        lab.users(2)
        lab.arrivals(300)
        lab.drain()
        # An interrupt without a request passes its arrival on: none is lost and none used twice.
        assert lab.backend.received == lab.scheduler.arrivals == sent(lab.results()) == lab.stats
        assert all(lab.backend.paths[path] > 0 for path in ("/inner", "/outer", "/1", "/2"))
        assert order.count("1") >= order.count("2") >= order.count("-") > 0


def test_rescheduling_uses_an_arrival_only_when_it_sent() -> None:
    class Odd(OpenLoop, FastHttpUser):
        @task
        def later(self) -> None:
            raise RescheduleTask

        @task
        def at_once(self) -> None:
            raise RescheduleTaskImmediately

        @task
        def sent_at_once(self) -> None:
            self.client.get("/")
            raise RescheduleTaskImmediately

        @task
        def normal(self) -> None:
            self.client.get("/")

    with Lab(Odd) as lab:
        lab.scheduler.set_rate(400)
        lab.users(1)
        lab.arrivals(300)
        lab.drain()
        results = lab.results()
        assert results["/"].sent == lab.backend.received == lab.stats
        n = lab.scheduler.arrivals  # `later` ends a third of the arrivals without a request
        assert abs(lab.backend.received - n * 2 / 3) < 4 * math.sqrt(n * 2 / 9)


def test_tasks_that_only_interrupt_do_not_spin() -> None:
    picked = 0

    class Nothing(TaskSet):
        @task
        def leave(self) -> None:
            nonlocal picked
            picked += 1
            self.interrupt()

    class Idle(OpenLoop, FastHttpUser):
        tasks = [Nothing]  # noqa: RUF012

    with Lab(Idle) as lab:
        lab.scheduler.set_rate(50)
        lab.users(1)
        lab.arrivals(5)
        lab.drain()
        assert picked <= lab.scheduler.arrivals * (MAX_PASSES + 2)
        assert sent(lab.results()) == 0


def test_a_class_without_tasks_does_not_spin(caplog: pytest.LogCaptureFixture) -> None:
    class Empty(OpenLoop, User):
        pass

    with caplog.at_level(logging.CRITICAL), Lab(Empty) as lab:
        lab.scheduler.set_rate(100)
        lab.users(1)
        lab.arrivals(10)
        lab.drain()
        ready = lab.scheduler.prepare(1)
        # One for each arrival; each virtual user fails once more before it waits for one.
        assert 1 <= lab.user_errors <= lab.scheduler.arrivals + ready + 32


def test_on_start_and_on_stop_once_for_each_virtual_user() -> None:
    events: list[tuple[str, int]] = []

    class Login(OpenLoop, FastHttpUser):
        def on_start(self) -> None:
            events.append(("start", id(self)))
            self.client.get("/login")

        def on_stop(self) -> None:
            events.append(("stop", id(self)))
            self.client.get("/logout")

        @task
        def get(self) -> None:
            self.client.get("/sleep/0.02")

    with Lab(Login) as lab:
        lab.scheduler.growth = 1000.0
        lab.scheduler.set_rate(200)
        assert lab.scheduler.prepare(10, timeout=5) >= 10
        lab.users(5)
        lab.arrivals(100)
        lab.drain()
        results = lab.results()
        lab.runner.stop()
        assert "/logout" not in lab.results(), "on_stop is not counted"
        started = [who for what, who in events if what == "start"]
        stopped = [who for what, who in events if what == "stop"]
        assert len(started) == len(set(started)) == lab.backend.paths["/login"]
        assert sorted(started) == sorted(stopped)
        assert len(stopped) == lab.backend.paths["/logout"]
        assert results.keys() == {"/sleep/0.02"}, "on_start is not counted"
        assert lab.meter.in_flight == 0


def test_exceptions_and_stop_user(caplog: pytest.LogCaptureFixture) -> None:
    class Rough(OpenLoop, FastHttpUser):
        starts = 0

        def on_start(self) -> None:
            type(self).starts += 1

        @task(8)
        def get(self) -> None:
            self.client.get("/")

        @task
        def boom(self) -> None:
            raise ValueError("boom")

        @task
        def boom_after(self) -> None:
            self.client.get("/")
            raise ValueError("boom")

        @task
        def leave(self) -> None:
            raise StopUser

    with caplog.at_level(logging.CRITICAL), Lab(Rough) as lab:
        lab.scheduler.growth = 1000.0
        lab.scheduler.set_rate(300)
        lab.users(1)
        lab.arrivals(300)
        lab.drain()
        results = lab.results()
        assert results["/"].sent == lab.backend.received == lab.stats
        assert not results["/"].errors
        assert sent(results) == results["/"].sent, "arrivals without a request are taken back"
        assert lab.user_errors > 10
        assert Rough.starts > 10, "who stopped was replaced"
        assert lab.backend.received < lab.scheduler.arrivals


def test_uncaught_exceptions_are_survived(caplog: pytest.LogCaptureFixture) -> None:
    class Rough(OpenLoop, FastHttpUser):
        @task
        def boom(self) -> None:
            self.client.get("/")
            raise ValueError("boom")

    with caplog.at_level(logging.CRITICAL), Lab(Rough) as lab:
        lab.environment.catch_exceptions = False
        lab.scheduler.set_rate(200)
        lab.users(1)
        lab.arrivals(50)
        lab.drain()
        assert sent(lab.results()) == lab.backend.received == lab.scheduler.arrivals


def test_tags_filter_tasks() -> None:
    class Tagged(OpenLoop, FastHttpUser):
        @tag("a")
        @task
        def a(self) -> None:
            self.client.get("/a")

        @tag("b")
        @task
        def b(self) -> None:
            self.client.get("/b")

    with Lab(Tagged) as lab:
        lab.environment.tags = ["a"]
        lab.scheduler.set_rate(200)
        lab.users(1)
        lab.arrivals(30)
        lab.drain()
        assert lab.backend.paths.keys() == {"/a"}


def test_a_timeout_left_open_by_a_task_does_not_end_the_virtual_user() -> None:
    class Careless(OpenLoop, FastHttpUser):
        instances = 0

        def on_start(self) -> None:
            type(self).instances += 1

        @task
        def get(self) -> None:
            gevent.Timeout(0.03).start()
            self.client.get("/")

    with Lab(Careless) as lab:
        lab.scheduler.set_rate(0)
        lab.users(1)
        lab.scheduler.prepare(1, 5)
        lab.scheduler.set_rate(20)
        lab.arrivals(10)
        lab.drain()
        assert sent(lab.results()) == lab.stats == lab.scheduler.arrivals
        assert Careless.instances <= 3


# -- due times -------------------------------------------------------------------------------------------------------


def test_only_the_first_request_is_charged_the_wait() -> None:
    class Three(OpenLoop, FastHttpUser):
        @task
        def three(self) -> None:
            self.client.get("/first")
            self.client.get("/second")
            self.client.get("/third")

    with Lab(Three) as lab:
        lab.scheduler.prepare(20, 5)
        lab.scheduler.set_arrivals(Pacer(Constant()))
        lab.scheduler.set_rate(100)
        lab.users(1)
        lab.arrivals(5)
        blocked = clock()
        while clock() - blocked < 0.4:  # the generator's own delay: 40 arrivals are due meanwhile
            pass
        lab.arrivals(60)
        lab.drain()
        n = lab.scheduler.arrivals
        results = lab.results()
        assert {name: counts.sent for name, counts in results.items()} == {"/first": n, "/second": n, "/third": n}
        slow = {name: _slower_than(0.2, counts.hist) for name, counts in results.items()}
        assert slow["/first"] >= 15
        assert slow["/second"] + slow["/third"] <= 3, "only those that were open during the delay"


def _slower_than(seconds: float, hist: dict[int, int]) -> int:
    return sum(n for bucket, n in hist.items() if bucket > index_of(seconds))


def _note_dues(lab: Lab) -> list[float]:
    """The due times of the arrivals from now on, as they are handed over."""
    dues: list[float] = []
    begin = lab.meter.begin

    def noting(now: float, due: float, name: str, counted: bool = True) -> Request:
        if name == ARRIVAL:
            dues.append(due)
        return begin(now, due, name, counted)

    lab.meter.begin = noting  # type: ignore[method-assign]
    return dues


def test_the_rate_is_accurate_and_changes_at_once() -> None:
    """What is late when the rate changes is not sent: judged by a try in which the machine let us be in time."""
    for _ in range(8):
        with Lab(Fast) as lab:
            lab.scheduler.prepare(20, 5)
            lab.users(1)
            dues, steps = _note_dues(lab), []
            lag = HubLag()
            lag.start()
            for rate in (600.0, 60.0, 900.0, 0.0, 300.0):
                before = clock()
                lab.scheduler.set_rate(rate)
                # What is due while it changes, when the machine lets us stand just there, is of neither rate.
                steps.append((before, clock(), rate))
                assert lab.scheduler.rate == rate
                gevent.sleep(0.5)
            ended = clock()
            lag.stop()
            lab.drain()
        if lag.read() < 0.01:
            break
    for (_, start, rate), (end, _, _) in itertools.pairwise([*steps, (ended, ended, 0.0)]):
        got, expected = sum(start < due <= end for due in dues), rate * (end - start)
        assert abs(got - expected) <= 4 * math.sqrt(expected), (rate, got, expected)


def test_the_default_arrivals_are_poisson() -> None:
    with Lab(Fast) as lab:
        dues = _note_dues(lab)
        lab.scheduler.set_rate(1000)
        lab.users(1)
        lab.arrivals(800)
        lab.drain()
        gaps = [b - a for a, b in itertools.pairwise(dues)]
        mean = sum(gaps) / len(gaps)
        spread = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) / mean
        assert abs(mean * 1000 - 1) < 4 / math.sqrt(len(gaps))
        assert 0.82 < spread < 1.18, "exponential gaps have a coefficient of variation of 1"


# -- what is skipped -------------------------------------------------------------------------------------------------


def test_after_a_stop_of_the_process_there_is_no_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "LATE_S", 0.3)
    with Lab(Fast) as lab:
        lab.scheduler.prepare(20, 5)
        lab.scheduler.set_arrivals(Pacer(Constant()))
        lab.scheduler.set_rate(200)
        lab.users(1)
        lab.arrivals(20)
        before, blocked = lab.scheduler.arrivals, clock()
        while clock() - blocked < 0.5:
            pass
        wait_until(lambda: lab.scheduler.skipped, "the next callback")
        lab.arrivals(before + 20)
        lab.drain()
        assert lab.scheduler.skipped >= 90, "all that was due meanwhile"
        assert _flow(lab).dropped == lab.scheduler.skipped, "told, so that nobody takes the pause for load"
        assert lab.backend.received == lab.scheduler.arrivals


def test_nothing_is_sent_after_the_time_that_is_allowed() -> None:
    with Lab(Fast) as lab:
        lease_of(lab.environment).move(-math.inf)
        lab.scheduler.set_rate(200)
        lab.users(1)
        wait_until(lambda: lab.scheduler.skipped > 20, "20 arrivals")
        assert lab.scheduler.arrivals == lab.backend.received == 0
        lease_of(lab.environment).move(clock() + 0.3)
        lab.arrivals(20)
        wait_until(lambda: clock() > lease_of(lab.environment).until, "its end")
        made = lab.scheduler.arrivals
        gevent.sleep(0.1)
        assert lab.scheduler.arrivals == made


def test_a_share_without_a_token_is_told_as_missing() -> None:
    """Locust may take a worker's last user for one that joins: half of the load would silently be gone."""
    with Lab(Fast) as lab:
        lab.scheduler.set_rate(200)
        wait_until(lambda: lab.scheduler.skipped > 20, "20 arrivals")
        assert lab.backend.received == 0
        lab.scheduler.set_rate(0)
        flow = _flow(lab)
        assert flow.intended == flow.dropped == lab.scheduler.skipped
        assert lab.results() == {}, "the target missed nothing"


def _flow(lab: Lab) -> Flow:
    """All that the meter counted so far, slices aside."""
    total = Flow(0)
    for shipment in lab.meter.collect(clock() + 1):
        for flow in shipment.flows:
            total.merge(flow)
    return total


# -- limits ----------------------------------------------------------------------------------------------------------


def test_at_the_cap_arrivals_are_dropped_and_nothing_blocks() -> None:
    class Hanging(OpenLoop, FastHttpUser):
        @task
        def hang(self) -> None:
            self.client.get("/hang")

    with Lab(Hanging) as lab:
        lab.scheduler.cap = 40
        lab.scheduler.set_rate(400)
        lab.users(1)
        lab.arrivals(200)
        lab.scheduler.set_rate(0)
        assert lab.scheduler.in_flight == 40
        assert lab.scheduler.dropped == lab.scheduler.arrivals - 40
        wait_until(lambda: lab.backend.received == 40, "40 requests at the server")
        assert lab.meter.in_flight == 40
        started = clock()
        assert lab.scheduler.abort() == 40
        assert clock() - started < 1
        assert lab.scheduler.in_flight == lab.meter.in_flight == 0
        results = lab.results()
        assert results["(dropped)"].errors == {"dropped": lab.scheduler.dropped}
        assert results["/hang"].errors == {"aborted": 40}
        assert lab.stats == 0, "Locust counts no killed request"


def test_logins_are_spread_and_arrivals_wait_for_them() -> None:
    logins: list[float] = []

    class Login(OpenLoop, FastHttpUser):
        def on_start(self) -> None:
            logins.append(clock())

        @task
        def get(self) -> None:
            self.client.get("/sleep/1")

    with Lab(Login) as lab:
        lab.scheduler.growth = 100.0
        lab.scheduler.set_rate(1000)
        lab.users(1)
        lab.arrivals(200)
        lab.scheduler.set_rate(0)
        assert lab.scheduler.in_flight == lab.scheduler.arrivals
        wait_until(lambda: lab.backend.received == 50, "50 virtual users")
        assert lab.scheduler.dropped == 0
        assert logins[49] - logins[0] > 49 / 100 * 0.9
        aborted = lab.scheduler.abort()
        assert lab.scheduler.in_flight == lab.meter.in_flight == 0
        results = lab.results()
        assert sum(counts.errors["aborted"] for counts in results.values()) == aborted == lab.scheduler.arrivals


@pytest.mark.parametrize("error", [ValueError, StopUser])
def test_an_on_start_that_always_dies_is_given_up(error: type[Exception], caplog: pytest.LogCaptureFixture) -> None:
    class Locked(OpenLoop, FastHttpUser):
        starts = 0

        def on_start(self) -> None:
            type(self).starts += 1
            raise error("no token")

        @task
        def get(self) -> None:
            self.client.get("/")

    told: list[str] = []
    with caplog.at_level(logging.CRITICAL), Lab(Locked) as lab:
        lab.scheduler.growth = 1000.0
        lab.scheduler.on_broken = told.append
        lab.scheduler.set_rate(200)
        lab.users(1)
        lab.arrivals(60)
        lab.drain()
        assert 5 <= Locked.starts <= 5 + 20
        assert len(told) == 1
        assert told[0] == lab.scheduler.broken
        assert "Locked.on_start ended 5 times in a row" in told[0]
        assert error.__name__ in told[0]
        results = lab.results()
        assert results["(dropped)"].sent == lab.scheduler.dropped > 0
        waited = results.get("(arrival)", NameCounts()).errors.get("exception", 0)
        assert lab.scheduler.dropped + waited == lab.scheduler.arrivals
        assert lab.scheduler.prepare(5, timeout=5) == 0, "it does not wait for what will not come"


def test_stop_gives_work_in_flight_its_grace() -> None:
    class Slow(OpenLoop, FastHttpUser):
        stops = 0

        def on_stop(self) -> None:
            type(self).stops += 1

        @task
        def get(self) -> None:
            self.client.get("/sleep/0.3")

    with Lab(Slow) as lab:
        lab.environment.stop_timeout = 5
        lab.scheduler.set_rate(50)
        lab.users(2)
        lab.arrivals(10)
        lab.runner.stop()
        assert lab.scheduler.in_flight == 0
        n = lab.backend.received
        assert lab.stats == n, "all were answered"
        results = lab.results()
        assert results["/sleep/0.3"].sent == n
        assert not results["/sleep/0.3"].errors
        assert lab.scheduler.stop() is None
        assert Slow.stops >= 10
        # The same run again, as the web form does.
        lab.scheduler.set_rate(50)
        lab.users(2)
        lab.arrivals(5)
        assert lab.scheduler.arrivals < n


def test_without_grace_work_in_flight_is_aborted() -> None:
    class Hanging(OpenLoop, HttpUser):
        @task
        def hang(self) -> None:
            self.client.get("/hang")

    with Lab(Hanging) as lab:
        lab.scheduler.set_rate(200)
        lab.users(1)
        wait_until(lambda: lab.backend.received >= 20, "20 requests")
        lab.runner.stop()
        results = lab.results()
        assert results["/hang"].errors == {"aborted": results["/hang"].sent}
        assert lab.meter.in_flight == 0


def test_a_task_may_end_the_test() -> None:
    class Quitter(OpenLoop, FastHttpUser):
        stops = 0

        def on_stop(self) -> None:
            type(self).stops += 1
            self.client.get("/bye")

        @task
        def quit(self) -> None:
            self.client.get("/")
            if lab.backend.paths["/"] >= 20 and not quitting:
                quitting.append(self)
                lab.runner.quit()
                ended.append(lab.runner.state)

    quitting: list[User] = []
    ended: list[str] = []
    with Lab(Quitter) as lab:
        lab.scheduler.set_rate(100)
        lab.users(1)
        wait_until(lambda: ended, "the end")
        wait_until(lambda: lab.scheduler.in_flight == 0, "the last task")
        assert ended == ["stopped"]
        assert lab.scheduler.rate == 0
        made = lab.scheduler.arrivals
        gevent.sleep(0.1)
        assert lab.scheduler.arrivals == made
        assert lab.results()["/"].sent >= 20
        assert "/bye" not in lab.results(), "on_stop is not counted"
        wait_until(lambda: lab.backend.paths["/bye"] == Quitter.stops, "every on_stop")


def test_it_works_without_a_meter() -> None:
    with Lab(Fast) as lab:
        instruments.meter = None
        lab.scheduler.set_rate(300)
        lab.users(1)
        lab.arrivals(50)
        instruments.meter = lab.meter  # in the middle of the run
        lab.arrivals(100)
        lab.drain()
        assert lab.backend.received == lab.scheduler.arrivals == lab.stats
        assert 0 < sent(lab.results()) < lab.stats
        assert not instruments.untracked


@pytest.mark.parametrize("rate", [-1.0, math.inf, math.nan])
def test_a_rate_must_be_a_finite_number(rate: float) -> None:
    scheduler = scheduler_of(Environment(user_classes=[Fast]))
    with pytest.raises(ValueError, match="must be finite and not negative"):
        scheduler.set_rate(rate)


# -- timers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [TimerFd, LoopTimer])
def test_timers(kind: Any) -> None:
    fired: list[float] = []
    timer = kind(gevent.get_hub().loop, lambda: (fired.append(clock()), timer.disarm()))
    rng = random.Random(1)
    for _ in range(10):
        delay, started = rng.uniform(0.001, 0.01), clock()
        timer.arm(5.0)
        timer.arm(delay)
        count = len(fired)
        wait_until(lambda count=count: len(fired) > count, "the timer")
        assert fired[-1] - started >= delay - 0.0011, "the loop's own timer may be a millisecond early"
    timer.arm(0.001)
    timer.disarm()
    gevent.sleep(0.01)
    assert len(fired) == 10
    timer.arm(-1.0)
    wait_until(lambda: len(fired) == 11, "a timer in the past")
    timer.close()
