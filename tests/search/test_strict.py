import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locust_adaptive.search.estimate import Estimate
from locust_adaptive.search.events import Capacity, Stall
from locust_adaptive.search.grid import Grid
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.slo import Slo
from locust_adaptive.search.strict import strict_capacity, tolerated

ESTIMATE = Estimate(80.0, 0.02, mu=100.0)
TOLERANT = Capacity(80.0, 77.0, 83.0, 78.0)


def question(slo: str = "p95<100ms", tolerance: float = 0.03) -> Settings:
    return Settings(Slo.parse(slo), "open", Grid.rate(1, 1000), 10, spike_tolerance=tolerance)


def stalls(*lengths: float, excised: bool = True) -> list[Stall]:
    return [Stall(10.0 * i, length, i, excised) for i, length in enumerate(lengths)]


def strict(found: list[Stall], slo: str = "p95<100ms", elapsed: float = 300.0) -> tuple[Capacity | None, str | None]:
    return strict_capacity(question(slo), ESTIMATE, 0, TOLERANT, found, elapsed)


@pytest.mark.parametrize(
    "found",
    [[], stalls(2.0, excised=False), stalls(0.1), stalls(0.05, 0.08)],
    ids=["none", "counted", "at limit", "short"],
)
def test_without_stalls_that_make_late_nothing_changes(found: list[Stall]) -> None:
    capacity, why = strict(found)
    assert why is None
    assert capacity is not None
    assert (capacity.value, capacity.low, capacity.high) == (80.0, 77.0, 83.0)


def test_stalls_cost_capacity_by_the_fluid_queue() -> None:
    capacity, why = strict(stalls(1.0, 1.0))
    assert why is None
    assert capacity is not None
    assert capacity.value is not None
    load, late = capacity.value, 2 * 0.9 / 300
    assert load < 80
    # There the budget is just spent: what queueing misses, and what the stalls and the queue behind them make late.
    assert ESTIMATE.miss_fraction(load, 0.05) + late * 100 / (100 - load) == pytest.approx(0.05, rel=0.03)
    assert capacity.verified is None


def test_when_stalls_alone_spend_the_budget_no_load_meets_it() -> None:
    capacity, why = strict(stalls(4.0, 4.0, 4.0, 4.0))
    assert capacity is None
    assert why is not None
    assert why.startswith("no load meets p95<100ms: its stalls alone make 5.2 %")


@settings(deadline=None)
@given(st.lists(st.floats(0.05, 2.0), max_size=4), st.floats(0.05, 2.0))
def test_another_stall_never_helps(lengths: list[float], more: float) -> None:
    before, after = strict(stalls(*lengths))[0], strict(stalls(*lengths, more))[0]
    if after is not None and after.value is not None:
        assert before is not None
        assert before.value is not None
        assert after.value <= before.value


def test_without_a_binding_objective_the_tolerant_capacity_is_all() -> None:
    assert strict_capacity(question(), ESTIMATE, None, TOLERANT, stalls(5.0), 300.0) == (TOLERANT, None)


@pytest.mark.parametrize(
    ("lengths", "ok"),
    [([], True), ([60.0], True), ([5.0, 3.0], True), ([5.0, 3.1], False), ([1.0] * 4, True), ([1.0] * 5, False)],
)
def test_one_stall_is_free_and_the_rest_have_three_percent(lengths: list[float], ok: bool) -> None:
    assert tolerated(question(), stalls(*lengths), 100.0) is ok
