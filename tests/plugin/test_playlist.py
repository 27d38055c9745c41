"""The playlist: every probe plays the same population, split between workers without gap or overlap."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from locust_adaptive.plugin import playlist
from locust_adaptive.replay.record import Record
from locust_adaptive.replay.sharding import Shard, ShardMap
from locust_adaptive.replay.store import TraceWriter

SESSIONS, EACH = 200, 3


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "day.trace"
    with TraceWriter(path, origin="test") as writer:
        for n in range(SESSIONS * EACH):
            writer.append(Record(n, f"s{n % SESSIONS}", "GET", f"/{n}"))
    return path


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch):
    """Makes the module's state that of another process."""

    def fresh() -> None:
        monkeypatch.setattr(playlist, "_playlists", {})
        monkeypatch.setattr(playlist, "_probe", 0)
        monkeypatch.setattr(playlist, "_shard", None)

    fresh()
    return fresh


def played(trace: Path, probe: int, count: int) -> list[str]:
    playlist.begin(probe)
    own = playlist.playlist_of(trace)
    return [own.record(own.next()).path for _ in range(count)]


def test_two_workers_play_a_probe_without_gap_or_overlap(trace: Path, process) -> None:
    shards = ShardMap(["a", "b"])
    everything: Counter[str] = Counter()
    for worker in ("a", "b"):
        process()
        playlist.configure(7, shards.shard(worker))
        own = playlist.playlist_of(trace)
        count = own._population.requests
        assert 0 < count < SESSIONS * EACH
        everything.update(played(trace, 3, count))
        assert own.wraps == 0
    assert set(everything.values()) == {1}
    assert len(everything) == SESSIONS * EACH


def test_probes_differ_in_order_and_repeat_exactly(trace: Path, process) -> None:
    playlist.configure(7, None)
    first, second = (played(trace, probe, SESSIONS * EACH) for probe in (1, 2))
    assert first != second
    assert sorted(first) == sorted(second)
    process()
    playlist.configure(7, None)
    assert played(trace, 2, SESSIONS * EACH) == second


def test_a_playlist_opened_during_a_probe_plays_that_probe(trace: Path, process) -> None:
    playlist.configure(7, None)
    expected = played(trace, 4, 50)
    process()
    playlist.configure(7, None)
    playlist.begin(4)  # before any user was made
    own = playlist.playlist_of(trace)
    assert [own.record(own.next()).path for _ in range(50)] == expected


def test_users_of_a_process_share_a_playlist(trace: Path, process) -> None:
    assert playlist.playlist_of(trace) is playlist.playlist_of(trace)


def test_wraps_are_counted(trace: Path, process) -> None:
    own = playlist.playlist_of(trace)
    laps = []
    for _ in range(2 * SESSIONS * EACH + 1):
        laps.append((play := own.next()).lap)
        own.record(play)
    assert own.wraps == 2
    assert Counter(laps) == {0: SESSIONS * EACH, 1: SESSIONS * EACH, 2: 1}


def test_after_a_worker_left_the_other_plays_all(trace: Path, process) -> None:
    shards = ShardMap(["a", "b"])
    playlist.configure(7, shards.shard("a"))
    own = playlist.playlist_of(trace)
    playlist.configure(7, ShardMap(["a"]).shard("a"))
    assert playlist.playlist_of(trace) is own
    assert len({own.record(own.next()).path for _ in range(SESSIONS * EACH)}) == SESSIONS * EACH


def test_a_worker_with_nothing_to_play_is_told(trace: Path, process) -> None:
    nothing = Shard("late", ShardMap(["late", "b"]).shard("late").slots & False)
    playlist.configure(7, nothing)
    with pytest.raises(ValueError, match="no session of the trace falls to worker 'late'"):
        playlist.playlist_of(trace)


def test_a_worker_of_which_all_sessions_borrow_has_recorded_arrivals_alone(tmp_path: Path, process) -> None:
    path = tmp_path / "sampled.trace"
    with TraceWriter(path, origin="test") as writer:
        for n in range(50):
            body, omitted = (b"", 4) if n else (b"kept", 0)
            writer.append(Record(n * 10**9, f"s{n}", "POST", "/", (), body, omitted=omitted))
    shards = ShardMap(["a", "b"])
    drawn, arrivals = [], 0.0
    for worker in ("a", "b"):
        process()
        playlist.configure(7, shards.shard(worker))
        own = playlist.playlist_of(path)
        drawn.append(own.undrawn is None)
        timeline = own.pacing(2, 1.0)._timeline
        assert timeline.requests > 1
        arrivals += timeline.requests
    assert sorted(drawn) == [False, True], "the one whole session is one worker's"
    assert arrivals == 50


def test_a_trace_that_nobody_can_play_says_so_whatever_the_arrivals(tmp_path: Path, process) -> None:
    path = tmp_path / "bare.trace"
    with TraceWriter(path, origin="test") as writer:
        for n in range(5):
            writer.append(Record(n * 10**9, f"s{n}", "POST", "/", omitted=4))
    with pytest.raises(ValueError, match="none of the 5 sessions of the trace has all its bodies"):
        playlist.playlist_of(path)
