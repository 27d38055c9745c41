"""The recorder with its clock and its disk in our hands: `run` is called here, and what it sleeps by is the script."""

import os
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locust_adaptive.replay.record import TraceError
from locust_adaptive.replay.recording.plan import Plan
from locust_adaptive.replay.recording.recorder import BATCH, Recorder
from locust_adaptive.replay.redact import Redactor
from locust_adaptive.replay.store import Trace, TraceWriter, seal

S = 10**9


class Scripted(Recorder):
    """`steps` are called one after the other where the writer sleeps; then it is stopped. `ns` is the time."""

    def __init__(self, path, *steps, **plan):
        self.ns = 0
        self._steps = list(steps)
        super().__init__(
            path,
            Plan(**plan),
            origin="test",
            salt=b"salt",
            wall_ns=lambda: 0,
            clock_ns=lambda: self.ns,
            sleep=self._step,
        )

    def _step(self, seconds):
        self.ns += int(seconds * S)
        if self._steps:
            self._steps.pop(0)()
        else:
            self.stop()

    def send(self, body=b"", target="/", headers=(), connection="c"):
        arrival = self.arrival("POST", target, headers, connection)
        if arrival is not None:
            arrival.feed(body)
            arrival.end()


def records(path):
    with Trace.open(path) as trace:
        return [trace.record(i) for i in range(len(trace))]


def told(path):
    with Trace.open(path) as trace:
        return trace.info()


def test_what_comes_in_is_in_the_trace(tmp_path):
    path = tmp_path / "t.trace"

    def requests():
        for i in range(3):
            recorder.ns += S
            recorder.send(b"body %d" % i, f"/v1?i={i}", (("A", "b"), ("Authorization", "x")), f"c{i % 2}")

    recorder = Scripted(path, requests)
    recorder.run()
    found = records(path)
    assert [record.due_ns for record in found] == [0, S, 2 * S]
    assert [(record.method, record.path, record.headers, record.body) for record in found] == [
        ("POST", f"/v1?i={i}", (("A", "b"),), b"body %d" % i) for i in range(3)
    ]
    assert found[0].session == found[2].session != found[1].session
    progress = recorder.progress()
    assert (progress.arrivals, progress.written, progress.bodies) == (3, 3, 3)
    assert (progress.lost, progress.left_out, progress.fault) == ({}, {}, False)
    assert progress.size == path.stat().st_size
    assert os.listdir(tmp_path) == ["t.trace"]
    assert told(path).redactions == {"header authorization": 3}
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_file_is_its_owners_alone_while_it_is_written(tmp_path):
    recorder = Scripted(
        tmp_path / "t.trace",
        lambda: recorder.send(b"x"),
        lambda: seen.extend(f.stat().st_mode for f in tmp_path.iterdir()),
    )
    seen = []
    recorder.run()
    assert len(seen) >= 2
    assert {mode & 0o077 for mode in seen} == {0}


def test_nothing_recorded_leaves_no_file(tmp_path):
    recorder = Scripted(tmp_path / "t.trace")
    recorder.run()
    assert os.listdir(tmp_path) == []
    assert not recorder.progress().fault


def test_a_full_queue_drops_bodies_then_arrivals_and_counts_both(tmp_path):
    """The writer is blocked while all this comes in."""

    def requests():
        for _ in range(6):
            recorder.send(b"x" * 40)

    recorder = Scripted(
        tmp_path / "t.trace", requests, lambda: recorder.send(b"y" * 40), queue_bytes=100, queue_arrivals=4
    )
    recorder.run()
    progress = recorder.progress()
    assert (progress.arrivals, progress.written, progress.bodies) == (7, 5, 3)
    assert (progress.lost, progress.left_out) == ({"queue full": 2}, {"queue full": 2})
    assert told(tmp_path / "t.trace").dropped == {"queue full": 2}
    assert [record.body[:1] for record in records(tmp_path / "t.trace")] == [b"x", b"x", b"", b"", b"y"]


def test_bodies_still_coming_fill_the_queue_too(tmp_path):
    recorder = Scripted(tmp_path / "t.trace", queue_bytes=100)
    slow = recorder.arrival("POST", "/", (), "c")
    slow.feed(b"x" * 90)
    recorder.send(b"y" * 20)
    slow.abandon()
    recorder.send(b"z" * 20)
    recorder.run()
    assert recorder.progress().left_out == {"queue full": 1, "incomplete": 1}
    assert recorder.progress().bodies == 1


def test_large_unsampled_and_unreadable_bodies_leave_their_arrivals(tmp_path):
    def requests():
        recorder.send(b"x" * 11)
        recorder.send(b'{"user": ')
        recorder.send(b"fine")

    recorder = Scripted(tmp_path / "t.trace", requests, max_body=10, redact_fields=("user",))
    recorder.run()
    assert recorder.progress().left_out == {"larger than the limit": 1, "fields not found": 1}
    assert [record.body for record in records(tmp_path / "t.trace")] == [b"", b"", b"fine"]
    assert [record.omitted for record in records(tmp_path / "t.trace")] == [11, 9, 0]
    assert [step["how"] for step in told(tmp_path / "t.trace").sampling] == [
        "1 not kept: fields not found",
        "1 not kept: larger than the limit",
    ]
    recorder = Scripted(tmp_path / "u.trace", lambda: [recorder.send(b"CANARY"), recorder.send(b"")], bodies=0.0)
    recorder.run()
    assert recorder.progress().left_out == {"not sampled": 1}
    assert recorder.progress().bodies == 1  # an empty one is all there
    assert b"CANARY" not in (tmp_path / "u.trace").read_bytes()


def test_a_body_that_is_no_json_is_kept_and_counted(tmp_path):
    recorder = Scripted(tmp_path / "t.trace", lambda: recorder.send(b"user=me&n=1"), redact_fields=("user",))
    recorder.run()
    assert recorder.progress().unsearched == 1
    assert [record.body for record in records(tmp_path / "t.trace")] == [b"user=me&n=1"]


def test_what_cannot_be_sent_is_counted_and_the_rest_kept(tmp_path):
    def requests():
        recorder.send(target="*")
        recorder.send(headers=(("A", "b\r\nc"),))
        recorder.send(target="/")

    recorder = Scripted(tmp_path / "t.trace", requests)
    recorder.run()
    assert recorder.progress().lost == {"not sendable": 2}
    assert len(records(tmp_path / "t.trace")) == 1


def test_a_fault_of_ours_in_redaction_loses_the_arrival_and_harms_nobody(tmp_path, monkeypatch):
    recorder = Scripted(tmp_path / "t.trace", lambda: recorder.send(b"CANARY"), lambda: recorder.send(b"fine", "/b"))
    real = Redactor.redact

    def broken(self, record):
        if record.path == "/":
            raise RuntimeError("a bug")
        return real(self, record)

    monkeypatch.setattr(Redactor, "redact", broken)
    recorder.run()
    assert recorder.progress().lost == {"not redacted": 1}
    assert b"CANARY" not in (tmp_path / "t.trace").read_bytes()


def test_it_ends_by_itself_at_its_time(tmp_path):
    def later():
        recorder.ns = 10 * S

    recorder = Scripted(tmp_path / "t.trace", lambda: recorder.send(b"x"), later, max_time=10.0)
    recorder.run()
    assert "10 s" in recorder.progress().ended
    assert recorder.arrival("GET", "/", (), "c") is None
    assert len(records(tmp_path / "t.trace")) == 1


def test_it_ends_by_itself_at_its_size_and_counts_what_came_too_late(tmp_path):
    recorder = Scripted(
        tmp_path / "t.trace", lambda: [recorder.send(os.urandom(10_000)) for _ in range(1000)], max_size=2_000_000
    )
    recorder.run()
    progress = recorder.progress()
    assert "2 MB" in progress.ended
    assert 0 < progress.written < 1000
    assert progress.lost == {"after the end": 1000 - progress.written}
    assert progress.size < 2_000_000 + BATCH * 30_000
    assert len(records(tmp_path / "t.trace")) == progress.written


def test_a_disk_that_never_catches_up_holds_up_neither_the_end_nor_the_counts(tmp_path, monkeypatch):
    real = TraceWriter.commit
    noted = []

    def slow(self):
        real(self)
        recorder.ns += S // 10
        for _ in range(2 * BATCH):
            recorder.send()
        assert recorder.ns < 30 * S, "it does not end"

    path = tmp_path / "t.trace"
    recorder = Scripted(path, *[lambda: noted.append(recorder._noted_ns)] * 99, max_time=5.0, queue_arrivals=10 * BATCH)
    monkeypatch.setattr(TraceWriter, "commit", slow)
    recorder.send()
    recorder.run()
    monkeypatch.undo()
    progress = recorder.progress()
    assert (progress.fault, progress.ended) == (False, "it has run for 5 s")
    assert noted[0] < noted[-1], "the counts in the file are kept up to date"
    assert progress.arrivals == progress.written + sum(progress.lost.values())
    assert told(path).dropped["queue full"] > 0


def test_a_request_that_is_complete_only_after_the_end_is_counted(tmp_path):
    recorder = Scripted(tmp_path / "t.trace", lambda: recorder.send(b"x"))
    slow = recorder.arrival("POST", "/", (), "c")
    recorder.run()
    slow.end()
    progress = recorder.progress()
    assert (progress.arrivals, progress.written, progress.lost) == (2, 1, {"after the end": 1})


def test_a_full_disk_ends_the_recording_and_keeps_what_was_written(tmp_path, monkeypatch):
    real = TraceWriter.append
    written = []

    def full(self, record):
        if len(written) == 100:
            raise TraceError("disk full; check the disk")
        written.append(record)
        real(self, record)

    monkeypatch.setattr(TraceWriter, "append", full)
    recorder = Scripted(tmp_path / "t.trace", lambda: recorder.send(b"x"), lambda: recorder.send(b"x"))
    for _ in range(150):
        recorder.send(b"y")
    recorder.run()
    progress = recorder.progress()
    assert progress.fault
    assert "disk full" in progress.ended
    assert progress.arrivals == progress.written + sum(progress.lost.values())
    assert progress.written == BATCH
    recorder.send(b"later")
    assert recorder.progress().arrivals == progress.arrivals
    seal(tmp_path / "t.trace")
    assert len(records(tmp_path / "t.trace")) >= BATCH


def test_an_existing_file_is_an_error_before_anything_starts(tmp_path):
    (tmp_path / "t.trace").write_text("precious")
    with pytest.raises(TraceError, match="exists"):
        Scripted(tmp_path / "t.trace")
    assert (tmp_path / "t.trace").read_text() == "precious"


@pytest.mark.parametrize(
    "plan", [{"bodies": 1.1}, {"bodies": -0.1}, {"max_size": 0}, {"max_time": 0}, {"redact_fields": ("a..b",)}]
)
def test_a_plan_that_is_none_is_refused(plan):
    with pytest.raises(ValueError, match=r"between|above 0|empty name"):
        Plan(**plan)


EVENTS = st.lists(
    st.tuples(st.sampled_from(["begin", "feed", "end", "abandon", "write"]), st.integers(0, 3), st.integers(0, 60)),
    max_size=60,
)


@given(EVENTS)
@settings(max_examples=30)
def test_every_arrival_and_every_byte_is_accounted_for(tmp_path_factory, events):
    open_ = {}
    counts = Counter()
    events = iter(events)

    def play():
        for kind, client, size in events:
            if kind == "write":
                return
            if kind == "begin" and client not in open_:
                open_[client] = recorder.arrival("POST", "/", (), str(client))
                counts["arrivals"] += 1
            elif kind == "feed" and client in open_:
                open_[client].feed(b"x" * size)
            elif kind == "end" and client in open_:
                open_.pop(client).end()
            elif kind == "abandon" and client in open_:
                open_.pop(client).abandon()
        for client in list(open_):
            open_.pop(client).end()

    path = tmp_path_factory.mktemp("t") / "t.trace"
    recorder = Scripted(path, *([play] * 61), queue_bytes=100, queue_arrivals=3, max_body=90)
    recorder.run()
    progress = recorder.progress()
    assert progress.arrivals == counts["arrivals"] == progress.written + sum(progress.lost.values())
    assert progress.written - progress.bodies == sum(progress.left_out.values())
    assert recorder._held == recorder._released
