import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.search.slices import SLICE_S, Flow
from locust_adaptive.search.stalls import ENOUGH, FACTOR, FLOOR_S, Gaps

BIN_S = 0.01
PER_SLICE = 50


def flows_of(bins: list[tuple[int, int]], open_before: int = 0) -> list[Flow]:
    """Flows of `(arrivals, completions)` per bin; the last slice is filled up with idle bins."""
    flows, still_open = [], open_before
    for index in range(-(-len(bins) // PER_SLICE)):
        flow = Flow(index)
        for place, (arrived, done) in enumerate(bins[index * PER_SLICE : (index + 1) * PER_SLICE]):
            if arrived:
                flow.arrivals[place] = arrived
            if done:
                flow.completions[place] = done
            still_open += arrived - done
        flow.open = still_open
        flows.append(flow)
    return flows


def steady(bins: int) -> list[tuple[int, int]]:
    """Two in flight, an answer every third bin: gaps of 20 ms."""
    return [(1, 1) if i % 3 == 0 else (0, 0) for i in range(bins)]


def gaps_of_a_healthy_server() -> Gaps:
    gaps = Gaps(BIN_S)
    gaps.learn(flows_of(steady(500), open_before=2))
    return gaps


def test_nothing_is_unusual_before_enough_is_known() -> None:
    gaps = Gaps(BIN_S)
    gaps.learn(flows_of(steady(3 * (ENOUGH - 1)), open_before=2))
    stalled = flows_of([*steady(60), *[(1, 0)] * 240], open_before=2)
    assert gaps.look(stalled) is None
    gaps.learn(flows_of(steady(500), open_before=2))
    assert gaps.bound == pytest.approx(max(FLOOR_S, FACTOR * 0.02))
    assert gaps.look(stalled) is not None


@given(st.integers(0, 120), st.integers(9, 400), st.integers(1, 120))
def test_a_stall_is_found_with_its_bounds(before: int, length: int, after: int) -> None:
    gaps = gaps_of_a_healthy_server()
    bins = [*steady(before), *[(0, 0)] * length, *[(1, 1)] * after]
    bins += [(1, 1)] * (-len(bins) % PER_SLICE)
    flows = flows_of(bins, open_before=2)
    # Looked at after every slice, as the controller does.
    seen = [gap for n in range(1, len(flows) + 1) if (gap := gaps.look(flows[:n])) is not None and not gap.open]
    start = before - (before - 1) % 3 if before else 0
    assert seen
    assert seen[0].start == pytest.approx((start if before else 0) * BIN_S, abs=3 * BIN_S)
    assert seen[0].end == pytest.approx((before + length) * BIN_S, abs=1e-9)
    assert {(g.start, g.end) for g in seen} == {(seen[0].start, seen[0].end)}


def test_a_stall_that_lasts_is_open() -> None:
    gap = gaps_of_a_healthy_server().look(flows_of([*steady(60), *[(1, 0)] * 140], open_before=2))
    assert gap is not None
    assert gap.open
    assert gap.end == pytest.approx(4 * SLICE_S)
    assert gap.length == pytest.approx(gap.end - gap.start)


def test_an_idle_server_does_not_stall() -> None:
    assert gaps_of_a_healthy_server().look(flows_of([(1, 1)] * 50 + [(0, 0)] * 300)) is None


def test_a_gap_longer_than_the_look_back_of_a_slice_is_seen_whole() -> None:
    bins = [*steady(75), *[(0, 0)] * 1000, *[(1, 1)] * 25]
    gap = gaps_of_a_healthy_server().look(flows_of(bins, open_before=2))
    assert gap is not None
    assert gap.start == pytest.approx(0.73, abs=0.03)
    assert gap.end == pytest.approx(10.75)


def test_no_flows_no_gap() -> None:
    assert gaps_of_a_healthy_server().look([]) is None


@pytest.mark.parametrize(("arrivals", "stalled"), [(1, True), (0, False)])
def test_in_open_loop_a_gap_in_which_nothing_arrived_is_no_stall(arrivals: int, stalled: bool) -> None:
    gaps = Gaps(BIN_S, open_loop=True)
    gaps.learn(flows_of(steady(500), open_before=2))
    # A slow request is open all the while; nothing else waits.
    lull = [*steady(60), *[(arrivals, 0)] * 30, *[(0, arrivals)] * 30, *[(0, 0)] * 30]
    seen = [gap for n in range(1, 4) if (gap := gaps.look(flows_of(lull[: 50 * n], open_before=2))) is not None]
    assert bool(seen) is stalled
