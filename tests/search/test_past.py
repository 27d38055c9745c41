import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.search.grid import Grid
from locust_adaptive.search.past import BOLDER, SOFT_FAILURES, Past
from locust_adaptive.search.settings import Loop, Settings
from locust_adaptive.search.slices import Flow
from locust_adaptive.search.slo import Slo
from locust_adaptive.search.trial import Measurement, Purpose, Trial, Verdict
from tests.support.trials import BIN_S, measurement, trial

PASS, FAIL, UNDECIDED = Verdict.PASS, Verdict.FAIL, Verdict.UNDECIDED


def question(loop: Loop = "open", slo: str = "p95<100ms") -> Settings:
    grid = Grid.rate(1, 1000) if loop == "open" else Grid.users(1, 100)
    return Settings(Slo.parse(slo), loop, grid, 10)


def past(*trials: Trial, loop: Loop = "open", now: float = 100.0) -> Past:
    return Past(question(loop), trials, now)


def seen(number: int, load: float, verdict: Verdict, purpose: Purpose = Purpose.RAMP, reason: str = "") -> Trial:
    """A trial of six seconds whose counts agree with its verdict."""
    sent = max(round(load / 2), 1)
    misses = {PASS: 0, UNDECIDED: round(0.05 * sent), FAIL: sent}[verdict]
    return trial(number, load, measurement([(sent, misses)] * 12), verdict, purpose, reason, started=10.0 * number)


def overload(number: int, load: float, rate: int, purpose: Purpose = Purpose.RAMP) -> Trial:
    """Two seconds at a load of which only `rate` a second are answered."""
    flows = []
    for i in range(4):
        sent, done = round(load / 2), rate // 2
        arrivals = {b: n for b in range(50) if (n := (b + 1) * sent // 50 - b * sent // 50)}
        completions = {b: n for b in range(50) if (n := (b + 1) * done // 50 - b * done // 50)}
        flows.append(Flow(i, arrivals=arrivals, completions=completions))
    still_open = 0
    for flow in flows:
        still_open += flow.sent - flow.done
        flow.open = still_open
    return trial(number, load, Measurement(BIN_S, tuple(flows), ()), FAIL, purpose, "overload", started=10.0 * number)


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


def test_the_rate_of_a_cold_server_does_not_bound_a_warm_one() -> None:
    """Overloaded at 31/s when cold, it passes 75/s when warm: the estimate believes its own eyes."""
    cold = [seen(1, 10, PASS), overload(2, 40, 31), seen(3, 15, PASS, Purpose.GATE)]
    warm = [seen(i, load, PASS, Purpose.LOCATE) for i, load in enumerate((38.0, 48.0, 60.0, 75.0), start=4)]
    p = past(*cold, *warm, seen(9, 93, FAIL, Purpose.LOCATE))
    assert 70 < p.estimate.value < 95


def test_what_was_slow_below_a_load_that_passes_shows_no_service_rate() -> None:
    """It failed at 40/s while a neighbour ran, and passes 75/s without one."""
    slow = [seen(1, 20, PASS, Purpose.GATE), overload(2, 40, 31, Purpose.LOCATE)]
    quick = [seen(i, load, PASS, Purpose.REFINE) for i, load in enumerate((48.0, 60.0, 75.0), start=3)]
    p = past(*slow, *quick, overload(9, 93, 85, Purpose.REFINE))
    assert 70 < p.estimate.value < 95


def test_hardly_a_miss_at_the_estimate_says_that_the_server_takes_more() -> None:
    """Three looks that together might have missed far more often."""
    known = [seen(1, 40, PASS, Purpose.GATE), overload(2, 125, 100, Purpose.LOCATE)]

    def looks(misses: int) -> Past:
        ms = [measurement([(48, misses)] * 40) for _ in range(3)]
        return past(
            *known, *(trial(5 + i, 96, m, PASS, Purpose.REFINE, started=50.0 + 20 * i) for i, m in enumerate(ms))
        )

    assert looks(0).outgrown
    assert not looks(2).outgrown


def dwells(*verdicts: Verdict) -> Past:
    loads = [seen(1, 80, PASS, Purpose.GATE), seen(2, 100, PASS, Purpose.LOCATE), overload(3, 125, 110, Purpose.LOCATE)]
    refined = [seen(4 + i, 96, v, Purpose.REFINE) for i, v in enumerate(verdicts)]
    return past(*loads, *refined)


def test_dwells_that_teach_little_take_the_next_one_higher() -> None:
    """By half a standard deviation each; a dwell with misses among them ends it."""
    for verdicts, streak in (((PASS,), 1), ((PASS, PASS, PASS), 3), ((PASS, PASS, UNDECIDED), 0), ((FAIL, PASS), 1)):
        p = dwells(*verdicts)
        bolder = p.estimate.at(0.5 + BOLDER * streak)
        assert p.next_load(0.5) == p.settings.grid.snap(min(max(bolder, 0.9 * 96), 1.1 * 96))


def soak(number: int, load: float, seconds: float, misses: int = 0) -> Trial:
    m = measurement([(20, misses)] * round(seconds * 2))
    return trial(number, load, m, PASS, Purpose.VERIFY, started=10.0 * number)


def test_a_load_is_verified_by_soaks_that_hold_together() -> None:
    gate = seen(1, 20, PASS, Purpose.GATE)
    assert past(gate, soak(2, 40, 20)).verified is None
    assert past(gate, soak(2, 40, 20), soak(3, 40, 10)).verified == 40
    assert past(gate, soak(2, 40, 30), soak(3, 44, 30, misses=2)).verified == 40
    assert past(gate, soak(2, 40, 30)).soak(40) == (30.0, True)


def users(number: int, load: int, misses: int, n: int = 2000) -> Trial:
    m = measurement([(n // 20, round(misses / 20))] * 20)
    return trial(number, load, m, UNDECIDED, Purpose.REFINE, started=10.0 * number)


def test_the_users_that_pass_next_to_those_that_fail_are_the_answer() -> None:
    gate = seen(1, 4, PASS, Purpose.GATE)
    p = past(gate, users(2, 12, 20), users(3, 13, 800), loop="closed")
    assert (p.users_bracket, p.users_capacity) == (12, 12)
    assert p.converged()
    assert past(gate, users(2, 12, 20), users(3, 14, 800), loop="closed").users_bracket is None


def test_the_objective_that_presses_hardest_is_the_limit() -> None:
    both = question(slo="p95<100ms & errors<1%")
    m = measurement([(40, 1)] * 12, errors=[1] * 12)
    p = Past(both, [trial(1, 40, m, UNDECIDED, Purpose.GATE)], 10.0)
    assert (p.binding, p.next_binding) == (1, 0)


def spoilt(share: float, seconds: float = 20.0) -> Past:
    """Sixteen close looks at a load that mostly passes, of which a share fails by far."""
    known = [seen(1, 40, PASS, Purpose.GATE), overload(2, 125, 100, Purpose.LOCATE)]
    looks = []
    for i in range(16):
        misses = 24 if (i * share) % 1 + share >= 1 else 1
        m = measurement([(44, misses)] * round(2 * seconds))
        looks.append(trial(5 + i, 88, m, UNDECIDED, Purpose.REFINE, started=50.0 + seconds * i))
    return past(*known, *looks)


def test_rare_slow_phases_are_left_out_and_frequent_ones_count() -> None:
    never, rare, often = spoilt(0), spoilt(0.125), spoilt(0.375)
    assert (len(never.left_out), len(rare.left_out), len(often.left_out)) == (0, 2, 6)
    assert not rare.slow_phases_count
    assert rare.estimate == rare.undisturbed
    assert rare.estimate.value == pytest.approx(never.estimate.value, rel=0.03)
    assert often.slow_phases_count
    assert often.estimate == often.with_phases


def test_how_often_it_is_slow_takes_time_to_tell() -> None:
    assert spoilt(0.375, seconds=8).unsettled
    assert not spoilt(0.375, seconds=8).slow_phases_count
    assert not spoilt(0.375).unsettled
    assert not spoilt(0, seconds=8).unsettled
