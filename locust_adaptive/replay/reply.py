"""Reading replies off a connection, one after the other. No I/O: bytes go in, as they come.

The grammar is llhttp's, by httptools; what is ours is when a reply is whole, and whether the connection may carry
another request after it (RFC 9112, 6.3 and 9.3).

A reply, as the bytes come:

    wait --feed--> head --feed--> body --feed--> whole          what is left of the input may end the connection's use
      |             |    1xx: head again  |
      +-----eof-----+-----------eof-------+--> ReplyError, or whole where only the end of the connection ends the body
"""

import re
from typing import Literal

import httptools

MAX_HEAD = 256 * 1024
"""Bytes of a reply before its body. The parser itself has no limit."""
_FRAMED = re.compile(rb"\n(?:content-length|transfer-encoding)[ \t]*:", re.IGNORECASE)


class ReplyError(Exception):
    """The bytes are no reply, or not a whole one. `kind` is the kind of error, as in a report."""

    def __init__(self, kind: Literal["reset", "connection"], message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ReplyReader:
    """Reads the replies of one connection. `begin` before each; then `feed` what comes, and `eof` at its end.

    `started`: something of the reply has come. `whole`: it is complete; from then on `status`, `length` (bytes of the
    body), `head` (status line and headers, raw) and `body` (where it was to be kept) hold, and `reusable`: another
    request may follow on this connection.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.begin()

    def begin(self, method: str = "GET", keep: bool = False) -> None:
        """The next reply is to a request of this method. `keep` its body: it is as large as the server likes."""
        self._no_body, self._keep, self._in_head = method == "HEAD", keep, True
        self._raw, self._interim = b"", 0
        self._body: list[bytes] = []
        self.whole = self.reusable = False
        self.status = self.length = 0

    @property
    def started(self) -> bool:
        return bool(self._raw)

    @property
    def head(self) -> bytes:
        # Interim replies have no body, so each ends with its head.
        return self._raw.split(b"\r\n\r\n", self._interim + 1)[self._interim]

    @property
    def body(self) -> bytes:
        return b"".join(self._body)

    def feed(self, data: bytes) -> None:
        """More bytes. Raises `ReplyError` for what is no reply; what follows a whole one makes it not reusable."""
        if self.whole:
            self.reusable = False
            return
        if self._in_head:
            if len(self._raw) > MAX_HEAD:
                raise ReplyError("connection", f"the head of the reply is longer than {MAX_HEAD} bytes")
            self._raw += data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise ReplyError("connection", f"the server switched protocols: http {self.status}") from None
        except httptools.HttpParserError as fault:
            if not self.whole:
                raise ReplyError("connection", f"no HTTP reply: {fault}") from None
            self.reusable = False

    def eof(self) -> None:
        """The connection has ended. Raises `ReplyError` unless the reply is whole, or whole by that."""
        self.reusable = False
        if self.whole:
            return
        if not self.started:
            raise ReplyError("reset", "the connection was closed without a reply")
        if self._in_head:
            raise ReplyError("reset", "the connection was closed within the head of the reply")
        if _FRAMED.search(self.head):
            raise ReplyError(
                "reset", f"the connection was closed within the reply, after {self.length} bytes of its body"
            )
        self.whole = True

    # -- called by the parser ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.whole:
            self.reusable = False

    def on_headers_complete(self) -> None:
        if self.whole:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self._interim += 1
            return
        self._in_head = False
        # The parser would take what follows for the body: the connection cannot go on with it.
        self.whole = self._no_body

    def on_body(self, data: bytes) -> None:
        if not self.whole:
            self.length += len(data)
            if self._keep:
                self._body.append(data)

    def on_message_complete(self) -> None:
        if self.status >= 200 and not self.whole:
            self.whole = True
            self.reusable = self._parser.should_keep_alive()  # always False once `feed_data` has returned
