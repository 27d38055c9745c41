"""The reverse proxy: streams between clients and one target in both directions, and shows the recorder what passes.

On httptools (llhttp) and asyncio, not on a library of servers and clients: with aiohttp 3.14 a relayed request took 2.6
times the CPU, with uvicorn and httpx 5 times, and headers did not pass as they came.
"""

import asyncio
import itertools
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from . import hop
from .clientside import ClientSide, Request
from .targetside import TargetSide

if TYPE_CHECKING:
    from .arrival import Arrival
from .recorder import Recorder

SWEEP_S = 0.5
"""How often it is looked for answers that are overdue."""


class Relay:
    """Relays to `target`, `http://host:port` or `https://host`, whose certificate is verified.

    `connect_s`: for a connection to the target; `silence_s`: for the next byte of an
    answer, once the request is complete; then the client gets 504. Other faults of the target are 502. `keep_host`
    passes the client's Host header on; else it is the target's. Raises `ValueError` for a target that is none.
    """

    def __init__(
        self,
        target: str,
        *,
        keep_host: bool = False,
        connect_s: float = 10.0,
        silence_s: float = 600.0,
    ) -> None:
        self.host, self.port, self._tls, self._authority = _parse(target)
        self.target = f"{'https' if self._tls else 'http'}://{self._authority.decode()}"
        self.connect_s, self.silence_s = connect_s, silence_s
        self.closing = False
        self.requests = self.failed = 0
        self._keep_host = keep_host
        self._recorder: Recorder | None = None
        self._clients: set[ClientSide] = set()
        self._numbers = itertools.count()
        self._context = ssl.create_default_context() if self._tls else None
        self._server: asyncio.Server | None = None
        self._gone = asyncio.Event()
        self._sweeper: asyncio.Task[None] | None = None
        self.now_ns: Callable[[], int] = lambda: 0

    def records_to(self, recorder: "Recorder") -> None:
        """Show `recorder` what passes; without one it is only relayed."""
        self._recorder, self.now_ns = recorder, recorder.now_ns

    async def open(self, host: str, port: int) -> int:
        """Accept clients; gives the port, for `port` 0 a free one. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: ClientSide(self), host, port, backlog=1024)
        self._sweeper = loop.create_task(self._sweep())
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self, grace_s: float) -> int:
        """Accept no more, let what is under way finish, at most so long. Gives how many requests were cut off."""
        self.closing = True
        if self._server is not None:
            self._server.close()
        for client in list(self._clients):
            if client.idle:
                client.close()
        try:
            async with asyncio.timeout(grace_s):
                while self._clients:
                    self._gone.clear()
                    await self._gone.wait()
        except TimeoutError:
            pass
        cut = sum(bool(client.requests) for client in self._clients)
        for client in list(self._clients):
            client.abort()
        await asyncio.sleep(0)  # so that their connections are lost, and told the recorder
        if self._sweeper is not None:
            self._sweeper.cancel()
        return cut

    # For the two sides.

    def joined(self, client: ClientSide) -> int:
        """A client has come: gives a number of its own."""
        self._clients.add(client)
        return next(self._numbers)

    def left(self, client: ClientSide) -> None:
        """A client has gone."""
        self._clients.discard(client)
        self._gone.set()

    def request_head(self, request: Request, url: bytes, headers: hop.Headers, found: dict[bytes, bytes]) -> bytes:
        """The head that the target gets, of `headers` and their `hop.fields`."""
        self.requests += 1
        if self._keep_host:
            crossing = hop.crossing(headers, found)
        else:
            crossing = [(b"Host", self._authority), *hop.crossing(headers, found, frozenset({b"host"}))]
        request.keep = request.keep and not self.closing
        version = b"1.0" if request.old else b"1.1"
        wish = b"close" if not request.keep else b"keep-alive" if request.old else b""
        return hop.head(b"%b %b HTTP/%b" % (request.method, url, version), crossing, wish)

    def arrival(
        self, method: bytes, url: bytes, headers: hop.Headers, connection: str, due_ns: int
    ) -> "Arrival | None":
        """Tell the recorder of a request."""
        if self._recorder is None:
            return None
        texts = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
        return self._recorder.arrival(method.decode("latin-1"), url.decode("latin-1"), texts, connection, due_ns)

    async def connect(self, client: ClientSide) -> TargetSide:
        """A connection to the target. Raises TimeoutError and OSError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self.connect_s):
            _, side = await loop.create_connection(lambda: TargetSide(client), self.host, self.port, ssl=self._context)
        return side

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            overdue = loop.time() - self.silence_s
            for client in list(self._clients):
                target = client.target
                if target is not None and client.requests and client.requests[0].complete and target.heard < overdue:
                    client.fail(504, f"the target {self.target} has sent nothing for {self.silence_s:g} s")


def _parse(target: str) -> tuple[str, int, bool, bytes]:
    example = "write it as http://127.0.0.1:8000"
    if "@" in target:  # before all else: no other error may show it
        raise ValueError(f"the target comes with a password, or an @; leave it out: clients send their own; {example}")
    try:
        parts = urlsplit(target)
        port = parts.port
        (parts.hostname or "").encode("idna")
    except ValueError as fault:
        raise ValueError(f"the target {target!r} is no URL: {fault}; {example}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"the target {target!r} is no URL of a server; {example}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"the target {target!r} has more than a host and a port; the paths come from the clients")
    tls = parts.scheme == "https"
    return (
        parts.hostname,
        port or (443 if tls else 80),
        tls,
        parts.netloc.encode("idna" if not parts.netloc.isascii() else "ascii"),
    )
