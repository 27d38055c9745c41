"""Recorded arrivals under a rate that changes: none lost, none doubled, each when the timeline has it."""

import math
from itertools import dropwhile, takewhile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locust_adaptive.replay import recorded
from locust_adaptive.replay.population import Play
from locust_adaptive.replay.recorded import Recorded
from locust_adaptive.replay.sharding import ShardMap
from locust_adaptive.replay.timeline import Draw, Timeline
from tests.replay.test_timeline import make, played

INDEX = make(300)
TIMELINE = Timeline(INDEX, 1)
DRAW = Draw((1, 4))
STEPS = st.lists(
    st.tuples(st.integers(0, 960).map(lambda n: n / 64), st.sampled_from([0.0, 1.0, 8.0, 25.0])), min_size=1, max_size=6
)
BEGAN = 1000.0


def until(pacing, now):
    popped = []
    while pacing.next_due() <= now:
        popped.append(pacing.pop())
    return popped


def schedule(pacing, steps, prompt=True):
    now, popped = BEGAN, []
    for duration, rate in steps:
        pacing.set_rate(now, rate)
        now += duration
        if prompt:
            popped += until(pacing, now)
    pacing.set_rate(now, 0)
    return popped + until(pacing, now)


def expected(steps, timeline=TIMELINE, speed=1.0):
    """What the timeline has in each step, at the step's multiple; it begins with the first rate above 0."""
    found, begin = [], 0.0
    for duration, rate in dropwhile(lambda step: not step[1], steps):
        if rate:
            multiple = round(rate / (timeline.rate * speed), 9)
            first, last = (int(speed * at * 1e9) for at in (begin, begin + duration))
            found += played(timeline, DRAW, multiple, first, last)
        begin += duration
    return found


def plain(arrivals, steps, speed=1.0):
    began = BEGAN + sum(duration for duration, _ in takewhile(lambda step: not step[1], steps))
    return [(speed * (due - began), play.row, play.lap, play.copy) for due, play in arrivals]


def same(got, wanted):
    """But for those that are due when the rate changes, within the rounding of seconds."""
    assert abs(len(got) - len(wanted)) <= 2
    missing = {arrival[1:] for arrival in got} ^ {arrival[1:] for arrival in wanted}
    assert len(missing) <= 2
    assert len({arrival[1:] for arrival in got}) == len(got), "none twice"
    when = {arrival[1:]: arrival[0] / 1e9 for arrival in wanted}
    for due, *what in got:
        if tuple(what) in when:
            assert due == pytest.approx(when[tuple(what)], abs=1e-6)


@given(STEPS, st.booleans(), st.sampled_from([1.0, 2.5]))
@settings(max_examples=60)
def test_over_changes_of_rate_each_interval_has_the_arrivals_of_its_rate(steps, prompt, speed):
    got = schedule(Recorded(TIMELINE, DRAW, speed=speed), steps, prompt)
    assert [arrival.due for arrival in got] == sorted(arrival.due for arrival in got)
    assert all(INDEX.session[arrival.play.row] == arrival.play.session for arrival in got)
    same(plain(got, steps, speed), expected(steps, speed=speed))


@given(STEPS)
@settings(max_examples=30)
def test_a_rate_set_again_changes_nothing(steps):
    once = schedule(Recorded(TIMELINE, DRAW), steps)
    twice = [(duration / 2, rate) for duration, rate in steps for _ in "ab"]
    assert schedule(Recorded(TIMELINE, DRAW), twice) == once


@given(STEPS, st.lists(st.integers(0, 5), min_size=6, max_size=6))
def test_a_caller_that_pops_ahead_gets_no_due_before_the_last(steps, ahead):
    pacing, now, popped = Recorded(TIMELINE, DRAW), BEGAN, []
    for (duration, rate), extra in zip(steps, ahead, strict=False):
        pacing.set_rate(now, rate)
        now += duration
        popped += until(pacing, now)
        popped += [pacing.pop() for _ in range(extra) if rate]
    assert [arrival.due for arrival in popped] == sorted(arrival.due for arrival in popped)
    assert len({arrival.play for arrival in popped}) == len(popped)


@pytest.mark.parametrize("parts", [1, 2, 3, 4])
def test_equal_shares_of_a_rate_make_the_arrivals_of_the_whole(parts):
    shards = ShardMap([f"w{i}" for i in range(parts)])
    steps = [(20, 30.0), (10, 7.0), (20, 100.0)]
    shares = [(duration, rate / parts) for duration, rate in steps]
    together = []
    for worker in shards.workers:
        together += schedule(Recorded(Timeline(INDEX, 1, shards.shard(worker)), DRAW, parts), shares)
    assert sorted(together) == sorted(schedule(Recorded(TIMELINE, DRAW), steps))


def test_small_chunks_make_the_same(monkeypatch):
    steps = [(30, 40.0), (10, 0.5), (200, 0.02)]
    whole = schedule(Recorded(TIMELINE, DRAW), steps)
    monkeypatch.setattr(recorded, "CHUNK", 7)
    assert schedule(Recorded(TIMELINE, DRAW), steps) == whole


def test_a_new_draw_begins_with_the_next_rate_and_keeps_what_is_overdue():
    pacing = Recorded(TIMELINE, DRAW)
    pacing.set_rate(BEGAN, 50)
    pacing.begin(Draw((1, 5)))
    pacing.set_rate(BEGAN + 10, 20)
    got = until(pacing, BEGAN + 20)
    before = [arrival for arrival in got if arrival.due <= BEGAN + 10]
    assert before == schedule(Recorded(TIMELINE, DRAW), [(10, 50.0)])
    other = Recorded(TIMELINE, Draw((1, 5)))
    other.set_rate(BEGAN + 10, 20)
    assert got[len(before) :] == until(other, BEGAN + 20)


def test_in_order_the_first_request_is_due_when_the_first_rate_begins():
    pacing = Recorded(TIMELINE, Draw((1,), in_order=True))
    pacing.set_rate(BEGAN, 0)
    pacing.set_rate(BEGAN + 5, TIMELINE.rate)
    assert pacing.pop() == (BEGAN + 5, Play(0, INDEX.session[0], 0))


def test_at_rate_0_nothing_is_due():
    pacing = Recorded(TIMELINE, DRAW)
    assert pacing.next_due() == math.inf
    pacing.set_rate(BEGAN, 0)
    assert pacing.next_due() == math.inf
    with pytest.raises(ValueError, match="no arrival is due"):
        pacing.pop()


@pytest.mark.parametrize(("now", "rate"), [(0, -1), (0, math.nan), (0, math.inf), (math.nan, 1)])
def test_a_rate_or_time_that_makes_no_sense_is_refused(now, rate):
    with pytest.raises(ValueError, match="finite"):
        Recorded(TIMELINE, DRAW).set_rate(now, rate)


def test_a_rate_too_low_for_a_day_to_have_an_arrival_says_that_none_is_due():
    pacing = Recorded(TIMELINE, DRAW)
    pacing.set_rate(BEGAN, 1e-7)
    due = pacing.next_due()
    assert due == math.inf or due < BEGAN + 2 * 86_400


@pytest.mark.parametrize(("silence_s", "there"), [(40_000, True), (10**8, False)])
def test_a_long_silence_in_a_trace_costs_no_time(silence_s, there):
    """Chunks grow until they hold something; of more than a day it is not waited for the end."""
    index = make(100)
    due = np.where(np.arange(len(index)) < 50, index.due_ns, index.due_ns + silence_s * 10**9)
    fields = [getattr(index, field) for field in index.__slots__[1:]]
    timeline = Timeline(type(index)(due, *fields), 1)
    pacing = Recorded(timeline, Draw((1,), in_order=True))
    pacing.set_rate(BEGAN, timeline.rate)
    assert [pacing.pop().play.row for _ in range(50)] == list(range(50))
    assert (pacing.next_due() < math.inf) is there


def test_each_time_that_a_session_is_played_has_a_number_of_its_own():
    pacing = Recorded(TIMELINE, DRAW)
    pacing.set_rate(BEGAN, 3.7 * TIMELINE.rate)
    plays = [arrival.play for arrival in until(pacing, BEGAN + 250)]
    assert len({(play.row, play.repeat) for play in plays}) == len(plays)
    assert {play.lap for play in plays} >= {0, 1, 2}
    assert {play.copy for play in plays} == {0, 1, 2, 3}
    by_session = {(play.session, play.lap, play.copy): play.repeat for play in plays}
    assert len({(session, repeat) for (session, _, _), repeat in by_session.items()}) == len(by_session), "of a session"
