"""Comparing two results: laws of the statistics, what null bounds may show, and how often it is right."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.report.compare import CompareError, Comparison, Known, detectable

Z95 = NormalDist().inv_cdf(0.975)


def known(value: float, sd: float, unit: str = "rps") -> Known:
    return Known(value, value * math.exp(-Z95 * sd), value * math.exp(Z95 * sd), unit=unit)


rates = st.floats(0.01, 1e5)
sds = st.floats(0.002, 0.2)
estimates = st.builds(known, rates, sds)
users = st.builds(
    lambda value, less, more: Known(value, max(value - less, 1), value + more, unit="users"),
    st.integers(1, 500),
    st.integers(0, 50),
    st.integers(0, 50),
)
ceilings = st.builds(lambda low: Known(None, low, None), rates)
floors = st.builds(lambda high: Known(None, None, high), rates)
brackets = st.builds(lambda low, more: Known(None, low, low * more), rates, st.floats(1.01, 4))
anything = st.one_of(estimates, ceilings, floors, brackets, st.just(Known(None, None, None)))

OPPOSITE = {"regressed": "improved", "improved": "regressed", "no difference shown": "no difference shown"}


# -- laws --------------------------------------------------------------------------------------------------------------


@given(anything, anything)
def test_the_other_way_round_is_the_opposite(a, b):
    there, back = Comparison(a, b), Comparison(b, a)
    assert back.verdict == OPPOSITE[there.verdict]
    assert back.p_improved == pytest.approx(there.p_regressed, abs=1e-12)
    if there.change is not None and back.change is not None:
        assert (1 + there.change) * (1 + back.change) == pytest.approx(1)
    for end, other in ((there.low, back.high), (there.high, back.low)):
        assert (end is None) == (other is None)
        if end is not None and other is not None:
            assert (1 + end) * (1 + other) == pytest.approx(1)


@given(anything, anything, st.floats(0.01, 100))
def test_the_unit_of_a_rate_does_not_matter(a, b, factor):
    def scaled(one: Known) -> Known:
        ends = (x and x * factor for x in (one.value, one.low, one.high))
        return Known(*ends)

    before, after = Comparison(a, b), Comparison(scaled(a), scaled(b))
    assert after.p_regressed == pytest.approx(before.p_regressed, abs=1e-9)
    assert after.detectable() == pytest.approx(before.detectable())


@given(st.one_of(estimates, users), st.floats(1, 4), st.floats(1, 4))
def test_a_wider_interval_never_shows_a_smaller_regression(base, below, above):
    assert base.value is not None
    assert base.low is not None
    assert base.high is not None
    new = known(base.value, 0.01, base.unit)
    wider = replace(base, low=base.low / below, high=base.high * above)
    sooner, later = Comparison(base, new).detectable(), Comparison(wider, new).detectable()
    assert sooner is not None
    assert later is not None
    assert later >= sooner
    assert Comparison(wider, new).margin >= Comparison(base, new).margin - 1e-12


@given(st.one_of(estimates, users), st.floats(0.001, 0.4), st.floats(0.5, 0.99))
def test_what_is_detectable_lies_beyond_the_verdict_by_the_power(base, false_alarms, power):
    """A change of exactly that size, seen without error, is called regressed; and more power asks for more."""
    same = Comparison(base, base, false_alarms)
    found, surer = same.detectable(power), same.detectable(power + 0.005)
    assert found is not None
    assert surer is not None
    assert found <= surer
    assert same.margin <= 1e-9 - math.log1p(-found) if found < 1 else base.unit == "users"


@given(anything, anything, st.floats(0.001, 0.4))
def test_the_interval_excludes_no_change_exactly_when_there_is_a_verdict(a, b, false_alarms):
    found = Comparison(a, b, false_alarms)
    excluded = (found.high is not None and found.high < 0) or (found.low is not None and found.low > 0)
    assert excluded == (found.verdict != "no difference shown")
    if found.change is not None:
        assert found.low <= found.change <= found.high
    if min(abs(found.p_regressed - false_alarms), abs(found.p_improved - false_alarms)) > 1e-9:
        assert (found.verdict == "regressed") == (found.p_regressed < false_alarms)
        assert (found.verdict == "improved") == (found.p_improved < false_alarms)


@given(estimates, estimates, st.floats(1, 5))
def test_inflation_only_takes_verdicts_away(a, b, inflation):
    plain, inflated = Comparison(a, b, inflation=1.0), Comparison(a, b, inflation=inflation)
    assert inflated.verdict in (plain.verdict, "no difference shown")
    assert inflated.detectable() >= plain.detectable() - 1e-12


@given(anything)
def test_a_result_is_no_different_from_itself(a):
    assert Comparison(a, a).verdict == "no difference shown"


# -- figures -----------------------------------------------------------------------------------------------------------


def test_a_comparison_worked_by_hand():
    found = Comparison(known(100, 0.01), known(95, 0.02), inflation=1.0)
    # d = ln 0.95 = -0.051293, S = sqrt(0.01^2 + 0.02^2) = 0.022361, z(0.98) = 2.053749, z(0.9) = 1.281552
    assert found.change == pytest.approx(-0.05)
    assert found.margin == pytest.approx(-0.051293 + 2.053749 * 0.022361, abs=1e-6)
    assert found.p_regressed == pytest.approx(0.01090, abs=5e-5)
    assert found.verdict == "regressed"
    assert found.confidence == pytest.approx(0.96)
    assert found.detectable() == pytest.approx(1 - math.exp(-(2.053749 + 1.281552) * 0.022361), abs=2e-6)
    assert detectable(0.01, 0.02, inflation=1.0) == pytest.approx(found.detectable())


def test_the_longer_half_of_an_interval_counts():
    assert Known(100, 99, 110).sd == pytest.approx(math.log(1.1) / Z95)
    assert Known(100, 90, 101).sd == pytest.approx(math.log(100 / 90) / Z95)
    assert Known(100, 90, 110, confidence=0.8).sd == pytest.approx(math.log(100 / 90) / NormalDist().inv_cdf(0.9))


@pytest.mark.parametrize("value", [1, 2, 5, 20, 100])
def test_one_user_more_or_less_is_no_difference_but_half_of_them_is(value):
    """The search knows that `value` passes and one more fails: it may have been the other way round."""
    base = Known(value, value, value, unit="users")
    for other in (value - 1, value + 1):
        if other:
            assert Comparison(base, Known(other, other, other, unit="users")).verdict == "no difference shown"
    if value >= 20:
        assert Comparison(base, Known(value // 2, value // 2, value // 2, unit="users")).verdict == "regressed"
    smallest = Comparison(base, base).detectable()
    assert smallest is not None
    assert smallest * value == pytest.approx(round(smallest * value))
    assert 1 <= round(smallest * value) <= value


# -- null bounds -------------------------------------------------------------------------------------------------------

ESTIMATE = known(100, 0.015)


@pytest.mark.parametrize(
    ("base", "new", "verdict", "low_known", "high_known"),
    [
        # at the ceiling: the capacity is that or more
        (ESTIMATE, Known(None, 120, None), "improved", True, False),
        (ESTIMATE, Known(None, 101, None), "no difference shown", True, False),
        (ESTIMATE, Known(None, 50, None), "no difference shown", True, False),
        (Known(None, 120, None), ESTIMATE, "regressed", False, True),
        (Known(None, 100, None), Known(None, 100, None), "no difference shown", False, False),
        (Known(None, 100, None), Known(None, 200, None), "no difference shown", False, False),
        # below the minimum: less than a load that failed
        (ESTIMATE, Known(None, None, 10), "regressed", False, True),
        (ESTIMATE, Known(None, None, 99), "no difference shown", False, True),
        (Known(None, 100, None), Known(None, None, 10), "regressed", False, True),
        (Known(None, None, 10), ESTIMATE, "improved", True, False),
        # between a load that passed and one that failed
        (ESTIMATE, Known(None, 50, 80), "regressed", True, True),
        (ESTIMATE, Known(None, 80, 110), "no difference shown", True, True),
        (Known(None, 50, 80), Known(None, 120, 150), "improved", True, True),
        # nothing known
        (ESTIMATE, Known(None, None, None), "no difference shown", False, False),
    ],
)
def test_a_bound_shows_no_more_than_it_says(base, new, verdict, low_known, high_known):
    found = Comparison(base, new)
    assert found.verdict == verdict
    assert (found.low is not None, found.high is not None) == (low_known, high_known)
    assert found.change is None
    assert found.detectable() is None


# -- how often it is right ---------------------------------------------------------------------------------------------


def shares(shift: float, n: int = 20_000) -> tuple[float, float, float, float]:
    """Of pairs of results whose intervals are right: called regressed, improved; interval holds the change; power that
    `detectable` promised for this shift, on average over the pairs."""
    rng = np.random.default_rng(1)
    sds = np.exp(rng.uniform(math.log(0.005), math.log(0.04), (n, 2)))
    logs = math.log(80) + sds * rng.standard_normal((n, 2)) + [0.0, shift]
    regressed = improved = covered = 0
    promised = 0.0
    for (x, y), (s, t) in zip(logs.tolist(), sds.tolist(), strict=True):
        found = Comparison(known(math.exp(x), s), known(math.exp(y), t), inflation=1.0)
        regressed += found.verdict == "regressed"
        improved += found.verdict == "improved"
        assert found.low is not None
        assert found.high is not None
        covered += math.log1p(found.low) <= shift <= math.log1p(found.high)
        promised += NormalDist().cdf(-shift / math.hypot(s, t) - NormalDist().inv_cdf(0.98))
    return regressed / n, improved / n, covered / n, promised / n


def test_false_alarms_are_as_many_as_said():
    regressed, improved, covered, _ = shares(0.0)
    # three standard errors of a share of 2 % of 20 000: 0.3 %
    assert regressed == pytest.approx(0.02, abs=0.003)
    assert improved == pytest.approx(0.02, abs=0.003)
    assert covered == pytest.approx(0.96, abs=0.0045)


def test_the_power_is_as_said():
    regressed, improved, covered, promised = shares(-0.06)
    assert regressed == pytest.approx(promised, abs=0.01)
    assert improved < 0.002
    assert covered == pytest.approx(0.96, abs=0.0045)


def test_the_smallest_detectable_regression_is_detected_with_its_power():
    rng = np.random.default_rng(2)
    for s, t in ((0.01, 0.01), (0.006, 0.03)):
        shift = math.log1p(-detectable(s, t, inflation=1.0))
        logs = rng.standard_normal((5000, 2)) * [s, t] + [0.0, shift]
        seen = [Comparison(known(math.exp(x), s), known(math.exp(y), t), inflation=1.0).verdict for x, y in logs]
        assert seen.count("regressed") / len(seen) == pytest.approx(0.9, abs=0.015)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((100.0, None, None), "without an interval"),
        ((100.0, 90.0, None), "without an interval"),
        ((100.0, 100.0, 100.0), "without an interval"),
        ((0.0, 0.0, 1.0), "above 0"),
        ((100.0, 90.0, math.inf), "above 0 and finite"),
        ((math.nan, 90.0, 110.0), "above 0 and finite"),
        ((100.0, 110.0, 120.0), "order"),
        ((None, 120.0, 110.0), "order"),
    ],
)
def test_what_is_no_interval_is_refused(ends, said):
    with pytest.raises(CompareError, match=said):
        Known(*ends)


def test_users_and_rates_are_not_compared():
    with pytest.raises(CompareError, match="users and rps"):
        Comparison(Known(10, 9, 11, unit="users"), ESTIMATE)


@pytest.mark.parametrize("false_alarms", [0.0, 0.5, -1.0, math.nan])
def test_a_share_of_false_alarms_is_one(false_alarms):
    with pytest.raises(CompareError, match="false alarms"):
        Comparison(ESTIMATE, ESTIMATE, false_alarms)


@pytest.mark.parametrize("power", [0.0, 0.02, 1.0, math.nan])
def test_a_power_is_above_the_false_alarms(power):
    with pytest.raises(CompareError, match="power"):
        Comparison(ESTIMATE, ESTIMATE).detectable(power)


def test_the_parts_of_a_result_are_read():
    part = {
        "value": 60.0,
        "unit": "arrivals",
        "rps": 120.0,
        "rps_low": 114.0,
        "low": 57.0,
        "high": 63.0,
        "confidence": 0.95,
        "verified": 58.0,
    }
    assert Known.of(part) == Known(60.0, 57.0, 63.0, 0.95, "arrivals")
