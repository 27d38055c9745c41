"""The replay client beside Locust's own two: what comes of a request to servers that behave well, and badly; over TLS.

Each client sends two requests, one after the other. Where Locust's clients come to another result, it is said why.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import gevent
import gevent.ssl
import pytest
import trustme
from gevent.server import StreamServer
from locust import FastHttpUser, HttpUser
from locust.env import Environment

from locust_adaptive.plugin.inflight import error_kind
from locust_adaptive.plugin.replayclient import ReplayClient
from locust_adaptive.replay.record import Record
from tests.support.behaviours import BEHAVIOURS, LARGE, Behaviour, knows_no_tls

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


def ours(environment: Environment, url: str, ca: str | None) -> Send:
    user = type("User", (), {"environment": environment})()
    client = ReplayClient(url, {}, timeout=TIMEOUT_S, verify=ca or True)
    return lambda method, body: client.send(user, Record(0, "", method, "/p", (), body))


def fast(environment: Environment, url: str, _ca: str | None, **attributes: Any) -> Send:
    attributes |= {"network_timeout": TIMEOUT_S, "connection_timeout": TIMEOUT_S}
    user: Any = type("User", (FastHttpUser,), {"host": url, "abstract": True, **attributes})(environment)
    return lambda method, body: user.client.request(method, "/p", data=body, allow_redirects=False)


def fast_verifying(environment: Environment, url: str, ca: str | None) -> Send:
    context = staticmethod(lambda cafile: gevent.ssl.create_default_context(cafile=ca or cafile))
    return fast(environment, url, ca, insecure=False, ssl_context_factory=context)


def http(environment: Environment, url: str, ca: str | None) -> Send:
    user: Any = type("User", (HttpUser,), {"host": url, "abstract": True})(environment)
    limits = {"timeout": TIMEOUT_S, "verify": ca or True}
    return lambda method, body: user.client.request(method, "/p", data=body, allow_redirects=False, **limits)


CLIENTS = {"ours": ours, "fast": fast, "http": http}


def results(
    client: Callable[..., Send],
    behaviour: Behaviour,
    body: bytes,
    scheme: str = "http",
    ca: str | None = None,
    **tls: Any,
) -> tuple[str, ...]:
    """What comes of two requests. `ca`: a file of the authorities that the client trusts; `tls`: the server's."""

    def serve(sock: Any, _address: Any) -> None:
        with suppress(OSError):
            behaviour(sock)

    server = StreamServer(("127.0.0.1", 0), serve, **tls)
    server.start()
    environment = Environment(user_classes=[])
    seen: list[str] = []

    def hear(exception: Any, response_length: int, **_: Any) -> None:
        seen.append(f"ok {response_length}" if exception is None else error_kind(exception))

    environment.events.request.add_listener(hear)
    try:
        send = client(environment, f"{scheme}://127.0.0.1:{server.server_port}", ca)
        for _ in range(2):
            with gevent.Timeout(20 * TIMEOUT_S):
                send("POST", body)
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
    body = bytes(LARGE if name.startswith("413") else 1)
    found = results(CLIENTS[client], BEHAVIOURS[name], body)
    assert found == (expected if isinstance(expected, tuple) else (expected, expected))


# -- TLS ---------------------------------------------------------------------------------------------------------------


class Over(NamedTuple):
    """How client and server come together."""

    scheme: str
    certificate: str | None
    """For this name; None for a server without TLS."""
    known: bool = True
    """The client trusts who issued it."""


TLS = {
    "trusted": (Over("https", "127.0.0.1"), OK),
    "unknown authority": (Over("https", "127.0.0.1", known=False), "connection"),
    "another's name": (Over("https", "elsewhere.example"), "connection"),
    "no TLS there": (Over("https", None), "connection"),
    "plain HTTP to a TLS port": (Over("http", "127.0.0.1"), "reset"),
}
TLS_CLIENTS = {**CLIENTS, "fast, verifying": fast_verifying}
NOT_VERIFYING = "it takes any certificate for good unless its user says insecure = False"
TLS_DIFFERENT = {
    ("fast", "unknown authority"): (OK, NOT_VERIFYING),
    ("fast", "another's name"): (OK, NOT_VERIFYING),
}


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, trustme.CA, Path]:
    """One that clients trust, another one, and the file with the first."""
    trusted, other = trustme.CA(), trustme.CA()
    file = tmp_path_factory.mktemp("tls") / "ca.pem"
    trusted.cert_pem.write_to_path(file)
    return trusted, other, file


@pytest.mark.parametrize("name", TLS)
@pytest.mark.parametrize("client", TLS_CLIENTS)
def test_what_comes_of_two_requests_over_tls(client: str, name: str, authorities) -> None:
    over, expected = TLS[name]
    if (client, name) in TLS_DIFFERENT:
        different, _why = TLS_DIFFERENT[client, name]
        assert different != expected, "only where it differs"
        expected = different
    trusted, other, file = authorities
    tls, behaviour = {}, knows_no_tls
    if over.certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (trusted if over.known else other).issue_cert(over.certificate).configure_cert(context)
        tls, behaviour = {"ssl_context": context}, BEHAVIOURS["length"]
    found = results(TLS_CLIENTS[client], behaviour, b"x", over.scheme, str(file), **tls)
    assert found == (expected, expected)
