"""The hooks in Locust's clients: every request begun is finished, once, with the right name, time and kind of error."""

import errno
import gc
import http.client
import os
import socket
from typing import Any

import gevent
import gevent.socket
import pytest
import requests
from gevent.server import StreamServer
from geventhttpclient import useragent
from geventhttpclient.response import HTTPParseError
from locust import FastHttpUser, HttpUser, User, events, task
from locust.clients import HttpSession
from locust.contrib.fasthttp import FastHttpSession, LocustBadStatusCode
from locust.event import EventHook
from locust.exception import CatchResponseError, RescheduleTask, ResponseError, StopUser

from locust_adaptive.plugin import inflight
from locust_adaptive.plugin.inflight import CONTEXT_KEY, error_kind, instruments
from locust_adaptive.plugin.openloop import OpenLoop
from locust_adaptive.search.histogram import index_of
from tests.support.lab import Lab
from tests.support.wait import wait_until


class _Idle(User):
    @task
    def nothing(self) -> None:
        gevent.sleep(60)


class Desk(Lab):
    """A lab whose requests the test makes itself, from two clients."""

    def __init__(self) -> None:
        super().__init__(_Idle)
        hook, limits = self.environment.events.request, {"network_timeout": 0.2, "max_retries": 0}
        self.clients: dict[str, Any] = {
            "fast": FastHttpSession(self.backend.url, hook, None, **limits),
            "plain": HttpSession(self.backend.url, hook, None),
        }
        self.clients["plain"].trust_env = False

    def errors(self, name: str) -> dict[str, int]:
        counts = self.results()[name]
        assert counts.sent == sum(counts.hist.values())
        assert self.meter.in_flight == 0
        return counts.errors


both = pytest.mark.parametrize("kind", ["fast", "plain"])


def test_internals_are_there() -> None:
    assert inflight.missing_internals() == []


def test_install_again_does_nothing() -> None:
    with Desk() as desk:
        before = (HttpSession.request, FastHttpSession.request, list(desk.environment.events.request._handlers))
        inflight.install(desk.environment)
        after = (HttpSession.request, FastHttpSession.request, list(desk.environment.events.request._handlers))
        assert before == after
        assert events.request is not desk.environment.events.request


# -- outcomes ----------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("path", "errors"),
    [
        ("/", {}),
        ("/status/503", {"http 503": 1}),
        ("/status/404", {"http 404": 1}),
        ("/reset", {"reset": 1}),
        ("/moved", {}),
    ],
)
def test_answers(kind: str, path: str, errors: dict[str, int]) -> None:
    with Desk() as desk:
        desk.clients[kind].get(path)
        assert desk.errors(path) == errors
        assert desk.stats == 1, "redirects inside one call are one request"


@both
def test_refused(kind: str) -> None:
    with Desk() as desk, socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        desk.clients[kind].get(f"http://127.0.0.1:{port}/x?a=1")
        assert desk.errors("/x?a=1" if kind == "plain" else f"http://127.0.0.1:{port}/x?a=1") == {"refused": 1}


@both
@pytest.mark.parametrize(
    "half",
    [
        b"Content-Length: 100\r\n\r\nhalf",
        b"Transfer-Encoding: chunked\r\n\r\n64\r\nhalf",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
)
def test_half_a_body(kind: str, half: bytes) -> None:
    def answer(sock: socket.socket, _address: Any) -> None:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\n" + half)

    server = StreamServer(("127.0.0.1", 0), answer)
    server.start()
    with Desk() as desk:
        desk.clients[kind].get(f"http://127.0.0.1:{server.server_port}/half", name="half")
        assert desk.errors("half") == {"reset": 1}
    server.stop(timeout=0.1)


@both
def test_no_such_name(kind: str) -> None:
    with Desk() as desk:
        desk.clients[kind].get("http://nowhere.invalid/", name="lost")
        assert desk.errors("lost") == {"dns": 1}


@both
@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.EMFILE, "no descriptors"),
        (errno.EADDRNOTAVAIL, "no ports"),
        (errno.ENOBUFS, "no buffers"),
        (errno.EHOSTUNREACH, "unreachable"),
    ],
)
def test_what_the_socket_layer_says(kind: str, number: int, error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(_sock: Any, _address: Any) -> None:
        raise OSError(number, os.strerror(number))

    with Desk() as desk:
        monkeypatch.setattr(gevent.socket.socket, "connect", connect)
        desk.clients[kind].get("/", name="unsent")
        assert desk.errors("unsent") == {error: 1}


@both
def test_timeout(kind: str) -> None:
    with Desk() as desk:
        desk.clients[kind].get("/hang", **({"timeout": 0.2} if kind == "plain" else {}))
        assert desk.errors("/hang") == {"timeout": 1}


@both
def test_a_timeout_around_the_call(kind: str) -> None:
    with Desk() as desk:
        with gevent.Timeout(0.1, False):  # FastHttpSession makes it an answer of its own
            desk.clients[kind].get("/hang")
        assert desk.errors("/hang") == {"timeout": 1}


@both
def test_killed_in_a_request(kind: str) -> None:
    with Desk() as desk:
        greenlet = gevent.spawn(desk.clients[kind].get, "/hang")
        wait_until(lambda: desk.backend.paths["/hang"], "the request")
        assert desk.meter.in_flight == 1
        greenlet.kill()
        assert desk.errors("/hang") == {"aborted": 1}
        assert desk.stats == 0


def test_no_url() -> None:
    with Desk() as desk:
        with pytest.raises(requests.exceptions.InvalidURL):
            desk.clients["plain"].get("http://")
        assert desk.meter.in_flight == 0
        assert [counts.errors for counts in desk.results().values()] == [{"exception": 1}]


# -- with-blocks -------------------------------------------------------------------------------------------------------


@both
def test_with_blocks_judge(kind: str) -> None:
    with Desk() as desk:
        client = desk.clients[kind]
        with client.get("/", catch_response=True) as response:
            response.failure("not what I asked for")
        with client.get("/", catch_response=True):
            raise ResponseError("nor this")
        with client.get("/status/500", name="/", catch_response=True) as response:
            response.success()
        with client.get("/status/500", name="/", catch_response=True):
            pass
        assert desk.errors("/") == {"check": 2, "http 500": 1}
        assert desk.stats == 4


@both
def test_an_exception_in_a_with_block(kind: str) -> None:
    with Desk() as desk:
        with pytest.raises(KeyError), desk.clients[kind].get("/", catch_response=True):
            raise KeyError("x")
        assert desk.meter.in_flight == 0
        assert desk.errors("/") == {"exception": 1}
        assert desk.stats == 0, "Locust fires no event for it"


@both
def test_killed_in_a_with_block(kind: str) -> None:
    with Desk() as desk:
        inside = []

        def block() -> None:
            with desk.clients[kind].get("/", catch_response=True):
                inside.append(True)
                gevent.sleep(60)

        greenlet = gevent.spawn(block)
        wait_until(lambda: inside, "the block")
        greenlet.kill()
        assert desk.errors("/") == {"aborted": 1}


@both
def test_a_forgotten_with_block_is_loud(kind: str) -> None:
    with Desk() as desk:
        desk.clients[kind].get("/", name="lost", catch_response=True)
        gc.collect()
        desk.clients[kind].get("/")
        assert desk.errors("lost") == {"unreported": 1}


@both
def test_what_a_with_block_takes_is_not_latency(kind: str) -> None:
    with Desk() as desk:
        client = desk.clients[kind]
        with client.get("/", name="long block", catch_response=True):
            gevent.sleep(0.3)
        with client.get("/", name="own time", catch_response=True) as response:
            response.request_meta["response_time"] += 1000
        results = desk.results()
        assert max(results["long block"].hist) < index_of(0.2)
        assert index_of(1.0) <= max(results["own time"].hist) < index_of(1.2)


@both
def test_the_name_may_change_until_the_end(kind: str) -> None:
    with Desk() as desk:
        client = desk.clients[kind]
        with client.get("/", catch_response=True) as response:
            response.request_meta["name"] = "renamed"
        with client.rename_request("grouped"):
            client.get("/")
        results = desk.results()
        assert {name: counts.sent for name, counts in results.items() if counts.sent} == {"renamed": 1, "grouped": 1}


# -- listeners ---------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("error", [StopUser, RescheduleTask])
@pytest.mark.parametrize("in_block", [False, True])
def test_a_listener_that_raises(kind: str, error: type[Exception], in_block: bool) -> None:
    with Desk() as desk:

        def listener(**_: Any) -> None:
            raise error

        desk.environment.events.request.add_listener(listener)
        with pytest.raises(error), desk.clients[kind].get("/", catch_response=in_block):
            pass
        assert desk.errors("/") == {}


@both
def test_the_user_s_own_context_is_kept(kind: str) -> None:
    with Desk() as desk:
        seen: list[dict[str, Any]] = []
        desk.environment.events.request.add_listener(lambda context, **_: seen.append(context))
        mine = {"a": 1}
        desk.clients[kind].get("/", context=mine)
        assert mine == {"a": 1}
        assert seen[0].keys() == {"a", CONTEXT_KEY}
        assert seen[0]["a"] == 1


def test_context_by_position() -> None:
    with Desk() as desk:
        desk.clients["plain"].request("GET", "/", None, False, {"a": 1})
        desk.clients["fast"].request("GET", "/", None, None, False, False, None, None, None, True, {"a": 1})
        assert desk.errors("/") == {}
        assert desk.stats == 2


# -- other clients -----------------------------------------------------------------------------------------------------


def test_other_clients_are_counted_as_they_end() -> None:
    with Desk() as desk:
        hook: EventHook = desk.environment.events.request
        with hook.measure("grpc", "Rank"):
            gevent.sleep(0.1)
        hook.fire(
            request_type="grpc",
            name="Rank",
            response_time=100,
            response_length=0,
            exception=ValueError("no"),
            context=None,
        )
        counts = desk.results()["Rank"]
        assert (counts.sent, counts.errors) == (2, {"exception": 1})
        assert index_of(0.099) <= min(counts.hist) <= max(counts.hist) < index_of(0.2)
        assert instruments.untracked == {"grpc"}
        flows = [flow for shipment in desk.meter.collect(0) for flow in shipment.flows]
        assert all(bucket < index_of(0.05) for flow in flows for bucket in flow.lag), "time in flight is no send lag"


def test_other_clients_in_open_loop_count_from_the_arrival() -> None:
    class Other(OpenLoop, User):
        def on_start(self) -> None:
            self.fire("login")

        def fire(self, name: str, exception: Exception | None = None) -> None:
            self.environment.events.request.fire(
                request_type="db", name=name, response_time=1, response_length=0, exception=exception, context={}
            )

        @task
        def work(self) -> None:
            gevent.sleep(0.05)
            self.fire("first", TimeoutError())
            self.fire("second")

    with Lab(Other) as lab:
        lab.scheduler.set_rate(100)
        lab.users(1)
        wait_until(lambda: lab.meter.in_flight >= 2, "arrivals in flight before their event")
        lab.arrivals(20)
        lab.drain()
        n = lab.scheduler.arrivals
        results = lab.results()
        assert {name: counts.sent for name, counts in results.items() if counts.sent} == {"first": n, "second": n}
        assert results["first"].errors == {"timeout": n}
        assert min(results["first"].hist) >= index_of(0.049)
        assert max(results["second"].hist) < index_of(0.02)
        assert instruments.untracked == {"db"}


# -- users -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [FastHttpUser, HttpUser])
def test_child_greenlets_and_failures_in_open_loop(base: Any) -> None:
    class Family(OpenLoop, base):
        abstract = True

        @task
        def page(self) -> None:
            self.client.get("/page")
            gevent.joinall([gevent.spawn(self.part, n) for n in range(3)])

        def part(self, n: int) -> None:
            with self.client.get(f"/part?{n}", name="/part", catch_response=True) as response:
                gevent.sleep(0.01)
                if n == 0:
                    response.failure("no good")

    family = type("Family", (Family,), {})
    with Lab(family) as lab:
        lab.scheduler.set_rate(60)
        lab.users(1)
        lab.arrivals(20)
        lab.drain()
        n = lab.scheduler.arrivals
        results = lab.results()
        assert {name: counts.sent for name, counts in results.items()} == {"/page": n, "/part": 3 * n}
        assert results["/part"].errors == {"check": n}
        assert not results["/page"].errors
        assert lab.stats == lab.backend.received == 4 * n


def test_closed_loop_users_killed_on_the_way_down() -> None:
    class Closed(FastHttpUser):
        @task
        def hang(self) -> None:
            self.client.get("/hang")

    with Lab(Closed) as lab:
        lab.users(20)
        wait_until(lambda: lab.meter.in_flight == 20, "20 requests")
        lab.users(5)
        assert lab.meter.in_flight == 5
        lab.runner.stop()
        assert lab.results()["/hang"].errors == {"aborted": 20}


# -- kinds of error ----------------------------------------------------------------------------------------------------


def _http_error(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError("x", response=response)


def _caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (gevent.GreenletExit(), "aborted"),
        (CatchResponseError("x"), "check"),
        (ResponseError("x"), "check"),
        (LocustBadStatusCode("/", code=502), "http 502"),
        (_http_error(429), "http 429"),
        (TimeoutError(), "timeout"),
        (gevent.Timeout(), "timeout"),
        (requests.ConnectTimeout(), "timeout"),
        (_caused(useragent.ConnectionError("/"), TimeoutError()), "timeout"),
        (ConnectionRefusedError(), "refused"),
        (_caused(requests.ConnectionError(), ConnectionRefusedError()), "refused"),
        (ConnectionResetError(), "reset"),
        (BrokenPipeError(), "reset"),
        (http.client.IncompleteRead(b""), "reset"),
        (HTTPParseError("Incomplete response."), "reset"),
        (HTTPParseError("('Expected HTTP/, RTSP/ or ICE/', 8)"), "connection"),
        (http.client.BadStatusLine("x"), "connection"),
        (useragent.ConnectionError("/"), "connection"),
        (socket.gaierror(-2, "Name or service not known"), "dns"),
        (_caused(requests.ConnectionError(), socket.gaierror(-2, "x")), "dns"),
        (OSError(errno.EHOSTUNREACH, "x"), "unreachable"),
        (OSError(errno.ENETUNREACH, "x"), "unreachable"),
        (OSError(errno.EMFILE, "x"), "no descriptors"),
        (OSError(errno.ENFILE, "x"), "no descriptors"),
        (_caused(requests.ConnectionError(), OSError(errno.EADDRNOTAVAIL, "x")), "no ports"),
        (_caused(useragent.ConnectionError("/"), OSError(errno.EADDRNOTAVAIL, "x")), "no ports"),
        (OSError(errno.ENOBUFS, "x"), "no buffers"),
        (OSError(errno.ENOMEM, "x"), "no buffers"),
        (OSError(errno.EPROTO, "x"), "connection"),
        (requests.exceptions.InvalidURL(), "exception"),
        (ValueError(), "exception"),
        ("just text", "exception"),
    ],
)
def test_error_kinds(error: Any, kind: str) -> None:
    assert error_kind(error) == kind
