"""HTTP/1.1 heads across the proxy: which headers pass, and how heads and our own answers are written.

Everything is bytes: what passes, passes unchanged, in its order, repeated names too.
"""

import http

Headers = list[tuple[bytes, bytes]]

OF_A_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"upgrade",
    }
)
"""RFC 9110, 7.6.1. Not Transfer-Encoding and Trailer: bodies cross in the coding in which they come."""


def fields(headers: Headers) -> dict[bytes, bytes]:
    """The values by name in lower case, those of a repeated name joined by commas (RFC 9110, 5.3)."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = found[key] + b"," + value if key in found else value
    return found


def tokens(found: dict[bytes, bytes], name: bytes) -> set[bytes]:
    """The members of a list header, in lower case."""
    value = found.get(name)
    return {token.strip() for token in value.lower().split(b",")} - {b""} if value else set()


def crossing(headers: Headers, found: dict[bytes, bytes], hidden: frozenset[bytes] = frozenset()) -> Headers:
    """The headers that pass: not those of this hop, nor what Connection names, nor the `hidden` ones (lower case)."""
    out = OF_A_HOP | hidden | tokens(found, b"connection") - {b"content-length", b"transfer-encoding", b"host"}
    return headers if out.isdisjoint(found) else [pair for pair in headers if pair[0].lower() not in out]


def head(first: bytes, headers: Headers, connection: bytes = b"") -> bytes:
    """A head: its first line, the headers, and ours on the connection."""
    lines = [first, *(name + b": " + value for name, value in headers)]
    if connection:
        lines.append(b"Connection: " + connection)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """A piece of a body in the chunked coding (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: Headers) -> bytes:
    """The end of a body in the chunked coding, with its trailer section."""
    return b"0\r\n" + b"".join(name + b": " + value + b"\r\n" for name, value in trailers) + b"\r\n"


def answer(status: int, text: str, to_head: bool = False) -> bytes:
    """An answer of our own, the last on its connection. `text` says what is wrong; HEAD gets no body."""
    body = f"locust-adaptive trace record: {text}\n".encode()
    headers = [(b"Content-Type", b"text/plain; charset=utf-8"), (b"Content-Length", b"%d" % len(body))]
    line = f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}".encode()
    return head(line, headers, b"close") + (b"" if to_head else body)
