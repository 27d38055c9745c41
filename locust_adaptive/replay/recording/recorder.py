"""`Recorder`: requests in on the request's path, without waiting; a trace out, from a thread of its own.

Between them is a queue bounded in count and bytes. Where it is full, because the disk is slow, the body is dropped,
then the whole arrival; both are counted, and the client never waits. What comes in is redacted before it is queued.
"""

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..provenance import Sampling
from ..record import Record, TraceError
from ..store import TraceWriter
from .arrival import Arrival, Headers
from .heads import repeatable
from .plan import Plan

COMMIT_S = 0.06
"""How often the writer looks for work, and commits: with what it then takes, a kill loses at most the last 0.1 s."""
BATCH = 64
"""Arrivals in a commit, at most."""
NOTE_S = 1.0
"""How often the counts in the file are brought up to date."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recording is. `written` arrivals are in the file, `bodies` of them with their body; `size` in bytes.

    `arrivals` is `written`, what waits, and what is in `lost`; `left_out` are bodies alone. Both by their reason.
    `redacted`: what was taken out, how often; `unsearched` bodies are no JSON, and no field was looked for in them.
    `ended`: why nothing more is recorded; empty while it goes on.
    """

    arrivals: int
    written: int
    bodies: int
    size: int
    lost: dict[str, int]
    left_out: dict[str, int]
    redacted: dict[str, int]
    unsearched: int
    ended: str
    fault: bool  # it ended by a fault: the file is there, and unfinished


class Recorder:
    """Writes the trace `path`, which must not exist, by `plan`. `origin` says in the trace where it comes from.

    Call `arrival` and what it gives from one thread; `run` is for another, which `start` makes, and `stop` ends it.
    Every count is written by one of the two only, so that nothing is locked. The clocks are in nanoseconds: `wall_ns`
    since 1970, read once, and `clock_ns`, steady. `salt` hides the sessions' identities. Raises `TraceError` when the
    file cannot be made. It is readable for its owner only.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        plan: Plan,
        *,
        origin: str,
        salt: bytes,
        wall_ns: Callable[[], int] = time.time_ns,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.path, self.plan = Path(path), plan
        self._redactor, self._sessions = plan.redactor(), plan.sessions(salt)
        self._writer = TraceWriter(self.path, origin=origin, batch=BATCH + 1, mode=0o600)
        self._clock_ns, self._sleep = clock_ns, sleep
        self._zero_ns = wall_ns() - clock_ns()
        self._began_ns = clock_ns()
        self._queue: deque[tuple[Record, int]] = deque()
        # Of the thread of the requests:
        self._arrivals = self._held = 0
        self._left_out: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._stopping = False
        # Of the writer:
        self._written = self._bodies = self._released = self._size = 0
        self._refused: Counter[str] = Counter()
        self._ended, self._fault = "", False
        self._thread = threading.Thread(target=self.run, name="recorder", daemon=True)
        self._noted_ns = self._began_ns
        self._note()

    # The requests' side.

    def now_ns(self) -> int:
        """The time since 1970, by the steady clock."""
        return self._zero_ns + self._clock_ns()

    def arrival(
        self, method: str, target: str, headers: Headers, connection: str, due_ns: int | None = None
    ) -> Arrival | None:
        """A request's head has come, at `due_ns` (now); `headers` are all of them. None when nothing is recorded.

        `connection` names the client's connection.
        """
        if self._ended or self._stopping:
            return None
        self._arrivals += 1
        session, kept = self._sessions.identify(headers, connection)
        return Arrival(self, (self.now_ns() if due_ns is None else due_ns, session, method, target, headers), kept)

    def hold(self, arrival: Arrival, size: int) -> bool:
        """May so many more bytes of a body wait in memory?"""
        if self._held - self._released + size > self.plan.queue_bytes:
            return False
        self._held += size
        arrival.held += size
        return True

    def release(self, arrival: Arrival) -> None:
        """The body of an arrival waits no more."""
        self._held -= arrival.held
        arrival.held = 0

    def put(
        self,
        arrival: Arrival,
        due_ns: int,
        session: str,
        method: str,
        target: str,
        headers: Headers,
        body: bytes | None,
    ) -> None:
        """Redact a complete request and queue it, or count it as lost."""
        if len(self._queue) >= self.plan.queue_arrivals:
            self._lose(arrival, "queue full")
            return
        try:
            kept, omitted = (b"", arrival.size) if body is None else (body, 0)
            whole = Record(due_ns, session, method, target, repeatable(headers), kept, omitted=omitted)
            record = self._redactor.redact(whole)
            if record.omitted > omitted:
                arrival.leave_out("fields not found")
        except Exception:
            # Whatever is wrong with the request or with us: it must not reach the file unredacted, nor harm its client.
            self._lose(arrival, "not redacted")
            return
        if self._ended:  # asked last: redacting takes time, and nobody looks into the queue any more
            self._lose(arrival, "after the end")
            return
        if arrival.why:
            self._left_out[arrival.why] += 1
        self._queue.append((record, arrival.held))

    def start(self) -> None:
        """Write in a thread of our own, which does not keep the process alive."""
        self._thread.start()

    def stop(self) -> None:
        """Record no more arrivals: `run` writes what waits, seals the trace and returns."""
        self._stopping = True

    def close(self) -> Progress:
        """Stop, and wait for the thread that `start` made: the trace is complete. One never started leaves no file."""
        self.stop()
        if self._thread.ident is not None:
            self._thread.join()
        elif not self._ended:
            self.run()
        return self.progress()

    def progress(self) -> Progress:
        """The counts so far."""
        return Progress(
            self._arrivals,
            self._written,
            self._bodies,
            self._size,
            self._losses(),
            dict(self._left_out),
            dict(self._redactor.counts),
            self._redactor.unsearched,
            self._ended,
            self._fault,
        )

    def _lose(self, arrival: Arrival, why: str) -> None:
        self._lost[why] += 1
        self.release(arrival)

    # The writer's side.

    def run(self) -> None:
        """Write until `stop`, a limit or a fault; then seal. Never raises: `progress` says how it ended.

        Where no arrival was written no file is left.
        """
        try:
            while not (limit := self._limit()) and not self._stopping:
                self._drain()
                self._sleep(COMMIT_S)
            # In this order: what comes in from here on counts as lost.
            self._ended = limit or "it was stopped"
            self._drain()
            self._give_up("after the end")
            self._note()
            self._writer.finalise()
            self._size = self._measure()
            if not self._written:
                self.path.unlink()
        except Exception as fault:  # a thread's exception is seen by nobody
            self._fault, self._ended = True, str(fault) if isinstance(fault, TraceError) else repr(fault)
            self._give_up("not written")
            with suppress(TraceError):
                self._writer.close()

    def _limit(self) -> str:
        if self._size >= self.plan.max_size:
            return f"its file has reached {self.plan.max_size / 1e6:g} MB"
        if self._clock_ns() - self._began_ns >= self.plan.max_time * 1e9:
            return f"it has run for {self.plan.max_time:g} s"
        return ""

    def _drain(self) -> None:
        """Write what waits now, up to the limit of size. An item is taken from the queue when it is committed."""
        waiting = len(self._queue)  # more may come faster than it is written: limits and counts do not wait for that
        while waiting and self._size < self.plan.max_size:
            bodies, held, refused = 0, 0, 0
            batch = [self._queue[i] for i in range(min(BATCH, waiting))]
            waiting -= len(batch)
            for record, size in batch:
                held += size
                try:
                    self._writer.append(record)
                except TraceError:
                    if _storable(record):
                        raise  # then it is the disk
                    refused += 1
                else:
                    bodies += not record.omitted
            self._writer.commit()
            for _ in batch:
                self._queue.popleft()
            self._written += len(batch) - refused
            self._bodies += bodies
            self._released += held
            if refused:
                self._refused["not sendable"] += refused
            self._size = self._measure()
        if (now := self._clock_ns()) - self._noted_ns >= NOTE_S * 1e9:
            self._noted_ns = now
            self._note()

    def _give_up(self, why: str) -> None:
        while self._queue:
            self._queue.popleft()
            self._refused[why] += 1

    def _losses(self) -> dict[str, int]:
        both = Counter(dict(self._lost))
        both.update(dict(self._refused))
        return dict(both)

    def _note(self) -> None:
        """Say in the trace how it was recorded."""
        share = self.plan.bodies
        steps: list[Sampling] = []
        if share < 1:
            steps.append({"of": "bodies", "share": share, "how": f"by session, seed {self.plan.seed}"})
        for why, n in sorted(dict(self._left_out).items()):
            if why != "not sampled":
                steps.append({"of": "bodies", "share": None, "how": f"{n} not kept: {why}"})
        self._writer.note("redactions", dict(self._redactor.counts))
        self._writer.note("sampling", steps)
        self._writer.note("dropped", self._losses())
        self._writer.commit()

    def _measure(self) -> int:
        size = 0
        for file in self._files():
            size += file.stat().st_size
        return size

    def _files(self) -> list[Path]:
        return [file for file in (self.path, self.path.with_name(self.path.name + "-wal")) if file.exists()]


def _storable(record: Record) -> bool:
    try:
        record.check()
    except TraceError:
        return False
    return True
