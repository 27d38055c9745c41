import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.search.grid import Grid
from locust_adaptive.search.histogram import Histogram
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.slo import Slo
from locust_adaptive.search.trial import Measurement, Trial, Verdict
from locust_adaptive.search.verdict import judge, overloaded, strain
from tests.support.trials import measurement, trial

P95 = "p95<100ms"
BOTH = "p95<100ms & errors<1%"


def question(slo: str) -> Settings:
    return Settings(Slo.parse(slo), "open", Grid.rate(1, 1000), 10)


def verdict(
    m: Measurement, slo: str = P95, final: bool = True, trials: list[Trial] | None = None
) -> tuple[Verdict, str]:
    return judge(m, question(slo), trials or [], final)


@pytest.mark.parametrize(
    ("misses", "final", "expected"),
    [
        (0, True, Verdict.PASS),
        (1, True, Verdict.PASS),
        (2, True, Verdict.UNDECIDED),
        (20, True, Verdict.FAIL),
        (20, False, Verdict.FAIL),
        (0, False, Verdict.PASS),
        (1, False, Verdict.UNDECIDED),
    ],
)
def test_misses_against_a_budget_of_five_percent(misses: int, final: bool, expected: Verdict) -> None:
    m = measurement([(40, misses)] * 24)
    assert verdict(m, final=final) == (expected, "" if expected is Verdict.PASS else P95)


def test_a_handful_of_requests_decides_nothing() -> None:
    assert verdict(measurement([(3, 3)] * 3)) == (Verdict.UNDECIDED, P95)
    assert verdict(measurement([])) == (Verdict.UNDECIDED, P95)


@given(st.integers(1, 60), st.integers(4, 40), st.integers(0, 60), st.booleans())
def test_never_both_and_an_early_verdict_is_not_taken_back(sent: int, slices: int, misses: int, final: bool) -> None:
    m = measurement([(sent, min(misses, sent))] * slices)
    early, late = verdict(m, final=False)[0], verdict(m, final=True)[0]
    if early is not Verdict.UNDECIDED:
        assert late is early
    assert verdict(m, final=final)[0] in (Verdict.PASS, Verdict.FAIL, Verdict.UNDECIDED)


def test_misses_in_clumps_weigh_less() -> None:
    even = measurement([(40, 3)] * 24)
    clumped = measurement([(40, 36 if i % 12 == 0 else 0) for i in range(24)])
    assert verdict(even)[0] is Verdict.FAIL
    assert verdict(clumped)[0] is not Verdict.FAIL


def test_the_objective_that_fails_is_the_reason() -> None:
    assert verdict(measurement([(40, 0)] * 24, errors=[4] * 24), BOTH) == (Verdict.FAIL, "errors<1%")
    assert verdict(measurement([(40, 20)] * 24, errors=[0] * 24), BOTH) == (Verdict.FAIL, P95)


def test_an_objective_that_is_only_reported_decides_nothing() -> None:
    m = measurement([(40, 0)] * 24, errors=[20] * 24)
    assert verdict(m, "p95<100ms & errors<1% (report)") == (Verdict.PASS, "")


def test_errors_are_pooled_with_the_passes_below() -> None:
    # 240 requests without an error say too little about 0.1 %; what passed below lends its thousands.
    slo = "p95<100ms & errors<0.1%"
    now = measurement([(10, 0)] * 24, errors=[0] * 24)
    long = trial(1, 15, measurement([(8, 0)] * 2000, errors=[0] * 2000), Verdict.PASS)
    above = trial(2, 50, measurement([(25, 0)] * 2000, errors=[0] * 2000), Verdict.PASS)
    assert verdict(now, slo, trials=[long])[0] is Verdict.PASS
    assert verdict(now, slo)[0] is verdict(now, slo, trials=[above])[0]


@pytest.mark.parametrize(
    ("backlog", "expected"),
    [(0, False), (12, False), (21, False), (22, True)],
)
def test_overload_is_a_backlog_that_cannot_meet_the_limit(backlog: int, expected: bool) -> None:
    # 40/s and 100 ms: 4 are open by Little's law; twice that, three deviations of it and five are 21.5.
    assert overloaded(measurement([(20, 0)] * 6, backlog=backlog), 40, question(P95)) is expected


def test_lagging_answers_that_are_late_are_an_overload_with_less() -> None:
    m = measurement([(20, 15)] * 6, backlog=20)
    for flow in m.flows[-4:]:
        flow.completions = dict(list(flow.completions.items())[:10])
    assert overloaded(m, 40, question(P95))
    fine = measurement([(20, 5)] * 6, backlog=20)
    assert not overloaded(fine, 40, question(P95))


# -- strain ----------------------------------------------------------------------------------------------------------


def shaped(quantile: Callable[[float], float], slices: int, sent: int = 40) -> Measurement:
    """Latencies of one shape, none of them counted as late."""
    m = measurement([(sent, 0)] * slices)
    hist = Histogram()
    for i in range(400):
        hist.add(quantile((i + 0.5) / 400), sent * slices // 40)
    m.cohorts[0].names["/a"].hist = hist.buckets
    for c in m.cohorts[1:]:
        c.names["/a"].hist = {}
    return m


def exponential(mean: float, fastest: float = 0.0) -> Callable[[float], float]:
    return lambda u: fastest - mean * math.log1p(-u)


@pytest.mark.parametrize("fastest", [0.0, 0.02, 0.06])
@pytest.mark.parametrize("budget", [0.05, 0.01])
def test_the_strain_of_an_exponential_is_one_at_its_capacity(fastest: float, budget: float) -> None:
    objective = Slo.parse(f"p{100 - 100 * budget:g}<100ms").counted[0]
    mean = (0.1 - fastest) / math.log(1 / budget)
    # The 5th percentile stands for the fastest, so a little less.
    assert strain(shaped(exponential(mean, fastest), 24), objective) == pytest.approx(0.97, abs=0.04)


def test_too_close_to_the_limit_to_pass_by_luck() -> None:
    near = shaped(exponential(0.1 / math.log(20)), 24)
    above = shaped(exponential(1.5 * 0.1 / math.log(20)), 24)
    assert verdict(near) == (Verdict.PASS, "")
    assert verdict(above) == (Verdict.UNDECIDED, P95)
    # In closed loop no queue grows unseen.
    closed = Settings(Slo.parse(P95), "closed", Grid.users(1, 1000), 10)
    assert judge(above, closed, [], True) == (Verdict.PASS, "")


def test_a_short_probe_must_be_further_away() -> None:
    short, light = (shaped(exponential(share * 0.1 / math.log(20)), 8) for share in (1.0, 0.6))
    assert verdict(short) == (Verdict.UNDECIDED, P95)
    assert verdict(light) == (Verdict.PASS, "")


def test_a_server_that_is_always_just_within_the_limit_may_pass() -> None:
    """A constant 95 ms with a little noise is no queue: what it looks like under light load is no strain."""
    always = exponential(0.003, 0.095)
    light = trial(1, 5, shaped(always, 24, sent=20), Verdict.UNDECIDED)
    assert strain(light.measurement, Slo.parse(P95).counted[0]) > 1.25
    assert verdict(shaped(always, 24))[0] is Verdict.UNDECIDED
    assert verdict(shaped(always, 24), trials=[light])[0] is Verdict.PASS


def test_no_strain_without_answers_or_a_limit() -> None:
    assert math.isnan(strain(measurement([]), Slo.parse(P95).counted[0]))
    assert math.isnan(strain(measurement([(40, 0)] * 4), Slo.parse("errors<1%").counted[0]))
    assert strain(shaped(exponential(0.01, 0.2), 24), Slo.parse(P95).counted[0]) == math.inf
