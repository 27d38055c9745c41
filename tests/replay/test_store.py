import dataclasses
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locust_adaptive.replay import packed
from locust_adaptive.replay.record import Record, TraceError
from locust_adaptive.replay.sharding import session_hash
from locust_adaptive.replay.store import Trace, TraceWriter, seal

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
RECORDS = st.builds(
    Record,
    due_ns=st.integers(-(2**61), 2**61),
    session=TEXT,
    method=st.sampled_from(["GET", "POST"]),
    path=st.sampled_from(["/", "/a", "/a?b=c"]),
    headers=st.lists(st.tuples(st.sampled_from(["A", "B"]), st.sampled_from(["", "é", '"'])), max_size=3).map(tuple),
    body=st.binary(max_size=20),
    name=TEXT,
    expect=st.sampled_from([None, 200, 404]),
) | st.builds(
    Record, st.integers(-(2**61), 2**61), TEXT, st.just("POST"), st.just("/"), omitted=st.integers(1, 10**9 - 4096)
)


DEMO = Path(__file__).parents[2] / "traces" / "demo.trace"


def request(i, **changes):
    return dataclasses.replace(Record(i, f"s{i % 3}", "POST", "/v1", (), b"body %d" % (i % 4)), **changes)


def write(path, records, **options):
    with TraceWriter(path, origin="test", **options) as writer:
        for record in records:
            writer.append(record)
    return path


@given(st.lists(RECORDS, min_size=1, max_size=30), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_what_was_written_is_read_in_order_of_time_from_zero(tmp_path_factory, records, batch):
    path = write(tmp_path_factory.mktemp("t") / "t.trace", records, batch=batch)
    start = min(record.due_ns for record in records)
    wanted = [
        dataclasses.replace(record, due_ns=record.due_ns - start)
        for record in sorted(records, key=lambda record: record.due_ns)
    ]
    with Trace.open(path) as trace:
        assert [trace.record(i) for i in range(len(trace))] == wanted
        index = trace.index()
        info = trace.info()
    assert index.due_ns.tolist() == [record.due_ns for record in wanted]
    assert index.size.tolist() == [record.size for record in wanted]
    assert index.bodyless.tolist() == [i for i, record in enumerate(wanted) if record.omitted]
    assert [index.names[code] for code in index.name] == [record.name for record in wanted]
    assert index.session_hash[index.session].tolist() == [session_hash(record.session) for record in wanted]
    assert (info.requests, info.start_ns, info.origin) == (len(records), start, "test")
    assert info.sessions == len(index.session_hash) == len({record.session for record in records})
    assert info.distinct_bodies == len({record.body for record in records if not record.omitted})


NOTES = {
    "redactions": {"header cookie": 3},
    "sampling": [{"of": "bodies", "share": 0.05, "how": "by session"}],
    "dropped": {"queue full": 12},
}


def test_what_is_noted_is_told_the_last_note_of_a_key_counts(tmp_path):
    with TraceWriter(tmp_path / "t.trace", origin="test") as writer:
        writer.note("dropped", {"queue full": 1})
        writer.append(request(0))
        for key, value in NOTES.items():
            writer.note(key, value)
    info = Trace.open(tmp_path / "t.trace").info()
    assert {key: getattr(info, key) for key in NOTES} == NOTES


def test_without_notes_there_are_none(tmp_path):
    info = Trace.open(write(tmp_path / "t.trace", [request(0)])).info()
    assert (info.redactions, info.sampling, info.dropped) == ({}, [], {})


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("weather", "fine", "known are redactions, sampling, dropped"),
        ("dropped", [1], "names with counts"),
        ("dropped", {"a": 1.5}, "names with counts"),
        ("redactions", {"a": True}, "names with counts"),
        ("redactions", {"a": -1}, "names with counts"),
        ("sampling", {"of": "bodies"}, "a list of"),
        ("sampling", [{"of": "bodies", "share": 2, "how": ""}], "a list of"),
        ("sampling", [{"of": "bodies", "share": 1, "how": "", "more": 1}], "a list of"),
        ("sampling", 5, "a list of"),
    ],
)
def test_another_note_is_refused_and_the_trace_goes_on(tmp_path, key, value, says):
    with TraceWriter(tmp_path / "t.trace", origin="test") as writer:
        writer.append(request(0))
        with pytest.raises(TraceError, match=says):
            writer.note(key, value)
    assert len(Trace.open(tmp_path / "t.trace")) == 1


def test_the_index_is_the_same_packed_and_from_the_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "PART", 7)
    with Trace.open(write(tmp_path / "t.trace", (request(i, session=f"s{i % 20}") for i in range(50)))) as trace:
        fast, slow = trace.index(), trace._indexed(packed.scan)
    for column in ("due_ns", "session", "name", "size", "session_hash", "bodyless"):
        assert getattr(fast, column).tolist() == getattr(slow, column).tolist()
        assert getattr(fast, column).dtype == getattr(slow, column).dtype
    assert (fast.names, len(fast)) == (slow.names, 50)


def test_a_trace_of_schema_1_is_read():
    with Trace.open(DEMO) as trace:
        assert trace._schema == 1
        index = trace.index()
        assert (len(index), len(index.bodyless)) == (2000, 0)
        assert index.size.tolist() == [trace.record(i).size for i in range(2000)]
        assert trace.info().dropped == {}


def test_a_finished_trace_is_one_file(tmp_path):
    write(tmp_path / "t.trace", map(request, range(100)))
    assert os.listdir(tmp_path) == ["t.trace"]


def test_equal_bodies_are_stored_once(tmp_path):
    large = os.urandom(100_000)
    path = write(tmp_path / "t.trace", (request(i, body=large) for i in range(50)))
    assert path.stat().st_size < 4 * len(large)


@pytest.mark.parametrize(("unit", "quality"), [(1, "ns"), (1000, "us"), (10**6, "ms"), (10**9, "s")])
def test_the_time_quality_is_the_finest_unit_in_use(tmp_path, unit, quality):
    path = write(tmp_path / "t.trace", [request(i * unit + 123) for i in range(5)])
    assert Trace.open(path).info().time_quality == quality


def test_the_writer_may_say_that_the_times_mean_nothing(tmp_path):
    with TraceWriter(tmp_path / "t.trace", origin="test") as writer:
        writer.append(request(0))
        writer.time_quality = "none"
    assert Trace.open(tmp_path / "t.trace").info().time_quality == "none"


def test_an_existing_file_is_not_overwritten(tmp_path):
    path = tmp_path / "t.trace"
    path.write_text("precious")
    with pytest.raises(TraceError, match=r"t\.trace exists"):
        TraceWriter(path, origin="test")
    assert path.read_text() == "precious"


def test_a_faulty_record_is_refused_and_the_rest_kept(tmp_path):
    with TraceWriter(tmp_path / "t.trace", origin="test") as writer:
        writer.append(request(0))
        with pytest.raises(TraceError, match="percent-encoded"):
            writer.append(request(1, path="no slash"))
    assert len(Trace.open(tmp_path / "t.trace")) == 1


def test_rows_outside_the_trace_are_an_index_error(tmp_path):
    trace = Trace.open(write(tmp_path / "t.trace", map(request, range(3))))
    for i in (-1, 3):
        with pytest.raises(IndexError, match="requests 0 to 2"):
            trace.record(i)


def test_an_unfinished_trace_says_so_until_it_is_sealed(tmp_path):
    path = tmp_path / "t.trace"
    writer = TraceWriter(path, origin="test")
    writer.append(request(5))
    writer.commit()
    with pytest.raises(TraceError, match="unfinished"):
        Trace.open(path)
    with pytest.raises(TraceError, match="still being written"):
        seal(path)
    writer.append(request(4))
    writer.close()
    with pytest.raises(TraceError, match="trace seal"):
        Trace.open(path)
    seal(path)
    seal(path)
    assert [Trace.open(path).record(i).due_ns for i in range(2)] == [0, 1]


def test_an_error_in_the_block_keeps_what_was_appended(tmp_path):
    path = tmp_path / "t.trace"
    with pytest.raises(TraceError, match="percent-encoded"):
        write(path, [request(0), request(1, path="no slash")])
    seal(path)
    assert len(Trace.open(path)) == 1


def test_a_killed_writer_loses_only_its_open_batch(tmp_path):
    path = tmp_path / "t.trace"
    script = f"""
        import os, signal
        from locust_adaptive.replay.record import Record
        from locust_adaptive.replay.store import TraceWriter
        writer = TraceWriter({str(path)!r}, origin="killed", batch=64)
        writer.note("sampling", {NOTES["sampling"]!r})
        for i in range(1000):
            writer.append(Record(1000 - i, "s", "POST", "/", (), os.urandom(500)))
            writer.note("dropped", {{"queue full": i}})
        assert writer.committed == 1000 // 64 * 64
        os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    seal(path)
    trace = Trace.open(path)
    assert len(trace) == 1000 // 64 * 64
    assert trace.info().sampling == NOTES["sampling"]
    assert trace.info().dropped == {"queue full": len(trace) - 2}  # of the last append before that commit
    assert np.all(np.diff(trace.index().due_ns) == 1)


def test_each_process_reads_by_its_own_connection(tmp_path):
    path = write(tmp_path / "t.trace", map(request, range(500)))
    script = f"""
        import os
        from locust_adaptive.replay.store import Trace
        trace = Trace.open({str(path)!r})
        first = trace._connection()
        children = []
        for child in range(2):
            if not (pid := os.fork()):
                fine = all(trace.record(i).due_ns == i for i in range(500)) and trace._connection() is not first
                os._exit(0 if fine else 1)
            children.append(pid)
        assert all(trace.record(i).due_ns == i for i in range(500))
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
        assert trace._connection() is first
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], timeout=60, check=True)


def test_a_closed_trace_opens_again_when_read(tmp_path):
    trace = Trace.open(write(tmp_path / "t.trace", map(request, range(3))))
    trace.close()
    assert trace.record(2).due_ns == 2


def damaged(tmp_path, offset, value):
    path = write(tmp_path / "t.trace", map(request, range(200)))
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(value)
    return path


def test_a_file_that_is_no_usable_trace_is_named_with_the_remedy(tmp_path):
    lines, empty, database = tmp_path / "x.jsonl", tmp_path / "empty", tmp_path / "other.db"
    lines.write_text('{"path": "/"}\n')
    empty.touch()
    with sqlite3.connect(database) as other:
        other.execute("CREATE TABLE t(x)")
    torn = write(tmp_path / "torn.trace", (request(i, body=os.urandom(2000)) for i in range(200)))
    os.truncate(torn, torn.stat().st_size - 20_000)
    hollow = tmp_path / "hollow.trace"
    write(hollow, [])
    for path, says in [
        (tmp_path / "missing", "no such file"),
        (tmp_path, "Is a directory"),
        (lines, "not a trace.*trace import"),
        (empty, "0 bytes"),
        (database, "not a trace"),
        (torn, "torn: .* bytes"),
        (hollow, "empty trace"),
        (damaged(tmp_path, 60, (3).to_bytes(4, "big")), "schema 3.*upgrade"),
    ]:
        with pytest.raises(TraceError, match=says) as caught:
            Trace.open(path)
        assert str(path) in str(caught.value)


def test_damage_inside_is_named(tmp_path):
    path = write(tmp_path / "t.trace", (request(i, body=os.urandom(2000)) for i in range(500)))
    with path.open("r+b") as file:
        file.seek(16384)
        file.write(b"\xff" * (path.stat().st_size - 16384))
    with pytest.raises(TraceError, match=r"t\.trace is damaged"):
        Trace.open(path).index()


def test_a_path_with_odd_characters_is_a_path(tmp_path):
    path = write(tmp_path / "a?mode=rw#%20 é.trace", [request(0)])
    assert len(Trace.open(path)) == 1
