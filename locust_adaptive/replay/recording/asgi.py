"""An ASGI middleware that records: for an application that can be changed, and a proxy that is not wanted.

    from locust_adaptive.replay.recording.asgi import Recording
    app = Recording(app, "day.trace", bodies=0.1, redact_fields=("user.email",))

Bodies are seen as the application reads them: nothing is read ahead or held back. A thread writes the trace, from the
start of the server on. It would not survive a fork, nor would the file: a process that was forked is refused.
"""

import atexit
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

from ..record import TraceError
from .arrival import Arrival
from .plan import Plan
from .recorder import Recorder

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Recording:
    """Wraps the application `app` and writes the trace `out` until the server shuts down, or the process ends.

    `plan` are the fields of `Plan`. One event loop only; each process of a server makes one, with an `out` of its own.
    Raises `TraceError` when the file cannot be made, `ValueError` for a plan that is none. In a process forked from the
    one that made it the server's start fails, and `TraceError` is raised at each request.
    """

    def __init__(self, app: App, out: str | os.PathLike[str], **plan: Any) -> None:
        self._app, self._pid = app, os.getpid()
        self._begun = False
        self.recorder = Recorder(out, Plan(**plan), origin="recorded by ASGI", salt=os.urandom(16))
        atexit.register(self._close)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            try:
                self._begin()
            except TraceError as fault:
                await receive()  # it asks for the start; servers go on where an application merely raises
                await send({"type": "lifespan.startup.failed", "message": str(fault)})
                return
            await self._app(scope, receive, self._until_shutdown(send))
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        else:
            self._begin()
            await self._record(scope, receive, send)

    def _begin(self) -> None:
        """Write from now on."""
        if os.getpid() != self._pid:
            raise TraceError(
                f"{self.recorder.path} is made by process {self._pid}, and its fork {os.getpid()} cannot write it: let "
                "each process load the application by itself (gunicorn: without --preload), with a file of its own"
            )
        if not self._begun:
            self._begun = True
            self.recorder.start()

    def _close(self) -> None:
        if os.getpid() == self._pid:
            self.recorder.close()

    def _until_shutdown(self, send: Send) -> Send:
        async def seen(message: Message) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                self._close()
            await send(message)

        return seen

    async def _record(self, scope: Message, receive: Receive, send: Send) -> None:
        arrival = self._arrival(scope)
        if arrival is None:
            await self._app(scope, receive, send)
            return
        headers = {name.lower() for name, _ in scope["headers"]}
        framed = scope.get("http_version", "1.1").startswith("1")  # later versions need no header for a body
        ended = framed and not headers & {b"content-length", b"transfer-encoding"}
        if ended:
            arrival.end()  # no body: an application need not ask for it

        async def seen() -> Message:
            nonlocal ended
            message = await receive()
            if not ended and message["type"] == "http.request":
                arrival.feed(message.get("body", b""))
                if not message.get("more_body", False):
                    ended = True
                    arrival.end()
            return message

        try:
            await self._app(scope, seen, send)
        finally:
            if not ended:
                arrival.abandon()  # nobody read all of it

    def _arrival(self, scope: Message) -> Arrival | None:
        path = scope.get("raw_path") or quote(scope["path"]).encode()
        target = path.partition(b"?")[0] + (b"?" + scope["query_string"] if scope.get("query_string") else b"")
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        host, port = scope.get("client") or ("", 0)
        return self.recorder.arrival(scope["method"], target.decode("latin-1"), headers, f"{host}:{port}")
