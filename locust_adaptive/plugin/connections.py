"""The connections of this process to one server: kept open, the warmest first; each carries one request at a time."""

from __future__ import annotations

import ssl
from typing import Literal, NamedTuple

import gevent.socket

from ..replay.reply import ReplyError
from ..replay.wire import IDEMPOTENT, Outgoing, Server
from .connection import Address, Connection
from .deadlines import Deadlines
from .guards import clock
from .tls import Tls

Repeat = Literal["idempotent", "always", "never"]
"""Which requests are sent again when a kept connection ends without a byte of the reply: RFC 9110, 9.2.2."""


class Reply(NamedTuple):
    """What the server said. `head` (status line and headers, raw) and `content` only where they were to be kept."""

    status_code: int
    length: int
    head: bytes = b""
    content: bytes = b""


class Connections:
    """`opened`: connections so far. `repeated`: requests sent a second time, as nobody knows whether the first, on a
    connection that the server was about to close, was heard."""

    def __init__(self, server: Server, context: ssl.SSLContext | None, repeat: Repeat = "idempotent") -> None:
        """`context`: of TLS, for a server with the scheme https."""
        self.opened = self.repeated = 0
        self._server, self._context, self._repeat = server, context, repeat
        self._deadlines = Deadlines()
        self._idle: list[Connection] = []
        self._addresses: list[Address] = []

    def exchange(self, outgoing: Outgoing, timeout: float, keep: bool = False) -> Reply:
        """Send a request, on a kept connection if there is one, and wait for the whole reply.

        Raises `TimeoutError` after `timeout` seconds, `OSError` when nobody is there or the connection breaks, and
        `ReplyError` for what is no reply or half of one.
        """
        deadline = clock() + timeout
        kept = bool(self._idle)
        connection = self._idle.pop() if kept else self._open(deadline)
        try:
            connection.exchange(outgoing, deadline, keep)
        except (ConnectionError, ReplyError):
            if not kept or connection.reply.started or not self._may_repeat(outgoing.record.method):
                raise
            self.repeated += 1
            connection = self._open(deadline)
            connection.exchange(outgoing, deadline, keep)
        reply = connection.reply
        result = Reply(reply.status, reply.length, *((reply.head, reply.body) if keep else ()))
        if not connection.closed:
            self._idle.append(connection)
        return result

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()

    def _may_repeat(self, method: str) -> bool:
        return self._repeat == "always" or (self._repeat == "idempotent" and method in IDEMPOTENT)

    def _open(self, deadline: float) -> Connection:
        self.opened += 1
        if not self._addresses:
            self._addresses = self._resolve(deadline)
        for i, address in enumerate(self._addresses):
            connection = Connection(self._deadlines, self._idle.remove)
            tls = None if self._context is None else Tls(self._context, self._server.host)
            try:
                connection.connect(address, tls, deadline)
            except OSError:
                if i + 1 == len(self._addresses):
                    self._addresses = []  # it may have moved
                    raise
            else:
                return connection
        raise AssertionError("a name resolves to an address, or not at all")

    def _resolve(self, deadline: float) -> list[Address]:
        with gevent.Timeout(max(deadline - clock(), 0.0), TimeoutError("no address in time")):
            found = gevent.socket.getaddrinfo(self._server.host, self._server.port, type=gevent.socket.SOCK_STREAM)
        return [Address(family, where) for family, _, _, _, where in found]
