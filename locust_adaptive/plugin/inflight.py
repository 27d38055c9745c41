"""Every request in flight, from its send to its verdict: hooks in Locust's two HTTP clients and in `events.request`.

Works for open- and closed-loop users. A `Ticket` rides in the request's `context`, so the event finds its record also
from `with`-blocks and child greenlets. One call of a session is one request, with its redirects and retries. Other
clients are seen when they fire the event; before that only as the age of their arrival.
"""

from __future__ import annotations

import errno
import functools
import http.client
import inspect
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import gevent
import requests
import urllib3
from geventhttpclient import useragent
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from locust import clients
from locust.contrib import fasthttp
from locust.exception import CatchResponseError, ResponseError
from locust.runners import Runner

from ..replay.reply import ReplyError
from ..search.slices import NO_BUFFERS, NO_DESCRIPTORS, NO_PORTS
from . import taskloop
from .guards import clock
from .virtualuser import VirtualUser, virtual_user_of

if TYPE_CHECKING:
    from ..search.meter import Meter, Request

CONTEXT_KEY = "_locust_adaptive_ticket"
"""The key in a request's context under which users' own listeners see a `Ticket`."""


_STATISTICS = next((c for c in Runner.__init__.__code__.co_consts if getattr(c, "co_name", None) == "on_request"), None)
"""Of Locust's own listener, which feeds its statistics."""


class StatusError(Exception):
    """A reply of a replay with a status that is not good: it says failure, or is not what was recorded."""

    def __init__(self, status: int, recorded: int | None = None) -> None:
        super().__init__(f"http {status}" + ("" if recorded is None else f", {recorded} was recorded"))
        self.status, self.recorded = status, recorded


class Instruments:
    """Where this process counts. `meter` may be swapped at any time; what is open stays with the meter that began it.

    `untracked` are the request types that were only seen when they ended (no hook in their client): the report says so.
    """

    def __init__(self) -> None:
        self.meter: Meter | None = None
        self.untracked: set[str] = set()


instruments = Instruments()


class Ticket:
    """The claim on one open request; the first of `close`, `judge` and being forgotten ends it."""

    __slots__ = ("_meter", "_name", "_origin", "_request")

    _forgotten: ClassVar[deque[tuple[Meter, Request]]] = deque()

    def __init__(self, meter: Meter, request: Request, name: str) -> None:
        self._meter = meter
        self._request: Request | None = request
        self._name = name
        self._origin: float | None = None

    @property
    def is_open(self) -> bool:
        return self._request is not None

    def answered(self, response_time_ms: float | None) -> None:
        """The answer is there, and a `with`-block will judge it: what the block itself takes is not latency."""
        self._origin = clock() - (response_time_ms or 0.0) / 1000

    def judge(self, name: str, response_time_ms: float | None, error: str | None) -> None:
        """The event has come, with the request's final name, time and verdict."""
        request = self._request
        if request is None:
            return
        now = clock()
        if name != self._name:
            self._meter.rename(request, name)
        if self._origin is not None and response_time_ms is not None:
            # The meter's latency is the time from due to now: move both by what the block took.
            request.due += now - (self._origin + response_time_ms / 1000)
        self.close(error, now)

    def close(self, error: str | None, now: float | None = None) -> None:
        request, self._request = self._request, None
        if request is not None:
            self._meter.finish(request, clock() if now is None else now, error)

    def __del__(self) -> None:
        # A collection may run inside the meter itself: only note it here.
        if self._request is not None:
            self._forgotten.append((self._meter, self._request))

    @classmethod
    def settle_forgotten(cls) -> None:
        """Close what no event will ever close: answers to `catch_response=True` without a `with`-block."""
        while cls._forgotten:
            meter, request = cls._forgotten.popleft()
            meter.finish(request, clock(), "unreported")


def missing_internals() -> list[str]:
    """What the hooks need and this Locust has not: empty when all is well."""
    missing = []
    for session in (clients.HttpSession, fasthttp.FastHttpSession):
        if list(inspect.signature(session.request).parameters)[:4] != ["self", "method", "url", "name"]:
            missing.append(f"{session.__name__}.request(method, url, name)")
        if "context" not in inspect.signature(session.request).parameters:
            missing.append(f"{session.__name__}.request(context=)")
    if _STATISTICS is None:
        missing.append("locust.Runner's listener of the request event")
    return missing


def install(environment: Any) -> None:
    """Hook the clients of this process and the request event of this environment; again does nothing."""
    taskloop.install()
    for session, named in ((clients.HttpSession, _path), (fasthttp.FastHttpSession, str)):
        if not hasattr(session.request, "_adaptive_hook"):
            session.request = _watched_request(session.request, named)
    for manager in (clients.ResponseContextManager, fasthttp.ResponseContextManager):
        if not hasattr(manager.__exit__, "_adaptive_hook"):
            manager.__exit__ = _watched_exit(manager.__exit__)
    handlers = environment.events.request._handlers
    if _on_request not in handlers:
        handlers.insert(0, _on_request)  # before the users' listeners: one that raises would keep the event from us


def _watched_request(original: Any, named: Callable[[Any], str]) -> Any:
    """`named`: what the client will call the request to a URL when it is given no name."""
    place = list(inspect.signature(original).parameters).index("context") - 4  # among the positions after `name`

    @functools.wraps(original)
    def request(self: Any, method: Any, url: Any, name: str | None = None, *args: Any, **kwargs: Any) -> Any:
        ticket = open_ticket(self.user, name or self.request_name or named(url))
        if len(args) > place:
            args = (*args[:place], {**args[place], CONTEXT_KEY: ticket}, *args[place + 1 :])
        else:
            kwargs["context"] = {**kwargs.get("context", {}), CONTEXT_KEY: ticket}
        try:
            response = original(self, method, url, name, *args, **kwargs)
        except BaseException as e:  # Locust fires no event for a killed request, nor for a URL that is none
            if ticket is not None:
                ticket.close(error_kind(e))
            raise
        if ticket is not None and ticket.is_open:
            ticket.answered(response.request_meta["response_time"])
        return response

    request._adaptive_hook = True  # type: ignore[attr-defined]  # survives other libraries' functools.wraps
    return request


def _watched_exit(original: Any) -> Any:
    @functools.wraps(original)
    def __exit__(self: Any, exc: Any, value: Any, traceback: Any) -> Any:
        swallowed = original(self, exc, value, traceback)
        if exc is not None and not swallowed:  # Locust fires no event then
            ticket = self.request_meta["context"].get(CONTEXT_KEY)
            if ticket is not None:
                ticket.close("aborted" if issubclass(exc, gevent.GreenletExit) else "exception")
        return swallowed

    __exit__._adaptive_hook = True  # type: ignore[attr-defined]
    return __exit__


def _path(url: str | bytes) -> str:
    """Path and query. HttpSession's own name may differ a little (encoding, `params`); the event has the last word."""
    text = url.decode() if isinstance(url, bytes) else str(url)
    if not text.startswith(("http://", "https://")):
        return text
    parts = urlsplit(text)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def open_ticket(user: Any, name: str) -> Ticket | None:
    """Begin a request of this user. The first of an arrival is its own record, and so counts from its due time."""
    if Ticket._forgotten:
        Ticket.settle_forgotten()
    vu = virtual_user_of(user)
    if vu is not None and not vu.used and vu.busy:
        meter, request = vu.use()
        if meter is None or request is None:
            return None
        meter.rename(request, name)
        return Ticket(meter, request, name)
    meter = instruments.meter
    if meter is None:
        return None
    now = clock()
    counted = vu.counts if vu is not None else taskloop.has_started(user)
    return Ticket(meter, meter.begin(now, now, name, counted), name)


def _on_request(
    request_type: str = "",
    name: str = "",
    response_time: float | None = None,
    exception: Any = None,
    context: Any = None,
    **_: Any,
) -> None:
    if Ticket._forgotten:
        Ticket.settle_forgotten()
    error = None if exception is None else error_kind(exception)
    hooked = isinstance(context, dict) and CONTEXT_KEY in context
    ticket = context[CONTEXT_KEY] if hooked else None
    if ticket is not None and ticket.is_open:
        ticket.judge(name, response_time, error)
    elif ticket is not None or not hooked:  # without a ticket it was sent while there was no meter
        _from_other_client(request_type, name, response_time, error)


def only_counted(environment: Any) -> bool:
    """Is the request event heard by nobody but us and Locust's statistics? Then a good reply can do without it."""
    handlers = environment.events.request._handlers
    return len(handlers) == 2 and handlers[0] is _on_request and getattr(handlers[1], "__code__", 0) is _STATISTICS


def _from_other_client(request_type: str, name: str, response_time: float | None, error: str | None) -> None:
    """A request that was not seen until now: the arrival's own if it is its first, else counted as it ends."""
    now = clock()
    greenlet = gevent.getcurrent()
    vu = greenlet if type(greenlet) is VirtualUser else None
    if vu is not None and vu.busy and not vu.used:
        meter, request = vu.use()
        if meter is not None and request is not None:
            instruments.untracked.add(request_type)
            meter.rename(request, name)
            meter.finish(request, now, error)
        return
    meter = instruments.meter
    if meter is None:
        return
    instruments.untracked.add(request_type)
    counted = vu.counts if vu is not None else all(map(taskloop.has_started, getattr(greenlet, "args", ())[:1]))
    request = meter.begin(now, now, name, counted)
    # Only its latency may know of the earlier due time: begun with it, the time in flight would read as send lag.
    request.due = now - (response_time or 0.0) / 1000
    meter.finish(request, now, error)


_TIMEOUT = (TimeoutError, gevent.Timeout, requests.Timeout, urllib3.exceptions.TimeoutError)
_RESET = (
    ConnectionResetError,
    ConnectionAbortedError,
    BrokenPipeError,
    HTTPConnectionClosed,
    useragent.EmptyResponse,
    http.client.IncompleteRead,
    urllib3.exceptions.IncompleteRead,
    requests.exceptions.ChunkedEncodingError,
)
_CONNECTION = (
    ConnectionError,
    requests.ConnectionError,
    useragent.ConnectionError,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    HTTPParseError,
    ssl.SSLError,
)
_BY_TYPE = (
    (socket.gaierror, "dns"),
    (_TIMEOUT, "timeout"),
    (ConnectionRefusedError, "refused"),
    (_RESET, "reset"),
)
_BY_NUMBER = {
    errno.EMFILE: NO_DESCRIPTORS,
    errno.ENFILE: NO_DESCRIPTORS,
    errno.EADDRNOTAVAIL: NO_PORTS,
    errno.ENOBUFS: NO_BUFFERS,
    errno.ENOMEM: NO_BUFFERS,
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
}


def error_kind(error: Any) -> str:
    """The kind of error that a request ended with: one of a few, for counting.

    `http 503` (any status that Locust fails), `check` (failed by a `with`-block), `timeout`, `dns` (no address for the
    name), `refused`, `unreachable` (no route), `reset` (closed before the answer was whole), `connection` (any other
    trouble with it), `aborted` (killed by us), `exception` (anything else). `no descriptors`, `no ports` and
    `no buffers` are this machine's own: the request never left. `dropped` and `unreported` are made elsewhere: an
    arrival at the cap, and an answer to `catch_response=True` without a `with`-block.
    """
    if isinstance(error, gevent.GreenletExit):
        return "aborted"
    if isinstance(error, CatchResponseError | ResponseError):
        return "check"
    if isinstance(error, ReplyError):
        return error.kind
    if isinstance(error, StatusError):
        return f"http {error.status}" if error.status >= 400 else "check"
    status = getattr(error, "code", 0) if isinstance(error, useragent.ConnectionError) else 0
    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
    if status:
        return f"http {status}"
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno in _BY_NUMBER:
            return _BY_NUMBER[cause.errno]
    for kinds, name in _BY_TYPE:
        if any(isinstance(e, kinds) for e in causes):
            return name
    if any(_is_half(e) for e in causes):
        return "reset"
    if isinstance(error, _CONNECTION) or (isinstance(error, OSError) and not isinstance(error, ValueError)):
        return "connection"
    return "exception"


def _is_half(error: Any) -> bool:
    """Did the connection end in the midst of an answer? geventhttpclient says it in words only."""
    return type(error) is HTTPParseError and any(word in str(error) for word in ("Incomplete", "EOF", "closed"))


def _causes(error: Any) -> Iterator[Any]:
    """The exception and what it came from: clients wrap the cause, some several times, some in ways of their own."""
    for _ in range(8):
        if error is None:
            return
        yield error
        error = next((e for a in ("original", "__cause__", "__context__") if (e := getattr(error, a, None))), None)
