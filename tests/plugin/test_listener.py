"""What the listener gets from Locust's own clients, against a server that is there."""

import pytest
from locust import FastHttpUser, HttpUser, events
from locust.env import Environment

from locust_adaptive.demo.process import DemoServer
from locust_adaptive.plugin.listener import record_to
from locust_adaptive.replay.store import Trace


@pytest.fixture(scope="module")
def server():
    with DemoServer() as server:
        yield server


@pytest.mark.parametrize("kind", [HttpUser, FastHttpUser])
def test_requests_of_locusts_clients_are_recorded(tmp_path, server, kind):
    class Someone(kind):
        abstract = True
        host = server.url

    environment = Environment(user_classes=[Someone], events=events.__class__())
    listener = record_to(environment, tmp_path / "t.trace", redact_fields=("user",))
    user = Someone(environment)
    user.client.post("/v2/x?a=1&token=CANARY", json={"user": "CANARY", "n": 1}, headers={"Authorization": "CANARY"})
    user.client.get("/v2/health/ready", name="ready")
    environment.events.request.fire(
        request_type="GET", name="other", response_time=1, response_length=0, exception=None, context={}, response=None
    )
    environment.events.quit.fire(exit_code=0)
    with Trace.open(tmp_path / "t.trace") as trace:
        post, get = (trace.record(i) for i in range(2))
        assert len(trace) == 2
        assert trace.info().start_ns > 1e18
    assert (post.method, post.path) == ("POST", "/v2/x?a=1&token=xxxxxx")
    assert post.body.replace(b" ", b"") == b'{"user":"xxxxxx","n":1}'
    assert (get.method, get.path, get.body) == ("GET", "/v2/health/ready", b"")
    assert post.session == get.session
    assert get.due_ns > 0
    assert listener.unknown == {"no request known": 1}
    assert b"CANARY" not in (tmp_path / "t.trace").read_bytes()
