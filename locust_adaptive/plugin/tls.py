"""TLS without I/O: plain bytes on one side, what goes over the connection on the other."""

from __future__ import annotations

import ssl

_READ = 256 * 1024


class Tls:
    """The client's side of one TLS connection. Raises `ssl.SSLError` for whatever the other side does wrong."""

    def __init__(self, context: ssl.SSLContext, hostname: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=hostname)

    def handshake(self) -> bool:
        """Go on with the handshake; is it over?"""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def to_send(self, plain: bytes = b"") -> bytes:
        """What goes out now: these bytes, and what the protocol has to say."""
        if plain:
            self._object.write(plain)
        return self._outgoing.read()

    def take(self, data: bytes) -> None:
        """These bytes have come."""
        self._incoming.write(data)

    def plain(self) -> tuple[bytes, bool]:
        """What has come, which may be nothing, and whether the other side says that it ends here."""
        parts = []
        try:
            while part := self._object.read(_READ):
                parts.append(part)
        except ssl.SSLWantReadError:
            return b"".join(parts), False
        except ssl.SSLZeroReturnError:
            pass
        return b"".join(parts), True
