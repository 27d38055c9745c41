import itertools
from dataclasses import replace

import pytest

from locust_adaptive.search.belief import Belief
from locust_adaptive.search.estimate import Z95
from locust_adaptive.search.events import Conclusion, Stall
from locust_adaptive.search.grid import Grid
from locust_adaptive.search.policy import (
    CANARY_EVERY_S,
    COLD_LOOK_S,
    INVALID_LIMIT,
    MAY_BE_COLD_S,
    AdaptivePolicy,
)
from locust_adaptive.search.settings import Loop, Settings
from locust_adaptive.search.slo import Slo
from locust_adaptive.search.trial import Probe, Purpose, Trial, Verdict
from tests.support.searched import drifted, question
from tests.support.trials import measurement, trial

PASS, FAIL, UNDECIDED, INVALID = Verdict.PASS, Verdict.FAIL, Verdict.UNDECIDED, Verdict.INVALID


def policy(loop: Loop = "open", maximum: int = 1000) -> AdaptivePolicy:
    grid = Grid.rate(1, maximum) if loop == "open" else Grid.users(1, maximum)
    return AdaptivePolicy(Settings(Slo.parse("p95<100ms"), loop, grid, 10))


def seen(
    number: int, load: float, verdict: Verdict, purpose: Purpose = Purpose.RAMP, reason: str = "", seconds: float = 6.0
) -> Trial:
    sent = max(round(load / 2), 1)
    misses = sent if verdict is FAIL else 0
    backlog = 500 if reason == "overload" else 0
    m = measurement([(sent, misses)] * round(2 * seconds), backlog=backlog)
    return trial(number, load, m, verdict, purpose, reason, started=10.0 * number)


def ask(trials: list[Trial], loop: Loop = "open", maximum: int = 1000, now: float | None = None) -> Probe | Conclusion:
    return policy(loop, maximum).ask(trials, trials[-1].ended if now is None and trials else now or 0.0, [])


def probe(answer: Probe | Conclusion) -> Probe:
    assert isinstance(answer, Probe)
    return answer


def conclusion(answer: Probe | Conclusion) -> Conclusion:
    assert isinstance(answer, Conclusion)
    return answer


RAMPED = [seen(1, 10, PASS), seen(2, 20, PASS), seen(3, 40, PASS), seen(4, 80, FAIL, reason="overload")]
GATED = [*RAMPED, seen(5, 40, PASS, Purpose.GATE, seconds=12)]


def test_the_ramp_begins_at_the_first_load_and_doubles() -> None:
    assert probe(ask([])).load == 10
    assert probe(ask([])).purpose is Purpose.RAMP
    assert probe(ask(RAMPED[:2])).load == 40


def test_a_first_load_that_fails_is_left_far_below() -> None:
    assert probe(ask([seen(1, 10, FAIL, reason="overload")])).load == 2.5


def test_after_the_ramp_comes_the_gate_and_then_the_way_up() -> None:
    gate = probe(ask(RAMPED))
    assert (gate.purpose, gate.until_steady) == (Purpose.GATE, True)
    assert gate.load <= 40
    locate = probe(ask(GATED))
    assert (locate.purpose, locate.load) == (Purpose.LOCATE, 50)


def test_dwells_follow_once_a_load_has_failed() -> None:
    trials = [*GATED, seen(6, 80, PASS, Purpose.LOCATE), seen(7, 100, FAIL, Purpose.LOCATE, "overload")]
    dwell = probe(ask(trials))
    assert dwell.purpose is Purpose.REFINE
    assert 72 <= dwell.load <= 100


def test_where_the_gate_was_not_light_a_light_load_is_looked_at_before_the_dwells() -> None:
    """Or nothing could be said of a server that becomes another while it is looked at."""
    trials = [*GATED, seen(6, 50, PASS, Purpose.LOCATE), seen(7, 62.5, FAIL, Purpose.LOCATE, "overload")]
    light = probe(ask(trials))
    assert (light.purpose, light.load) == (Purpose.CANARY, 25)
    assert probe(ask([*trials, seen(8, 25, PASS, Purpose.CANARY)])).purpose is Purpose.REFINE


@pytest.mark.parametrize(("located", "load"), [((80, 160), 40), ((50, 62.5), 25)])
def test_a_light_load_is_looked_at_now_and_then(located: tuple[float, float], load: float) -> None:
    """The gate's, unless that has turned out not to be light."""
    low, high = located
    trials = [*GATED, seen(6, low, PASS, Purpose.LOCATE), seen(7, high, FAIL, Purpose.LOCATE, "overload")]
    canary = probe(ask(trials, now=GATED[-1].ended + CANARY_EVERY_S))
    assert (canary.purpose, canary.load) == (Purpose.CANARY, load)


def test_a_drift_does_not_turn_a_precise_answer_into_a_bracket() -> None:
    """Though its interval is wider than asked, and a load below it has failed."""
    trials = drifted()
    now = trials[-1].ended + 6
    trials.append(replace(seen(20, 80, FAIL, Purpose.REFINE), started=trials[-1].ended, ended=now))
    precision = Z95 * Belief(question(), trials, now).undisturbed.sd + 0.001
    known = Belief(replace(question(), precision=precision), trials, now)
    assert known.converged()
    assert known.estimate.value >= known.worst
    end = AdaptivePolicy(known.settings).give_up(trials, [], "unresolved", "budget_spent")
    assert end.capacity.value == known.settings.grid.snap(known.estimate.value)


@pytest.mark.parametrize("loop", ["open", "closed"])
def test_the_highest_load_allowed_is_soaked_and_said(loop: Loop) -> None:
    top = seen(1, 20, PASS)
    soak = probe(ask([top], loop, maximum=20))
    assert (soak.purpose, soak.load) == (Purpose.VERIFY, 20)
    end = conclusion(ask([top, seen(2, 20, PASS, Purpose.VERIFY, seconds=30)], loop, maximum=20))
    assert (end.verdict, end.reason) == ("unresolved", "ceiling_reached")
    assert (end.capacity.value, end.capacity.low, end.capacity.high) == (None, 20, None)


@pytest.mark.parametrize("reason", ["overload", "p95<100ms"])
def test_a_server_that_fails_at_the_lowest_load_is_below_the_minimum(reason: str) -> None:
    trials = [seen(1, 10, FAIL, reason="overload"), seen(2, 1, UNDECIDED), seen(3, 1, FAIL, Purpose.GATE, reason, 60)]
    early = probe(ask(trials, now=MAY_BE_COLD_S - 1))
    assert (early.load, early.repeats) == (1, 3)
    end = conclusion(ask(trials, now=MAY_BE_COLD_S))
    assert (end.verdict, end.reason, end.capacity.value) == ("unresolved", "below_minimum", None)


def test_the_lowest_load_is_tried_again_while_the_server_may_be_cold() -> None:
    trials = [seen(1, 10, FAIL, reason="overload"), seen(2, 1, FAIL)]
    again = probe(ask(trials, now=30))
    assert (again.purpose, again.load, again.repeats) == (Purpose.RAMP, 1, 2)
    assert again.min_s >= COLD_LOOK_S
    warm = probe(ask([*trials, seen(3, 1, PASS)], now=60))
    assert (warm.purpose, warm.load) == (Purpose.GATE, 1.25)
    assert conclusion(ask(trials, now=MAY_BE_COLD_S)).reason == "below_minimum"


def soaked(verdict: Verdict, loop: Loop) -> tuple[list[float], Conclusion]:
    """The loads of the soaks of a search that is content with its estimate, if none of them holds, and its end."""
    grid = Grid.rate(1, 1000) if loop == "open" else Grid.users(1, 1000)
    settings = Settings(Slo.parse("p95<100ms"), loop, grid, 10, precision=9.0)
    dwells = [seen(7 + i, 60, PASS, Purpose.REFINE, seconds=12) for i in range(settings.dwells)]
    trials = [*GATED, seen(6, 75, FAIL, Purpose.LOCATE), *dwells, seen(20, 70, FAIL, Purpose.REFINE)]
    soaks: list[float] = []
    while isinstance(answer := AdaptivePolicy(settings).ask(trials, trials[-1].ended, []), Probe):
        number = trials[-1].number + 1
        if answer.purpose is Purpose.CANARY:
            trials.append(seen(number, answer.load, PASS, Purpose.CANARY))
            continue
        assert answer.purpose is Purpose.VERIFY
        assert len(soaks) < 9
        soaks.append(answer.load)
        sent = round(answer.load / 2)
        # Not plainly failed: a little more than the 5 % allowed.
        m = measurement([(sent, sent if verdict is FAIL else round(0.07 * sent))] * 60)
        trials.append(trial(number, answer.load, m, verdict, Purpose.VERIFY, started=10.0 * number))
    return soaks, answer


@pytest.mark.parametrize("loop", ["open", "closed"])
@pytest.mark.parametrize(("verdict", "most"), [(FAIL, 3), (UNDECIDED, 5)])
def test_an_estimate_that_no_soak_confirms_is_no_answer(verdict: Verdict, most: int, loop: Loop) -> None:
    """The virtual queue knows Poisson arrivals; a server that fails wherever it is held has another capacity."""
    soaks, end = soaked(verdict, loop)
    assert (end.verdict, end.reason, end.capacity.verified) == ("unresolved", "not_verified", None)
    assert len(soaks) == most
    assert all(b < a for a, b in itertools.pairwise(soaks))


def test_an_invalid_probe_is_repeated_and_the_third_ends_the_search() -> None:
    trials = [seen(1, 10, PASS)]
    for number in range(2, 2 + INVALID_LIMIT):
        again = ask(trials)
        if len(trials) > 1:
            assert probe(again).repeats == number - 1
            assert probe(again).load == 20
        trials.append(seen(number, 20, INVALID, reason="no_report"))
    end = conclusion(ask(trials))
    assert (end.verdict, end.reason) == ("unresolved", "measurement_invalid")


def test_an_invalid_probe_between_good_ones_does_not_count_towards_three() -> None:
    trials = [seen(1, 10, INVALID), seen(2, 10, INVALID), seen(3, 10, PASS), seen(4, 20, INVALID)]
    assert probe(ask(trials)).repeats == 4


def test_workers_that_come_and_go_do_not_end_the_search() -> None:
    """A stopped worker alone voids two probes: when it falls silent, and when it is back."""
    trials = [seen(n, 20, INVALID, reason="workers_changed") for n in range(1, 2 + INVALID_LIMIT)]
    assert probe(ask(trials)).repeats == len(trials)
    trials += [seen(n, 20, INVALID, reason="no_report") for n in (8, 9)]
    assert probe(ask(trials)).repeats == 9


def test_a_target_that_went_away_does_not_count_towards_three() -> None:
    gone = [seen(n, 10, INVALID, reason="target_gone") for n in (1, 2, 3)]
    assert probe(ask(gone)).repeats == 3


def test_after_its_return_the_target_is_gated_and_the_interrupted_load_measured_again() -> None:
    trials = [*GATED, seen(6, 50, PASS, Purpose.LOCATE), seen(7, 60, INVALID, Purpose.LOCATE, "target_gone")]
    gate = probe(ask(trials))
    assert (gate.purpose, gate.load, gate.repeats) == (Purpose.GATE, 40, None)
    again = probe(ask([*trials, seen(9, 40, PASS, Purpose.GATE, seconds=12)]))
    assert (again.purpose, again.load, again.repeats) == (Purpose.LOCATE, 60, 7)
    # A gate in which it goes away is itself measured again.
    assert probe(ask([*GATED, seen(6, 40, INVALID, Purpose.CANARY, "target_gone")])).repeats == 6


@pytest.mark.parametrize(
    ("reasons", "verdict"),
    [
        (["no_report"] * 3, "unresolved"),
        (["no_report"] * 2, "resolved"),
        (["workers_changed"] * 3, "resolved"),
        (["target_gone"] * 3, "resolved"),
    ],
)
def test_many_invalid_probes_make_the_answer_unresolved(reasons: list[str], verdict: str) -> None:
    located = [*GATED, seen(6, 50, PASS, Purpose.LOCATE), seen(7, 62.5, FAIL, Purpose.LOCATE, "overload")]
    unfit = [seen(8 + i, 50, INVALID, Purpose.REFINE, reason) for i, reason in enumerate(reasons)]
    end = policy().give_up([*located[:4], *unfit, *located[4:6]], [], "resolved", "converged")
    assert (end.verdict, end.reason == "measurement_invalid") == (verdict, verdict == "unresolved")


def test_failures_that_do_not_depend_on_the_load_end_the_search() -> None:
    def failing(number: int, load: float, failed: int) -> Trial:
        t = seen(number, load, FAIL, Purpose.GATE)
        for flow in t.measurement.flows:
            flow.errors = {"reset": failed}
        return t

    end = conclusion(ask([*RAMPED, failing(5, 40, 2), failing(6, 20, 1)]))
    assert (end.verdict, end.reason) == ("unresolved", "below_minimum")
    assert isinstance(ask([*RAMPED, failing(5, 40, 8), failing(6, 20, 1)]), Probe)


def test_a_probe_cut_short_by_a_stall_is_repeated() -> None:
    again = probe(ask([seen(1, 10, PASS), seen(2, 20, UNDECIDED, reason="stall")]))
    assert (again.load, again.repeats) == (20, 2)


@pytest.mark.parametrize("trials", [[], RAMPED[:2], RAMPED, GATED], ids=["nothing", "ramp", "overload", "gate"])
@pytest.mark.parametrize("loop", ["open", "closed"])
def test_giving_up_says_what_is_known_and_no_more(trials: list[Trial], loop: Loop) -> None:
    end = policy(loop).give_up(trials, [Stall(1.0, 0.5, 1, True)], "aborted", "user")
    assert (end.verdict, end.reason) == ("aborted", "user")
    passed = [t.load for t in trials if t.verdict is PASS]
    if end.capacity.low is not None and passed:
        assert end.capacity.low <= max(passed)
    if not trials:
        assert (end.capacity.value, end.capacity.low) == (None, None)


def test_the_policy_keeps_nothing_between_questions() -> None:
    one = policy()
    first = one.ask(RAMPED, 50.0, [])
    one.ask(GATED, 70.0, [])
    assert one.ask(RAMPED, 50.0, []) == first == policy().ask(RAMPED, 50.0, [])


@pytest.mark.parametrize(("slo", "reason"), [("p99.99<100ms", "not_measurable"), ("p95<100ms", "budget_spent")])
def test_a_load_too_low_to_miss_often_is_not_measurable(slo: str, reason: str) -> None:
    """In 20 minutes at about 60/s, 1 of 10 000 are seven: too few, however the time was cut short."""
    for budget_s in (50.0, 1200.0):
        settings = Settings(Slo.parse(slo), "open", Grid.rate(1, 1000), 10, budget_s=budget_s)
        trials = [*GATED, seen(6, 75, FAIL, Purpose.LOCATE, "overload"), seen(7, 60, PASS, Purpose.REFINE)]
        assert AdaptivePolicy(settings).give_up(trials, [], "unresolved", "budget_spent").reason == reason
