from dataclasses import replace

import pytest

from locust_adaptive.search.belief import BOLD, BOLDER, UNKNOWN_RATE, UNSEEN_DRIFT, Belief
from locust_adaptive.search.estimate import Z95, service_rate
from locust_adaptive.search.settings import Loop
from locust_adaptive.search.trial import Purpose, Trial, Verdict
from tests.support.searched import FAIL, PASS, PLAIN, SAME, UNDECIDED, drifted, light, overload, question, seen
from tests.support.trials import measurement, trial


def belief(*trials: Trial, loop: Loop = "open", now: float = 100.0) -> Belief:
    return Belief(question(loop), trials, now)


def test_the_rate_of_a_cold_server_does_not_bound_a_warm_one() -> None:
    """Overloaded at 31/s when cold, it passes 75/s when warm: the estimate believes its own eyes."""
    cold = [seen(1, 10, PASS), overload(2, 40, 31), seen(3, 15, PASS, Purpose.GATE)]
    warm = [seen(i, load, PASS, Purpose.LOCATE) for i, load in enumerate((38.0, 48.0, 60.0, 75.0), start=4)]
    p = belief(*cold, *warm, seen(9, 93, FAIL, Purpose.LOCATE))
    assert 70 < p.estimate.value < 95


def test_what_was_slow_below_a_load_that_passes_shows_no_service_rate() -> None:
    """It failed at 40/s while a neighbour ran, and passes 75/s without one."""
    slow = [seen(1, 20, PASS, Purpose.GATE), overload(2, 40, 31, Purpose.LOCATE)]
    quick = [seen(i, load, PASS, Purpose.REFINE) for i, load in enumerate((48.0, 60.0, 75.0), start=3)]
    p = belief(*slow, *quick, overload(9, 93, 85, Purpose.REFINE))
    assert 70 < p.estimate.value < 95


def test_hardly_a_miss_at_the_estimate_says_that_the_server_takes_more() -> None:
    """Three looks that together might have missed far more often."""
    known = [seen(1, 40, PASS, Purpose.GATE), overload(2, 125, 100, Purpose.LOCATE)]

    def looks(misses: int) -> Belief:
        ms = [measurement([(48, misses)] * 40) for _ in range(3)]
        return belief(
            *known, *(trial(5 + i, 96, m, PASS, Purpose.REFINE, started=50.0 + 20 * i) for i, m in enumerate(ms))
        )

    assert looks(0).outgrown
    assert not looks(2).outgrown


def dwells(*verdicts: Verdict) -> Belief:
    loads = [seen(1, 80, PASS, Purpose.GATE), seen(2, 100, PASS, Purpose.LOCATE), overload(3, 125, 110, Purpose.LOCATE)]
    refined = [seen(4 + i, 96, v, Purpose.REFINE) for i, v in enumerate(verdicts)]
    return belief(*loads, *refined)


def test_dwells_that_teach_little_take_the_next_one_higher() -> None:
    """By half a standard deviation each; a dwell with misses among them ends it."""
    for verdicts, streak in (((PASS,), 1), ((PASS, PASS, PASS), 3), ((PASS, PASS, UNDECIDED), 0), ((FAIL, PASS), 1)):
        p = dwells(*verdicts)
        bolder = p.estimate.at(min(0.5, BOLD / p.estimate.sd) + BOLDER * streak)
        assert p.next_load(0.5) == p.settings.grid.snap(min(max(bolder, 0.9 * 96), 1.1 * 96))


def users(number: int, load: int, misses: int, n: int = 2000) -> Trial:
    m = measurement([(n // 20, round(misses / 20))] * 20)
    return trial(number, load, m, UNDECIDED, Purpose.REFINE, started=10.0 * number)


def test_the_users_that_pass_next_to_those_that_fail_are_the_answer() -> None:
    gate = seen(1, 4, PASS, Purpose.GATE)
    p = belief(gate, users(2, 12, 20), users(3, 13, 800), loop="closed")
    assert (p.users_bracket, p.users_capacity) == (12, 12)
    assert p.converged()
    assert belief(gate, users(2, 12, 20), users(3, 14, 800), loop="closed").users_bracket is None


def test_the_objective_that_presses_hardest_is_the_limit() -> None:
    both = question(slo="p95<100ms & errors<1%")
    m = measurement([(40, 1)] * 12, errors=[1] * 12)
    p = Belief(both, [trial(1, 40, m, UNDECIDED, Purpose.GATE)], 10.0)
    assert (p.binding, p.next_binding) == (1, 0)


def spoilt(share: float, seconds: float = 20.0, of: int = 16) -> Belief:
    """Close looks at a load that mostly passes, of which a share fails by far."""
    known = [seen(1, 40, PASS, Purpose.GATE), overload(2, 125, 100, Purpose.LOCATE)]
    looks = []
    for i in range(of):
        misses = 24 if (i * share) % 1 + share >= 1 else 1
        m = measurement([(44, misses)] * round(2 * seconds))
        looks.append(trial(5 + i, 88, m, UNDECIDED, Purpose.REFINE, started=50.0 + seconds * i))
    return belief(*known, *looks)


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


def test_one_spoilt_look_of_few_may_be_one_of_many() -> None:
    few, many = spoilt(1 / 8, seconds=8, of=8), spoilt(1 / 16, seconds=8)
    assert (len(few.left_out), len(many.left_out)) == (1, 1)
    assert few.unsettled
    assert not many.unsettled


def test_a_short_probe_that_passed_by_luck_does_not_take_the_service_rate_away() -> None:
    known = [seen(1, 40, PASS, Purpose.GATE), overload(2, 125, 100, Purpose.LOCATE)]
    lucky = belief(*known, seen(3, 110, PASS, Purpose.LOCATE))
    assert lucky.estimate.mu is not None
    assert 85 < lucky.estimate.value < 115
    # What passes far above shows that the rate was another server's, or of a bad moment.
    assert belief(*known, seen(3, 121, PASS, Purpose.LOCATE)).estimate.mu is None


def test_a_rate_seen_over_few_answers_is_a_rate() -> None:
    """Of a slow server, that nothing passes above."""
    slow = [seen(1, 4, PASS, Purpose.GATE), overload(2, 40, 16, Purpose.LOCATE), seen(3, 10, PASS, Purpose.LOCATE)]
    found = service_rate(slow, 0.1)
    assert found is not None
    assert found[1] > UNKNOWN_RATE
    assert belief(*slow).estimate.mu is not None


def test_a_light_load_stays_what_it_is_while_it_is_in_doubt() -> None:
    """Though what is known by then says that it is not light: another one has nothing to be compared with."""
    world = [light(1, SAME, Purpose.GATE, load=90), overload(2, 125, 100, Purpose.LOCATE)]
    assert belief(*world, light(3, SAME, load=90)).light_load < 90
    assert belief(*world, light(3, PLAIN, load=90)).light_load == 90


def test_no_look_narrows_what_a_drift_may_still_do() -> None:
    """So the search does not wait for it."""
    drifting = belief(*drifted())
    assert drifting.drifts
    assert drifting.estimate.sd > max(UNSEEN_DRIFT, drifting.undisturbed.sd)
    wanted = Z95 * (drifting.undisturbed.sd + 1e-6)
    assert Belief(replace(question(), precision=wanted), drifting.trials, 300.0).converged()
    assert not Belief(replace(question(), precision=0.9 * wanted), drifting.trials, 300.0).converged()
