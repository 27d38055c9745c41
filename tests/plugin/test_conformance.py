"""The replay client beside Locust's own two: what comes of a request to servers that behave well, and badly.

Each client sends two requests, one after the other. Where Locust's clients come to another result, it is said why.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
import pytest
from gevent.server import StreamServer
from locust import FastHttpUser, HttpUser
from locust.env import Environment

from locust_adaptive.plugin.inflight import error_kind
from locust_adaptive.plugin.replayclient import ReplayClient
from locust_adaptive.replay.record import Record
from tests.support.behaviours import BEHAVIOURS, LARGE

TIMEOUT_S = 0.5
OK, EMPTY = "ok 2", "ok 0"
"""A good reply, and the bytes of its body."""

EXPECTED: dict[str, str | tuple[str, str]] = {
    **dict.fromkeys(("length", "chunked", "chunk extensions, trailers", "100 first", "103 first", "no reason"), OK),
    **dict.fromkeys(("close", "ends with the connection", "HTTP/1.0", "HTTP/1.0 keep-alive", "byte by byte"), OK),
    **dict.fromkeys(("408 after the reply", "rubbish after the reply", "ends when idle"), OK),
    **dict.fromkeys(("204", "304"), EMPTY),
    **dict.fromkeys(("half a head", "half a body", "half a chunk", "no last chunk"), "reset"),
    **dict.fromkeys(("no reply", "reset", "reset in the body"), "reset"),
    **dict.fromkeys(("rubbish", "101", "headers without end"), "connection"),
    **dict.fromkeys(("lines end in LF", "two lengths", "length and chunked"), "connection"),
    **dict.fromkeys(("hang", "hang in the body"), "timeout"),
    **dict.fromkeys(("413 early", "413 early, drains"), "http 413"),
    **dict.fromkeys(("keep-alive race", "keep-alive race, reset"), (OK, "reset")),
    "500": "http 500",
    "large": f"ok {LARGE}",
}

STRICT = (
    "RFC 9112 lets a client refuse it (2.2, 6.3, 11.2): where a reply ends is open. httptools does, http.client not"
)
DIFFERENT: dict[str, dict[str, tuple[str, str]]] = {
    "fast": {
        "408 after the reply": (
            "http 408",
            "it takes the status of what follows the reply, with the body of the reply",
        ),
        "rubbish after the reply": ("connection", "it takes what follows the reply for a part of it"),
        "headers without end": ("reset", "it has no limit on a head, and reads to the end of the connection"),
    },
    "http": {
        "103 first": (EMPTY, "http.client knows of 100 only, and takes any other interim reply for the reply"),
        "101": (EMPTY, "it takes 101 for a good reply, though nobody asked for another protocol"),
        "half a head": (EMPTY, "it takes the end of the connection for the end of the head"),
        "lines end in LF": (OK, STRICT),
        "length and chunked": (OK, STRICT),
        "two lengths": ("exception", "refused as well; its kind is that of any other exception"),
    },
}

Send = Callable[[str, bytes], Any]


def ours(environment: Environment, url: str) -> Send:
    user = type("User", (), {"environment": environment})()
    client = ReplayClient(url, {}, timeout=TIMEOUT_S)
    return lambda method, body: client.send(user, Record(0, "", method, "/p", (), body))


def fast(environment: Environment, url: str) -> Send:
    limits = {"network_timeout": TIMEOUT_S, "connection_timeout": TIMEOUT_S}
    user: Any = type("User", (FastHttpUser,), {"host": url, "abstract": True, **limits})(environment)
    return lambda method, body: user.client.request(method, "/p", data=body, allow_redirects=False)


def http(environment: Environment, url: str) -> Send:
    user: Any = type("User", (HttpUser,), {"host": url, "abstract": True})(environment)
    return lambda method, body: user.client.request(method, "/p", data=body, allow_redirects=False, timeout=TIMEOUT_S)


CLIENTS = {"ours": ours, "fast": fast, "http": http}


def results(name: str, client: str) -> tuple[str, ...]:
    def serve(sock: Any, _address: Any) -> None:
        with suppress(OSError):
            BEHAVIOURS[name](sock)

    server = StreamServer(("127.0.0.1", 0), serve)
    server.start()
    environment = Environment(user_classes=[])
    seen: list[str] = []

    def hear(exception: Any, response_length: int, **_: Any) -> None:
        seen.append(f"ok {response_length}" if exception is None else error_kind(exception))

    environment.events.request.add_listener(hear)
    try:
        send = CLIENTS[client](environment, f"http://127.0.0.1:{server.server_port}")
        for _ in range(2):
            with gevent.Timeout(20 * TIMEOUT_S):
                send("POST", bytes(LARGE if name.startswith("413") else 1))
            # A server that ends the connection after its reply has done so before the next request.
            gevent.sleep(0.05)
    finally:
        server.stop(timeout=0.1)
    return tuple(seen)


def test_there_is_an_expectation_of_each_behaviour() -> None:
    assert EXPECTED.keys() == BEHAVIOURS.keys()
    assert len(BEHAVIOURS) >= 25


@pytest.mark.parametrize("name", BEHAVIOURS)
@pytest.mark.parametrize("client", CLIENTS)
def test_what_comes_of_two_requests(client: str, name: str) -> None:
    expected: Any = EXPECTED[name]
    if name in DIFFERENT.get(client, {}):
        expected, _why = DIFFERENT[client][name]
        assert expected != EXPECTED[name], "only where it differs"
    assert results(name, client) == (expected if isinstance(expected, tuple) else (expected, expected))
