"""One recorded request: what it holds, what makes it sendable, and which headers never travel in a trace."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache


class TraceError(ValueError):
    """A trace, or what should become one, that cannot be used. The message says what, where and what to do next."""


class Damaged(TraceError):
    """A trace that was good once: something in it is missing or was changed."""


HOP_BY_HOP = frozenset(
    [
        *("connection", "content-length", "expect", "host", "keep-alive", "proxy-authenticate", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    ]
)
"""Headers of one connection or one message framing: whoever sends the request makes its own."""

CREDENTIALS = frozenset(
    ("api-key", "authorization", "cookie", "proxy-authorization", "x-amz-security-token", "x-api-key")
)
"""Headers that are secrets: a trace is a file that gets copied, so they come back at replay, not from the trace."""

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2
_TARGET = re.compile(r"/[!-~]*")  # visible ASCII, RFC 9112, 3.2.1
_VALUE = re.compile(r"[^\x00\r\n\u0100-\U0010ffff]*")  # Latin-1 on the wire; CR and LF would start another header
MAX_BODY = 1_000_000_000 - 4096
"""Bytes; what one SQLite row can hold."""


@dataclass(frozen=True, slots=True)
class Record:
    """A request as recorded, body and headers verbatim.

    `due_ns` is the arrival in nanoseconds after the start of the trace. `path` is the request target with its query.
    `session` joins the requests of one client, in order. `name` groups requests in reports and strata (empty: the path
    without its query). `expect` is the status of a good answer; None leaves that to the player.
    `omitted` are the bytes of a body that was not kept, where only a sample of the bodies is: such a request counts as
    an arrival of that size, but cannot be sent. 0: `body` is what arrived.
    """

    due_ns: int
    session: str
    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    name: str = ""
    expect: int | None = None
    omitted: int = 0

    @property
    def size(self) -> int:
        """Bytes of the body as it arrived."""
        return len(self.body) + self.omitted

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.path.partition("?")[0])

    def check(self) -> None:
        """Raise `TraceError` when the record could not be sent or stored as it is.

        Done where records are written, not where they are read: replay pays for every microsecond.
        """
        _check_head(self.method, self.path, self.headers)
        for what, text in (("session", self.session), ("name", self.name)):
            try:
                text.encode()
            except UnicodeEncodeError:
                raise TraceError(f"{what} {text!r} holds half a surrogate pair and is no text; correct it") from None
        if self.expect is not None and not 100 <= self.expect <= 599:
            raise TraceError(f"expect is {self.expect}; an HTTP status lies between 100 and 599")
        if not abs(self.due_ns) < 2**62:
            raise TraceError(
                f"a time of {self.due_ns} ns is more than 146 years from its zero; check the unit of the timestamp"
            )
        if self.omitted < 0 or (self.omitted and self.body):
            raise TraceError(f"{self.omitted} bytes omitted of a body that is there; omit a body as a whole")
        if self.size > MAX_BODY:
            raise TraceError(f"a body of {self.size} bytes is too large for a trace (at most {MAX_BODY})")


@lru_cache(1024)  # the same heads come again and again
def _check_head(method: str, path: str, headers: tuple[tuple[str, str], ...]) -> None:
    if not _TOKEN.fullmatch(method):
        raise TraceError(f"method {method!r} is no HTTP method; write one such as GET or POST")
    if not _TARGET.fullmatch(path):
        raise TraceError(
            f"path {path!r} cannot be sent; it starts with / (no scheme, no host) and has every space and "
            "non-ASCII character percent-encoded"
        )
    for name, value in headers:
        if not _TOKEN.fullmatch(name):
            raise TraceError(f"header name {name!r} is not valid; use letters, digits and -")
        if not _VALUE.fullmatch(value):
            # Without the value, which may be a secret.
            raise TraceError(
                f"header {name} has a value that cannot be sent; remove line breaks and characters outside Latin-1"
            )


def portable(headers: Iterable[tuple[str, str]]) -> tuple[tuple[tuple[str, str], ...], list[str]]:
    """Split headers into those a trace keeps, in order, and the lower-case names of those it must not hold."""
    kept: list[tuple[str, str]] = []
    dropped: list[str] = []
    for name, value in headers:
        key = name.lower()
        if key in HOP_BY_HOP or key in CREDENTIALS:
            dropped.append(key)
        else:
            kept.append((name, value))
    return tuple(kept), dropped
