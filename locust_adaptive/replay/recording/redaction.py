"""What must not get into a trace, and taking it out of a request before anything else sees it.

Headers are left out, query parameters and JSON fields overwritten by text of the same length, so that sizes stay true.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote_plus

from ..record import CREDENTIALS, HOP_BY_HOP
from .jsonfields import NotJson, Path, overwrite, parse_path

SECRET_WORDS = ("apikey", "auth", "credential", "passw", "secret", "signature", "token")
"""A header or query parameter whose name holds one of these, with - and _ left out, is a secret."""
SECRET_PARAMETERS = frozenset({"code", "key", "pwd", "session", "sessionid", "sid", "sig"})
"""Query parameters that are secrets by their whole name, too."""
ADDRESSES = frozenset(
    {"cf-connecting-ip", "fastly-client-ip", "forwarded", "true-client-ip"}
    | {"x-client-ip", "x-forwarded-for", "x-real-ip"}
)
"""Headers that name the client."""
OF_ONE_REQUEST = frozenset(
    {
        "b3",
        "baggage",
        "traceparent",
        "tracestate",
        "x-amzn-trace-id",
        "x-b3-parentspanid",
        "x-b3-sampled",
        "x-b3-spanid",
    }
    | {"x-b3-traceid", "x-cloud-trace-context", "x-correlation-id", "x-request-id"}
)
"""Headers that would join a replayed request with the trace and logs of the recorded one."""

_PARAMETER = re.compile(r"([^&;=]*)=([^&;]*)")
_SQUEEZED = str.maketrans("", "", "-_. ")


class Unreadable(ValueError):
    """A body in which fields are to be overwritten but cannot be found."""


@lru_cache(4096)  # the same names come again and again
def _secret(name: str) -> bool:
    squeezed = name.translate(_SQUEEZED)
    return any(word in squeezed for word in SECRET_WORDS)


@dataclass(frozen=True, slots=True)
class Redaction:
    """What to take out: the defaults above, and what the person adds. Names are compared without regard to case.

    `fields` are paths of keys in JSON bodies, `user.email`. `counts` says what was taken out, by its name, how often.
    Raises `ValueError` for a path that is none.
    """

    headers: frozenset[str] = frozenset()
    parameters: frozenset[str] = frozenset()
    fields: tuple[Path, ...] = ()
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, headers: Iterable[str] = (), parameters: Iterable[str] = (), fields: Iterable[str] = ()) -> "Redaction":
        """From what a person writes."""
        return cls(
            frozenset(name.strip().lower() for name in headers),
            frozenset(name.strip().lower() for name in parameters),
            tuple(parse_path(path) for path in fields),
        )

    def keep(self, headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """The headers that a trace may hold, in order."""
        kept = []
        for name, value in headers:
            key = name.lower()
            if key in HOP_BY_HOP or key in OF_ONE_REQUEST:
                continue
            if key in CREDENTIALS or key in ADDRESSES or key in self.headers:
                self.counts[f"header {key}"] += 1
            elif _secret(key):
                self.counts["header with a secret's name"] += 1  # not the name: there is no end to what clients send
            else:
                kept.append((name, value))
        return tuple(kept)

    def target(self, target: str) -> str:
        """A request target with the values of secret parameters overwritten."""
        path, mark, query = target.partition("?")
        return path + mark + self._query(query) if mark else target

    def body(self, body: bytes, headers: Iterable[tuple[str, str]]) -> bytes:
        """A body with the fields overwritten. `headers` are those of its request; raises `Unreadable`."""
        of = {name.lower(): value for name, value in headers}
        kind = of.get("content-type", "").lower()
        if not body or not (self.fields or "x-www-form-urlencoded" in kind):
            return body
        if of.get("content-encoding", "identity").lower() != "identity":
            raise Unreadable("the body is compressed")
        if "x-www-form-urlencoded" in kind:
            return self._query(body.decode("latin-1")).encode("latin-1")
        # KServe's binary extension: JSON, then the bytes of tensors.
        length = of.get("inference-header-content-length", "")
        end = int(length) if length.isascii() and length.isdigit() else len(body)
        if "json" not in kind and body[:end].lstrip()[:1] not in (b"{", b"["):
            return body
        try:
            text, found = overwrite(body[:end], self.fields)
        except NotJson as fault:
            raise Unreadable(str(fault)) from None
        if found:
            self.counts["field"] += found
        return text + body[end:]

    def _query(self, query: str) -> str:
        return _PARAMETER.sub(self._parameter, query)

    def _parameter(self, match: re.Match[str]) -> str:
        name = unquote_plus(match[1]).strip().lower()
        if name in self.parameters or name in SECRET_PARAMETERS or _secret(name):
            self.counts["query parameter"] += 1
            return f"{match[1]}={'x' * len(match[2])}"
        return match[0]
