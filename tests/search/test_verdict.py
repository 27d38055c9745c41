import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.search.grid import Grid
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.slo import Slo
from locust_adaptive.search.trial import Measurement, Trial, Verdict
from locust_adaptive.search.verdict import judge, overloaded
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
