"""Writing a trace: crash-safe while it grows, then sealed once.

While it is written the file is in write-ahead mode, so a killed writer loses at most its last batch. `seal` puts the
requests in order of time, makes the first due at 0, packs the index and leaves that mode: a file in it is unfinished,
any other complete and never changed again. The layout is in docs/reference/trace-format.md.
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .digest import digest
from .layout import APPLICATION_ID, SCHEMA, TABLES, check_tables, finished, named
from .packed import pack
from .provenance import encode
from .record import Damaged, Record, TraceError
from .sharding import session_hash

SIDECARS = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file, by what it adds to the name."""

_COLUMNS = "session, name, template, body, size, expect"
_INTERNED = 65536  # texts whose ids a writer remembers; the rest it looks up


class TraceWriter:
    """Appends records to a new trace. As a context manager it finalises on success and keeps what it has on an error.

    `origin` says where the records come from, `mode` who may read the file (less the umask). Records need not come in
    order of time, and `due_ns` may count from any zero. Every `batch` records are one transaction; `commit` ends one
    early. One writer, one thread at a time.
    Raises `TraceError` when the file exists, cannot be made, a record cannot be sent, or the disk fails: then the batch
    in hand may be lost, `committed` tells what is safe, and the writer can go on once there is space again.
    """

    time_quality: str | None = None
    """Set to "none" or "send_time" when the times are not those of the arrivals; else `seal` finds their resolution."""

    def __init__(self, path: str | os.PathLike[str], *, origin: str, batch: int = 256, mode: int = 0o644) -> None:
        self.path = Path(path)
        self.committed = 0
        """Requests that survive a kill of this process."""
        self._batch, self._pending = batch, 0
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        except FileExistsError:
            raise TraceError(
                f"{self.path} exists and is not overwritten; remove it or choose another file name"
            ) from None
        except OSError as fault:
            raise TraceError(f"cannot create {self.path}: {fault.strerror}") from None
        try:
            with named(self.path):
                self._db = _new(self.path, origin)
        except TraceError:
            for suffix in ("", *SIDECARS):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            raise
        self._session = lru_cache(_INTERNED)(self._new_session)
        self._name = lru_cache(_INTERNED)(lambda name: self._intern("name", name=name))
        self._template = lru_cache(_INTERNED)(self._new_template)

    def append(self, record: Record) -> None:
        record.check()
        with self._batched():
            self._append(record)
        self._pending += 1
        if self._pending >= self._batch:
            self.commit()

    def note(self, key: str, value: Any) -> None:
        """Say what was taken out, left out or lost, as in `provenance`; replaces an earlier note of that key.

        It is part of the batch in hand, so that counts are as old as the requests beside them. Raises `TraceError` for
        another key, or a value that is none of its kind.
        """
        text = encode(key, value)
        with self._batched():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (key, text))

    def commit(self) -> None:
        """Make everything appended and noted so far survive a kill of this process."""
        if not self._db.in_transaction:
            return
        with self._batched():
            self._db.execute("COMMIT")
        self.committed += self._pending
        self._pending = 0

    def close(self) -> None:
        """Commit and close without sealing: the trace stays unfinished, and `seal` can finish it."""
        try:
            self.commit()
        finally:
            self._db.close()

    def finalise(self) -> None:
        """Commit, seal and close: the trace is complete. On an error it stays as it is, unfinished."""
        try:
            self.commit()
            with named(self.path):
                if self.time_quality:
                    self._db.execute("INSERT OR REPLACE INTO meta VALUES('time_quality', ?)", (self.time_quality,))
                _seal(self._db, self.path)
        finally:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finalise()
            return
        try:
            self.close()
        except TraceError:  # the first fault is what the caller should hear of
            pass

    @contextmanager
    def _batched(self) -> Iterator[None]:
        """A step of the batch in hand; when it fails the batch is gone as a whole, and so are the ids made in it."""
        try:
            with named(self.path):
                if not self._db.in_transaction:
                    self._db.execute("BEGIN")
                yield
        except TraceError:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._pending = 0
            for cache in (self._session, self._name, self._template):
                cache.cache_clear()
            raise

    def _append(self, record: Record) -> None:
        self._db.execute(
            f"INSERT INTO request(due_ns, {_COLUMNS}) VALUES(?, ?, ?, ?, ?, ?, ?)",
            (
                record.due_ns,
                self._session(record.session),
                self._name(record.name),
                self._template(record.method, record.path, record.headers),
                None if record.omitted else self._body(record.body),
                record.size,
                record.expect,
            ),
        )

    def _body(self, body: bytes) -> int | None:
        digest = blake2b(body, digest_size=16).digest()
        new = self._db.execute("INSERT OR IGNORE INTO body(hash, data) VALUES(?, ?)", (digest, body))
        if new.rowcount:
            return new.lastrowid
        return int(self._db.execute("SELECT id FROM body WHERE hash = ?", (digest,)).fetchone()[0])

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
            _seal(db, path)
        finally:
            db.close()


def _new(path: Path, origin: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.executescript(
            f"PRAGMA page_size=16384; PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA};"
            # Held for as long as the writer lives, so that nobody seals the file under it.
            "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
            f"BEGIN; {TABLES[SCHEMA]} COMMIT;"
        )
        db.execute("INSERT INTO meta VALUES('origin', ?)", (origin,))
    except BaseException:
        db.close()
        raise
    return db


def _seal(db: sqlite3.Connection, path: Path) -> None:
    schema = check_tables(db, path)
    try:
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
            """
        )
        if schema > 1:
            db.execute("DELETE FROM packed")  # of a seal that was killed before it left write-ahead mode
            pack(db)
            db.execute("INSERT OR REPLACE INTO meta VALUES('digest', ?)", (digest(db),))
        db.execute("COMMIT")
    except (ValueError, TypeError, OverflowError) as fault:
        raise Damaged(f"{path} is damaged: {fault}; record or import it again") from None
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
    db.execute("PRAGMA journal_mode=DELETE")
