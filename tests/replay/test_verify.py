import sqlite3
from pathlib import Path

import pytest

from locust_adaptive.replay.record import Record, TraceError
from locust_adaptive.replay.store import Trace, TraceWriter
from locust_adaptive.replay.verify import FAULTS, verify

DEMO = Path(__file__).parents[2] / "traces" / "demo.trace"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "t.trace"
    with TraceWriter(path, origin="test") as writer:
        for i in range(200):
            body, omitted = (b"", 30) if i % 50 == 3 else (b"body %d" % i, 0)
            headers = (("A", str(i % 3)),)
            writer.append(Record(i * 10, f"s{i % 50}", "POST", "/v1", headers, body, f"n{i % 4}", 200, omitted))
    return path


def changed(path, script):
    with sqlite3.connect(path) as db:
        db.executescript(script)
    db.close()
    return list(verify(path))


def test_a_sound_trace_has_no_faults_of_either_schema(path):
    assert list(verify(path)) == []
    assert DEMO.read_bytes()[60:64] == (1).to_bytes(4, "big")
    assert list(verify(DEMO)) == []


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("UPDATE body SET data = x'00' WHERE id = 7", "body 7 is not what was recorded: its hash differs"),
        ("UPDATE body SET data = 'text' WHERE id = 7", "body 7 is not what was recorded"),
        ("DELETE FROM body WHERE id = 8", "has a body that is not there"),
        ("UPDATE session SET hash = 5 WHERE id = 3", "session 3 ('s3') is not under its own hash"),
        ("DELETE FROM session WHERE id = 4", "session 4 is missing; the next is 5"),
        ("DELETE FROM session WHERE id = 4", "request 4 has a session that is not there"),
        ("DELETE FROM name WHERE id = 1", "name 1 is missing; the next is 2"),
        ('UPDATE template SET headers = \'[["A", "\nB: c"]]\' WHERE id = 1', "template 1 cannot be sent"),
        ("DELETE FROM template WHERE id = 2", "request 2 has a template that is not there"),
        ("DELETE FROM request WHERE id = 9", "request 9 is missing; the next is 10"),
        ("UPDATE request SET due_ns = 5 WHERE id = 9", "request 9 is out of order: due at 5 ns after one at 80 ns"),
        ("UPDATE request SET size = 99 WHERE id = 9", "request 9 should have a body of 99 bytes, not 6"),
        ("UPDATE request SET size = 0 WHERE id = 3", "request 3 should have a body of 0 bytes, not none"),
        ("UPDATE request SET expect = 7 WHERE id = 9", "request 9 expects the status 7"),
        ("UPDATE request SET session = 1 WHERE id = 9", "the index differs from the requests"),
        ("UPDATE packed SET data = zeroblob(8) WHERE field = 'due_ns'", "its index cannot be read"),
        ("UPDATE request SET expect = 404 WHERE id = 9", "the whole is not what was sealed"),
        ("UPDATE meta SET value = 'elsewhere' WHERE key = 'origin'", "the whole is not what was sealed"),
        ("UPDATE template SET path = '/v2'", "the whole is not what was sealed"),
        ("DELETE FROM meta WHERE key = 'origin'", "what it says of itself cannot be read"),
        ("INSERT INTO meta VALUES('sampling', '[1]')", "what it says of itself cannot be read"),
    ],
)
def test_each_fault_has_a_line(path, script, says):
    faults = changed(path, script)
    assert any(says in fault for fault in faults), faults
    assert all("\n" not in fault for fault in faults)
    assert sum("the whole" in fault for fault in faults) <= 1


def test_a_torn_file_and_a_damaged_page_are_faults(path):
    whole = path.read_bytes()
    path.write_bytes(whole[:-5000])
    assert ["is torn" in fault for fault in verify(path)] == [True]
    path.write_bytes(whole[:16384] + b"\xff" * 16384 + whole[32768:])
    faults = list(verify(path))
    assert any("damaged" in fault for fault in faults)
    assert all("\n" not in fault for fault in faults)


def test_many_faults_of_a_kind_are_cut(path):
    faults = changed(path, "UPDATE body SET data = x'00'")
    assert sum("its hash differs" in fault for fault in faults) == FAULTS
    assert "and more faults of this kind (only 10 are named)" in faults


def test_what_cannot_be_checked_is_an_error(tmp_path):
    (tmp_path / "x").write_text("x")
    writer = TraceWriter(tmp_path / "open", origin="test")
    for name, says in (("none", "no such file"), ("x", "is not a trace"), ("open", "unfinished")):
        with pytest.raises(TraceError, match=says):
            list(verify(tmp_path / name))
    writer.close()


def test_progress_is_told_of_each_step(path):
    told = []

    def progress(step, rows, length):
        kept = list(rows)
        told.append((step, length, len(kept)))
        return kept

    assert list(verify(path, progress)) == []
    with Trace.open(path) as trace:
        bodies = trace.info().distinct_bodies
    assert told == [("the file", 1, 1), ("bodies", bodies, bodies), ("sessions", 50, 50), ("requests", 200, 200)]
