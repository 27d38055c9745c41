import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.search.histogram import index_of
from locust_adaptive.search.slices import SLICE_S, Cohort, Flow, NameCounts
from locust_adaptive.search.trial import (
    Excision,
    Measurement,
    Probe,
    Purpose,
    Timeline,
    Trial,
    Verdict,
    arrival_times,
)
from tests.support.trials import BIN_S, measurement, trial

excisions = st.builds(
    Excision,
    start=st.floats(0, 5),
    end=st.floats(5, 9),
    cause=st.sampled_from(["stall", "generator"]),
    length=st.floats(0, 2),
)


def test_a_trial_comes_back_from_its_journal() -> None:
    m = Measurement(
        BIN_S,
        tuple(Flow(i, arrivals={0: i + 1}) for i in range(4)),
        tuple(Cohort(i, [[1, 2, 0, 0, 0, 0, 0, 0, 0]]) for i in range(3)),
        (Flow(9),),
        True,
        1,
        (Excision(0.5, 1e9, "stall", 0.7),),
    )
    probe = Probe(40.0, Purpose.GATE, 1.0, 2.0, 3.0, early=True, until_steady=True, repeats=2)
    before = Trial(3, probe, m, Verdict.UNDECIDED, "stall", 1.5, 3.5)
    plain = json.loads(json.dumps(before.to_plain()))
    # The journal goes on after the verdict: what came later is not the trial's.
    flows, cohorts = [*m.flows, Flow(4)], [*m.cohorts, Cohort(3, [[9] * 9])]
    assert Trial.from_plain(plain, BIN_S, flows, cohorts, [Flow(9)]) == before


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=20),
    st.lists(excisions, max_size=3),
    st.integers(0, 4),
)
def test_counts_are_of_clean_slices_only(pairs: list[tuple[int, int]], excised: list[Excision], settle: int) -> None:
    pairs = [(sent, min(k, sent)) for sent, k in pairs]
    m = measurement(pairs, settle=settle, excised=excised)
    clean = [
        i
        for i in range(len(pairs))
        if i >= settle and all(x.end <= i * SLICE_S or x.start >= (i + 1) * SLICE_S for x in excised)
    ]
    assert [c.index for c in m.clean] == clean
    assert m.clean_s == len(clean) * SLICE_S
    assert m.counts(0) == (sum(pairs[i][1] for i in clean), sum(pairs[i][0] for i in clean))
    k, n = m.batches(0, seconds=SLICE_S)
    assert (k.sum(), n.sum()) == m.counts(0)


def test_batches_are_whole_stretches() -> None:
    k, n = measurement([(10, 1)] * 10).batches(0, seconds=2.0)
    assert k.tolist() == [4, 4]
    assert n.tolist() == [40, 40]
    k, n = measurement([]).batches(0)
    assert (len(k), len(n)) == (0, 0)


def test_latencies_are_of_the_answers_of_one_name_or_all() -> None:
    names = {
        "/a": NameCounts(9, 0, {}, {index_of(0.1): 9}),
        "/b": NameCounts(1, 0, {}, {index_of(0.9): 1}),
    }
    m = Measurement(BIN_S, (Flow(0),), (Cohort(0, [[10] + [0] * 8], names),))
    assert m.latencies().quantile(0.5) == pytest.approx(0.1, rel=0.01)
    assert m.latencies().quantile(0.99) == pytest.approx(0.9, rel=0.01)
    assert m.latencies("/a").quantile(0.99) == pytest.approx(0.1, rel=0.01)
    assert math.isnan(m.latencies("/c").quantile(0.99))


@given(st.lists(st.dictionaries(st.integers(0, 49), st.integers(1, 4), max_size=8), min_size=1, max_size=6))
def test_arrival_times_are_as_many_and_in_their_bins(bins: list[dict[int, int]]) -> None:
    times = arrival_times([Flow(i, arrivals=b) for i, b in enumerate(bins)], BIN_S)
    assert len(times) == sum(sum(b.values()) for b in bins)
    assert (np.diff(times) > 0).all()
    seen = np.floor(times / BIN_S + 1e-9).astype(int).tolist()
    assert seen == [i * 50 + b for i, one in enumerate(bins) for b in sorted(one) for _ in range(one[b])]


def test_a_shorter_last_flow_has_fewer_bins() -> None:
    timeline = Timeline.of([Flow(0, arrivals={49: 1}, open=1), Flow(1, span=0.1, completions={3: 1})], BIN_S)
    assert len(timeline.arrivals) == 60
    assert timeline.open.tolist() == [0] * 50 + [1] * 4 + [0] * 6


def test_the_timeline_knows_what_was_open_before_it() -> None:
    flows = [Flow(0, arrivals={10: 2}, completions={0: 1}, open=4), Flow(1, completions={0: 4})]
    timeline = Timeline.of(flows, BIN_S)
    assert timeline.open[[0, 1, 11, 50, 51]].tolist() == [3, 2, 4, 4, 0]
    assert len(Timeline.of([], BIN_S).open) == 0


def test_the_busy_rate_counts_from_when_enough_was_open() -> None:
    filling = Flow(0, arrivals={0: 30}, completions={}, open=30)
    busy = [
        Flow(i, arrivals=dict.fromkeys(range(50), 2), completions=dict.fromkeys(range(50), 1), open=30 + 50 * i)
        for i in (1, 2)
    ]
    rate, done = Measurement(BIN_S, (filling, *busy), ()).busy_rate(20)[:2]
    assert done == 100
    assert rate == pytest.approx(100 / 1.49)
    assert Measurement(BIN_S, (filling, *busy), ()).busy_rate(1000)[:2] == (0.0, 0)


def test_littles_law_is_checked_by_two_tallies() -> None:
    good = Measurement(BIN_S, (Flow(0, area=2.0, residence=2.0),), ())
    bad = Measurement(BIN_S, (Flow(0, area=2.0, residence=1.0),), ())
    assert good.little_breach() == 0
    assert bad.little_breach() == pytest.approx(0.5)
    assert Measurement(BIN_S, (Flow(0),), ()).little_breach() == 0


@pytest.mark.parametrize(
    ("verdict", "reason", "overloaded"),
    [
        (Verdict.FAIL, "overload", True),
        (Verdict.FAIL, "hang", True),
        (Verdict.FAIL, "p99<250ms", False),
        (Verdict.INVALID, "overload", False),
    ],
)
def test_only_a_failure_by_backlog_is_an_overload(verdict: Verdict, reason: str, overloaded: bool) -> None:
    assert trial(1, 40, measurement([(20, 0)]), verdict, reason=reason).overloaded is overloaded
