import dataclasses
from collections import Counter

import numpy as np
import pytest

from locust_adaptive.replay.derive import Part, redact, sample
from locust_adaptive.replay.record import Record, TraceError
from locust_adaptive.replay.redact import Redactor
from locust_adaptive.replay.sharding import ShardMap
from locust_adaptive.replay.store import Trace, TraceWriter
from locust_adaptive.replay.verify import verify

SESSIONS = 1000


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """Sessions of 1 to 5 requests, one request each 10 ms for some 30 s; the bodies of every tenth were not kept."""
    path = tmp_path_factory.mktemp("day") / "day.trace"
    rng = np.random.default_rng(1)
    sessions = rng.permutation(np.repeat(np.arange(SESSIONS), rng.integers(1, 6, SESSIONS)))
    with TraceWriter(path, origin="the day", batch=4096) as writer:
        writer.note("redactions", {"header cookie": 7})
        writer.note("sampling", [{"of": "bodies", "share": 0.9, "how": "by session"}])
        writer.note("dropped", {"queue full": 2})
        for i, session in enumerate(sessions.tolist()):
            body, omitted = (b"", 9) if session % 10 == 0 else (b"%09d" % i, 0)
            writer.append(Record(5 * 10**9 + i * 10**7, f"s{session}", "POST", "/v1", (), body, "", None, omitted))
    return path


def records(path, start_ns=0):
    with Trace.open(path) as trace:
        return [
            dataclasses.replace(r, due_ns=r.due_ns + trace.info().start_ns)
            for r in map(trace.record, range(len(trace)))
        ]


def test_a_share_of_the_sessions_whole_and_on_their_clock(tmp_path, day):
    out = tmp_path / "out"
    count = sample(day, out, Part(sessions=0.1))
    chosen = {record.session for record in records(out)}
    assert len(chosen) == SESSIONS // 10
    assert records(out) == [record for record in records(day) if record.session in chosen]
    assert count == len(records(out))
    assert list(verify(out)) == []
    with Trace.open(out) as trace:
        info = trace.info()
    assert (info.origin, info.redactions, info.dropped) == ("the day", {"header cookie": 7}, {"queue full": 2})
    assert info.sampling == [
        {"of": "bodies", "share": 0.9, "how": "by session"},
        {"of": "sessions", "share": 0.1, "how": "by hash, seed 1"},
    ]


def chosen(day, **part):
    with Trace.open(day) as trace:
        index = trace.index()
        rows, _ = Part(**part).choose(index)
        return set(index.session[rows].tolist())


def test_equal_seeds_nest_and_other_seeds_differ(day):
    assert chosen(day, sessions=0.05) < chosen(day, sessions=0.1)
    assert chosen(day, requests=100) < chosen(day, requests=200)
    assert len(chosen(day, sessions=0.1) & chosen(day, sessions=0.1, seed=2)) < 30  # 10 by chance


def test_a_sample_is_shared_out_to_workers_as_evenly_as_the_whole(day):
    """Shards cut by the same hash as a naive sample would; then a 10 % sample could leave a worker without sessions."""
    with Trace.open(day) as trace:
        index = trace.index()
    shards = ShardMap(["a", "b", "c", "d"])
    kept = np.array(sorted(chosen(day, sessions=0.2)))
    counts = [int(shards.shard(worker).owns(index.session_hash[kept]).sum()) for worker in shards.workers]
    assert min(counts) > 25


def test_at_most_so_many_requests_in_whole_sessions(tmp_path, day):
    count = sample(day, tmp_path / "out", Part(requests=100))
    whole = Counter(record.session for record in records(day))
    assert 95 < count <= 100
    assert Counter(r.session for r in records(tmp_path / "out")).items() <= whole.items()


def test_a_time_range_is_half_open(tmp_path, day):
    sample(day, tmp_path / "out", Part(start_ns=10**9, stop_ns=2 * 10**9))
    assert records(tmp_path / "out") == records(day)[100:200]
    with Trace.open(tmp_path / "out") as trace:
        assert trace.info().sampling[-1] == {"of": "time", "share": None, "how": "from 1 s to 2 s"}
        assert trace.record(0).due_ns == 0
        assert trace.info().start_ns == 6 * 10**9
    sample(day, tmp_path / "rest", Part(start_ns=2 * 10**9))
    assert records(tmp_path / "rest") == records(day)[200:]


def test_a_part_of_nothing_is_said(tmp_path, day):
    for part in (Part(start_ns=10**12), Part(sessions=1e-9), Part(start_ns=5, stop_ns=5)):
        with pytest.raises(TraceError, match="no request of the trace is in that part"):
            sample(day, tmp_path / "out", part)
    assert list(tmp_path.iterdir()) == []


def test_the_quality_of_the_times_is_kept(tmp_path):
    for quality in ("none", "send_time", None):
        path, out = tmp_path / f"{quality}", tmp_path / f"{quality}.out"
        with TraceWriter(path, origin="test") as writer:
            for i in range(50):
                writer.append(Record(i * 10**9 + (i == 49), f"s{i}", "POST", "/"))
            writer.time_quality = quality
        sample(path, out, Part(stop_ns=10 * 10**9))
        with Trace.open(out) as trace:
            assert trace.info().time_quality == (quality or "ns")


def test_counts_of_redactions_add_up(tmp_path, day):
    redactor = Redactor()
    redactor.counts["header cookie"] = 3  # as if it had found some
    redact(day, tmp_path / "out", redactor)
    with Trace.open(tmp_path / "out") as trace:
        assert trace.info().redactions == {"header cookie": 10}
    assert records(tmp_path / "out") == records(day)
