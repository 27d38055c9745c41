"""What a replaying user sends with: requests as they are encoded, measured, judged, and told to Locust.

All of it runs in the user's greenlet, never in a callback of the hub: a listener of Locust's request event may wait.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

from locust.exception import CatchResponseError

from ..replay.record import Record, TraceError
from ..replay.reply import ReplyError
from ..replay.wire import Encoder, Server
from .connections import Connections, Repeat, Reply
from .guards import clock
from .inflight import CONTEXT_KEY, StatusError, error_kind, only_counted, open_ticket

logger = logging.getLogger(__name__)

Check = Callable[[Record, Reply], str | None]
"""A user's own judgement of a reply: what is wrong with it, or None."""


class ReplayClient:
    """Sends recorded requests to one server, for all replaying users of one class in this process."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        timeout: float,
        verify: bool | str = True,
        repeat: Repeat = "idempotent",
        check: Check | None = None,
    ) -> None:
        """`verify`: the certificate of an https server, or against the CAs in a file. Raises `TraceError` for a URL, a
        header or a file that cannot be used."""
        server = Server.parse(url)
        self._encoder = Encoder(server, headers)
        self._timeout, self._check = timeout, check
        self._connections = Connections(server, _context(verify) if server.scheme == "https" else None, repeat)

    def end_run(self, name: str) -> None:
        """Close what is idle, and say what was sent again in the run. A next one opens its connections anew."""
        self._connections.close()
        if self._connections.repeated:
            logger.warning(
                "%s: %d requests were sent again, as the server ended a kept connection without a byte of the reply",
                name,
                self._connections.repeated,
            )
        self._connections.repeated = 0

    def send(self, user: Any, record: Record) -> None:
        """Send one request for a user and wait for its reply; whatever comes of it, Locust and the meter know."""
        outgoing = self._encoder.encode(record)
        ticket = open_ticket(user, record.name)
        began, start_time = clock(), time.time()
        reply: Reply | None = None
        error: Exception | None = None
        try:
            reply = self._connections.exchange(outgoing, self._timeout, self._check is not None)
        except (OSError, ReplyError) as fault:
            error = fault
        except BaseException as fault:  # killed
            if ticket is not None:
                ticket.close(error_kind(fault))
            raise
        ended = clock()
        if reply is not None:
            error = self._judge(record, reply)
        response_time = 1000 * (ended - began)
        environment = user.environment
        if error is None and reply is not None and only_counted(environment):
            if ticket is not None:
                ticket.judge(record.name, response_time, None)
            environment.stats.log_request(record.method, record.name, response_time, reply.length)
            return
        # Our own listener, the first of all, gives the ticket its verdict.
        environment.events.request.fire(
            request_type=record.method,
            name=record.name,
            response_time=response_time,
            response_length=0 if reply is None else reply.length,
            response=reply,
            context={CONTEXT_KEY: ticket},
            exception=error,
            start_time=start_time,
            url=record.path,
        )

    def _judge(self, record: Record, reply: Reply) -> Exception | None:
        """A reply is good when it has the status that was recorded, or without one, none that says it failed."""
        status = reply.status_code
        if status != record.expect if record.expect is not None else status >= 400:
            return StatusError(status, record.expect)
        if self._check is not None:
            try:
                wrong = self._check(record, reply)
            except Exception as fault:  # it did not find the reply good: no JSON, say, where it looks for a field
                return fault
            if wrong:
                return CatchResponseError(wrong)
        return None


def _context(verify: bool | str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    except OSError as fault:
        raise TraceError(f"verify: cannot read the CAs in {verify}: {fault.strerror or fault}") from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
