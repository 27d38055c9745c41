"""What is given up is ended: by the worker that is told to, and by the conductor that tells it."""

from __future__ import annotations

from typing import Any

import pytest
from locust import FastHttpUser, task

from locust_adaptive import OpenLoop
from tests.plugin.test_worker import Worker, worker  # noqa: F401  (a fixture)
from tests.support.wait import wait_until


class Hanging(OpenLoop, FastHttpUser):
    @task
    def rank(self) -> None:
        self.client.get("/hang")


@pytest.mark.parametrize("worker", [Hanging], indirect=True)
def test_requests_that_hang_are_ended_when_they_are_given_up(worker: Any) -> None:  # noqa: F811
    held: Worker = worker
    held.setup("open")
    held.users(1)
    held.hold(1, 40.0)
    wait_until(lambda: held.backend.received > 5, "load")
    held.hold(2, 0.0)
    wait_until(lambda: held.flows(2), "a slice without load")
    assert held.flows(2)[-1].open > 0
    held.agent.hold({"probe": 3, "share": 0.0, "at": None, "abandon": True})
    wait_until(lambda: held.flows(3), "a slice after it")
    assert held.flows(3)[0].open == 0
    assert set(held.flows(3)[0].errors) == {"aborted"}
