"""Is every byte of a trace still what was written? Everything that can be checked, one sentence a fault."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from .digest import digest
from .index import Index
from .layout import named
from .packed import scan
from .record import Damaged, TraceError
from .sharding import session_hash
from .store import Trace

FAULTS = 10
"""Of a kind that are named; what follows is rarely news."""

Progress = Callable[[str, Iterable[Any], int], Iterable[Any]]
"""Passes on the rows of a step, of which the name and the number are given."""


def verify(path: Path, progress: Progress = lambda _, rows, __: rows) -> Iterator[str]:
    """The faults of a trace, as they are found; none when it is sound. Memory holds the index and one body.

    Raises `TraceError` where there is nothing to check: no file, no trace, unfinished, of a newer schema.
    """
    try:
        with Trace.open(path) as trace:
            db = trace._connection()
            for step in (_file, _said, _bodies, _texts, _requests, _whole):
                found = step(trace, db, progress)
                try:
                    with named(path):
                        yield from islice(found, FAULTS)
                        if sum(1 for _ in found):
                            yield f"and more faults of this kind (only {FAULTS} are named)"
                except Damaged as fault:  # the file itself; the other steps may tell more
                    yield str(fault)
    except Damaged as fault:
        yield str(fault)


def _file(trace: Trace, db: sqlite3.Connection, progress: Progress) -> Iterator[str]:
    for (said,) in progress("the file", db.execute(f"PRAGMA integrity_check({2 * FAULTS})"), 1):
        if said != "ok":
            yield f"the file: {' '.join(said.split())}"


def _said(trace: Trace, db: sqlite3.Connection, progress: Progress) -> Iterator[str]:
    trace.info()  # raises what is wrong
    yield from ()


def _bodies(trace: Trace, db: sqlite3.Connection, progress: Progress) -> Iterator[str]:
    bodies = db.execute("SELECT id, hash, data FROM body")
    for id, kept, data in progress("bodies", bodies, _count(db, "body")):
        if type(data) is not bytes or blake2b(data, digest_size=16).digest() != kept:
            yield f"body {id} is not what was recorded: its hash differs"


def _texts(trace: Trace, db: sqlite3.Connection, progress: Progress) -> Iterator[str]:
    """What requests refer to: sessions under their hashes, endpoints, the templates of method, path and headers."""
    sessions = db.execute("SELECT id, session, hash FROM session ORDER BY id")
    for row, (id, session, signed) in enumerate(progress("sessions", sessions, _count(db, "session"))):
        if id != row:
            yield f"session {row} is missing; the next is {id}"
            break
        if type(session) is not str or session_hash(session) - (1 << 63) != signed:
            yield f"session {id} ({session!r:.60}) is not under its own hash"
    for row, (id,) in enumerate(db.execute("SELECT id FROM name ORDER BY id")):
        if id != row:
            yield f"name {row} is missing; the next is {id}"
            break
    for (id,) in db.execute("SELECT id FROM template ORDER BY id"):
        try:
            trace._read_template(id)
        except TraceError as fault:
            yield f"template {id} cannot be sent: {fault}"


def _requests(trace: Trace, db: sqlite3.Connection, progress: Progress) -> Iterator[str]:
    rows = db.execute(
        """
        SELECT request.id, due_ns, request.session IN (SELECT id FROM session), request.name IN (SELECT id FROM name),
               template IN (SELECT id FROM template), body IS NULL OR body IN (SELECT id FROM body),
               (SELECT length(data) FROM body WHERE id = request.body), size, expect
        FROM request ORDER BY request.id
        """
    )
    before, count = 0, 0
    for id, due_ns, session, name, template, body, length, size, expect in progress("requests", rows, len(trace)):
        if id != count:
            yield f"request {count} is missing; the next is {id}"
            count = id
        count += 1
        if type(due_ns) is not int or due_ns < before or (id == 0 and due_ns):
            yield f"request {id} is out of order: due at {due_ns!r} ns after one at {before} ns"
        else:
            before = due_ns
        for there, what in ((session, "session"), (name, "name"), (template, "template"), (body, "body")):
            if not there:
                yield f"request {id} has a {what} that is not there"
        if type(size) is not int or (size <= 0 if length is None else size != length):
            yield f"request {id} should have a body of {size!r} bytes, not {'none' if length is None else length}"
        if expect is not None and (type(expect) is not int or not 100 <= expect <= 599):
            yield f"request {id} expects the status {expect!r}"
    if count != len(trace):
        yield f"there are {count} requests, the last is request {len(trace) - 1}"
    if not _equal(trace.index(), trace._indexed(scan)):
        yield "the index differs from the requests: workers would play others"


def _whole(trace: Trace, db: sqlite3.Connection, progress: Progress) -> Iterator[str]:
    sealed = dict(db.execute("SELECT key, value FROM meta")).get("digest")
    try:
        if sealed is not None and digest(db) != sealed:
            yield "the whole is not what was sealed: its digest differs"
    except TypeError:  # a value of a type that no trace has: not what was sealed, either
        yield "the whole is not what was sealed: a value has another type"


def _count(db: sqlite3.Connection, table: str) -> int:
    (count,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(count)


def _equal(a: Index, b: Index) -> bool:
    columns = ("due_ns", "session", "name", "size", "session_hash", "bodyless")
    return a.names == b.names and all(np.array_equal(getattr(a, column), getattr(b, column)) for column in columns)
