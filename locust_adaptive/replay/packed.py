"""The index of a trace, in and out of the file.

Sealing writes each column as blobs, because a worker that asks SQLite for a million rows would stand still for a
second; a trace of schema 1 has none and is read by row.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .index import Index

PART = 65536
"""Values in a blob: what reading and writing hold besides the columns themselves."""

_ROW = np.dtype([("due_ns", "<i8"), ("session", "<i4"), ("name", "<i4"), ("size", "<i4"), ("bodyless", "?")])
_FIELDS = {"due_ns": "<i8", "session": "<i4", "name": "<i4", "size": "<i4", "session_hash": "<u8", "bodyless": "<i4"}


def pack(db: sqlite3.Connection) -> None:
    """Write the columns of the requests, which are in order."""
    parts = dict.fromkeys(_FIELDS, 0)

    def put(field: str, values: NDArray[Any]) -> None:
        data = values.astype(_FIELDS[field], copy=False).tobytes()
        db.execute("INSERT INTO packed(field, part, data) VALUES(?, ?, ?)", (field, parts[field], data))
        parts[field] += 1

    for start, rows in _rows(db):
        for field in ("due_ns", "session", "name", "size"):
            put(field, rows[field])
        if len(bodyless := np.flatnonzero(rows["bodyless"])):
            put("bodyless", bodyless + start)
    for hashes in _hashes(db):
        put("session_hash", hashes)


def unpack(db: sqlite3.Connection, n: int) -> Index:
    """The index of a trace of n requests; `ValueError` when it is not one."""
    columns = {
        field: _filled(_blobs(db, field), n, _FIELDS[field]) for field in ("due_ns", "session", "name", "size")
    } | {field: _joined(_blobs(db, field), _FIELDS[field]) for field in ("session_hash", "bodyless")}
    return _checked(Index(names=_names(db), **columns), n)


def scan(db: sqlite3.Connection, n: int) -> Index:
    """The same, from the requests themselves."""
    rows = _filled((rows for _, rows in _rows(db)), n, _ROW)
    columns = {field: np.ascontiguousarray(rows[field]) for field in ("due_ns", "session", "name", "size")}
    bodyless = np.flatnonzero(rows["bodyless"]).astype(np.int32)
    hashes = _joined(_hashes(db), _FIELDS["session_hash"])
    return _checked(Index(**columns, session_hash=hashes, names=_names(db), bodyless=bodyless), n)


def _rows(db: sqlite3.Connection) -> Iterator[tuple[int, NDArray[Any]]]:
    cursor = db.execute("SELECT due_ns, session, name, size, body IS NULL FROM request ORDER BY id")
    start = 0
    while len(rows := np.fromiter(_whole(islice(cursor, PART)), dtype=_ROW)):
        yield start, rows
        start += len(rows)


def _whole(rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The rows, if their values are integers: NumPy would make one of a float, and of a text."""
    for row in rows:
        for value in row:
            if type(value) is not int:
                raise ValueError(f"{value!r} is no integer")
        yield row


def _hashes(db: sqlite3.Connection) -> Iterator[NDArray[np.uint64]]:
    cursor = db.execute("SELECT hash FROM session ORDER BY id")
    while len(signed := np.fromiter((value for (value,) in islice(cursor, PART)), dtype=np.int64)):
        yield signed.view(np.uint64) ^ np.uint64(1 << 63)  # SQLite's integers are signed


def _blobs(db: sqlite3.Connection, field: str) -> Iterator[NDArray[Any]]:
    for (data,) in db.execute("SELECT data FROM packed WHERE field = ? ORDER BY part", (field,)):
        yield np.frombuffer(data, dtype=_FIELDS[field])


def _filled(parts: Iterable[NDArray[Any]], n: int, kind: Any) -> NDArray[Any]:
    """The parts one after the other; `ValueError` when they are not n values in all."""
    column, filled = np.empty(n, dtype=kind), 0
    for part in parts:
        filled += len(part)
        if filled <= n:
            column[filled - len(part) : filled] = part
    if filled != n:
        raise ValueError(f"its index is that of {filled} requests, it has {n}")
    return column


def _joined(parts: Iterable[NDArray[Any]], kind: str) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype=kind), *parts])


def _names(db: sqlite3.Connection) -> tuple[str, ...]:
    names = tuple(name for (name,) in db.execute("SELECT name FROM name ORDER BY id"))
    if not all(type(name) is str for name in names):
        raise ValueError("a name is no text")
    return names


def _checked(index: Index, n: int) -> Index:
    """The index, if codes and rows lead somewhere, so that nobody who uses it has to look."""
    sessions, names, bodyless = len(index.session_hash), len(index.names), index.bodyless
    if index.due_ns[0] or np.any(index.due_ns[1:] < index.due_ns[:-1]):
        raise ValueError("its times do not ascend from 0")
    for what, column, count in (("session", index.session, sessions), ("name", index.name, names)):
        if column.min() < 0 or column.max() >= count:
            raise ValueError(f"a request has a {what} that is not there")
    if index.size.min() < 0:
        raise ValueError("a body has a negative size")
    if len(bodyless) and (bodyless[0] < 0 or bodyless[-1] >= n or np.any(bodyless[1:] <= bodyless[:-1])):
        raise ValueError("its list of requests without a body is not in order")
    if not np.bincount(index.session, minlength=sessions).all():
        raise ValueError("a session has no request")
    return index
