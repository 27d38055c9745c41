"""The target's side of the proxy: requests out, answers back to the client as they come."""

import asyncio
import os
from typing import TYPE_CHECKING, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from . import hop

if TYPE_CHECKING:
    from .clientside import ClientSide, Request


MAX_HEAD = 256 * 1024
"""Bytes of an answer's head, or of its trailers."""


class TargetSide(asyncio.Protocol):
    """The connection to the target that belongs to one client's. `begun`: the client has a part of the answer."""

    def __init__(self, client: "ClientSide") -> None:
        self.begun = False
        self.writable = True
        self.heard = 0.0  # by the loop's clock: when it last sent something, or got the request
        self._client = client
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._parser = HttpResponseParser(self)
        self._out: list[bytes] = []
        self._sent = self._asked = 0  # requests begun; bytes heard since the last of them
        self._unheard = 0  # bytes heard since the parser last had something whole
        self._reason, self._headers = b"", []  # type: bytes, hop.Headers
        self._trailers: hop.Headers = []
        self._request: Request | None = None  # which is being answered
        self._final = self._chunked = self._until_end = self._keep = self._done = False

    # The connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self._request is not None and not self.begun:
            self._last_words()
        self._transport = None
        if self._client.target is not self:
            return
        client, request = self._client, self._request
        if request is None:
            client.close()
        elif not client.requests:
            return  # the client went before the answer was whole
        elif self._until_end and exc is None:
            self._request = None
            client.answered(False)
        elif not self.begun and self._sent > 1 and not self._asked:
            client.abort()  # as the target did: kept alive too long. Clients know what to do then
        else:
            why = f" ({exc})" if exc is not None else ""
            client.fail(502, f"the target closed the connection before its answer was complete{why}")

    def pause_writing(self) -> None:
        self.writable = False
        self._client.regulate()

    def resume_writing(self) -> None:
        self.writable = True
        self._client.regulate()

    def regulate(self) -> None:
        """Read no faster than the client does."""
        if self._transport is not None and not self._transport.is_closing():
            if self._client.writable:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def abort(self) -> None:
        """End the connection at once: nobody waits for the answer."""
        if self._transport is not None:
            self._transport.abort()

    def send(self, request: "Request") -> None:
        """Pass on what has come of a request."""
        if self._request is not request and not request.answered:
            self._request, self.begun, self._asked = request, False, 0
            self._sent += 1
        if request.out and self._transport is not None:
            self.heard = self._loop.time()
            self._transport.write(b"".join(request.out))
        request.out.clear()

    # From the target.

    def data_received(self, data: bytes) -> None:
        self.heard = self._loop.time()
        if self._request is None:
            self._client.abort()  # nothing was asked
            self.abort()
            return
        self._asked += len(data)
        self._unheard += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as fault:
            self._flush()
            self._client.fail(502, f"the target's answer is not HTTP/1.1 ({fault})")
            return
        self._flush()
        if self._unheard > MAX_HEAD:
            self._client.fail(
                502, f"the head of the target's answer, or its trailers, are longer than {MAX_HEAD} bytes"
            )
        elif self._done:
            if self._request.method == b"HEAD":
                self._parser = HttpResponseParser(self)  # the old one waits for a body
            self._request, self._done, self.begun, self._final = None, False, False, False
            self._client.answered(self._keep)

    def _flush(self) -> None:
        if self._out:
            self._client.write(b"".join(self._out))
            self._out.clear()

    def on_message_begin(self) -> None:
        self._reason, self._headers, self._trailers = b"", [], []
        if self._done:
            self._keep = False  # more than was asked for

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        (self._trailers if self._final else self._headers).append((name, value))

    def on_headers_complete(self) -> None:
        self._unheard = 0
        status, request, headers = self._parser.get_status_code(), self._request, self._headers
        if request is None or self._done or status == 101:
            raise ValueError("an answer that was not asked for")
        line = b"HTTP/1.1 %d %b" % (status, self._reason)
        if status < 200:
            if not request.old:
                self._out.append(hop.head(line, hop.crossing(headers, hop.fields(headers))))
            return
        found = hop.fields(headers)
        old = self._parser.get_http_version() == "1.0"
        connection = hop.tokens(found, b"connection")
        bare = request.method == b"HEAD" or status in (204, 304)
        self._chunked = b"chunked" in hop.tokens(found, b"transfer-encoding")
        self._until_end = not (bare or self._chunked or b"content-length" in found)
        self._keep = b"keep-alive" in connection if old else b"close" not in connection
        self._keep = self._keep and not self._until_end
        hidden: frozenset[bytes] = frozenset()
        if self._chunked and request.old:  # who cannot read chunks reads to the end
            hidden, self._chunked, self._keep = frozenset({b"transfer-encoding", b"trailer"}), False, False
        wish = b"close" if not (self._keep and request.keep) else b"keep-alive" if request.old else b""
        self._out.append(hop.head(line, hop.crossing(headers, found, hidden), wish))
        self.begun = self._final = True
        self._done = request.method == b"HEAD"

    def on_body(self, data: bytes) -> None:
        self._unheard = 0
        if self._done:
            self._keep = False  # a body for HEAD
        else:
            self._out.append(hop.chunk(data) if self._chunked else data)

    def on_message_complete(self) -> None:
        self._unheard = 0
        if self._final and not self._done:
            self._done = True
            if self._chunked:
                self._out.append(hop.last_chunk(self._trailers))

    def _last_words(self) -> None:
        """What the target still said before it broke off, an early refusal of a large body say: read by nobody yet."""
        if self._transport is None or self._transport.get_extra_info("ssl_object") is not None:
            return
        try:
            while data := os.read(self._transport.get_extra_info("socket").fileno(), 65536):
                self.data_received(data)
        except OSError:
            return
