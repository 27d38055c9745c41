"""A recorded request as it goes over the connection: encoded once, byte for byte what was recorded but for the framing.

RFC 9112. What a trace does not hold is added here: `Host`, the length of the body, and the headers of the replay, which
stand over recorded ones of the same name. Repeated headers stay repeated, in their order and spelling.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from .record import HOP_BY_HOP, Record, TraceError

_PORTS = {"http": 80, "https": 443}
_HEADS = 4096  # heads that an encoder keeps; requests of one kind share theirs but for the length
_WITH_BODY = frozenset(("PATCH", "POST", "PUT"))
"""Methods whose requests say their length also when it is 0: RFC 9110, 8.6."""
IDEMPOTENT = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"))
"""Methods that may be sent again when nobody knows whether the first was heard: RFC 9110, 9.2.2."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where requests go. `prefix` stands before every path, without a slash at its end."""

    scheme: str
    host: str
    port: int
    prefix: str = ""

    @classmethod
    def parse(cls, url: str) -> "Server":
        """Of a URL such as http://model:8000 or https://gateway/models. `TraceError` shows no password."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
            (host or "").encode("idna")
        except ValueError as fault:
            wrong = f"is no URL: {fault}"
        else:
            if "@" not in parts.netloc and parts.scheme in _PORTS and host and not (parts.query or parts.fragment):
                return cls(parts.scheme, host, port or _PORTS[parts.scheme], parts.path.rstrip("/"))
            wrong = "is not where requests can go"
        # What is wrong may be the password itself, as with a slash in it: where there may be one nothing is shown.
        if "@" in url:
            raise TraceError(
                "the host holds an @: put a user and password in headers, as Authorization = 'env:NAME', and write a "
                "host such as http://model:8000"
            )
        raise TraceError(f"the host {url!r} {wrong}; write one such as http://model:8000")

    @property
    def authority(self) -> str:
        """The `Host` header: RFC 9110, 7.2."""
        host = f"[{self.host}]" if ":" in self.host else self.host.encode("idna").decode()
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class Outgoing(NamedTuple):
    """A request to send: `head`, then `body`. `record` is what it was made of."""

    record: Record
    head: bytes
    body: bytes

    @property
    def size(self) -> int:
        """Bytes on the connection."""
        return len(self.head) + len(self.body)


class Encoder:
    """Encodes requests to one server."""

    def __init__(self, server: Server, headers: Mapping[str, str] | None = None) -> None:
        """Raises `TraceError` for a header that cannot be sent."""
        ours = tuple((headers or {}).items())
        Record(0, "", "GET", "/", ours).check()
        if framing := [name for name, _ in ours if name.lower() in HOP_BY_HOP - {"host"}]:
            raise TraceError(
                f"the header {framing[0]} belongs to the connection and is made here; leave it out of headers"
            )
        if not any(name.lower() == "host" for name, _ in ours):
            ours = (("Host", server.authority), *ours)
        self._prefix = server.prefix
        self._ours = ours
        self._overridden = HOP_BY_HOP | {name.lower() for name, _ in ours}
        self._start = lru_cache(_HEADS)(self._new_start)

    def encode(self, record: Record) -> Outgoing:
        """Raises `TraceError` for a record that cannot be sent."""
        start, body = self._start(record.method, record.path, record.headers), record.body
        if body or record.method in _WITH_BODY:
            head = b"%bContent-Length: %d\r\n\r\n" % (start, len(body))
        else:
            head = start + b"\r\n"
        return Outgoing(record, head, body)

    def _new_start(self, method: str, path: str, recorded: tuple[tuple[str, str], ...]) -> bytes:
        """Request line and headers, without the length and the end. Checked here, once: a hook may have made them."""
        Record(0, "", method, path, recorded).check()
        kept = [(name, value) for name, value in recorded if name.lower() not in self._overridden]
        lines = [
            f"{method} {self._prefix}{path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in (*self._ours, *kept)),
            "",
        ]
        return "\r\n".join(lines).encode("latin-1")
