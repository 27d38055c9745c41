from typing import Any

import pytest

from locust_adaptive.search.controller import SILENCE_S, USERS_S
from locust_adaptive.search.grid import Grid
from locust_adaptive.search.histogram import index_of
from locust_adaptive.search.rules import CPU_BOUND, RULES, SENT_BOUND
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.slices import OWN_ERRORS, Flow
from locust_adaptive.search.slo import Slo
from locust_adaptive.search.trial import Measurement, Verdict
from locust_adaptive.search.validity import (
    Check,
    checks,
    fault,
    lag_bound,
    lag_quantile,
    late_slices,
    lightest_errors,
    worst,
)
from locust_adaptive.simulation.search import simulate
from locust_adaptive.simulation.server import Server
from tests.support.trials import measurement

LIMIT_S = 0.25


def measured(*flows: Flow, settle: int = 0) -> Measurement:
    return Measurement(0.01, flows, (), settle=settle, excised=tuple(late_slices(list(flows), LIMIT_S)))


def flow(index: int, dropped: int = 0, lag_s: float = 0.0, **more: Any) -> Flow:
    return Flow(index, intended=100, dropped=dropped, lag={index_of(lag_s): 100}, **{"cpu": 0.1, **more})


def check(flows: list[Flow], rule: str, users: float | None = None, reason: str = "") -> Check:
    return next(c for c in checks(measured(*flows), LIMIT_S, users, reason) if c.rule.id == rule)


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


def test_one_saturated_process_of_four_is_not_averaged_away() -> None:
    flows = [flow(i, cpu=0.95, cpus=[0.1, 0.95, 0.1, 0.1]) for i in range(10)]
    found = fault(measured(*flows), LIMIT_S)
    assert found is not None
    assert (found.rule, found.value) == ("generator CPU", pytest.approx(0.95))


def test_processes_that_take_turns_at_work_are_not_one_busy_one() -> None:
    flows = [flow(i, cpu=0.9, cpus=[0.9, 0.3] if i % 2 else [0.3, 0.9]) for i in range(20)]
    assert fault(measured(*flows), LIMIT_S) is None
    assert check(flows, "V1").value == pytest.approx(0.6)


@pytest.mark.parametrize(("busy", "broken"), [(5, False), (6, True)])
def test_three_busy_seconds_are_enough(busy: int, broken: bool) -> None:
    found = fault(measured(*(flow(i, cpu=0.95 if 10 <= i < 10 + busy else 0.1) for i in range(40))), LIMIT_S)
    assert (found is not None) is broken
    if found:
        assert (found.rule, found.value, found.bound) == ("generator CPU in any 3 s", pytest.approx(0.95), 0.9)


@pytest.mark.parametrize("kind", OWN_ERRORS)
def test_a_request_that_this_machine_could_not_send_voids_the_probe(kind: str) -> None:
    """Also while settling: what it was refused, the target was spared."""
    found = fault(measured(flow(0, errors={kind: 2, "http 503": 50}), *(flow(i) for i in range(1, 6)), settle=1), 0.25)
    assert found is not None
    assert (found.rule, found.value, found.bound) == (kind, 2, 0)


def test_the_cause_is_named_before_what_follows_from_it() -> None:
    flows = [flow(i, cpu=0.95, dropped=50, lag_s=0.5, errors={"no ports": 1}) for i in range(10)]
    broken = [c.rule.id for c in checks(measured(*flows), LIMIT_S) if c.ok is False]
    assert broken == ["V15b", "V1", "V1b", "V18", "V3"]


@pytest.mark.parametrize(
    ("rule", "host", "ok"),
    [
        ("V15d", {"descriptors": 0.79}, True),
        ("V15d", {"descriptors": 0.81}, False),
        ("V19", {"steal": 0.009}, True),
        ("V19", {"steal": 0.02}, False),
        ("V19b", {"throttled": 0.0}, True),
        ("V19b", {"throttled": 0.1}, False),
        ("V19", {}, None),
    ],
)
def test_what_the_host_does_is_flagged_and_voids_nothing(rule: str, host: dict[str, float], ok: bool | None) -> None:
    flows = [flow(i, host=host) for i in range(10)]
    found = check(flows, rule)
    assert (found.ok, found.rule.effect) == (ok, "flag")
    assert (found.value is None) is (ok is None)
    assert fault(measured(*flows), LIMIT_S) is None


def test_little_s_law_is_flagged_above_5_percent() -> None:
    assert check([flow(0, area=100.0, residence=104.9)], "V25").ok is True
    assert check([flow(0, area=100.0, residence=105.1)], "V25").ok is False


def test_what_the_controller_found_is_in_the_reason() -> None:
    flows = [flow(i, users=5) for i in range(3)]
    assert check(flows, "V10").ok is None, "open loop has no users to reach"
    assert check(flows, "V10", users=5).ok is True
    missing = check(flows, "V10", users=7, reason="users_not_reached")
    assert (missing.ok, missing.value) == (False, 2)
    assert check(flows, "V11").ok is True
    assert check(flows, "V11", reason="no_report").ok is False
    assert check(flows, "V11b", reason="workers_changed").ok is False


def test_the_bounds_are_those_the_controller_keeps() -> None:
    assert next(r.bound for r in RULES if r.name == "no_report") == SILENCE_S
    assert f"{USERS_S:g} s" in next(r.formula for r in RULES if r.name == "users_not_reached")


def test_the_worst_of_several_probes() -> None:
    calm, hard = [flow(0, dropped=1)], [flow(0, cpu=0.9, host={"steal": 0.5})]
    found = {c.rule.id: c for c in worst([checks(measured(*flows), LIMIT_S) for flows in (calm, hard)])}
    assert (found["V1"].value, found["V1"].ok) == (0.9, False)
    assert (found["V3"].value, found["V3"].ok) == (0.99, True)
    assert (found["V19"].value, found["V19"].ok) == (0.5, False)
    assert (found["V10"].value, found["V10"].ok) == (None, None)
    assert worst([]) == []


def test_errors_at_the_lightest_load_are_flagged() -> None:
    def probe(sent: int, errors: int) -> Measurement:
        return measurement([(sent, 0)], errors=[errors])

    assert lightest_errors([(2.0, probe(100, 0)), (40.0, probe(100, 50))]).ok is True
    found = lightest_errors([(2.0, probe(100, 3)), (2.0, probe(100, 0)), (40.0, probe(100, 50))])
    assert (found.ok, found.value) == (False, 0.015)
    assert lightest_errors([]).ok is None


def test_an_empty_probe_has_nothing_to_hold_against_it() -> None:
    assert {c.ok for c in checks(measured(), LIMIT_S)} <= {None, True}


def test_a_generator_that_is_always_late_is_told_soon() -> None:
    settings = Settings(Slo.parse("p99<250ms"), "open", Grid.rate(1, 50), 20.0)
    run = simulate(settings, Server(base=0.02), seed=1, disturb=lambda _t, meter: meter.health(0.3, 0.4, 2))
    trials = run.controller.trials
    assert [t.reason.split(" 1 ")[0] for t in trials] == ["share of time in which sending stood still"] * 3
    assert all(t.ended - t.started < t.probe.settle_s + t.probe.max_s + 4 for t in trials)


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
