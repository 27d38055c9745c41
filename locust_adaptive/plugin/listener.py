"""Recording what Locust itself sends: a listener on its request event, for a synthetic run that is to be replayed.

    from locust import events
    from locust_adaptive.plugin.listener import record_to

    @events.init.add_listener
    def on_init(environment, **_):
        record_to(environment, "day.trace")

The event knows less than a proxy does, and it fires when the answer is there. Missing: requests without a response
object (no answer came, or a client that is neither HttpUser nor FastHttpUser), counted as `unknown`; bodies that were
streamed, which are gone by then; what the client library adds on the wire. Times are Locust's start_time.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import gevent
from gevent import monkey

from ..replay.recording.plan import Plan
from ..replay.recording.recorder import Recorder


class Listener:
    """Gives what Locust's request event says to `recorder`. `unknown` counts the requests that it does not know."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.unknown: Counter[str] = Counter()

    def __call__(self, *, response: Any = None, start_time: float | None = None, **_: Any) -> None:
        request = getattr(response, "request", None)
        url = getattr(request, "url", None)
        if request is None or not url:
            self.unknown["no request known"] += 1
            return
        body = request.body if hasattr(request, "body") else getattr(request, "payload", None)  # HttpUser, FastHttpUser
        if isinstance(body, str):
            body = body.encode()
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = tuple((str(name), _text(value)) for name, value in (request.headers or {}).items())
        due_ns = None if start_time is None else int(start_time * 1e9)
        # A user is a greenlet, and a session.
        user = f"user {id(gevent.getcurrent())}"
        arrival = self.recorder.arrival(request.method, target, headers, user, due_ns)
        if arrival is None:
            return
        if body is None or isinstance(body, bytes | bytearray):
            arrival.feed(bytes(body or b""))
            arrival.end()
        else:
            arrival.abandon()  # it was streamed


def record_to(environment: Any, out: str | os.PathLike[str], **plan: Any) -> Listener:
    """Record the requests of this process to the trace `out`, until Locust quits. `plan` are the fields of `Plan`.

    Each worker records what it sends: give each an `out` of its own. Raises `TraceError` and `ValueError`.
    """
    sleep = monkey.get_original("time", "sleep")
    recorder = Recorder(out, Plan(**plan), origin="recorded by Locust", salt=os.urandom(16), sleep=sleep)
    # A thread of the pool: threading's own are greenlets here, and writing would stop all of them.
    running = gevent.get_hub().threadpool.spawn(recorder.run)
    listener = Listener(recorder)
    environment.events.request.add_listener(listener)

    def finish(**_: Any) -> None:
        recorder.stop()
        running.get()

    environment.events.quit.add_listener(finish)
    return listener


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
