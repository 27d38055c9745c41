"""Taking secrets out of requests without changing their sizes. Pure.

Headers go as a whole. The value of a query parameter, and of a field in a JSON body, is replaced by as many bytes that
say nothing; everything else stays as it was, byte for byte. What cannot be searched is not trusted: a body that should
be JSON and cannot be read is taken out, and its size kept.
"""

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from json.decoder import JSONDecoder, scanstring  # type: ignore[attr-defined]
from urllib.parse import unquote_plus

from .record import CREDENTIALS, Record, TraceError

FILL = "x"
SIGNATURES = frozenset(
    [
        *("access_token", "api_key", "api-key", "apikey", "auth_token", "client_secret", "id_token", "key", "password"),
        *("refresh_token", "sig", "signature", "token"),
        *("x-amz-credential", "x-amz-security-token", "x-amz-signature", "x-goog-credential", "x-goog-signature"),
    ]
)
"""Query parameters that are secrets (RFC 6750, 2.3; presigned URLs; Google's API keys), in lower case."""
SECRET_WORDS = (
    *("accesskey", "apikey", "auth", "credential", "functionskey", "jwt", "passphrase", "passw", "secret", "signature"),
    *("subscriptionkey", "token"),
)
"""A header or query parameter whose name holds one of these, with - and _ left out, is a secret, too."""

_BEFORE_JSON = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"  # byte order marks, too
_PARAMETER = re.compile("(?<=[?&;])([^=?&;]*)=")
_SEPARATOR = re.compile("[&;]")
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = JSONDecoder(parse_int=str, parse_float=str, strict=False)  # to get past a value; numbers need no reading


@lru_cache(4096)  # the same names come again and again
def is_secret(name: str) -> bool:
    """Does the name of a header or parameter, in lower case, say that its value is a secret?"""
    squeezed = name.replace("-", "").replace("_", "")
    return any(word in squeezed for word in SECRET_WORDS)


class Redactor:
    """Takes headers, query parameters (of the path, and of URLs in headers) and JSON fields out of records.

    `headers` and `query` are names in any case; `CREDENTIALS`, `SIGNATURES` and what `is_secret` go in any case.
    A field is a path of keys with dots (`user.email`): lists on the way are entered, and of an object or a list every
    value is replaced. `counts` says what was taken out, by name; `unsearched` counts the bodies, not JSON, in which no
    field was looked for. Raises `TraceError` for an empty name.
    """

    def __init__(self, headers: Iterable[str] = (), query: Iterable[str] = (), fields: Iterable[str] = ()) -> None:
        self._headers = CREDENTIALS | {name.lower() for name in headers}
        self._query = SIGNATURES | {name.lower() for name in query}
        self._fields = [(path, tuple(path.split("."))) for path in dict.fromkeys(fields)]
        if "" in self._headers or "" in self._query or any("" in keys for _, keys in self._fields):
            raise TraceError("an empty name is nothing to redact; write such as authorization, token or user.email")
        self.counts: Counter[str] = Counter()
        self.unsearched = 0

    def redact(self, record: Record) -> Record:
        """The record without the secrets; body and path as long as they were."""
        headers = []
        for header in record.headers:
            name = header[0].lower()
            if name in self._headers:
                self.counts[f"header {name}"] += 1
            elif is_secret(name):
                self.counts["header with a secret's name"] += 1  # there is no end to the names that clients send
            else:
                # Referer, X-Original-URI and the like repeat a URL.
                headers.append((header[0], self._path(header[1])) if "?" in header[1] else header)
        path, name, body, omitted = self._path(record.path), record.name, record.body, record.omitted
        if name.startswith(record.path.partition("?")[0] + "?"):  # a name with a query would keep its secrets
            name = self._path(name)
        if self._fields and body:
            try:
                body = self._body(record)
            except _NotJson:
                if _claims_json(record):
                    self.counts["body that cannot be read"] += 1
                    body, omitted = b"", len(body)
                else:
                    self.unsearched += 1
        # Not dataclasses.replace, which takes as long as all else here.
        return Record(
            record.due_ns, record.session, record.method, path, tuple(headers), body, name, record.expect, omitted
        )

    def _path(self, path: str) -> str:
        """Without the secrets of its query, of which a part may have a query of its own (`/a?next=/b?token=c`)."""
        pieces: list[str] = []
        done = 0
        for match in _PARAMETER.finditer(path, path.find("?") + 1 or len(path)):
            name, begin = unquote_plus(match[1]).lower(), match.end()
            known = name in self._query
            if begin < done or not (known or is_secret(name)):
                continue
            secret = _SEPARATOR.split(path[begin:], 1)[0]  # up to the next parameter, whatever is in it
            if secret:
                self.counts[f"query {name}" if known else "query parameter with a secret's name"] += 1
                pieces += path[done:begin], FILL * len(secret)
                done = begin + len(secret)
        return "".join(pieces) + path[done:] if done else path

    def _body(self, record: Record) -> bytes:
        length = _json_bytes(record)
        text = record.body[:length].decode("latin-1")  # JSON's own characters are ASCII, so places are those of bytes
        spans = [(*span, path) for path, keys in self._fields for span in _spans(text, keys)]
        changed = bytearray(record.body)
        for start, stop, path in spans:
            changed[start:stop] = _blank(record.body[start:stop])
            self.counts[f"field {path}"] += 1
        return bytes(changed)


class _NotJson(Exception):
    pass


def _header(record: Record, name: str) -> str:
    return next((value for key, value in record.headers if key.lower() == name), "")


def _claims_json(record: Record) -> bool:
    """Might there be JSON in what is none as it stands? In what is compressed, too."""
    if _header(record, "content-encoding").lower() not in ("", "identity"):
        return True
    start = record.body.lstrip(_BEFORE_JSON)[:1]
    return "json" in _header(record, "content-type").lower() or start in (b"{", b"[")


def _json_bytes(record: Record) -> int:
    """How much of the body should be JSON: all, or what KServe V2 says stands before its raw tensors."""
    told = _header(record, "inference-header-content-length")
    return int(told) if re.fullmatch("[1-9][0-9]{0,8}", told) else len(record.body)


def _blank(value: bytes) -> bytes:
    """A JSON scalar of the same kind and length that says nothing."""
    if value[:1] == b'"':
        return b'"' + FILL.encode() * (len(value) - 2) + b'"'
    if value[:1] in b"-0123456789":
        return b"1" * len(value)
    return b"null".ljust(len(value))


def _spans(text: str, keys: tuple[str, ...]) -> list[tuple[int, int]]:
    """Where the scalars at a path of keys are, in one JSON value or several (JSON lines); `_NotJson` for other text."""
    found: list[tuple[int, int]] = []
    try:
        at = _skip(text, 0)
        while at < len(text):
            at = _skip(text, _value(text, at, keys, found))
    except (ValueError, IndexError, StopIteration, RecursionError) as fault:
        raise _NotJson from fault
    return found


def _value(text: str, at: int, keys: tuple[str, ...] | None, found: list[tuple[int, int]]) -> int:
    """Where the value that begins here ends; adds the scalars at `keys` below it (None: nowhere)."""
    if keys is not None and text[at] in "{[":
        return _members(text, at, text[at] == "{", keys, found)
    end: int = _DECODER.raw_decode(text, at)[1]
    if keys == ():
        found.append((at, end))
    return end


def _members(text: str, at: int, keyed: bool, keys: tuple[str, ...], found: list[tuple[int, int]]) -> int:
    closing = "}" if keyed else "]"
    at = _skip(text, at + 1)
    if text[at] == closing:
        return at + 1
    while True:
        below: tuple[str, ...] | None = keys
        if keyed:
            if text[at] != '"':
                raise ValueError(at)
            key, at = scanstring(text, at + 1, False)
            at = _skip(text, at)
            if text[at] != ":":
                raise ValueError(at)
            at = _skip(text, at + 1)
            if keys:
                below = keys[1:] if _utf8(key) == keys[0] else None
        at = _skip(text, _value(text, at, below, found))
        if text[at] == closing:
            return at + 1
        if text[at] != ",":
            raise ValueError(at)
        at = _skip(text, at + 1)


def _utf8(key: str) -> str:
    """A key that was decoded as Latin-1, as it was meant; escapes (above U+00FF) are as they were meant already."""
    try:
        return key.encode("latin-1").decode()
    except UnicodeError:
        return key


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at
