"""Whole searches in virtual time against servers that misbehave: no bad load passes, and the end is honest."""

from __future__ import annotations

import math
import random

import pytest

from locust_adaptive.search.events import Hold
from locust_adaptive.search.grid import Grid
from locust_adaptive.search.meter import Meter
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.slo import Slo
from locust_adaptive.search.trial import UNMEASURED, Purpose
from locust_adaptive.simulation.mischief import Misbehaviour, Mischief
from locust_adaptive.simulation.search import Run, simulate
from locust_adaptive.simulation.server import Server

SERVER = Server(1, 0.0131, sigma=0.4)
CAPACITY = 65.7
ABOVE = 40.0
SEEDS = range(1, 4)


def search(mischief: Mischief, seed: int = 1, start: float = 16.0, **more: float) -> Run:
    slo = Slo.parse("p99<250ms & errors<1%")
    settings = Settings(slo, "open", Grid.rate(0.5, 500), start, precision=0.12, soak_s=5, **more)
    return simulate(settings, SERVER, seed, mischief=mischief)


def end(run: Run) -> tuple[str, str]:
    return run.conclusion.verdict, run.conclusion.reason


def seconds(run: Run) -> float:
    return run.log[-1][0].t


def holds(run: Run) -> list[Hold]:
    return [c for _, commands in run.log for c in commands if isinstance(c, Hold)]


# -- above a load ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mode", ["hang", "slow", "http 503", "http 429", "reset"])
def test_no_load_passes_at_which_it_misbehaves(mode: str, seed: int) -> None:
    run = search(Mischief(mode, ABOVE), seed, budget_s=600)
    trials = run.controller.trials
    assert max(t.load for t in trials if t.verdict == "PASS") <= 1.08 * ABOVE
    assert any(t.verdict == "FAIL" and t.load > ABOVE for t in trials)
    capacity = run.conclusion.capacity
    if run.conclusion.verdict == "resolved":
        # Arrivals by chance: above about 27/s more than 1 % come while more than 40 came within a second.
        assert capacity.value is not None
        assert 20 < capacity.value < ABOVE
    else:
        assert run.conclusion.reason in ("budget_spent", "stalls_exceed_tolerance", "not_precise")
        assert (capacity.low or 0.0) < ABOVE


@pytest.mark.parametrize("seed", SEEDS)
def test_a_limiter_is_named(seed: int) -> None:
    run = search(Mischief("http 429", ABOVE), seed)
    assert end(run) == ("resolved", "converged")
    assert "rate_limited" in run.conclusion.notes
    assert "rate_limited" not in search(Mischief("http 503", ABOVE), seed).conclusion.notes


def test_a_surge_of_failures_is_cut_in_any_probe_and_the_target_looked_at() -> None:
    run = search(Mischief("http 503", ABOVE))
    surges = [t for t in run.controller.trials if t.reason == "errors_surge"]
    assert surges
    assert all(t.verdict == "FAIL" for t in surges)
    following = {h.probe: after.purpose for h, after in zip(holds(run), holds(run)[2:], strict=False)}
    assert {following[t.number] for t in surges} == {Purpose.RECOVER}


def test_requests_that_hang_are_given_up_and_no_stall() -> None:
    run = search(Mischief("hang", ABOVE))
    assert any(h.purpose is Purpose.ABANDON for h in holds(run))
    assert any(t.verdict == "FAIL" and t.reason in ("hang", "overload") for t in run.controller.trials)


def test_no_load_climbs_past_one_that_stalls_each_time() -> None:
    run = search(Mischief("slow", ABOVE), budget_s=600)
    assert max(h.load for h in holds(run)) <= 128


# -- at any load -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mischief", "expected", "within"),
    [
        (Mischief(gone=(0, math.inf)), ("invalid", "target_unreachable"), 6),
        (Mischief("http 404", 0), ("invalid", "every_request_fails"), 6),
        (Mischief("check", 0), ("invalid", "every_request_fails"), 6),
        (Mischief("exception", 0), ("invalid", "every_request_fails"), 6),
        (Mischief("http 503", 0), ("unresolved", "below_minimum"), 60),
        (Mischief("http 429", 0), ("unresolved", "below_minimum"), 60),
        (Mischief("reset", 0), ("unresolved", "below_minimum"), 60),
        (Mischief("hang", 0), ("unresolved", "below_minimum"), 40),
    ],
    ids=str,
)
def test_a_target_that_answers_nothing_well(mischief: Mischief, expected: tuple[str, str], within: float) -> None:
    run = search(mischief, start=2.0)
    assert end(run) == expected
    assert seconds(run) <= within
    assert run.conclusion.capacity.value is None
    assert all(t.verdict != "PASS" for t in run.controller.trials)


def test_a_target_that_comes_up_in_the_first_seconds_is_searched() -> None:
    run = search(Mischief(gone=(0, 2)), start=2.0)
    assert end(run) == ("resolved", "converged")
    assert run.conclusion.capacity.value == pytest.approx(CAPACITY, rel=0.08)


def test_five_per_cent_of_resets_are_too_many_at_any_load() -> None:
    run = search(Mischief("reset", share=0.05), start=2.0)
    assert end(run) == ("unresolved", "below_minimum")


# -- gone and back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("at", [5.0, 25.0, 60.0])
def test_a_target_that_goes_and_comes_back_is_measured_again(at: float, seed: int) -> None:
    run = search(Mischief(gone=(at, at + 10)), seed)
    trials = run.controller.trials
    gone = [t for t in trials if t.reason == "target_gone"]
    assert [t.verdict for t in gone] in (["INVALID"], [])
    if gone:
        place = trials.index(gone[0])
        assert trials[place + 1].purpose is Purpose.GATE or trials[place + 1].probe.repeats == gone[0].number
        assert any(h.purpose is Purpose.RECOVER for h in holds(run))
    assert end(run) == ("resolved", "converged")
    assert run.conclusion.capacity.value == pytest.approx(CAPACITY, rel=0.1)


def test_after_the_return_the_interrupted_load_is_measured_again() -> None:
    run = search(Mischief(gone=(60, 70)))
    trials = run.controller.trials
    place = next(i for i, t in enumerate(trials) if t.reason == "target_gone")
    gate, again = trials[place + 1 : place + 3]
    assert gate.purpose is Purpose.GATE
    assert (again.load, again.probe.repeats) == (trials[place].load, trials[place].number)


def test_a_target_that_stays_away_ends_the_search_with_what_is_known() -> None:
    run = search(Mischief(gone=(60, math.inf)))
    assert end(run) == ("unresolved", "target_gone")
    assert 120 <= seconds(run) <= 140
    assert run.conclusion.capacity.low is not None
    assert run.controller.trials[-1].verdict == "INVALID"


def test_while_it_is_away_the_load_is_light() -> None:
    run = search(Mischief(gone=(60, math.inf)))
    assert {h.load for h in holds(run) if h.purpose is Purpose.RECOVER} == {2.0}
    assert {t.purpose for t in run.controller.trials} & UNMEASURED == set()


# -- the generator ---------------------------------------------------------------------------------------------------


def test_many_invalid_probes_make_the_answer_unresolved() -> None:
    def busy(t: float, meter: Meter) -> None:
        if t % 16 > 5:
            meter.health(0.99, 0.0, 0)

    slo = Slo.parse("p99<250ms & errors<1%")
    settings = Settings(slo, "open", Grid.rate(0.5, 500), 16.0, precision=0.12, soak_s=5)
    run = simulate(settings, SERVER, 1, disturb=busy)
    invalid = sum(t.verdict == "INVALID" for t in run.controller.trials)
    assert invalid >= 3
    assert end(run) == ("unresolved", "measurement_invalid")


# -- the mischief itself ---------------------------------------------------------------------------------------------


def test_a_token_bucket_lets_its_rate_through() -> None:
    bucket = Misbehaviour(Mischief("http 429", 40), random.Random(1))
    fates = [bucket.fate(i / 100) for i in range(10_000)]
    assert fates.count(None) == pytest.approx(100 * 40, rel=0.01)
    assert fates[:10] == [None] * 10


def test_it_misbehaves_while_more_than_so_many_came_within_a_second() -> None:
    one = Misbehaviour(Mischief("hang", 10), random.Random(1))
    assert [one.fate(i / 9) for i in range(27)] == [None] * 27
    assert [one.fate(4 + i / 20) for i in range(20)].count("hang") == 10
