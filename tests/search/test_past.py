import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.search.past import SOFT_FAILURES, Past
from locust_adaptive.search.settings import Loop
from locust_adaptive.search.trial import Purpose, Trial, Verdict
from tests.support.searched import FAIL, PASS, UNDECIDED, overload, question, seen
from tests.support.trials import measurement, trial


def past(*trials: Trial, loop: Loop = "open", now: float = 100.0) -> Past:
    return Past(question(loop), trials, now)


def test_an_empty_past_knows_the_least() -> None:
    p = past()
    assert not p.ramp_over
    assert (p.best, p.passed, p.failed, p.world, p.changes, p.located) == (1, [], [], [], 0, False)
    assert p.verified is None


def test_the_ramp_ends_at_an_overload_or_after_many_soft_failures() -> None:
    soft = [seen(i, 10.0 * i, FAIL, reason="p95<100ms") for i in range(1, SOFT_FAILURES + 1)]
    assert not past(*soft[:-1]).ramp_over
    assert past(*soft).ramp_over
    assert past(seen(1, 10, PASS), overload(2, 80, 40)).ramp_over
    assert not past(soft[0], seen(2, 20, PASS)).ramp_over


def test_a_failure_ends_the_ramp_of_users() -> None:
    assert past(seen(1, 4, PASS), seen(2, 8, FAIL), loop="closed").ramp_over


def test_the_gate_is_half_of_what_failed_or_of_the_rate_at_which_it_worked() -> None:
    assert past(seen(1, 40, PASS), seen(2, 80, FAIL)).gate_load == pytest.approx(40)
    assert past(seen(1, 40, PASS), overload(2, 80, 50)).gate_load == pytest.approx(25, rel=0.1)


def test_the_gate_is_no_more_than_a_quarter_above_the_best_pass() -> None:
    """Damping holds from the first overload on, for the gate as well."""
    assert past(seen(1, 10, PASS), seen(2, 20, UNDECIDED), overload(3, 40, 38)).gate_load <= 12.5


def test_failures_below_a_pass_do_not_lower_the_gate() -> None:
    """A server with batch timers fails at low load and passes above: there it has to be looked at."""
    p = past(seen(1, 10, FAIL), seen(2, 20, FAIL), seen(3, 160, PASS), overload(4, 640, 400))
    assert 160 <= p.gate_load <= 200


loads = st.sampled_from([1.0, 10.0, 40.0, 80.0, 200.0])


@given(st.lists(st.tuples(loads, st.sampled_from([PASS, FAIL, UNDECIDED])), max_size=8))
def test_what_fails_lies_above_what_passes(found: list[tuple[float, Verdict]]) -> None:
    p = past(*(seen(i, load, verdict) for i, (load, verdict) in enumerate(found, start=1)))
    if p.passed:
        assert p.worst > p.best


def test_a_world_begins_with_the_gate_and_forgets_what_was_before() -> None:
    p = past(seen(1, 10, PASS), overload(2, 80, 40), seen(3, 20, PASS, Purpose.GATE), seen(4, 25, PASS, Purpose.LOCATE))
    assert [t.number for t in p.world] == [3, 4]
    assert p.last_light.number == 3
    assert p.best == 25
    assert p.located


def soak(number: int, load: float, seconds: float, misses: int = 0) -> Trial:
    m = measurement([(20, misses)] * round(seconds * 2))
    return trial(number, load, m, PASS, Purpose.VERIFY, started=10.0 * number)


def test_a_load_is_verified_by_soaks_that_hold_together() -> None:
    gate = seen(1, 20, PASS, Purpose.GATE)
    assert past(gate, soak(2, 40, 20)).verified is None
    assert past(gate, soak(2, 40, 20), soak(3, 40, 10)).verified == 40
    assert past(gate, soak(2, 40, 30), soak(3, 44, 30, misses=2)).verified == 40
    assert past(gate, soak(2, 40, 30)).soak(40) == (30.0, True)


def test_what_stays_overloaded_after_an_overload_is_metastable() -> None:
    """At a load that it passes otherwise, before and after."""
    hit = [seen(1, 40, PASS), seen(2, 80, PASS), overload(3, 160, 90), overload(4, 50, 30, Purpose.GATE)]
    recovered = [seen(5, 25, PASS, Purpose.GATE), seen(6, 50, PASS, Purpose.LOCATE), seen(7, 70, PASS, Purpose.LOCATE)]
    assert past(*hit, *recovered).metastable
    assert not past(*hit, *recovered[:2]).metastable
    assert not past(*hit[:3], seen(4, 50, PASS, Purpose.GATE), *recovered).metastable


def test_two_overloads_in_a_slow_phase_are_not_metastable() -> None:
    """The first was no more than it passes at other times."""
    slow = [seen(1, 80, PASS), overload(2, 78, 40, Purpose.REFINE), overload(3, 50, 40, Purpose.CANARY)]
    assert not past(*slow, seen(4, 80, PASS, Purpose.REFINE)).metastable


def test_light_loads_that_fail_below_those_that_pass_are_non_monotone() -> None:
    known = [seen(1, 160, PASS), overload(2, 640, 400), seen(3, 180, PASS, Purpose.GATE)]
    light = seen(5, 80, FAIL, Purpose.CANARY)
    assert past(*known, light, seen(6, 200, PASS, Purpose.LOCATE)).non_monotone
    assert not past(*known, light).non_monotone
