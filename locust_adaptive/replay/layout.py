"""The layout of a trace file: its tables, what its header tells, and what its faults are called."""

import errno
import os
import sqlite3
from functools import lru_cache
from pathlib import Path

from .record import Damaged, TraceError

APPLICATION_ID = 0x4C545243  # "LTRC"
SCHEMA = 2

_SCHEMA_1 = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE session(id INTEGER PRIMARY KEY, session TEXT NOT NULL UNIQUE, hash INTEGER NOT NULL);
CREATE TABLE name(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE template(id INTEGER PRIMARY KEY, method TEXT NOT NULL, path TEXT NOT NULL, headers TEXT NOT NULL,
                      UNIQUE(method, path, headers));
CREATE TABLE body(id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, data BLOB NOT NULL);
CREATE TABLE request(id INTEGER PRIMARY KEY, due_ns INTEGER NOT NULL, session INTEGER NOT NULL, name INTEGER NOT NULL,
                     template INTEGER NOT NULL, body INTEGER NOT NULL, size INTEGER NOT NULL, expect INTEGER);
"""
# A body may be absent; the columns that every worker reads at its start are there a second time, ready for it.
_SCHEMA_2 = _SCHEMA_1.replace("body INTEGER NOT NULL", "body INTEGER") + (
    "CREATE TABLE packed(field TEXT NOT NULL, part INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY(field, part));"
)
TABLES = {1: _SCHEMA_1, 2: _SCHEMA_2}


def finished(path: Path) -> bool:
    """Whether a trace is sealed, from its header alone; `TraceError` when the file is none that we can read."""
    try:
        with path.open("rb") as file:
            header, size = file.read(100), os.fstat(file.fileno()).st_size
    except OSError as fault:
        why = "there is no such file" if fault.errno == errno.ENOENT else fault.strerror
        raise TraceError(f"cannot open the trace {path}: {why}; check the path") from None
    if not header:
        raise TraceError(f"{path} is empty: 0 bytes; record or import it again")
    if not header.startswith(b"SQLite format 3\0") or int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise TraceError(
            f"{path} is not a trace; `locust-adaptive trace import {path} OUT.trace` makes one of JSON lines"
        )
    if (schema := int.from_bytes(header[60:64], "big")) > SCHEMA:
        raise TraceError(
            f"{path} has trace schema {schema}, this version reads up to {SCHEMA}; upgrade locust-adaptive, "
            "or import the trace again with this version"
        )
    if header[18] == 2:  # write-ahead mode
        return False
    expected = int.from_bytes(header[28:32], "big") * int.from_bytes(header[16:18], "big")
    if len(header) < 100 or size < expected:
        raise Damaged(f"{path} is torn: {size} of {expected} bytes; copy or import it again")
    return True


def check_tables(db: sqlite3.Connection, path: Path) -> int:
    """The schema of a trace; `Damaged` when its tables are not exactly those, which also keeps out views and triggers.

    A trace is a file that people hand to each other, and a view would be a program in it.
    """
    (schema,) = db.execute("PRAGMA user_version").fetchone()
    if schema not in TABLES or _tables(db) != _known(schema):
        raise Damaged(f"{path} is damaged: its tables are not those of a trace; copy or import it again")
    return int(schema)


def _tables(db: sqlite3.Connection) -> frozenset[tuple[object, ...]]:
    return frozenset(db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT 100"))


@lru_cache
def _known(schema: int) -> frozenset[tuple[object, ...]]:
    db = sqlite3.connect(":memory:")
    try:
        db.executescript(TABLES[schema])
        return _tables(db)
    finally:
        db.close()


class named:
    """A context that names the file, and what to do, in what SQLite complains about."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return

    def __exit__(self, _: object, fault: BaseException | None, __: object) -> None:
        if not isinstance(fault, sqlite3.Error | UnicodeDecodeError):
            return
        match getattr(fault, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                raise TraceError(f"{self.path} is still being written; stop its writer first") from None
            case sqlite3.SQLITE_FULL:
                raise TraceError(
                    f"{self.path}: the disk is full; what was committed before is kept. Free some space, or use another"
                    " disk"
                ) from None
            case sqlite3.SQLITE_IOERR:
                raise TraceError(
                    f"{self.path}: {fault}; check the disk, its free space and the limit on the size of files"
                ) from None
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
                raise TraceError(f"{self.path}: {fault}; check the permissions of the file and its folder") from None
        raise Damaged(f"{self.path} is damaged: {fault}; copy or import it again") from None
