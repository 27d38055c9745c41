"""Loans: an arrival without a body sends a request of its endpoint, near in size, and each body has its turn."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.replay.index import Index
from locust_adaptive.replay.loans import borrow
from locust_adaptive.replay.population import Play
from locust_adaptive.replay.sharding import ShardMap, session_hash
from locust_adaptive.replay.timeline import Draw, Timeline
from tests.replay.test_timeline import MULTIPLES, SEED, S, make, played


def trace(*sessions):
    """An index of sessions, each a list of (endpoint, bytes); None for the bytes of a body that was not kept: 50, or
    `(endpoint, None, bytes)`."""
    rows = [(code, *request) for code, session in enumerate(sessions) for request in session]
    bodyless = [row for row, request in enumerate(rows) if request[2] is None]
    sizes = [request[2] if request[2] is not None else (*request, 50)[3] for request in rows]
    names = sorted({request[1] for request in rows})
    return Index(
        np.arange(len(rows)) * S,
        np.array([request[0] for request in rows], dtype=np.int32),
        np.array([names.index(request[1]) for request in rows], dtype=np.int32),
        np.array(sizes, dtype=np.int32),
        np.array([session_hash(str(n)) for n in range(len(sessions))], dtype=np.uint64),
        tuple(names),
        np.array(bodyless, dtype=np.int32),
    )


def lent(index, seed=1):
    return borrow(index, seed).row.tolist()


def test_a_trace_with_all_its_bodies_borrows_nothing():
    assert borrow(make(20), 1) is None


@pytest.mark.parametrize(
    ("sessions", "rows"),
    [
        # A whole session, the nearest in bytes of those with the same endpoints.
        (([("a", 10)], [("a", 90)], [("a", None, 60)]), [0, 1, 1]),
        (([("a", 10), ("b", 10)], [("a", 30), ("b", 10)], [("a", None, 25), ("b", 9)]), [0, 1, 2, 3, 2, 3]),
        # In the same order, and as many: else each for itself, and what was kept is its own.
        (([("a", 10), ("b", 20)], [("b", None, 15), ("a", 7)]), [0, 1, 1, 3]),
        (([("a", 10), ("a", 40)], [("a", None, 39), ("a", None, 5), ("a", None, 41)]), [0, 1, 1, 0, 1]),
        # Also from a session that is not whole.
        (([("a", 10), ("b", None)], [("a", None, 9), ("b", 7)]), [0, 3, 0, 3]),
        # A request that had no body is none of those that had one.
        (([("a", 0)], [("a", 500)], [("a", None, 1)]), [0, 1, 1]),
        # Nobody has such a body.
        (([("a", 10)], [("b", None)], [("a", None)]), [0, 1, 0]),
        (([("a", 0)], [("a", None)]), [0, 1]),
    ],
)
def test_who_lends(sessions, rows):
    assert lent(trace(*sessions)) == rows


def test_what_nobody_can_lend_is_named():
    assert borrow(trace([("a", 10)], [("b", None), ("a", None)]), 1).unmet.tolist() == [1]


def test_equals_lend_in_turn_and_by_seed():
    index = trace(*[[("a", 100)]] * 10, *[[("a", None, 100)]] * 95)
    times = Counter(lent(index)[10:])
    assert sorted(times.values()) == [9] * 5 + [10] * 5
    assert lent(index) == lent(index)
    assert lent(index) != lent(index, seed=2)


def test_lenders_that_differ_a_little_are_each_the_nearest_to_somebody():
    index = trace(*[[("a", 100 + n)] for n in range(0, 100, 10)], *[[("a", None, 100 + n)] for n in range(100)])
    assert all(abs(index.size[row] - index.size[i]) <= 5 for i, row in enumerate(lent(index)[:-5]))


ENDPOINTS = st.sampled_from("ab")
REQUESTS = st.tuples(ENDPOINTS, st.sampled_from([0, 1, 5, 5, 80])) | st.tuples(
    ENDPOINTS, st.none(), st.sampled_from([1, 5, 40])
)
SESSIONS = st.lists(st.lists(REQUESTS, min_size=1, max_size=4), min_size=1, max_size=12)


@given(SESSIONS, SEED)
def test_the_rules_hold_of_any_trace(sessions, seed):
    index = trace(*sessions)
    loans = borrow(index, seed)
    if loans is None:
        assert not len(index.bodyless)
        return
    bodyless, whole = set(index.bodyless.tolist()), index.playable()
    rows = [np.flatnonzero(index.session == session).tolist() for session in range(len(sessions))]
    endpoint = [(index.names[name], size > 0) for name, size in zip(index.name, index.size.tolist(), strict=True)]

    def sequence(session):
        return [endpoint[row] for row in rows[session]]

    def bytes_of(session):
        return int(index.size[rows[session]].sum())

    for session, own in enumerate(rows):
        got = loans.row[own].tolist()
        alike = [other for other in range(len(rows)) if whole[other] and sequence(other) == sequence(session)]
        if whole[session]:
            assert got == own
        elif alike:
            (lender,) = {int(index.session[row]) for row in got}
            assert got == rows[lender]
            nearest = min(abs(bytes_of(other) - bytes_of(session)) for other in alike)
            assert whole[lender]
            assert abs(bytes_of(lender) - bytes_of(session)) == nearest
        else:
            for row, sent in zip(own, got, strict=True):
                able = [r for r in range(len(index)) if endpoint[r] == endpoint[row] and r not in bodyless]
                if row in bodyless and able:
                    assert sent in able
                    off = [abs(int(index.size[r]) - int(index.size[row])) for r in (sent, *able)]
                    assert off[0] == min(off)
                else:
                    assert sent == row
                    assert (row in bodyless) == (row in loans.unmet.tolist())
    taken = [(row, number) for row, number in zip(loans.row.tolist(), loans.number.tolist(), strict=True) if number]
    assert len(set(taken)) == len(taken), "each loan of a row has a number of its own"


def sampled(index, share, seed=0):
    """The same trace with the bodies of this share of its sessions."""
    dropped = np.random.default_rng(seed).random(len(index.session_hash)) >= share
    return dataclasses.replace(index, bodyless=np.flatnonzero(dropped[index.session]).astype(np.int32))


@given(st.integers(5, 60), SEED, MULTIPLES, st.floats(0.05, 0.9))
def test_arrivals_are_those_of_the_trace_with_all_its_bodies(sessions, seed, multiple, share):
    whole = make(sessions, seed=seed % 10)
    part = sampled(whole, share, seed % 7)
    loans = borrow(part, seed)
    if loans is None or len(loans.unmet):
        return
    assert played(Timeline(part, seed), Draw((seed,)), multiple, 0, 150 * S) == played(
        Timeline(whole, seed), Draw((seed,)), multiple, 0, 150 * S
    )


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_send_what_one_would_send(workers):
    index = sampled(make(400, seed=3), 0.1)
    draw, stop = Draw((3, 9)), 250 * S

    def sends(shard=None):
        timeline = Timeline(index, 3, shard)
        found = timeline.stretch(draw, 2.4, 0, stop)
        plays = timeline.plays(found, np.ones(len(found.due_ns), dtype=bool))
        return list(zip(found.due_ns.tolist(), plays, strict=True))

    alone = sends()
    shards = ShardMap([f"w{n}" for n in range(workers)])
    assert sorted(sent for worker in shards.workers for sent in sends(shards.shard(worker))) == sorted(alone)
    bodyless = set(index.bodyless.tolist())
    assert not bodyless & {play.row for _, play in alone}
    assert len({(play.row, play.repeat) for _, play in alone}) == len(alone), "each time has a number of its own"
    assert {play.loan > 0 for _, play in alone} == {True, False}


def test_the_bursts_of_a_sampled_trace_stay():
    """Sessions that begin in one second: a tenth of them would be a tenth of the burst."""
    due = np.sort(np.concatenate([np.arange(500) * S // 5, 40 * S + np.arange(500) * S // 500]))
    one_each = np.arange(1000, dtype=np.int32)
    hashes = np.array([session_hash(str(n)) for n in range(1000)], dtype=np.uint64)
    size = np.full(1000, 10, np.int32)
    index = sampled(Index(due, one_each, one_each * 0, size, hashes, ("a",)), 0.1)
    timeline = Timeline(index, 1)
    assert timeline.rate == pytest.approx(10, rel=0.02)
    found = timeline.due_times(Draw((1,), in_order=True), 1.0, 100 * S)
    assert ((found >= 40 * S) & (found < 41 * S)).sum() == 505


def test_a_session_with_what_nobody_can_lend_does_not_come():
    index = trace([("a", 10)], [("b", None), ("a", None)], [("a", None)])
    found = played(Timeline(index, 1), Draw((1,), in_order=True), 1.0, 0, 4 * S)
    assert [row for _, row, _, _ in found] == [0, 3]


def test_a_repeat_counts_laps_copies_and_loans():
    assert Play(0, 0, 2, 3, 4).repeat == 2 + 3 * 10**6 + 4 * 10**12
