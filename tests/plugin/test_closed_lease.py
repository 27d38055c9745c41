"""The lease in closed loop: without one no user begins a task, whoever waits can leave, and a slice says who waited."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from locust import FastHttpUser, SequentialTaskSet, constant, task
from locust.user.task import LOCUST_STATE_WAITING

from locust_adaptive.plugin.guards import clock
from locust_adaptive.plugin.lease import Lease, lease_of
from tests.plugin.test_worker import Visiting, Worker, worker  # noqa: F401  (a fixture)
from tests.support.lab import Lab
from tests.support.wait import wait_until

LEFT: list[Any] = []


class Slow(FastHttpUser):
    """Its tasks take half a second."""

    @task
    def rank(self) -> None:
        self.client.get("/sleep/0.5")

    def on_stop(self) -> None:
        LEFT.append(self)


class Nested(FastHttpUser):
    wait_time = constant(0.02)

    @task
    class Pages(SequentialTaskSet):
        @task
        def first(self) -> None:
            self.client.get("/first")

        @task
        def second(self) -> None:
            self.client.get("/second")


def waiting(lab: Any) -> int:
    """Users of its runner that stand between two tasks."""
    users = [greenlet.args[0] for greenlet in lab.runner.user_greenlets if greenlet.args]
    return sum(user._state == LOCUST_STATE_WAITING for user in users)


def test_a_lease_has_no_end_without_a_search() -> None:
    assert Lease().until == math.inf
    assert not Lease().missed()


def test_whoever_waits_goes_on_once_it_is_valid_and_that_is_told_once() -> None:
    lease = Lease()
    lease.move(-math.inf)
    assert lease.missed()
    waiters = [gevent.spawn(lease.wait) for _ in range(3)]
    gevent.sleep(0)
    lease.move(clock() - 5)
    gevent.sleep(0.01)
    assert not any(waiter.ready() for waiter in waiters), "an old one, found in the mailbox"
    lease.move(clock() + 60)
    assert len(gevent.joinall(waiters, timeout=5)) == 3
    assert (lease.missed(), lease.missed()) == (True, False)


def test_users_wait_for_a_lease_before_their_first_task_and_between_two() -> None:
    with Lab(Visiting) as lab:
        lease = lease_of(lab.environment)
        lease.move(-math.inf)
        lab.users(5)
        wait_until(lambda: waiting(lab) == 5, "all to wait")
        assert lab.backend.received == 0
        lease.move(math.inf)
        wait_until(lambda: lab.backend.received > 20, "load")
        lease.move(-math.inf)
        wait_until(lambda: lab.meter.in_flight == 0, "what is in flight")
        before = lab.backend.received
        gevent.sleep(0.1)
        assert lab.backend.received == before


def test_a_task_in_flight_ends_and_the_next_waits() -> None:
    """As on a worker that stood still: the answer is there when it wakes."""
    with Lab(Slow) as lab:
        lease = lease_of(lab.environment)
        lab.users(3)
        wait_until(lambda: lab.backend.received == 3, "a request of each")
        lease.move(-math.inf)
        wait_until(lambda: waiting(lab) == 3, "their ends")
        assert lab.backend.received == 3
        assert lab.stats == 3


def test_a_task_set_within_waits_too() -> None:
    with Lab(Nested) as lab:
        lab.users(2)
        wait_until(lambda: lab.backend.paths["/second"] > 3, "load")
        lease_of(lab.environment).move(-math.inf)
        wait_until(lambda: lab.meter.in_flight == 0, "what is in flight")
        before = lab.backend.received
        gevent.sleep(0.1)
        assert lab.backend.received == before
        lease_of(lab.environment).move(math.inf)
        wait_until(lambda: lab.backend.received > before + 6, "load")


@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize("stop_timeout", [0.0, 30.0])
def test_who_waits_leaves_at_once(left: int, stop_timeout: float) -> None:
    LEFT.clear()
    with Lab(Slow) as lab:
        lab.environment.stop_timeout = stop_timeout
        lease_of(lab.environment).move(-math.inf)
        lab.users(4)
        wait_until(lambda: waiting(lab) == 4, "all to wait")
        began = clock()
        if left:
            lab.users(left)
        else:
            lab.runner.stop()
        assert clock() - began < 2
        assert (lab.runner.user_count, len(LEFT), lab.backend.received) == (left, 4 - left, 0)
        lease_of(lab.environment).move(math.inf)
        wait_until(lambda: lab.backend.received >= left, "those that stayed")
        gevent.sleep(0.05)
        assert lab.backend.received == left


def test_a_user_that_is_stopped_as_the_lease_comes_sends_nothing() -> None:
    """It wakes, as the kill is on its way."""
    with Lab(Slow) as lab:
        lease_of(lab.environment).move(-math.inf)
        lab.users(1)
        wait_until(lambda: waiting(lab) == 1, "it to wait")
        (greenlet,) = lab.runner.user_greenlets
        user = greenlet.args[0]
        user._group = SimpleNamespace(killone=lambda _: None)
        assert user.stop()
        lease_of(lab.environment).move(math.inf)
        assert greenlet.join(5) is None
        assert greenlet.successful()
        assert lab.backend.received == 0


of = pytest.mark.parametrize


@of("worker", [Visiting], indirect=True)
def test_users_load_while_the_master_hears_of_them(worker: Worker, monkeypatch: Any) -> None:  # noqa: F811
    monkeypatch.setattr("locust_adaptive.plugin.worker.LEASE_S", 0.8)
    worker.answers = False
    worker.setup("closed")
    worker.users(4)
    worker.hold(1, 4.0)
    wait_until(lambda: len(worker.flows(1)) >= 2, "two slices")
    assert worker.backend.received == 0
    assert {flow.users for flow in worker.flows(1)} == {0}, "they are not there as long as they wait"
    worker.answers = True
    wait_until(lambda: worker.flows(1)[-1].users == 4, "all to be there")
    assert worker.backend.received > 4
    worker.answers = False
    seen = len(worker.flows(1))
    wait_until(lambda: worker.flows(1)[-1].users == 0, "the end of the lease")
    before = worker.backend.received
    wait_until(lambda: len(worker.flows(1)) >= seen + 3, "more slices")
    assert worker.backend.received == before


@of("worker", [Visiting], indirect=True)
def test_a_slice_in_which_users_waited_has_none(worker: Worker) -> None:  # noqa: F811
    """Though all are at work at its end: a master that stood still for a moment too long."""
    worker.setup("closed")
    worker.users(4)
    worker.hold(1, 4.0)
    wait_until(lambda: worker.flows(1) and worker.flows(1)[-1].users == 4, "a whole slice")
    seen, worker.answers = len(worker.flows(1)), False
    lease_of(worker.environment).move(-math.inf)
    gevent.sleep(0.05)
    worker.agent.lease(clock())
    wait_until(lambda: len(worker.flows(1)) >= seen + 2, "two slices")
    assert [flow.users for flow in worker.flows(1)[seen : seen + 2]] == [0, 4]


@of("worker", [Visiting], indirect=True)
def test_after_the_end_nobody_begins_a_task_and_all_leave_at_once(worker: Worker) -> None:  # noqa: F811
    worker.setup("closed")
    worker.users(4)
    worker.hold(1, 4.0)
    wait_until(lambda: worker.backend.received > 8, "load")
    worker.agent.end()
    wait_until(lambda: waiting(worker) == 4, "all to wait")
    before, began = worker.backend.received, clock()
    worker.environment.stop_timeout = 30.0
    worker.runner.stop()
    assert clock() - began < 2
    assert worker.backend.received == before
    worker.environment.shape_class = None
    worker.users(4)
    wait_until(lambda: worker.backend.received > before + 8, "a plain run, without the shape")


@of("worker", [Visiting], indirect=True)
def test_users_that_come_before_the_master_s_word_wait(worker: Worker, monkeypatch: Any) -> None:  # noqa: F811
    """Locust shares users with a worker that joins before anyone could ask it."""
    monkeypatch.setattr("locust_adaptive.plugin.worker.LEASE_S", 0.3)
    worker.users(4)
    assert worker.backend.received == 0
    wait_until(lambda: worker.backend.received > 8, "a plain run, without the shape")


def test_a_plain_run_is_untouched() -> None:
    with Lab(Visiting) as lab:
        lab.users(4)
        wait_until(lambda: lab.backend.received > 8, "load")
        assert lease_of(lab.environment).until == math.inf
