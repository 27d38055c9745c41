"""The timeline of a trace at any rate: whole sessions, exact gaps, the wanted rate, and the same for any workers."""

from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from locust_adaptive.replay.index import Index
from locust_adaptive.replay.population import Population
from locust_adaptive.replay.sharding import ShardMap, session_hash
from locust_adaptive.replay.timeline import Draw, Timeline

S = 10**9


def make(sessions, longest=6, seconds=100, seed=0):
    """Sessions of 1 to `longest` requests, overlapping and some of them as long as the trace; log-normal bodies."""
    rng = np.random.default_rng(seed)
    session = np.repeat(np.arange(sessions), rng.integers(1, longest + 1, sessions))
    starts, length = rng.uniform(0, seconds * S, sessions), rng.exponential(seconds * S / 5, len(session))
    due = np.minimum(starts[session] + length, seconds * S).astype(np.int64)
    order = np.argsort(due, kind="stable")
    hashes = np.array([session_hash(str(i)) for i in range(sessions)], dtype=np.uint64)
    size = np.exp(rng.normal(7, 1, len(session))).astype(np.int32)
    name = (session % 3).astype(np.int32)
    return Index(due[order] - due.min(), session[order].astype(np.int32), name[order], size, hashes, ("a", "b", "c"))


def played(timeline, draw, multiple, start, stop):
    """(due, row, lap, copy) of each arrival, in order."""
    found = timeline.stretch(draw, multiple, start, stop)
    assert found.stop_ns == stop
    assert np.all(np.diff(found.due_ns) >= 0)
    columns = (found.due_ns, found.row, found.lap, found.copy)
    return list(zip(*(column.tolist() for column in columns), strict=True))


MULTIPLES = st.one_of(st.floats(0.01, 6), st.sampled_from([1.0, 2.0, 5.0]))
SEED = st.integers(0, 2**32)


@given(st.integers(2, 60), st.integers(0, 50), SEED, MULTIPLES)
@settings(max_examples=60)
def test_a_session_is_whole_or_absent_and_keeps_its_order_and_its_distances(sessions, make_seed, seed, multiple):
    index = make(sessions, seed=make_seed)
    assume(index.due_ns[-1] > 0)
    timeline = Timeline(index, seed)
    laps = 4
    own = {session: np.flatnonzero(index.session == session) for session in range(sessions)}
    arrivals = defaultdict(list)
    for due, row, lap, copy in played(timeline, Draw((seed,)), multiple, 0, laps * timeline.period_ns):
        arrivals[copy, lap, index.session[row]].append((due, row))
    for (_, lap, session), found in arrivals.items():
        rows = [row for _, row in found]
        gaps = np.diff([due for due, _ in found])
        assert gaps.tolist() == np.diff(index.due_ns[rows]).tolist()
        if 0 < lap < laps - 1:  # the first and the last are cut by the ends of the stretch, and are whole but for that
            assert rows == own[session].tolist()
        else:
            assert rows == own[session].tolist()[slice(-len(rows), None) if lap == 0 else slice(len(rows))]


@given(st.integers(2, 60), SEED, st.integers(1, 5))
@settings(max_examples=30)
def test_at_a_whole_multiple_each_lap_of_each_copy_plays_every_request_once(sessions, seed, copies):
    index = make(sessions, seed=seed % 10)
    assume(index.due_ns[-1] > 0)
    timeline = Timeline(index, seed)
    stop = 3 * timeline.period_ns
    found = played(timeline, Draw((seed,)), float(copies), 0, stop)
    assert len(found) == 3 * copies * len(index)
    counts = defaultdict(list)
    for _, row, lap, copy in found:
        counts[copy, lap].append(row)
    for (_, lap), rows in counts.items():
        if lap in (1, 2):
            assert sorted(rows) == list(range(len(index)))


@given(
    st.integers(5, 60),
    SEED,
    MULTIPLES,
    st.lists(st.floats(0.1, 10), min_size=1, max_size=5),
    st.integers(0, 300 * S),
    st.integers(0, 300 * S),
)
@settings(max_examples=60)
def test_workers_of_any_number_and_weight_play_what_one_would_play(sessions, seed, multiple, weights, start, length):
    index = make(sessions, seed=seed % 10)
    assume(index.due_ns[-1] > 0)
    draw = Draw((seed, 1))
    alone = played(Timeline(index, seed), draw, multiple, start, start + length)
    shards = ShardMap([f"w{i}" for i in range(len(weights))], weights)
    together = []
    for worker in shards.workers:
        shard = shards.shard(worker)
        if shard.owns(index.session_hash).any():
            part = played(Timeline(index, seed, shard), draw, multiple, start, start + length)
            assert {shards.owner(str(index.session[row])) for _, row, _, _ in part} <= {worker}
            together += part
    assert sorted(together) == sorted(alone)


@pytest.mark.parametrize("workers", [["a"], ["a", "b"], ["a", "b", "c", "d"], ["b", "d", "e"]])
def test_1_2_and_4_workers_and_those_left_after_a_loss_play_the_same_10_000_arrivals(workers):
    index = make(2000, seconds=500)
    draw, stop = Draw((3, 9)), 600 * S
    alone = played(Timeline(index, 3), draw, 2.4, 0, stop)
    assert len(alone) > 10_000
    shards = ShardMap(workers)
    parts = [played(Timeline(index, 3, shards.shard(worker)), draw, 2.4, 0, stop) for worker in workers]
    assert all(parts)
    assert sorted(arrival for part in parts for arrival in part) == sorted(alone)


@given(st.integers(2, 40), SEED, MULTIPLES, st.lists(st.integers(0, 500 * S), min_size=3, max_size=6))
@settings(max_examples=40)
def test_stretches_join_without_gap_or_overlap_however_they_are_cut(sessions, seed, multiple, cuts):
    index = make(sessions, seed=seed % 10)
    assume(index.due_ns[-1] > 0)
    timeline, draw = Timeline(index, seed), Draw((seed,))
    cuts = sorted(cuts)
    parts = [played(timeline, draw, multiple, a, b) for a, b in pairwise(cuts)]
    assert sorted(arrival for part in parts for arrival in part) == sorted(
        played(timeline, draw, multiple, cuts[0], cuts[-1])
    )


def test_looking_at_no_more_than_so_many_ends_earlier_and_loses_nothing():
    timeline, draw = Timeline(make(500), 1), Draw((1,))
    whole, at, parts = played(timeline, draw, 3.3, 0, 50 * S), 0, []
    while at < 50 * S:
        part = timeline.stretch(draw, 3.3, at, 50 * S, 100)
        assert part.looked <= 100
        parts += list(zip(part.due_ns.tolist(), part.row.tolist(), part.lap.tolist(), part.copy.tolist(), strict=True))
        at = part.stop_ns
    assert sorted(parts) == sorted(whole)


def test_requests_of_one_nanosecond_come_all_at_once():
    index = make(50)
    at_once = Index(np.where(index.due_ns < 50 * S, 0, 50 * S), *(getattr(index, f) for f in index.__slots__[1:]))
    part = Timeline(at_once, 1).stretch(Draw((1,), in_order=True), 1.0, 0, 10 * S, 5)
    assert part.looked == int((index.due_ns < 50 * S).sum()) > 5
    assert set(part.due_ns.tolist()) == {0}


@given(st.integers(300, 600), SEED, st.floats(0.05, 5))
@settings(max_examples=30)
def test_the_rate_over_whole_laps_is_the_wanted_one_within_1_percent(sessions, seed, multiple):
    """Also where sessions differ much in size: what is kept is balanced by requests."""
    index = make(sessions, longest=40, seed=seed % 10)
    timeline = Timeline(index, seed)
    laps = 20
    found = len(timeline.due_times(Draw((seed,), in_order=True), multiple, laps * timeline.period_ns))
    assert found == pytest.approx(laps * multiple * len(index), rel=0.01)
    assert timeline.rate * timeline.period_ns / 1e9 == pytest.approx(len(index))


def test_the_seam_is_one_mean_gap_and_no_more():
    index = make(500)
    found = Timeline(index, 1).due_times(Draw((1,), in_order=True), 1.0, 300 * S)
    seam = np.flatnonzero(found == Timeline(index, 1).period_ns)[0]
    assert found[seam] - found[seam - 1] == pytest.approx(100 * S / (len(index) - 1), rel=0.01)


@pytest.mark.parametrize(("part", "off"), [(0.1, 0.05), (0.3, 0.02), (0.8, 0.01)])
def test_the_sessions_kept_have_the_mix_of_all(part, off):
    """Drawn independently, they would be off by some 0.1, 0.05 and 0.02 in the worst of these."""
    index = make(3000, seed=4)
    timeline = Timeline(index, 1)
    whole = np.bincount(index.name) / len(index)
    for seed in range(10):
        found = timeline.stretch(Draw((seed,), in_order=True), part, 0, timeline.period_ns)
        mix = np.bincount(index.name[found.row], minlength=3) / len(found.row)
        assert np.abs(mix - whole).max() < off
        assert index.size[found.row].mean() == pytest.approx(index.size.mean(), rel=3 * off)


def test_laps_go_on_to_other_sessions_until_all_had_their_turn():
    index = make(400)
    timeline = Timeline(index, 1)
    found = timeline.stretch(Draw((2,), in_order=True), 0.25, 0, 4 * timeline.period_ns)
    by_lap = [set(index.session[found.row[found.lap == lap]].tolist()) for lap in range(4)]
    assert set.union(*by_lap) == set(range(400))
    assert sum(map(len, by_lap)) <= 400 + 4, "but for one at each border"


def test_draws_and_seeds_differ_and_repeat_exactly():
    index = make(200)

    def first(seed, draw):
        return played(Timeline(index, seed), Draw(draw), 1.7, 0, 20 * S)

    assert first(1, (1, 5)) == first(1, (1, 5))
    assert first(1, (1, 5)) != first(1, (1, 6))
    assert first(1, (1, 5)) != first(2, (1, 5))


def test_in_order_at_its_own_rate_is_the_recording():
    index = make(200)
    found = Timeline(index, 1).stretch(Draw((1,), in_order=True), 1.0, 0, int(index.due_ns[-1]) + 1)
    assert found.due_ns.tolist() == index.due_ns.tolist()
    assert found.row.tolist() == list(range(len(index)))


def test_a_higher_multiple_adds_sessions_and_takes_none_away():
    """So a rate that changes leaves alone what goes on."""
    timeline, draw = Timeline(make(300), 1), Draw((1,))
    parts = [set(played(timeline, draw, multiple, 0, 50 * S)) for multiple in (0.2, 0.7, 1.0, 1.4, 3.0, 3.01)]
    for less, more in pairwise(parts):
        assert less < more


def test_a_trace_without_a_duration_is_refused():
    index = make(5)
    with pytest.raises(ValueError, match="due at once"):
        Timeline(Index(index.due_ns * 0, *(getattr(index, f) for f in index.__slots__[1:])), 1)


@pytest.mark.parametrize(("length", "fine"), [(2**60, True), (2**60 + 1, False), (2**63 - 1, False)])
def test_a_trace_of_more_than_36_years_is_refused(length, fine):
    index = make(5)
    long = Index(index.due_ns * 0, *(getattr(index, f) for f in index.__slots__[1:]))
    long.due_ns[-1] = length
    if fine:
        assert len(played(Timeline(long, 1), Draw((1,)), 2.5, 0, 2**60)) > 0
    else:
        with pytest.raises(ValueError, match="check the unit of its times"):
            Timeline(long, 1)


def test_any_arc_of_the_ranks_holds_its_part_of_the_requests():
    index = make(2000, longest=30, seed=2)
    ranks, lengths = Population(index, 1).ranks(), np.bincount(index.session)
    rng = np.random.default_rng(0)
    for _ in range(200):
        begin, arc = int(rng.integers(2**32)), int(rng.integers(2**32))
        held = lengths[ranks - np.uint32(begin) < arc].sum()
        assert abs(held - len(index) * arc / 2**32) <= 31
