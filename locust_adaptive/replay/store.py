"""The trace store: one SQLite file a trace, written crash-safe, sealed once, then read by every worker.

While it is written the file is in write-ahead mode, so a killed writer loses at most its last batch. `seal` puts the
requests in order of time, makes the first due at 0 and leaves that mode: a file in it is unfinished, any other complete
and never changed again, so that readers need no locks. The layout is in docs/reference/trace-format.md.
"""

import json
import os
import sqlite3
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .index import Index
from .layout import APPLICATION_ID, SCHEMA, TABLES, finished, named
from .record import Record, TraceError
from .sharding import session_hash

_COLUMNS = "session, name, template, body, size, expect"
_RECORD = """
SELECT due_ns, session.session, name.name, template, body.data, expect FROM request
JOIN session ON session.id = request.session JOIN name ON name.id = request.name JOIN body ON body.id = request.body
WHERE request.id = ?
"""
_INTERNED = 65536  # texts whose ids a writer remembers; the rest it looks up
_TEMPLATES = 4096  # decoded templates that a reader keeps
_CHUNK = 65536  # rows turned into columns at a time


class TraceWriter:
    """Appends records to a new trace. As a context manager it finalises on success and keeps what it has on an error.

    `origin` says where the records come from. Records need not come in order of time, and `due_ns` may count from any
    zero. Every `batch` records are one transaction; `commit` ends one early. One writer, one thread at a time.
    Raises `TraceError` when the file exists, cannot be made, or a record cannot be sent.
    """

    time_quality: str | None = None
    """Set to "none" or "send_time" when the times are not those of the arrivals; else `seal` finds their resolution."""

    def __init__(self, path: str | os.PathLike[str], *, origin: str, batch: int = 256) -> None:
        self.path = Path(path)
        self._batch, self._pending = batch, 0
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except FileExistsError:
            raise TraceError(
                f"{self.path} exists and is not overwritten; remove it or choose another file name"
            ) from None
        except OSError as fault:
            raise TraceError(f"cannot create {self.path}: {fault.strerror}") from None
        with named(self.path):
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self._db.executescript(
                f"PRAGMA page_size=16384; PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA};"
                # Held for as long as the writer lives, so that nobody seals the file under it.
                "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                f"BEGIN; {TABLES} COMMIT;"
            )
            self._db.execute("INSERT INTO meta VALUES('origin', ?)", (origin,))
        self._session = lru_cache(_INTERNED)(self._new_session)
        self._name = lru_cache(_INTERNED)(lambda name: self._intern("name", name=name))
        self._template = lru_cache(_INTERNED)(self._new_template)

    def append(self, record: Record) -> None:
        record.check()
        with named(self.path):
            if not self._pending:
                self._db.execute("BEGIN")
            self._pending += 1
            digest = blake2b(record.body, digest_size=16).digest()
            row = self._db.execute("SELECT id FROM body WHERE hash = ?", (digest,)).fetchone()
            body = (
                row[0]
                if row
                else self._db.execute("INSERT INTO body(hash, data) VALUES(?, ?)", (digest, record.body)).lastrowid
            )
            self._db.execute(
                f"INSERT INTO request(due_ns, {_COLUMNS}) VALUES(?, ?, ?, ?, ?, ?, ?)",
                (
                    record.due_ns,
                    self._session(record.session),
                    self._name(record.name),
                    self._template(record.method, record.path, record.headers),
                    body,
                    len(record.body),
                    record.expect,
                ),
            )
        if self._pending >= self._batch:
            self.commit()

    def commit(self) -> None:
        """Make everything appended so far survive a kill of this process."""
        if self._pending:
            with named(self.path):
                self._db.execute("COMMIT")
            self._pending = 0

    def close(self) -> None:
        """Commit and close without sealing: the trace stays unfinished, and `seal` can finish it."""
        self.commit()
        self._db.close()

    def finalise(self) -> None:
        """Commit, seal and close: the trace is complete."""
        self.commit()
        with named(self.path):
            if self.time_quality:
                self._db.execute("INSERT INTO meta VALUES('time_quality', ?)", (self.time_quality,))
            _seal(self._db)
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finalise()
        else:
            self.close()

    def _intern(self, table: str, **values: str | int) -> int:
        """The id of a row, made when new; ids count from 0, so that they index arrays."""
        keys = {column: value for column, value in values.items() if column != "hash"}
        where = " AND ".join(f"{column} = ?" for column in keys)
        row = self._db.execute(f"SELECT id FROM {table} WHERE {where}", tuple(keys.values())).fetchone()
        if row:
            return int(row[0])
        places = ", ?" * len(values)
        return int(
            self._db.execute(
                f"INSERT INTO {table}(id, {', '.join(values)}) "
                f"VALUES((SELECT coalesce(max(id) + 1, 0) FROM {table}){places})",
                tuple(values.values()),
            ).lastrowid
            or 0
        )

    def _new_session(self, session: str) -> int:
        signed = session_hash(session) - (1 << 63)  # SQLite's integers are signed
        return self._intern("session", session=session, hash=signed)

    def _new_template(self, method: str, path: str, headers: tuple[tuple[str, str], ...]) -> int:
        return self._intern("template", method=method, path=path, headers=json.dumps(headers, ensure_ascii=False))


def seal(path: str | os.PathLike[str]) -> None:
    """Finish a trace whose writer was killed; every committed request is kept. Nothing to do for a finished one."""
    path = Path(path)
    if finished(path):
        return
    with named(path):
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=0)
        try:
            _seal(db)
        finally:
            db.close()


def _seal(db: sqlite3.Connection) -> None:
    # Sorting spills to a temporary file, so memory stays bounded; bodies do not move.
    db.executescript(
        f"""
        PRAGMA locking_mode=EXCLUSIVE;
        BEGIN IMMEDIATE;
        INSERT OR REPLACE INTO meta SELECT 'start_ns', coalesce(min(due_ns), 0) FROM request;
        CREATE TEMP TABLE sorted AS SELECT due_ns, {_COLUMNS} FROM request ORDER BY due_ns, id;
        DELETE FROM request;
        INSERT INTO request(id, due_ns, {_COLUMNS})
            SELECT rowid - 1, due_ns - (SELECT value FROM meta WHERE key = 'start_ns'), {_COLUMNS} FROM sorted;
        INSERT OR IGNORE INTO meta SELECT 'time_quality', CASE
            WHEN max(due_ns % 1000) THEN 'ns' WHEN max(due_ns % 1000000) THEN 'us'
            WHEN max(due_ns % 1000000000) THEN 'ms' ELSE 's' END FROM request;
        DROP TABLE sorted;
        COMMIT;
        PRAGMA journal_mode=DELETE;
        """
    )


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
            last = self._one("SELECT max(id) FROM request")[0]
        if last is None:
            raise TraceError(f"{self.path} is an empty trace: it has no request; record or import it again")
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
            due_ns, session, name, template, body, expect = self._one(_RECORD, i)
            method, target, headers = self._template(template)
        return Record(due_ns, session, method, target, headers, body, name, expect)

    def index(self) -> Index:
        """The columns of the trace, read once, without its bodies: about a second and 20 MB for a million requests."""
        if self._index is None:
            with named(self.path):
                self._index = self._read_index()
        return self._index

    def info(self) -> TraceInfo:
        with named(self.path):
            meta = dict(self._connection().execute("SELECT key, value FROM meta"))
            sessions, bodies = self._one("SELECT (SELECT count(*) FROM session), (SELECT count(*) FROM body)")
        return TraceInfo(
            self._length, sessions, bodies, str(meta["origin"]), str(meta["time_quality"]), int(meta["start_ns"])
        )

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
            raise TraceError(f"{self.path} is damaged: a part of a request is missing; copy or import it again")
        return row

    def _read_template(self, template: int) -> tuple[str, str, tuple[tuple[str, str], ...]]:
        method, path, headers = self._one("SELECT method, path, headers FROM template WHERE id = ?", template)
        return method, path, tuple((name, value) for name, value in json.loads(headers))

    def _read_index(self) -> Index:
        db = self._connection()
        row = np.dtype([("due_ns", np.int64), ("session", np.int32), ("name", np.int32), ("size", np.int32)])
        columns = {name: np.empty(self._length, dtype=row[name]) for name in row.names or ()}
        cursor = db.execute("SELECT due_ns, session, name, size FROM request ORDER BY id")
        for start in range(0, self._length, _CHUNK):
            stop = min(start + _CHUNK, self._length)
            chunk = np.fromiter(islice(cursor, stop - start), dtype=row, count=stop - start)
            for name, column in columns.items():
                column[start:stop] = chunk[name]
        signed = np.fromiter((value for (value,) in db.execute("SELECT hash FROM session ORDER BY id")), dtype=np.int64)
        hashes: NDArray[np.uint64] = signed.view(np.uint64) ^ np.uint64(1 << 63)
        names = tuple(name for (name,) in db.execute("SELECT name FROM name ORDER BY id"))
        return Index(columns["due_ns"], columns["session"], columns["name"], columns["size"], hashes, names)


def _connect(path: Path) -> sqlite3.Connection:
    # Immutable: a finished trace never changes, so there is no lock to take and no sidecar file to look for.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None, check_same_thread=False
    )
