import pytest

from locust_adaptive.search.grid import Grid
from locust_adaptive.search.histogram import index_of
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.slices import Flow
from locust_adaptive.search.slo import Slo
from locust_adaptive.search.trial import Measurement, Verdict
from locust_adaptive.search.validity import CPU_BOUND, SENT_BOUND, fault, lag_bound, lag_quantile, late_slices
from locust_adaptive.simulation.search import simulate
from locust_adaptive.simulation.server import Server

LIMIT_S = 0.25


def measured(*flows: Flow, settle: int = 0) -> Measurement:
    return Measurement(0.01, flows, (), settle=settle, excised=tuple(late_slices(list(flows), LIMIT_S)))


def flow(index: int, cpu: float = 0.1, dropped: int = 0, lag_s: float = 0.0, hub_lag: float = 0.0) -> Flow:
    return Flow(index, intended=100, dropped=dropped, lag={index_of(lag_s): 100}, cpu=cpu, hub_lag=hub_lag)


def test_a_calm_generator_is_fit() -> None:
    assert fault(measured(*(flow(i) for i in range(10))), LIMIT_S) is None
    assert fault(measured(), LIMIT_S) is None


@pytest.mark.parametrize(("cpu", "broken"), [(CPU_BOUND - 0.01, False), (CPU_BOUND + 0.01, True)])
def test_the_generator_may_use_seven_tenths_of_its_core(cpu: float, broken: bool) -> None:
    found = fault(measured(*(flow(i, cpu=cpu) for i in range(10))), LIMIT_S)
    assert (found is not None) is broken
    if found:
        assert found.rule == "generator CPU"
        assert "0.71 (bound 0.7): add workers" in str(found)


@pytest.mark.parametrize(("dropped", "broken"), [(2, False), (3, True)])
def test_98_percent_must_be_sent(dropped: int, broken: bool) -> None:
    found = fault(measured(*(flow(i, dropped=dropped) for i in range(10))), LIMIT_S)
    assert (found is not None) is broken
    if found:
        assert (found.rule, found.value, found.bound) == ("share of arrivals sent", 0.97, SENT_BOUND)


def test_what_happens_while_settling_is_forgiven() -> None:
    flows = [flow(0, cpu=1.0, dropped=90, hub_lag=1.0), *(flow(i) for i in range(1, 6))]
    assert fault(measured(*flows, settle=1), LIMIT_S) is None
    assert fault(measured(*flows), LIMIT_S) is not None


@pytest.mark.parametrize(("late", "broken"), [(4, False), (5, True)])
def test_sending_may_stand_still_in_two_fifths_of_the_slices(late: int, broken: bool) -> None:
    flows = [flow(i, lag_s=0.02 if i < late else 0.0) for i in range(10)]
    found = fault(measured(*flows), LIMIT_S)
    assert (found is not None) is broken
    if found:
        assert (found.rule, found.value) == ("share of time in which sending stood still", 0.5)


def test_single_late_requests_must_stay_below_one_in_a_hundred() -> None:
    """One request in twenty is late in each slice: none of them stands still, and yet the probe is unfit."""
    flows = [Flow(i, intended=100, lag={0: 95, index_of(0.02): 5}, cpu=0.1) for i in range(10)]
    assert late_slices(flows, LIMIT_S) == []
    found = fault(measured(*flows), LIMIT_S)
    assert found is not None
    assert found.rule == "send lag p99 in seconds"
    assert found.value == pytest.approx(0.02, rel=0.01)


def test_the_bound_on_lag_is_5_ms_or_5_percent_of_the_limit() -> None:
    assert lag_bound(0.05) == 0.005
    assert lag_bound(1.0) == 0.05


@pytest.mark.parametrize(
    ("late", "on_time"),
    [(flow(1, lag_s=0.3), flow(1, lag_s=0.012)), (flow(1, hub_lag=0.3), flow(1, hub_lag=0.025))],
)
def test_a_late_slice_is_left_out_with_what_was_due_before_it(late: Flow, on_time: Flow) -> None:
    (excision,) = late_slices([flow(0), late, flow(2)], LIMIT_S)
    assert excision.cause == "generator"
    assert excision.start == pytest.approx(0.5 - 0.3, abs=0.01)
    assert excision.end == 1.0
    assert late_slices([on_time], LIMIT_S) == []


def test_lag_quantile_merges_the_slices() -> None:
    assert lag_quantile([flow(0, lag_s=0.001), flow(1, lag_s=0.1)], 0.99) == pytest.approx(0.1, rel=0.01)
    assert lag_quantile([Flow(0)], 0.99) == 0.0


def test_an_early_verdict_of_an_unfit_generator_is_none() -> None:
    """The target is far too slow, and fails at once; but so busy a generator cannot know."""
    settings = Settings(Slo.parse("p99<250ms"), "closed", Grid.users(1, 50), 2.0)
    run = simulate(settings, Server(base=2.0), seed=1, disturb=lambda _t, meter: meter.health(0.95, 0.001, 2))
    assert {t.verdict for t in run.controller.trials} == {Verdict.INVALID}
    assert run.conclusion.reason == "measurement_invalid"
    assert run.conclusion.capacity.low is run.conclusion.capacity.high is None
