"""The layout of a trace file: its tables, what its header tells, and what its faults are called."""

import errno
import os
import sqlite3
from pathlib import Path

from .record import TraceError

APPLICATION_ID = 0x4C545243  # "LTRC"
SCHEMA = 1

TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE session(id INTEGER PRIMARY KEY, session TEXT NOT NULL UNIQUE, hash INTEGER NOT NULL);
CREATE TABLE name(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE template(id INTEGER PRIMARY KEY, method TEXT NOT NULL, path TEXT NOT NULL, headers TEXT NOT NULL,
                      UNIQUE(method, path, headers));
CREATE TABLE body(id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, data BLOB NOT NULL);
CREATE TABLE request(id INTEGER PRIMARY KEY, due_ns INTEGER NOT NULL, session INTEGER NOT NULL, name INTEGER NOT NULL,
                     template INTEGER NOT NULL, body INTEGER NOT NULL, size INTEGER NOT NULL, expect INTEGER);
"""


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
        raise TraceError(f"{path} is torn: {size} of {expected} bytes; copy or import it again")
    return True


class named:
    """A context that names the file, and what to do, in what SQLite complains about."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return

    def __exit__(self, _: object, fault: BaseException | None, __: object) -> None:
        if not isinstance(fault, sqlite3.DatabaseError):
            return
        if "locked" in str(fault):
            raise TraceError(f"{self.path} is still being written; stop its writer first") from None
        if isinstance(fault, sqlite3.OperationalError):
            raise TraceError(f"{self.path}: {fault}; check the disk, its free space and the permissions") from None
        raise TraceError(f"{self.path} is damaged: {fault}; copy or import it again") from None
