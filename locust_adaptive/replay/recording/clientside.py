"""The client's side of the proxy: requests in, to the target as they come, and to the recorder when they are complete.

Each client's connection has one of its own to the target, for as long as both live. So connections are reused, kept and
closed as if the proxy were not there: one that the target closes while idle is closed for the client, too.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from . import hop
from .arrival import Arrival

if TYPE_CHECKING:
    from .relay import Relay
    from .targetside import TargetSide

MAX_HEAD = 64 * 1024
LINGER_S = 2.0
"""How long a client may go on sending what nobody reads any more, so that it sees the answer and not a reset."""


class Request:
    """One request on its way. `out` is what the target has not got yet; `complete`: all of it has come."""

    __slots__ = ("answered", "arrival", "chunked", "complete", "keep", "method", "old", "out", "trailers")

    def __init__(self, method: bytes, *, keep: bool, chunked: bool, old: bool) -> None:
        self.method = method
        self.keep = keep  # the client wants to go on with the connection
        self.chunked = chunked
        self.old = old  # HTTP/1.0
        self.out: list[bytes] = []
        self.complete = self.answered = False
        self.trailers: hop.Headers = []
        self.arrival: Arrival | None = None


class ClientSide(asyncio.Protocol):
    """One client's connection. `requests` are those not answered yet; only the first is with the target."""

    def __init__(self, relay: "Relay") -> None:
        self.requests: deque[Request] = deque()
        self.target: TargetSide | None = None
        self.writable = True
        self._relay = relay
        self._transport: asyncio.Transport | None = None
        self._name = ""
        self._connecting: asyncio.Task[None] | None = None
        self._deaf = False  # what still comes is not read
        self._parser = HttpRequestParser(self)
        self._url, self._headers = b"", []  # type: bytes, hop.Headers
        self._in_head = False
        self._unheard = 0  # bytes read since the parser last had something whole: of a head, trailers, a chunk's line
        self._coming: Request | None = None  # whose body is being read
        self._came: list[Arrival] = []
        self._refusal: tuple[int, str] | None = None
        self._now_ns = self._began_ns = 0

    @property
    def idle(self) -> bool:
        """Is nothing under way?"""
        return not self.requests and not self._in_head

    # The connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        host, port = (transport.get_extra_info("peername") or ("", 0))[:2]
        self._name = f"{host}:{port} {self._relay.joined(self)}"

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._relay.left(self)
        if self._connecting is not None:
            self._connecting.cancel()
        if self.target is not None:
            self.target.abort()
        self._abandon()
        self.requests.clear()

    def pause_writing(self) -> None:
        self.writable = False
        if self.target is not None:
            self.target.regulate()

    def resume_writing(self) -> None:
        self.writable = True
        if self.target is not None:
            self.target.regulate()

    def regulate(self) -> None:
        """Read only what can go on to the target; a second request waits for the answer to the first."""
        if self._transport is None or self._transport.is_closing():
            return
        stuck = self._coming is not None and (self.target is None or not self.target.writable)
        if (stuck or len(self.requests) > 1) and not self._deaf:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # From the client.

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._now_ns = self._relay.now_ns()
        self._unheard += len(data)
        try:
            self._feed(data)
        except HttpParserError as fault:
            self._misunderstood(*(self._refusal or (400, f"this is no HTTP/1.1 request that can be relayed ({fault})")))
        else:
            if self._unheard > MAX_HEAD:
                self._misunderstood(431, f"the request's head, or its trailers, are longer than {MAX_HEAD} bytes")
        self._forward()
        # When the target has got it: what the recorder does costs this client nothing.
        for arrival in self._came:
            arrival.end()
        self._came.clear()

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as offset:
            # Another protocol was offered, HTTP/2 say. A server may ignore that, and we do; but the parser stops there.
            found = hop.fields(self._headers)
            close = b"close" if b"close" in hop.tokens(found, b"connection") else b""
            line = b"%b %b HTTP/1.1" % (self._parser.get_method(), self._url)
            plain = hop.head(line, hop.crossing(self._headers, found, frozenset({b"http2-settings"})), close)
            self._parser = HttpRequestParser(self)
            self._feed(plain + data[offset.args[0] :])

    def on_message_begin(self) -> None:
        self._url, self._headers, self._in_head = b"", [], True
        self._began_ns = self._now_ns

    def on_url(self, part: bytes) -> None:
        self._url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        (self._headers if self._coming is None else self._coming.trailers).append((name, value))

    def on_headers_complete(self) -> None:
        self._in_head, self._unheard = False, 0
        headers, method = self._headers, self._parser.get_method()
        found = hop.fields(headers)
        codings = hop.tokens(found, b"transfer-encoding")
        if method == b"CONNECT":
            self._refuse_head(501, "CONNECT is for forward proxies; this one has one target")
        if codings - {b"chunked"}:
            self._refuse_head(501, "of the transfer codings only chunked is relayed")
        if self._parser.should_upgrade():
            if b"websocket" in hop.tokens(found, b"upgrade"):
                self._refuse_head(501, "WebSockets are not relayed; connect them to the target itself")
            return
        if self._url.startswith((b"http://", b"https://")):  # the absolute form, RFC 9112, 3.2.2
            self._url = b"/" + self._url.partition(b"://")[2].partition(b"/")[2]
        old = self._parser.get_http_version() == "1.0"
        request = Request(method, keep=self._parser.should_keep_alive(), chunked=bool(codings), old=old)
        request.out.append(self._relay.request_head(request, self._url, headers, found))
        request.arrival = self._relay.arrival(method, self._url, headers, self._name, self._began_ns)
        self.requests.append(request)
        self._coming = request

    def on_body(self, data: bytes) -> None:
        self._unheard = 0
        if (request := self._coming) is not None:
            request.out.append(hop.chunk(data) if request.chunked else data)
            if request.arrival is not None:
                request.arrival.feed(data)

    def on_message_complete(self) -> None:
        self._unheard = 0
        if (request := self._coming) is not None:
            self._coming = None
            request.complete = True
            if request.chunked:
                request.out.append(hop.last_chunk(request.trailers))
            if request.arrival is not None:
                self._came.append(request.arrival)

    def _refuse_head(self, status: int, text: str) -> None:
        self._refusal = (status, text)
        raise ValueError(text)  # the parser stops

    def _misunderstood(self, status: int, text: str) -> None:
        """Nothing more can be read from this client."""
        whole = [request for request in self.requests if request.complete]
        if len(whole) < len(self.requests):
            self.fail(status, text)  # the target has a part of it
        elif whole:
            whole[-1].keep = False  # those before it are answered, then the connection closes
            self._deaf = True
        else:
            self._say(status, text)

    # To the target.

    def _forward(self) -> None:
        if self.requests and self._transport is not None:
            request = self.requests[0]
            if self.target is not None:
                self.target.send(request)
                if request.answered and request.complete:
                    self.answered(True)
            elif self._connecting is None:
                self._connecting = asyncio.get_running_loop().create_task(self._connect())
        self.regulate()

    async def _connect(self) -> None:
        try:
            self.target = await self._relay.connect(self)
        except TimeoutError:
            self.fail(504, f"no connection to the target {self._relay.target} within {self._relay.connect_s:g} s")
        except OSError as fault:
            self.fail(502, f"no connection to the target {self._relay.target}: {fault}")
        else:
            self._forward()

    # The answer.

    def write(self, data: bytes) -> None:
        """Pass a part of an answer on."""
        if self._transport is not None:
            self._transport.write(data)

    def answered(self, keep: bool) -> None:
        """The first request has its answer. `keep`: the connection to the target goes on."""
        request = self.requests[0]
        if not (keep and request.keep):
            self._end(lingering=not request.complete or len(self.requests) > 1)
        elif not request.complete:
            request.answered = True  # the target reads the rest
        else:
            self.requests.popleft()
            if self.requests:
                self._forward()
            elif self._relay.closing:
                self.close()

    def fail(self, status: int, text: str) -> None:
        """The first request gets this answer from us, if none has begun, and the connection ends."""
        target = self.target
        if target is not None:
            target.abort()
        if self._transport is None or self._deaf:
            return
        if target is not None and target.begun:
            self._transport.abort()  # the client sees that the answer is cut off
        else:
            self._relay.failed += 1
            self._say(status, text)

    def close(self) -> None:
        """End the connection, as the target has."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once: a client in the middle of an answer sees that."""
        if self._transport is not None:
            self._transport.abort()

    def _say(self, status: int, text: str) -> None:
        self.write(hop.answer(status, text, bool(self.requests) and self.requests[0].method == b"HEAD"))
        self._end(lingering=True)

    def _end(self, lingering: bool) -> None:
        self._abandon()
        self.requests.clear()
        self._deaf = True
        if self.target is not None:
            self.target.abort()
        if self._transport is None:
            return
        if not lingering:
            self._transport.close()
            return
        self.regulate()
        with suppress(OSError):  # the client may have gone already
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_S, self.close)

    def _abandon(self) -> None:
        for request in self.requests:
            if request.arrival is not None and not request.complete:
                request.arrival.abandon()
                request.arrival = None
