"""The trace store: one SQLite file a trace, written crash-safe, sealed once, then read by every worker.

`writer` writes; here is what reads. A finished trace never changes, so readers need no locks. It is also read as a file
that a stranger made or a disk spoilt: whatever is in it, the worst is a `TraceError`. The layout is in
docs/reference/trace-format.md.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from .index import Index
from .layout import check_tables, finished, named
from .packed import scan, unpack
from .provenance import EMPTY, NOTES, Sampling, decode
from .record import Damaged, Record, TraceError
from .writer import TraceWriter, seal

__all__ = ["Trace", "TraceInfo", "TraceWriter", "seal"]

_RECORD = """
SELECT due_ns, session.session, name.name, template, body, data, size, expect FROM request
JOIN session ON session.id = request.session JOIN name ON name.id = request.name
LEFT JOIN body ON body.id = request.body WHERE request.id = ?
"""
_TEMPLATES = 4096  # decoded templates that a reader keeps
_SMALLEST = 8  # bytes a request takes in the file, at least


@dataclass(frozen=True, slots=True)
class TraceInfo:
    """What a trace says of itself."""

    requests: int
    sessions: int
    distinct_bodies: int
    origin: str
    time_quality: (
        str  # ns, us, ms, s: the finest unit its times use; send_time: not the arrivals'; none: it has no times
    )
    start_ns: int  # the first request's time by the clock of the origin
    redactions: Mapping[str, int]  # this and the next two: see `provenance`
    sampling: list[Sampling]
    dropped: Mapping[str, int]


class Trace:
    """A finished trace, read only. Memory does not grow with it, apart from `index()`.

    Safe after a fork: each process opens its own connection when it first reads. One thread at a time.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not finished(self.path):
            raise TraceError(
                f"{self.path} is unfinished: its writer still runs, or was killed. If none runs, "
                f"`locust-adaptive trace seal {self.path}` keeps every request that was committed"
            )
        self._db: sqlite3.Connection
        self._pid = -1  # the process that opened it
        self._inherited: list[sqlite3.Connection] = []
        self._index: Index | None = None
        self._template = lru_cache(_TEMPLATES)(self._read_template)
        with named(self.path):
            self._schema = check_tables(self._connection(), self.path)
            (last,) = self._one("SELECT max(id) FROM request")
        if last is None:
            raise TraceError(f"{self.path} is an empty trace: it has no request; record or import it again")
        if not 0 <= last < self.path.stat().st_size // _SMALLEST:
            raise self._damaged("more requests than fit into the file")
        self._length: int = last + 1

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open a trace in time independent of its length.

        Raises `TraceError` when the file is missing, no trace, unfinished, torn, empty, or of a newer schema.
        """
        return cls(path)

    def __len__(self) -> int:
        return self._length

    def record(self, i: int) -> Record:
        """Request i of `range(len(trace))`, in order of time; `IndexError` outside."""
        if not 0 <= i < self._length:
            raise IndexError(f"{self.path} has requests 0 to {self._length - 1}, not {i}")
        with named(self.path):
            due_ns, session, name, template, stored, body, size, expect = self._one(_RECORD, i)
            method, target, headers = self._template(template)
        if stored is None:
            body, omitted = b"", size
        else:
            omitted = 0
        if not (
            type(due_ns) is type(omitted) is int and type(session) is type(name) is str and type(body) is bytes
        ) or not (expect is None or type(expect) is int):
            raise self._damaged(f"request {i} is none")
        return Record(due_ns, session, method, target, headers, body, name, expect, omitted)

    def index(self) -> Index:
        """The columns of the trace, read once, without its bodies: some 50 ms and 20 MB for a million requests."""
        if self._index is None:
            self._index = self._indexed(unpack if self._schema > 1 else scan)
        return self._index

    def _indexed(self, read: Callable[[sqlite3.Connection, int], Index]) -> Index:
        with named(self.path):
            try:
                return read(self._connection(), self._length)
            except (ValueError, TypeError, OverflowError) as fault:
                raise self._damaged(f"its index cannot be read ({fault})") from None

    def info(self) -> TraceInfo:
        with named(self.path):
            meta = dict(self._connection().execute("SELECT key, value FROM meta"))
            sessions, bodies = self._one("SELECT (SELECT count(*) FROM session), (SELECT count(*) FROM body)")
        try:
            notes = {key: decode(key, meta[key]) if key in meta else EMPTY[key] for key in NOTES}
            told = str(meta["origin"]), str(meta["time_quality"]), int(meta["start_ns"])
        except (KeyError, ValueError, TypeError) as fault:
            raise self._damaged(f"what it says of itself cannot be read ({fault})") from None
        return TraceInfo(self._length, sessions, bodies, *told, **notes)

    def close(self) -> None:
        """Give the connection back; the next read opens a new one."""
        if self._pid == os.getpid():
            self._db.close()
        self._pid = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connection(self) -> sqlite3.Connection:
        if self._pid != os.getpid():
            if self._pid != -1:
                self._inherited.append(self._db)  # SQLite forbids even closing a connection in a forked child
            self._db = _connect(self.path)
            self._pid = os.getpid()
        return self._db

    def _one(self, sql: str, *values: int) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = self._connection().execute(sql, values).fetchone()
        if row is None:
            raise self._damaged("a part of a request is missing")
        return row

    def _read_template(self, template: int) -> tuple[str, str, tuple[tuple[str, str], ...]]:
        method, path, text = self._one("SELECT method, path, headers FROM template WHERE id = ?", template)
        try:
            headers = tuple((name, value) for name, value in json.loads(text))
            Record(0, "", method, path, headers).check()
        except (ValueError, TypeError, AttributeError, RecursionError) as fault:
            raise self._damaged(str(fault)) from None
        return method, path, headers

    def _damaged(self, why: str) -> Damaged:
        return Damaged(f"{self.path} is damaged: {why}; copy or import it again")


def _connect(path: Path) -> sqlite3.Connection:
    # Immutable: a finished trace never changes, so there is no lock to take and no sidecar file to look for.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None, check_same_thread=False
    )
