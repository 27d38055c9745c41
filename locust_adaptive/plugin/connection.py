"""One HTTP/1.1 connection of the replay client: it sends a request and reads the reply at the same time.

The greenlet that uses it waits in the hub, and is woken by a watcher that stays armed for as long as the connection
lives: a reply needs no set-up of its own, and an idle connection that the server closes is known at once.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gevent
from gevent import monkey

from ..replay.reply import ReplyReader
from ..replay.wire import Outgoing
from .deadlines import Deadlines
from .tls import Tls

_RECV = 256 * 1024
_READABLE, _WRITABLE = 1, 2
_socket = monkey.get_original("socket", "socket")  # gevent's own waits with a watcher a call


class Address(NamedTuple):
    """What `getaddrinfo` says of a server, as far as it matters."""

    family: int
    where: tuple[Any, ...]


class Connection:
    """A connection that carries one request at a time; `reply` reads its replies.

    `closed`: it carries none any more, as after any that failed.
    """

    def __init__(self, deadlines: Deadlines, when_closed: Callable[[Connection], None]) -> None:
        """`when_closed` is told, in the hub, when the server ends the connection while it is idle."""
        self.reply = ReplyReader()
        self.closed = False
        self.deadline = 0.0
        self._deadlines, self._when_closed = deadlines, when_closed
        self._socket: Any = None
        self._reader: Any = None
        self._tls: Tls | None = None
        self._hub = gevent.get_hub()
        self._greenlet: Any = None
        """Who waits, in the hub."""

    def connect(self, address: Address, tls: Tls | None, deadline: float) -> None:
        """Raises `TimeoutError` when the clock is at the deadline before, else `OSError`: nobody there, no TLS."""
        self.deadline = deadline
        self._socket = _socket(address.family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = self._hub.loop.io(self._socket.fileno(), _READABLE)
        self._deadlines.add(self)
        try:
            fault = self._socket.connect_ex(address.where)
            if fault == errno.EINPROGRESS:
                with _Writable(self):
                    self._wait()
                fault = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if fault:
                raise OSError(fault, os.strerror(fault))
            self._reader.start(self._readable)
            if tls is not None:
                self._shake_hands(tls)
        except BaseException:
            self.close()
            raise
        finally:
            self._deadlines.discard(self)

    def exchange(self, outgoing: Outgoing, deadline: float, keep: bool = False) -> None:
        """Send a request and wait until its reply is whole: `reply`. `keep` its body.

        Raises `TimeoutError` when the clock is at the deadline before, `ReplyError` or `OSError` when there is none.
        """
        self.reply.begin(outgoing.record.method, keep)
        self.deadline = deadline
        self._deadlines.add(self)
        try:
            sent = self._send(outgoing)
            while not self.reply.whole:
                self._wait()
                self._read()
            if not (sent and self.reply.reusable):
                self.close()
        except BaseException:
            self.close()
            raise
        finally:
            self._deadlines.discard(self)

    def expire(self) -> None:
        if self._greenlet is not None:
            self._greenlet.throw(TimeoutError("no whole reply in time"))

    def close(self) -> None:
        """Again does nothing."""
        if not self.closed:
            self.closed = True
            if self._reader is not None:
                self._reader.stop()
                self._reader.close()
                self._socket.close()

    # -- in the greenlet -----------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Until something may be there to read or to write; anything may wake a greenlet, so nothing need be."""
        self._greenlet = gevent.getcurrent()
        try:
            self._hub.switch()
        finally:
            self._greenlet = None

    def _shake_hands(self, tls: Tls) -> None:
        done = False
        while not done:
            done = tls.handshake()
            self._send_all((tls.to_send(),))
            if not done:
                self._wait()
                try:
                    data = self._socket.recv(_RECV)
                except BlockingIOError:
                    continue
                if not data:
                    raise ssl.SSLEOFError("the server ended the connection within the TLS handshake")
                tls.take(data)
        self._tls = tls

    def _send(self, outgoing: Outgoing) -> bool:
        """False if the server did not take the whole request: then it may still have said why."""
        if self._tls is None:
            return self._send_all((outgoing.head, outgoing.body))
        return self._send_all((self._tls.to_send(outgoing.head + outgoing.body),))

    def _send_all(self, pieces: Sequence[bytes]) -> bool:
        total = sum(map(len, pieces))
        try:
            sent = self._socket.sendmsg(pieces)
        except BlockingIOError:
            sent = 0
        except OSError:
            return False
        if sent == total:
            return True
        rest = memoryview(b"".join(pieces))[sent:]
        with _Writable(self):
            while rest:
                self._wait()
                # A server may answer, or refuse, before it has the whole body.
                self._read()
                if self.reply.whole:
                    return False
                try:
                    rest = rest[self._socket.send(rest) :]
                except BlockingIOError:
                    pass
                except OSError:
                    return False
        return True

    def _read(self) -> None:
        try:
            data = self._socket.recv(_RECV)
        except BlockingIOError:
            return
        ended = not data
        if self._tls is not None and data:
            self._tls.take(data)
            data, ended = self._tls.plain()
            if answer := self._tls.to_send():
                self._send_all((answer,))
        if data:
            self.reply.feed(data)
        if ended:
            self.reply.eof()

    # -- in the hub ----------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        if self._greenlet is not None:
            self._greenlet.switch()
        elif not self._stays_idle():
            self.close()
            self._when_closed(self)

    def _stays_idle(self) -> bool:
        """The server has ended the connection, or says what nobody asked for; only TLS may speak of its own."""
        if self._tls is None:
            return False
        try:
            data = self._socket.recv(_RECV)
            if not data:
                return False
            self._tls.take(data)
            return self._tls.plain() == (b"", False)
        except OSError:
            return False


class _Writable:
    """A context in which the greenlet of a connection is also woken when it can write."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._watcher = connection._hub.loop.io(connection._socket.fileno(), _WRITABLE)

    def __enter__(self) -> None:
        self._watcher.start(self._wake)

    def __exit__(self, *_: object) -> None:
        self._watcher.stop()
        self._watcher.close()

    def _wake(self) -> None:
        if self._connection._greenlet is not None:
            self._connection._greenlet.switch()
