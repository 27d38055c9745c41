"""Records kept in memory."""

from __future__ import annotations

from pathlib import Path

from locust_adaptive.replay.cache import RecordCache
from locust_adaptive.replay.record import Record
from locust_adaptive.replay.store import Trace, TraceWriter


def test_records_are_read_once_until_the_memory_is_full(tmp_path: Path) -> None:
    records = [Record(i, "s", "POST", "/", (), bytes([i]) * 1000) for i in range(20)]
    with TraceWriter(tmp_path / "a.trace", origin="test") as writer:
        for record in records:
            writer.append(record)
    with Trace.open(tmp_path / "a.trace") as trace:
        cache = RecordCache(trace, kept_bytes=10_000)
        assert [cache.record(i) for i in range(20)] == records
        again = [cache.record(i) for i in range(20)]
        assert again == records
        kept = [i for i in range(20) if cache.record(i) is again[i]]
        assert kept == list(range(len(kept))), "what came first stays"
        assert 5 <= len(kept) <= 10
