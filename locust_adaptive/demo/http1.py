"""The server side of HTTP/1.1 on asyncio, by hand: the connection's parser and the loop that serves until told to stop.

Small and cheap on purpose: bodies by Content-Length only, keep-alive, pipelined requests answered in order. It knows
nothing of models; handlers get an `Exchange` and may answer it at once or later.
"""

from __future__ import annotations

import asyncio
import http
import os
import signal
import socket
import struct
import sys
from collections import Counter, deque
from collections.abc import Callable, Coroutine

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 1024 * 1024
MAX_PIPELINED = 64

_STATUS_LINE = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}


class Exchange:
    """One request and its answer. Header names are lower case; `path` has no query."""

    __slots__ = ("_close", "_connection", "_reply", "body", "headers", "method", "path")

    def __init__(
        self, connection: Connection, method: str, path: str, headers: dict[bytes, bytes], close: bool
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = b""
        self._connection = connection
        self._close = close
        self._reply: bytes | None = None

    def answer(self, status: int, body: bytes = b"", content_type: str = "application/json") -> None:
        """Send the answer, once, as soon as those before it on the connection are sent; lost if the client has gone."""
        if self._reply is not None:
            raise RuntimeError(f"{self.method} {self.path} is already answered")
        head = (
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
            f"{'Connection: close' if self._close else 'Connection: keep-alive'}\r\n\r\n"
        )
        self._reply = _STATUS_LINE[status] + head.encode() + (b"" if self.method == "HEAD" else body)
        self._connection.answered(status)

    def break_off(self, sent: bytes = b"") -> None:
        """End the connection, and with it what is pending there: after these raw bytes, or without any by a reset."""
        self._connection.break_off(sent)


class Connection(asyncio.Protocol):
    """One client's connection: bytes in, exchanges to `handler`, answers out in the order of the requests."""

    def __init__(
        self, handler: Callable[[Exchange], None], statuses: Counter[int], others: set[Connection] | None = None
    ) -> None:
        """`statuses` counts the answers of all connections by status; it is one of `others` while it is open."""
        self._handler = handler
        self._statuses = statuses
        self._others: set[Connection] = set() if others is None else others
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._incomplete: tuple[Exchange, int] | None = None
        self._pending: deque[Exchange] = deque()
        self._accepting = True
        self._parsing = False
        self._writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._others.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._others.discard(self)
        self._accepting = False
        self._pending.clear()
        self._buffer.clear()

    def data_received(self, data: bytes) -> None:
        if self._accepting:
            self._buffer += data
            self._parse()

    def pause_writing(self) -> None:
        self._writable = False
        self._hold_reading()

    def resume_writing(self) -> None:
        self._writable = True
        self._parse()
        self._hold_reading()

    def break_off(self, sent: bytes = b"") -> None:
        """Close after these raw bytes; reset without any."""
        self._accepting = False
        if self._transport is None:
            return
        if sent:
            self._transport.write(sent)
            self._transport.close()
        else:
            linger = struct.pack("ii", 1, 0)  # on, for no time: RST instead of FIN
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._transport.abort()

    def answered(self, status: int) -> None:
        """An exchange has its answer: send what is at the head of the line."""
        self._statuses[status] += 1
        if self._transport is None:
            return
        ready = []
        while self._pending and (reply := self._pending[0]._reply) is not None:
            ready.append(reply)
            if self._pending.popleft()._close:
                self._transport.write(b"".join(ready))
                self._transport.close()
                return
        if ready:
            self._transport.write(b"".join(ready))
        # An answer from inside the handler must not parse the next request inside this one.
        if not self._parsing:
            if self._buffer:
                self._parse()
            self._hold_reading()

    def _may_read(self) -> bool:
        return self._writable and len(self._pending) < MAX_PIPELINED

    def _hold_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            # Both calls do nothing when it is so already.
            if self._may_read():
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _parse(self) -> None:
        if self._parsing:
            return
        self._parsing = True
        try:
            while self._accepting and self._may_read() and self._next():
                pass
        finally:
            self._parsing = False
        if not self._may_read():
            self._hold_reading()

    def _next(self) -> bool:
        """Take one request out of the buffer; False when it is not all there."""
        if self._incomplete is None:
            while self._buffer.startswith(b"\r\n"):  # RFC 9112 2.2: empty lines before a request are ignored
                del self._buffer[:2]
            end = self._buffer.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
            if end < 0:
                if len(self._buffer) >= MAX_HEAD_BYTES:
                    self._refuse(431, f"the request's head is longer than {MAX_HEAD_BYTES} bytes")
                return False
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            try:
                self._incomplete = self._read_head(head)
            except _Refused as refused:
                self._refuse(refused.status, str(refused))
                return False
        exchange, length = self._incomplete
        if len(self._buffer) < length:
            return False
        exchange.body = bytes(self._buffer[:length])
        del self._buffer[:length]
        self._incomplete = None
        self._pending.append(exchange)
        self._accepting = not exchange._close
        self._handler(exchange)
        return True

    def _read_head(self, head: bytes) -> tuple[Exchange, int]:
        request_line, *lines = head.split(b"\r\n")
        words = request_line.split(b" ")
        if len(words) != 3 or not words[0].isalpha() or not words[1] or not request_line.isascii():
            raise _Refused(400, f"not an HTTP request line: {request_line[:80]!r}")
        method, target, version = (word.decode() for word in words)
        if version not in ("HTTP/1.1", "HTTP/1.0"):
            raise _Refused(505, f"only HTTP/1.1 and HTTP/1.0 are spoken here, not {version[:20]!r}")
        headers: dict[bytes, bytes] = {}
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon or not name or name != name.strip():
                raise _Refused(400, f"not a header line: {line[:80]!r}")
            name, value = name.lower(), value.strip()
            if name == b"content-length" and headers.get(name, value) != value:
                raise _Refused(400, "two Content-Length headers that differ")
            headers[name] = value
        if b"transfer-encoding" in headers:
            raise _Refused(411, "send the body with Content-Length; Transfer-Encoding is not understood here")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            raise _Refused(400, f"Content-Length is not a number: {length[:40]!r}")
        # Compared by digits first: int() of a very long number is slow and may be refused.
        if len(length.lstrip(b"0")) > 12 or int(length) > MAX_BODY_BYTES:
            raise _Refused(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
        if headers.get(b"expect", b"").lower() == b"100-continue" and not self._pending and self._transport:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        wish = headers.get(b"connection", b"").lower()
        close = wish == b"close" or (version == "HTTP/1.0" and wish != b"keep-alive")
        return Exchange(self, method, target.partition("?")[0], headers, close), int(length)

    def _refuse(self, status: int, message: str) -> None:
        """Answer a request that cannot be read, after those before it, and end the connection."""
        self._accepting = False
        exchange = Exchange(self, "", "", {}, close=True)
        self._pending.append(exchange)
        exchange.answer(status, f"{message}\n".encode(), "text/plain")


class CannotServe(RuntimeError):
    """The port cannot be had, or standard input cannot be watched; the message says what to change."""


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Listener:
    """The listening socket on 127.0.0.1 and its connections: may be closed, and opened again on the same port."""

    def __init__(self, handler: Callable[[Exchange], None], statuses: Counter[int], port: int) -> None:
        """`port` 0 takes a free one."""
        self.port = port
        self._connections: set[Connection] = set()
        self._make = lambda: Connection(handler, statuses, self._connections)
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Accept connections. Raises OSError or OverflowError if the port cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._make, "127.0.0.1", self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Accept no more, and reset the connections that there are."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.break_off()


async def serve(
    handler: Callable[[Exchange], None],
    statuses: Counter[int],
    port: int,
    until_stdin_eof: bool,
    attend: Callable[[Listener], Coroutine[None, None, None]] | None = None,
) -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT, or, when asked, until standard input ends.

    `port` 0 takes a free one. Prints one line, `ready http://127.0.0.1:PORT`, once connections are accepted. Ends at
    once: requests in flight are dropped. `attend` runs beside it, and may close and open the listener. Raises
    CannotServe.
    """
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if until_stdin_eof:
        stdin = sys.stdin.fileno()

        def read_stdin() -> None:
            if not os.read(stdin, 4096):
                loop.remove_reader(stdin)
                stopped.set()

        try:
            loop.add_reader(stdin, read_stdin)
        except PermissionError:
            raise CannotServe("standard input is a file, whose end cannot be waited for: give a pipe") from None
    listener = Listener(handler, statuses, port)
    try:
        await listener.open()
    except (OSError, OverflowError) as error:
        raise CannotServe(
            f"cannot serve on 127.0.0.1:{port}: {error}; choose another port, or 0 for a free one"
        ) from None
    print(f"ready http://127.0.0.1:{listener.port}", flush=True)
    attendant = asyncio.create_task(attend(listener)) if attend is not None else None
    await stopped.wait()
    if attendant is not None:
        attendant.cancel()
    listener.close()
