"""The connections of the replay client: bytes in and out, what is kept, what is sent again, TLS, deadlines."""

from __future__ import annotations

import hashlib
import random
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import gevent
import pytest
import trustme
from gevent.server import StreamServer

from locust_adaptive.plugin.connections import Connections, Repeat, Reply
from locust_adaptive.plugin.guards import clock
from locust_adaptive.replay.record import Record
from locust_adaptive.replay.reply import ReplyError
from locust_adaptive.replay.wire import Encoder, Server
from tests.support.behaviours import BEHAVIOURS, OK, Behaviour, hangs, requests, says
from tests.support.wait import wait_until

Serve = Callable[..., "Place"]


class Place:
    """A server of one behaviour, and connections to it."""

    def __init__(self, behaviour: Behaviour, repeat: Repeat = "idempotent", **tls: Any) -> None:
        self.accepted = 0
        client = tls.pop("client", None)
        self.server = StreamServer(("127.0.0.1", 0), self._serve, **tls)
        self.server.start()
        self._behaviour = behaviour
        at = Server.parse(f"{'https' if tls else 'http'}://localhost:{self.server.server_port}")
        self.encoder = Encoder(at)
        self.connections = Connections(at, client, repeat)

    def send(self, method: str = "POST", body: bytes = b"x", timeout: float = 5.0, keep: bool = True) -> Reply:
        return self.connections.exchange(self.encoder.encode(Record(0, "", method, "/p", (), body)), timeout, keep)

    def _serve(self, sock: Any, _address: Any) -> None:
        self.accepted += 1
        with suppress(OSError):
            self._behaviour(sock)


@pytest.fixture
def serve() -> Iterator[Serve]:
    places: list[Place] = []

    def make(behaviour: Behaviour, *args: Any, **kwargs: Any) -> Place:
        places.append(Place(behaviour, *args, **kwargs))
        return places[-1]

    yield make
    for place in places:
        place.connections.close()
        place.server.stop(timeout=0.1)


def echoes_digest(sock: Any) -> None:
    """Answers with the digest of the body, and as many bytes again as the body had, chunked every other time."""
    for number, request in enumerate(requests(sock)):
        body = request.partition(b"\r\n\r\n")[2]
        answer = hashlib.blake2b(body, digest_size=16).digest() + body
        if number % 2:
            sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for i in range(0, len(answer), 50_000):
                piece = answer[i : i + 50_000]
                sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            sock.sendall(b"0\r\n\r\n")
        else:
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))


def test_3000_random_bodies_arrive_and_come_back(serve: Serve) -> None:
    place = serve(echoes_digest)
    rng = random.Random(1)
    blob = rng.randbytes(300_000)
    sent = 0

    def some(seed: int) -> None:
        nonlocal sent
        rng = random.Random(seed)
        for _ in range(300):
            size = min(int(rng.expovariate(1 / 10_000)), len(blob)) if rng.random() < 0.95 else rng.randrange(len(blob))
            at = rng.randrange(len(blob) - size + 1)
            body = blob[at : at + size]
            reply = place.send(body=body, timeout=60)
            assert (reply.status_code, reply.length) == (200, 16 + size)
            assert reply.content == hashlib.blake2b(body, digest_size=16).digest() + body
            sent += 1

    gevent.joinall([gevent.spawn(some, seed) for seed in range(10)], raise_error=True)
    assert sent == 3000
    assert place.accepted == 10, "each connection carries one request at a time, and the next after it"


def test_the_warmest_connection_comes_first(serve: Serve) -> None:
    place = serve(says(OK))
    gevent.joinall([gevent.spawn(place.send) for _ in range(3)], raise_error=True)
    for _ in range(5):
        place.send()
    assert place.accepted == place.connections.opened == 3


def test_a_connection_closed_while_idle_is_not_used(serve: Serve) -> None:
    place = serve(BEHAVIOURS["ends when idle"], "never")
    for number in range(3):
        assert place.send().status_code == 200
        wait_until(lambda: not place.connections._idle, "the end is seen", 5)
        assert place.accepted == number + 1
    assert place.connections.repeated == 0


@pytest.mark.parametrize(
    ("repeat", "method", "again"),
    [
        ("idempotent", "PUT", True),
        ("idempotent", "POST", False),
        ("always", "POST", True),
        ("never", "PUT", False),
    ],
)
@pytest.mark.parametrize("race", ["keep-alive race", "keep-alive race, reset"])
def test_a_request_is_sent_again_where_nobody_knows(serve, race: str, repeat: Repeat, method: str, again: bool) -> None:
    place = serve(BEHAVIOURS[race], repeat)
    place.send(method)
    if again:
        assert place.send(method).status_code == 200
        assert (place.connections.repeated, place.accepted) == (1, 2)
    else:
        with pytest.raises((ReplyError, ConnectionError)):
            place.send(method)
        assert (place.connections.repeated, place.accepted) == (0, 1)


def test_what_fails_on_a_new_connection_is_not_sent_again(serve: Serve) -> None:
    place = serve(says(close=True), "always")
    with pytest.raises(ReplyError, match="without a reply"):
        place.send()
    assert (place.connections.repeated, place.accepted) == (0, 1)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_reply_to_head_has_no_body(serve: Serve, method: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    place = serve(says(head if method == "HEAD" else head + b"hello"))
    for _ in range(2):
        assert place.send(method, b"").length == (0 if method == "HEAD" else 5)


def test_interim_replies_are_not_the_head(serve: Serve) -> None:
    place = serve(
        says(b"HTTP/1.1 103 Early\r\nX: a\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: b\r\nContent-Length: 2\r\n\r\nok")
    )
    assert place.send() == (200, 2, b"HTTP/1.1 200 OK\r\nX: b\r\nContent-Length: 2", b"ok")


# -- deadlines and kills -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [(), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",)])
def test_a_deadline_ends_a_request_and_its_connection(serve: Serve, said: tuple[bytes, ...]) -> None:
    place = serve(hangs(*said))
    began = clock()
    with pytest.raises(TimeoutError):
        place.send(timeout=0.2)
    assert 0.2 <= clock() - began < 2
    assert not place.connections._idle


def test_a_deadline_ends_the_sending_of_a_body_nobody_reads(serve: Serve) -> None:
    place = serve(lambda sock: gevent.sleep(30))
    with pytest.raises(TimeoutError):
        place.send(body=bytes(20_000_000), timeout=0.3)


def test_a_killed_request_takes_its_connection_along(serve: Serve) -> None:
    place = serve(hangs())
    sender = gevent.spawn(place.send)
    wait_until(lambda: place.accepted == 1, "the request is there", 5)
    sender.kill()
    assert not place.connections._idle
    assert isinstance(sender.value, gevent.GreenletExit)


def test_a_timeout_of_the_callers_own_goes_through(serve: Serve) -> None:
    place = serve(hangs())
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
        place.send()


def test_nobody_there(serve: Serve) -> None:
    place = serve(says(OK))
    place.server.stop()
    with pytest.raises(ConnectionRefusedError):
        place.send()


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def tls(request: pytest.FixtureRequest, authority: trustme.CA) -> dict[str, Any]:
    """Contexts of a server and a client that trust the same authority."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    client.minimum_version = client.maximum_version = ssl.TLSVersion[request.param]
    return {"ssl_context": server, "client": client}


def test_bodies_over_tls(serve: Serve, tls: dict[str, Any]) -> None:
    place = serve(echoes_digest, **tls)
    for size in (0, 1, 100, 16_384, 3_000_000):
        body = random.Random(size).randbytes(size)
        assert place.send(body=body, timeout=20).content == hashlib.blake2b(body, digest_size=16).digest() + body
    assert place.accepted == 1


def test_tls_errors(serve: Serve, tls: dict[str, Any]) -> None:
    untrusting = serve(says(OK), **{**tls, "client": ssl.create_default_context()})
    with pytest.raises(ssl.SSLCertVerificationError):
        untrusting.send()
    idle = serve(BEHAVIOURS["ends when idle"], **tls)
    for _ in range(2):
        assert idle.send().status_code == 200
        wait_until(lambda: not idle.connections._idle, "the end is seen", 5)
    half = serve(BEHAVIOURS["half a body"], **tls)
    with pytest.raises((ReplyError, ssl.SSLError)):
        half.send()


def test_a_server_without_tls_is_said(serve: Serve, tls: dict[str, Any]) -> None:
    place = serve(says(OK))
    wrong = Connections(Server.parse(f"https://localhost:{place.server.server_port}"), tls["client"])
    with pytest.raises((ssl.SSLError, TimeoutError)):
        wrong.exchange(place.encoder.encode(Record(0, "", "GET", "/")), 1.0)
