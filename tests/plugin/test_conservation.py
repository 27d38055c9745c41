"""No request is lost, none counted twice: the server's count, Locust's and ours, while users come, go and come back.

The user class is an ordinary one. It runs unmodified in closed loop, and in open loop with the mixin alone.
"""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import gevent
import pytest
from locust import FastHttpUser, HttpUser, TaskSet, constant, task
from locust.user.task import LOCUST_STATE_WAITING

from locust_adaptive import OpenLoop
from tests.support.lab import Lab
from tests.support.scripted import Rig, Script
from tests.support.target import Service, Target
from tests.support.wait import wait_until

SERVICE = Service(workers=4, mean_s=0.02, sigma=0.4)
"""200 requests a second: 100 users wait half a second each, so many are open whenever users leave."""


def ordinary(base: Any) -> Any:
    """A user class as people write them; `quiet` users send nothing. `ids` counts what was sent."""
    ids = itertools.count()

    class Nested(TaskSet):
        @task
        def inside(self) -> None:
            self.user.send("/nested")
            self.interrupt(reschedule=False)

    class Ordinary(base):
        quiet = True
        wait_time = constant(0.02)
        tasks: ClassVar = {Nested: 1}

        def send(self, path: str, **more: Any) -> Any:
            if not self.quiet or path == "/login":
                return self.client.get(path, headers={"X-Id": str(next(ids))}, **more)
            return None

        def on_start(self) -> None:
            self.send("/login")

        @task(5)
        def plain(self) -> None:
            self.send("/plain")

        @task(2)
        def judged(self) -> None:
            if not self.quiet:
                with self.send("/judged", catch_response=True) as response:
                    response.failure("as it happens")

        @task(1)
        def broken(self) -> None:
            if not self.quiet:
                self.send("/broken")
                raise ValueError("a task that fails")

    Ordinary.ids = ids
    return Ordinary


@pytest.mark.parametrize("base", [HttpUser, FastHttpUser], ids=lambda base: base.__name__)
@pytest.mark.parametrize("loop", ["closed", "open"])
def test_100_3_100(base: Any, loop: str, tmp_path: Any) -> None:
    plain = ordinary(base)
    user_class = plain if loop == "closed" else type("Opened", (OpenLoop, plain), {})
    rest = 1.0 if loop == "closed" else 0.01

    def asked(number: int) -> None:
        # At the end users must be silent for the counts to meet, as what is then open is cut off; arrivals hardly come
        # any more.
        user_class.quiet = number >= 3 and loop == "closed"

    with Target(SERVICE) as target, Rig(tmp_path, target.url, user_class) as rig:
        rig.start(Script([(100, 1.0), (3, 1.0), (100, 1.0), (rest, 2.0)], asked))
        rig.ends(60)
        server = target.stats()
        locust = {name: entry.num_requests for (name, _), entry in rig.environment.stats.entries.items()}
        failures = {name: entry.num_failures for (name, _), entry in rig.environment.stats.entries.items()}
        flows = rig.flows

    made = next(plain.ids)
    assert server["received"] == server["answered"] == server["distinct_ids"] == made
    assert sum(locust.values()) == made
    # What on_start sends is set-up, and no load.
    assert sum(flow.sent for flow in flows) == made - locust["/login"]
    assert sum(flow.done for flow in flows) == made - locust["/login"]
    assert locust.keys() == {"/login", "/plain", "/judged", "/broken", "/nested"}
    assert failures == {**dict.fromkeys(locust, 0), "/judged": locust["/judged"]}
    assert rig.errors == locust["/broken"]
    # It was a real change of load each time, and the load came back.
    trials = rig.session.conductor.controller.trials
    assert [trial.load for trial in trials] == [100, 3, 100, rest]
    flows_of = [trial.measurement.flows for trial in trials]
    if loop == "closed":
        assert [flows[-1].users for flows in flows_of] == [100, 3, 100, 1]
    else:
        rates = [sum(f.tasks for f in flows) / sum(f.span for f in flows) for flows in flows_of]
        assert rates[:3] == pytest.approx([100, 3, 100], rel=0.3, abs=4)


def test_a_user_that_wakes_between_the_order_to_kill_it_and_its_death_sends_nothing() -> None:
    """Locust kills a waiting user a moment after it decides to: what it sent in between was lost."""

    class Waiting(FastHttpUser):
        wait_time = constant(0.05)

        @task
        def rank(self) -> None:
            self.client.get("/sleep/0.1")

    with Lab(Waiting) as lab:
        lab.users(1)
        user = lab.runner.user_greenlets.greenlets.copy().pop().args[0]
        wait_until(lambda: user._state == LOCUST_STATE_WAITING, "the wait")
        killone = user._group.killone

        def slowly(greenlet: Any, **more: Any) -> None:
            gevent.sleep(0.1)  # many users are being killed
            killone(greenlet, **more)

        user._group.killone = slowly
        user.stop()
        wait_until(lambda: user._greenlet.dead, "the end of the user")
        assert lab.backend.received == lab.stats == 1
