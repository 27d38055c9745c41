"""Whatever a server says, an exchange ends in time with a reply or an error, holds little memory, spoils nothing."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import gevent
import pytest
from gevent.server import StreamServer
from hypothesis import given, settings
from hypothesis import strategies as st

from locust_adaptive.plugin.connections import Connections, Reply
from locust_adaptive.replay.record import Record
from locust_adaptive.replay.reply import ReplyError
from locust_adaptive.replay.wire import Encoder, Server
from tests.support.behaviours import CHUNKED, OK, requests, reset

TIMEOUT_S = 0.1
MEMORY = 4e6  # bytes; a read takes a quarter of a megabyte


class Place:
    """A server that does to each request what `behave(sock)` does now; `leaves` if that says so."""

    def __init__(self) -> None:
        self.behave: Callable[[Any], bool] = lambda sock: True
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()
        at = Server.parse(f"http://127.0.0.1:{self._server.server_port}")
        self._encoder, self.connections = Encoder(at), Connections(at, None, "always")

    def _serve(self, sock: Any, _address: Any) -> None:
        with suppress(OSError):
            for _ in requests(sock):
                if self.behave(sock):
                    return

    def send(self, method: str = "POST", keep: bool = True, timeout: float = TIMEOUT_S) -> Reply | Exception:
        outgoing = self._encoder.encode(Record(0, "", method, "/p", (), b"x" * 1000))
        with gevent.Timeout(10, AssertionError("it hangs")):
            try:
                return self.connections.exchange(outgoing, timeout, keep)
            except (OSError, ReplyError) as error:
                return error

    def close(self) -> None:
        self.connections.close()
        self._server.stop(timeout=0.1)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    made = Place()
    yield made
    made.close()


def answers(sock: Any) -> bool:
    sock.sendall(OK)
    return False


WORDS = [
    *(OK, CHUNKED, b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 204 X\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"\r\n", b"\n"),
    *(b"Content-Length: 3\r\n", b"Content-Length: 99999999999999999999\r\n", b"Content-Length: -1\r\n", b"abc"),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"ffffffffff\r\n",
    ),
    *(b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: x\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
]
PIECES = st.lists(st.sampled_from(WORDS) | st.binary(max_size=40), max_size=8)


@given(PIECES, st.sampled_from(["go on", "close", "reset", "hang"]), st.sampled_from(["GET", "HEAD", "POST"]))
@settings(max_examples=150)
def test_any_words_in_any_order(place: Place, pieces: list[bytes], ending: str, method: str) -> None:
    def behave(sock: Any) -> bool:
        for piece in pieces:
            sock.sendall(piece)
            gevent.sleep(0)
        if ending == "reset":
            reset(sock)
        elif ending == "hang":
            sock.recv(1)
        return ending != "go on"

    place.behave = behave
    for _ in "ab":  # the second maybe on a connection on which too much was said
        found = place.send(method)
        if isinstance(found, Reply):
            assert found.status_code >= 200
            assert found.length == len(found.content)
    place.connections.close()
    place.behave = answers
    after = place.send("GET", timeout=5)
    assert isinstance(after, Reply), after
    assert (after.status_code, after.content) == (200, b"ok")


@pytest.mark.parametrize(
    ("begins", "goes_on"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-Header: " + b"y" * 1000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y" * 1000),
        (b"HTTP/1.1 200 ", b"y" * 1000),
        (b"", b"\r\n" * 500),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 40),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"y" * 1000),
        (CHUNKED, b"2\r\nok\r\n" * 100),
        (CHUNKED + b"2;", b"y" * 1000),
        (CHUNKED + b"0\r\n", b"X-Trailer: " + b"y" * 1000 + b"\r\n"),
        (CHUNKED + b"0\r\nX: ", b"y" * 1000),
        (CHUNKED, b"0" * 1000),
    ],
    ids=[
        "headers",
        "a header",
        "a reason",
        "lines",
        "interim",
        "body",
        "chunks",
        "extension",
        "trailers",
        "a trailer",
        "0",
    ],
)
def test_a_reply_without_end_is_ended_and_not_kept(place: Place, begins: bytes, goes_on: bytes) -> None:
    def behave(sock: Any) -> bool:
        sock.sendall(begins)
        for _ in itertools.repeat(None, 200_000):
            sock.sendall(goes_on)
        return True

    place.behave = behave
    tracemalloc.start()
    try:
        found = place.send(keep=False, timeout=0.5)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(found, TimeoutError | ReplyError), found
    assert peak < MEMORY
    place.behave = answers
    assert isinstance(place.send("GET", timeout=5), Reply)
