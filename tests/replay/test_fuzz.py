"""Whatever is in a file, reading it as a trace ends with a trace or a TraceError: no crash, no hang, bounded memory."""

import sqlite3
import tracemalloc
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from locust_adaptive.replay.population import Population
from locust_adaptive.replay.profile import profile
from locust_adaptive.replay.record import Record, TraceError
from locust_adaptive.replay.store import Trace, TraceWriter, seal
from locust_adaptive.replay.timeline import Draw, Timeline
from locust_adaptive.replay.verify import verify

PAGE = 16384
MEMORY = 30e6  # bytes of Python and NumPy; the traces have 0.3 MB
FUZZ = settings(max_examples=60, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])


def make():
    """The bytes of a trace with all that one can have."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "t.trace"
        with TraceWriter(path, origin="test") as writer:
            writer.note("dropped", {"queue full": 3})
            for i in range(60):
                body, omitted = (b"", 50) if i % 20 == 7 else (b"%d" % i * (1 + i % 3 * 9000), 0)
                headers = (("A", str(i % 5)),)
                writer.append(Record(i * 1001, f"s{i % 20}", "POST", f"/{i % 7}", headers, body, "n", 200, omitted))
        return path.read_bytes()


SOUND = make()


def everything(path):
    """Read all there is to read. Returns the records, or None for no usable trace; whether `verify` found it sound."""
    tracemalloc.start()
    try:
        try:
            faults = list(verify(path))
        except TraceError:
            faults = ["no trace"]
        try:
            with Trace.open(path) as trace:
                trace.info()
                index = trace.index()
                records = [trace.record(i) for i in range(len(trace))]
                profile(index)
                if index.playable().any():
                    for play in islice(Population(index, 1).plays(1), 2 * len(index)):
                        assert index.session[play.row] == play.session
                try:
                    timeline = Timeline(index, 1)
                except ValueError:  # nothing to play, or not in its own time
                    pass
                else:
                    found = timeline.stretch(Draw((1,)), 1.5, 0, timeline.period_ns, 500)
                    played = [play.row for play in timeline.plays(found, np.ones(len(found.due_ns), dtype=bool))]
                    assert not set(played) & set(index.bodyless.tolist())
                if not faults:
                    assert [record.due_ns for record in records] == index.due_ns.tolist()
        except TraceError:
            records = None
        assert tracemalloc.get_traced_memory()[1] < MEMORY
        return records, not faults
    finally:
        tracemalloc.stop()


def test_the_sound_one_is_read(tmp_path):
    path = tmp_path / "t.trace"
    path.write_bytes(SOUND)
    records, is_sound = everything(path)
    assert (len(records), is_sound) == (60, True)


@given(st.binary(max_size=2 * PAGE), st.integers(0, 100))
@FUZZ
def test_random_bytes(tmp_path, noise, header):
    path = tmp_path / "t.trace"
    path.write_bytes(SOUND[:header] + noise)
    assert everything(path) == (None, False)


@st.composite
def places(draw, size):
    """Where a page says what is in it (its ends), or anywhere."""
    page = draw(st.integers(0, size // PAGE - 1)) * PAGE
    return page + draw(st.integers(0, 120) | st.integers(PAGE - 800, PAGE - 1) | st.integers(0, PAGE - 1))


@given(st.data())
@FUZZ
def test_flipped_bytes(tmp_path, data):
    path = tmp_path / "t.trace"
    changed = bytearray(SOUND)
    for place in data.draw(st.lists(places(len(SOUND)), min_size=1, max_size=8)):
        changed[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    records, is_sound = everything(path)
    if is_sound:  # what was flipped is in no use
        path.write_bytes(SOUND)
        assert records == everything(path)[0]


@given(st.data())
@FUZZ
def test_truncation(tmp_path, data):
    path = tmp_path / "t.trace"
    cut = data.draw(st.integers(0, len(SOUND) - 1))
    changed = bytearray(SOUND[:cut])
    if cut >= 100 and data.draw(st.booleans()):
        changed[28:32] = (cut // PAGE).to_bytes(4, "big")  # it claims to be whole
    path.write_bytes(changed)
    assert everything(path) == (None, False)


COLUMNS = {
    "meta": ("value",),
    "session": ("session", "hash", "id"),
    "name": ("name", "id"),
    "template": ("method", "path", "headers", "id"),
    "body": ("hash", "data", "id"),
    "request": ("due_ns", "session", "name", "template", "body", "size", "expect", "id"),
    "packed": ("data", "field", "part"),
}
VALUES = st.sampled_from(
    [None, -1, 0, 1, 40, 2**31, 2**62, -(2**63), 2**63 - 1, 1.5, float("inf"), "", "x", "3", '"', "[[1]]", "[" * 9999]
) | st.binary(max_size=64)


@given(st.data())
@FUZZ
def test_rows_that_lead_nowhere_and_values_of_other_types(tmp_path, data):
    path = tmp_path / "t.trace"
    path.write_bytes(SOUND)
    db = sqlite3.connect(path, isolation_level=None)
    for _ in range(data.draw(st.integers(1, 3))):
        table = data.draw(st.sampled_from(sorted(COLUMNS)))
        row = data.draw(st.integers(0, 70))
        which = f"rowid = {row}" if table != "meta" else f"key > '{chr(97 + row % 26)}'"
        column = data.draw(st.sampled_from([None, *COLUMNS[table]]))
        try:
            if column is None:
                db.execute(f"DELETE FROM {table} WHERE {which}")
            else:
                db.execute(f"UPDATE {table} SET {column} = ? WHERE {which}", (data.draw(VALUES),))
        except sqlite3.Error:  # the table itself refuses
            pass
    db.close()
    records, is_sound = everything(path)
    if is_sound:
        path.write_bytes(SOUND)
        assert records == everything(path)[0]


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE body",
        "ALTER TABLE request ADD COLUMN more",
        "CREATE TRIGGER t AFTER INSERT ON name BEGIN SELECT 1; END",
        "ALTER TABLE request RENAME TO other; CREATE VIEW request AS WITH RECURSIVE endless(id, due_ns, session, name, "
        "template, body, size, expect) AS (SELECT 0, 0, 0, 0, 0, 0, 0, 0 UNION ALL SELECT id + 1, 0, 0, 0, 0, 0, 0, 0 "
        "FROM endless) SELECT * FROM endless",
        "PRAGMA user_version = 0",
        "PRAGMA user_version = 1",
    ],
)
def test_other_tables_are_no_trace(tmp_path, change):
    path = tmp_path / "t.trace"
    path.write_bytes(SOUND)
    with sqlite3.connect(path) as db:
        db.executescript(change)
    db.close()
    with pytest.raises(TraceError, match="tables are not those of a trace"):
        Trace.open(path)


@given(st.data())
@settings(FUZZ, max_examples=20)
def test_an_unfinished_trace_with_flipped_bytes_is_sealed_or_refused(tmp_path, data):
    path = tmp_path / "t.trace"
    path.unlink(missing_ok=True)
    writer = TraceWriter(path, origin="test")
    for i in range(20):
        writer.append(Record(i, f"s{i % 3}", "POST", "/", (), b"%d" % i))
    writer.close()
    changed = bytearray(path.read_bytes())
    for place in data.draw(st.lists(places(len(changed)), min_size=1, max_size=4)):
        changed[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    try:
        seal(path)
    except TraceError:
        pass
    else:
        everything(path)
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
