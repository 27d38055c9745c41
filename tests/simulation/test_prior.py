"""Searches that start from a capacity found before: shorter when it is right, and no worse when it is wrong."""

from __future__ import annotations

import statistics
from functools import cache

import pytest

from locust_adaptive.report.again import decide_again
from locust_adaptive.report.journal import read
from locust_adaptive.search.grid import Grid
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.slo import Slo
from locust_adaptive.simulation.search import Run, simulate
from locust_adaptive.simulation.server import Server
from tests.journals.record import journal_of

TRUTH, USERS = 83.5, 13
"""Of the two servers, as in test_scenarios.py."""
SEEDS = range(5)


def asked(loop: str, prior: float | None) -> Settings:
    if loop == "open":
        return Settings(Slo.parse("p95<100ms"), "open", Grid.rate(0.1, 10_000), 2.0, prior=prior)
    return Settings(Slo.parse("p99<200ms"), "closed", Grid.users(1, 1000), 1.0, prior=prior)


@cache
def searched(loop: str, times: float | None, seed: int) -> Run:
    """With a prior of so many times the truth, if any."""
    prior = None if times is None else TRUTH * times if loop == "open" else round(USERS * times)
    server = Server(1, 0.010 if loop == "open" else 0.0125, sigma=0.3)
    return simulate(asked(loop, prior), server, seed)


def seconds(run: Run) -> float:
    return run.log[-1][0].t


def test_a_right_prior_makes_the_search_shorter() -> None:
    spared = [seconds(searched("open", None, seed)) - seconds(searched("open", 1.0, seed)) for seed in SEEDS]
    assert statistics.median(spared) > 5


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("times", [1 / 3, 1.0, 3.0])
def test_a_prior_that_is_wrong_leaves_the_answer_right(times: float, seed: int) -> None:
    run = searched("open", times, seed)
    assert run.conclusion.verdict == "resolved"
    assert run.conclusion.capacity.value == pytest.approx(TRUTH, rel=0.08)


@pytest.mark.parametrize("times", [1 / 3, 1.0, 3.0])
def test_in_closed_loop_too(times: float) -> None:
    run = searched("closed", times, 1)
    assert run.conclusion.verdict == "resolved"
    assert run.conclusion.capacity.value in (12, 13, 14)


@pytest.mark.parametrize("times", [1 / 3, 1.0, 3.0])
def test_the_first_load_is_half_of_it(times: float) -> None:
    run = searched("open", times, 0)
    assert run.controller.trials[0].load == run.controller.settings.grid.snap(TRUTH * times / 2)


@pytest.mark.parametrize("times", [1 / 3, 1.0, 3.0])
def test_after_the_first_overload_no_probe_exceeds_the_best_pass_by_more_than_a_quarter(times: float) -> None:
    for seed in SEEDS:
        best = overload = 0.0
        for trial in searched("open", times, seed).controller.trials:
            assert not overload or trial.load <= 1.25 * (best or overload) * (1 + 1e-9)
            best = max(best, trial.load) if trial.verdict == "PASS" else best
            overload = overload or (trial.load if trial.overloaded else 0.0)


@pytest.mark.parametrize("times", [1.0, 3.0])
def test_its_journal_is_decided_again(times: float) -> None:
    run = searched("open", times, 0)
    settings = run.controller.settings
    journal = read(journal_of(settings, run).splitlines(keepends=True))
    assert journal.header.settings.prior == settings.prior
    assert decide_again(journal) is None
