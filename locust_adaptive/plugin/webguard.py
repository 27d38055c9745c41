"""Who may ask the web UI to do something: a pure function of a request's method and headers.

Locust answers every origin and every name. A page of another site that is open in the same browser must not start,
stop or read a search: neither by a form of its own (wrong Origin), nor by a name of its own that leads to this machine
(DNS rebinding: the Origin is right, the Host is a stranger).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

LARGEST_BODY = 64 * 1024
"""Bytes; a filled-in form has about one thousandth of it."""
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Refused(Exception):
    """A request that is not served, with its HTTP status and why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def known_names(listed: str, others: Iterable[str | None]) -> frozenset[str]:
    """The host names to answer to: those of `--adaptive-web-hosts`, and other ones known; ports are left out."""
    names = [name.strip() for name in listed.split(",")] + [name or "" for name in others]
    return frozenset({"localhost", *(found for name in names if (found := _name(name)))})


def check_host(headers: Mapping[str, str], known: frozenset[str]) -> None:
    """Raise Refused (403) unless the name that was asked for is one of ours, or an IP address, which nobody can make
    lead elsewhere. No Host at all (HTTP/1.0) comes from no browser."""
    host = headers.get("Host", "")
    name = _name(host)
    if not host or name in known or _is_address(name):
        return
    raise Refused(
        403,
        f"This web UI was asked for as {host[:100]!r}, a name it does not know as its own: it refuses, because any web "
        f"page could use such a name to reach it. If the name is right, start locust with --adaptive-web-hosts "
        f"{name[:100] or 'NAME'}",
    )


def check_origin(headers: Mapping[str, str]) -> None:
    """Raise Refused (403) for what a page of another site asks. Without Origin and Referer it was no page (curl)."""
    source = headers.get("Origin") or headers.get("Referer")
    if source and _netloc(source) != headers.get("Host", "").lower():
        raise Refused(
            403,
            f"A page of {source[:100]!r} may not use this web UI, which was asked for as "
            f"{headers.get('Host', '')[:100]!r}. Behind a reverse proxy, let it pass on the Host header as it came",
        )
    if headers.get("Sec-Fetch-Site", "").lower() == "cross-site":
        raise Refused(403, "A page of another site may not use this web UI: open it by its own address")


def check_size(headers: Mapping[str, str]) -> None:
    """Raise Refused for a body of too many bytes (413), or of a length that is not said (411)."""
    if headers.get("Transfer-Encoding"):
        raise Refused(411, "A body in chunks is not read: send it with its Content-Length")
    length = headers.get("Content-Length") or "0"
    if not (length.isascii() and length.isdigit()) or len(length) > 15 or int(length) > LARGEST_BODY:
        raise Refused(413, f"A body of {length[:20]} bytes; {LARGEST_BODY} at most are read")


def check_type(headers: Mapping[str, str], wanted: str) -> None:
    """Raise Refused (415) for a body that is not of this type; nothing at all is well."""
    given = headers.get("Content-Type", "")
    if (given or headers.get("Content-Length", "0") != "0") and given.partition(";")[0].strip().lower() != wanted:
        raise Refused(415, f"A body of type {given[:100] or '(none)'!r}; this is read as {wanted} only")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _name(host: str) -> str:
    """The name in `name:port`, `[::1]:port` or an URL; empty if there is none."""
    try:
        name = urlsplit(host if "//" in host else f"//{host}").hostname
    except ValueError:
        return ""
    return (name or "").rstrip(".")


def _netloc(url: str) -> str:
    """Name and port of an Origin or a Referer as a Host header has them, without the default port."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts.netloc.lower().removesuffix(DEFAULT_PORTS.get(parts.scheme, "//"))
