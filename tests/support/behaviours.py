"""What HTTP servers do, well and badly: one function a behaviour, over a plain socket that has just been accepted."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import gevent

Behaviour = Callable[[Any], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LARGE = 5_000_000
"""Bytes of a large body, more than the buffers of a connection hold."""


def requests(sock: Any) -> Iterator[bytes]:
    """The requests of a connection, whole, one after the other."""
    pending = b""
    while True:
        while b"\r\n\r\n" not in pending:
            if not (data := sock.recv(65536)):
                return
            pending += data
        head, _, pending = pending.partition(b"\r\n\r\n")
        lengths = [
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        ]
        length = lengths[0] if lengths else 0
        while len(pending) < length:
            if not (data := sock.recv(65536)):
                return
            pending += data
        yield head + b"\r\n\r\n" + pending[:length]
        pending = pending[length:]


def reset(sock: Any) -> None:
    """End the connection with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def says(*pieces: bytes, pause: float = 0.0, close: bool = False) -> Behaviour:
    """Answers each request with these bytes, in these pieces; then ends the connection, or waits for more."""

    def serve(sock: Any) -> None:
        for _ in requests(sock):
            for piece in pieces:
                sock.sendall(piece)
                gevent.sleep(pause)
            if close:
                return

    return serve


def hangs(*pieces: bytes) -> Behaviour:
    """Says so much of an answer, and nothing more until the client leaves."""

    def serve(sock: Any) -> None:
        for _ in requests(sock):
            for piece in pieces:
                sock.sendall(piece)
            sock.recv(1)
            return

    return serve


def resets(*pieces: bytes) -> Behaviour:
    """Says so much of an answer, then RST."""

    def serve(sock: Any) -> None:
        for _ in requests(sock):
            for piece in pieces:
                sock.sendall(piece)
            gevent.sleep(0.02)
            reset(sock)
            return

    return serve


def refuses_early(sock: Any) -> None:
    """413 as soon as the head is there; the body is not read. The connection ends orderly, a moment later."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(4096)
    sock.sendall(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")
    gevent.sleep(0.05)


def refuses_early_and_drains(sock: Any) -> None:
    """413 as soon as the head is there, and goes on reading what it does not want."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(4096)
    sock.sendall(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")
    with suppress(OSError):
        while sock.recv(65536):
            pass


def forgets(sock: Any) -> None:
    """Keeps the connection, and ends it when the second request comes: its time was just over."""
    for number, _ in enumerate(requests(sock)):
        if number:
            return
        sock.sendall(OK)


def forgets_with_reset(sock: Any) -> None:
    for number, _ in enumerate(requests(sock)):
        if number:
            reset(sock)
            return
        sock.sendall(OK)


def ends_when_idle(sock: Any) -> None:
    """Answers one request, then ends the connection although it said nothing of that."""
    for _ in requests(sock):
        sock.sendall(OK)
        gevent.sleep(0.02)
        return


def knows_no_tls(sock: Any) -> None:
    """Answers what it takes for a bad request, as a server without TLS does when a client begins with that."""
    sock.recv(65536)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbad")


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BEHAVIOURS: dict[str, Behaviour] = {
    "length": says(OK),
    "chunked": says(CHUNKED + b"2\r\nok\r\n0\r\n\r\n"),
    "chunk extensions, trailers": says(CHUNKED + b"2;a=b\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"),
    "100 first": says(b"HTTP/1.1 100 Continue\r\n\r\n", OK),
    "103 first": says(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK),
    "101": says(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", close=True),
    "204": says(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "304": says(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
    "500": says(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno"),
    "no reason": says(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok"),
    "close": says(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", close=True),
    "ends with the connection": says(b"HTTP/1.1 200 OK\r\n\r\nok", close=True),
    "HTTP/1.0": says(b"HTTP/1.0 200 OK\r\n\r\nok", close=True),
    "HTTP/1.0 keep-alive": says(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"),
    "byte by byte": says(*(bytes([b]) for b in OK), pause=0.001),
    "large": says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE + bytes(LARGE)),
    "headers without end": says(b"HTTP/1.1 200 OK\r\n" + b"X: %s\r\n" % (b"y" * 1000) * 1000, close=True),
    "408 after the reply": says(OK + b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", close=True),
    "rubbish after the reply": says(OK + b"rubbish"),
    "rubbish": says(b"rubbish\r\n\r\n", close=True),
    "lines end in LF": says(OK.replace(b"\r\n", b"\n")),
    "two lengths": says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!"),
    "length and chunked": says(
        CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 12\r\n\r\n") + b"2\r\nok\r\n0\r\n\r\n"
    ),
    "half a head": says(b"HTTP/1.1 200 OK\r\nContent-Len", close=True),
    "half a body": says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", close=True),
    "half a chunk": says(CHUNKED + b"9\r\nok", close=True),
    "no last chunk": says(CHUNKED + b"2\r\nok\r\n", close=True),
    "no reply": says(close=True),
    "reset": resets(),
    "reset in the body": resets(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"),
    "hang": hangs(),
    "hang in the body": hangs(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"),
    "413 early": refuses_early,
    "413 early, drains": refuses_early_and_drains,
    "keep-alive race": forgets,
    "keep-alive race, reset": forgets_with_reset,
    "ends when idle": ends_when_idle,
}
