import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.search.slices import (
    LADDER,
    LIMIT_RUNG,
    SLICE_S,
    Cohort,
    Flow,
    Merger,
    NameCounts,
    Shipment,
    bin_width,
    bins_per_slice,
)

counts = st.integers(1, 50)
bins = st.dictionaries(st.integers(0, 49), counts, max_size=6)
# Millionths, as they travel; multiples of 1/64, so that sums are exact in any order.
amounts = st.integers(0, 6400).map(lambda n: n / 64)
names = st.sampled_from(["/a", "/b", "other"])
ROWS = (len(LADDER) + 1, 2)


def flows(index: st.SearchStrategy[int]) -> st.SearchStrategy[Flow]:
    return st.builds(
        Flow,
        index=index,
        span=st.sampled_from([SLICE_S, 0.25]),
        arrivals=bins,
        completions=bins,
        open=st.integers(0, 99),
        oldest=amounts,
        area=amounts,
        residence=amounts,
        intended=st.integers(0, 99),
        dropped=st.integers(0, 9),
        lag=bins,
        cpu=st.integers(0, 64).map(lambda n: n / 64),
        hub_lag=amounts,
        users=st.integers(0, 9),
        errors=st.sampled_from([{}, {"http 503": 3}, {"http 503": 1, "no ports": 2}]).map(dict),
        host=st.sampled_from([{}, {"steal": 0.25}, {"steal": 0.5, "throttled": 0.125}]).map(dict),
    )


def cohorts(index: st.SearchStrategy[int]) -> st.SearchStrategy[Cohort]:
    row = st.integers(0, 20)
    return st.builds(
        Cohort,
        index=index,
        rungs=st.tuples(*(st.lists(row, min_size=n, max_size=n) for n in ROWS)).map(list),
        names=st.dictionaries(
            names,
            st.builds(
                NameCounts,
                sent=counts,
                open=st.integers(0, 9),
                errors=st.dictionaries(st.sampled_from(["http 503", "timeout"]), counts),
                hist=bins,
            ),
        ),
    )


def flow_copy(flow: Flow) -> Flow:
    return Flow.from_plain(flow.to_plain())


def cohort_copy(cohort: Cohort) -> Cohort:
    return Cohort.from_plain(cohort.to_plain())


def merged_flow(*parts: Flow) -> Flow:
    total = Flow(parts[0].index, span=0.0)
    for part in parts:
        total.merge(part)
    return total


def merged_cohort(*parts: Cohort) -> Cohort:
    total = Cohort(parts[0].index, [[0] * n for n in ROWS])
    for part in parts:
        total.merge(part)
    return total


zero = st.just(0)


@given(flows(st.integers(0, 999)), cohorts(st.integers(0, 999)), st.booleans())
def test_what_travels_arrives_unchanged(flow: Flow, cohort: Cohort, final: bool) -> None:
    shipment = Shipment(7, (flow,), (cohort,), final)
    assert Shipment.from_plain(json.loads(json.dumps(shipment.to_plain()))) == shipment


def test_an_empty_flow_travels_light() -> None:
    assert Flow(3).to_plain() == {"i": 3, "span": 0.5}
    assert Flow.from_plain({"i": 3, "span": 0.5}) == Flow(3)


@given(flows(zero), flows(zero), flows(zero))
def test_flows_merge_in_any_order_and_grouping(a: Flow, b: Flow, c: Flow) -> None:
    assert merged_flow(a, b) == merged_flow(b, a)
    assert merged_flow(merged_flow(a, b), c) == merged_flow(a, merged_flow(b, c))
    total = merged_flow(a, b, c)
    assert total.sent == a.sent + b.sent + c.sent
    assert total.done == a.done + b.done + c.done
    assert total.oldest == max(a.oldest, b.oldest, c.oldest)
    assert total.span == max(a.span, b.span, c.span)


@given(cohorts(zero), cohorts(zero), cohorts(zero))
def test_cohorts_merge_in_any_order_and_grouping(a: Cohort, b: Cohort, c: Cohort) -> None:
    assert merged_cohort(a, b) == merged_cohort(b, a)
    assert merged_cohort(merged_cohort(a, b), c) == merged_cohort(a, merged_cohort(b, c))
    total = merged_cohort(a, b, c)
    assert total.sent == a.sent + b.sent + c.sent
    for row in range(len(ROWS)):
        assert total.counts(row) == tuple(map(sum, zip(a.counts(row), b.counts(row), c.counts(row), strict=True)))


@given(cohorts(zero), cohorts(zero))
def test_merging_leaves_the_share_alone(a: Cohort, b: Cohort) -> None:
    before = cohort_copy(b)
    merged_cohort(b, a, a)
    assert b == before


def test_misses_begin_at_the_limit() -> None:
    row = list(range(len(LADDER) + 1))
    cohort = Cohort(0, [row, [5, 3]])
    assert LADDER[LIMIT_RUNG - 1] == 1.0
    assert cohort.counts(0) == (5 + 6 + 7 + 8, sum(row))
    assert cohort.counts(1) == (3, 8)


@given(st.data())
def test_any_interleaving_of_the_workers_gives_the_same_slices_in_order(data: st.DataObject) -> None:
    workers = ["w0", "w1", "w2"][: data.draw(st.integers(1, 3))]
    n_cohorts = data.draw(st.integers(0, 4))
    mine: dict[str, list[Flow]] = {}
    theirs: dict[str, list[Cohort]] = {}
    queues: dict[str, list[Shipment]] = {}
    for worker in workers:
        # Workers hear of a change of load at slightly different times: some have a slice more.
        n = data.draw(st.integers(2, 4))
        mine[worker] = [data.draw(flows(st.just(i))) for i in range(n)]
        theirs[worker] = [data.draw(cohorts(st.just(i))) for i in range(n_cohorts)]
        cut, cut_cohorts = data.draw(st.integers(0, n)), data.draw(st.integers(0, n_cohorts))
        queues[worker] = [
            Shipment(1, tuple(mine[worker][:cut]), tuple(theirs[worker][:cut_cohorts])),
            Shipment(1, tuple(mine[worker][cut:]), tuple(theirs[worker][cut_cohorts:]), final=True),
        ]
    merger = Merger(workers)
    out_flows: list[Flow] = []
    out_cohorts: list[Cohort] = []
    while any(queues.values()):
        worker = data.draw(st.sampled_from([w for w in workers if queues[w]]))
        new_flows, new_cohorts = merger.add(worker, queues[worker].pop(0))
        out_flows += new_flows
        out_cohorts += new_cohorts
    longest = max(map(len, mine.values()))
    for i, flow in enumerate(out_flows):
        shares = [mine[w][i].cpu if len(mine[w]) > i else 0.0 for w in workers]
        assert (flow.cpus or [flow.cpu] * len(workers)) == shares
        flow.cpus = []
    assert out_flows == [merged_flow(*(mine[w][i] for w in workers if len(mine[w]) > i)) for i in range(longest)]
    assert out_cohorts == [merged_cohort(*(theirs[w][i] for w in workers)) for i in range(n_cohorts)]


def test_a_slice_waits_for_the_last_worker_that_still_counts() -> None:
    merger = Merger(["a", "b"])
    assert merger.add("a", Shipment(1, (Flow(0, open=1), Flow(1, open=2)), final=True)) == ([], [])
    assert merger.add("stranger", Shipment(1, (Flow(0, open=50),))) == ([], [])
    out, _ = merger.add("b", Shipment(1, (Flow(0, open=4),)))
    assert [(f.index, f.open) for f in out] == [(0, 5)]
    out, _ = merger.add("b", Shipment(1, final=True))
    assert [(f.index, f.open) for f in out] == [(1, 2)]


@pytest.mark.parametrize(
    ("limit", "width"), [(10.0, 0.010), (0.25, 0.010), (0.249, 0.005), (0.1, 0.002), (0.049, 0.001), (0.001, 0.001)]
)
def test_bins_are_fine_against_the_limit_and_divide_the_slice(limit: float, width: float) -> None:
    assert bin_width(limit) == width
    assert bins_per_slice(width) * width == pytest.approx(SLICE_S)
