import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from locust_adaptive.search.estimate import Estimate, by_counts, by_queue, service_rate
from locust_adaptive.search.trial import Trial
from tests.support.trials import measurement, queue_trial, trial

SLO, BUDGET, LIMIT_S = "p95<100ms", 0.05, 0.1
MEAN_S, SIGMA = 0.010, 0.3
TRUTH = 83.5
"""Capacity of the M/G/1 server above, from a simulation of 10^7 requests."""


def search(seed: int, loads: list[float], seconds: float = 30.0) -> list[Trial]:
    rng = np.random.default_rng(seed)
    return [queue_trial(i, x, seconds, SLO, rng, MEAN_S, SIGMA) for i, x in enumerate(loads, start=1)]


def errors_of(estimate: Callable[[list[Trial]], float], seeds: int, loads: list[float]) -> np.ndarray:
    return np.array([estimate(search(seed, loads)) / TRUTH - 1 for seed in range(seeds)])


def test_the_service_rate_comes_from_overloads_alone() -> None:
    calm = search(1, [60.0, 70.0])
    assert service_rate(calm, LIMIT_S) is None
    rate = service_rate([*calm, *search(2, [150.0], seconds=4.0)], LIMIT_S)
    assert rate is not None
    assert rate[0] == pytest.approx(1 / MEAN_S, rel=0.05)
    assert 0.03 <= rate[1] < 0.06


def test_by_queue_recovers_a_known_capacity() -> None:
    def value(trials: list[Trial]) -> float:
        return by_queue(trials, 0, BUDGET, 1 / MEAN_S, 0.03).value

    errors = errors_of(value, 8, [80.0, 84.0, 88.0, 82.0])
    assert np.median(np.abs(errors)) < 0.02
    assert np.abs(errors).max() < 0.05


def test_by_queue_finds_it_with_a_service_rate_that_is_a_little_off() -> None:
    errors = errors_of(lambda t: by_queue(t, 0, BUDGET, 1.04 / MEAN_S, 0.04).value, 6, [80.0, 84.0, 88.0, 82.0])
    assert np.median(np.abs(errors)) < 0.03


def test_by_counts_recovers_a_known_capacity() -> None:
    errors = errors_of(lambda t: by_counts(t, 0, BUDGET, 80.0, 0.2).value, 8, [76.0, 80.0, 84.0, 88.0, 82.0])
    # Counts alone keep the luck of the arrivals, which near capacity is large.
    assert np.median(np.abs(errors)) < 0.04
    assert np.abs(errors).max() < 0.15


def test_more_trials_narrow_the_interval() -> None:
    few, many = search(3, [82.0]), search(3, [82.0, 84.0, 80.0, 86.0, 83.0, 85.0])
    assert by_queue(many, 0, BUDGET, 100.0, 0.03).sd < by_queue(few, 0, BUDGET, 100.0, 0.03).sd
    assert by_counts(many, 0, BUDGET, 80.0, 0.2).sd < by_counts(few, 0, BUDGET, 80.0, 0.2).sd


def test_a_disturbed_trial_does_not_move_the_estimate_far() -> None:
    trials = search(4, [80.0, 84.0, 82.0, 84.0])
    undisturbed = by_queue(trials, 0, BUDGET, 100.0, 0.03).value
    spoilt = trial(9, 40.0, measurement([(20, 15)] * 24))
    assert by_queue([*trials, spoilt], 0, BUDGET, 100.0, 0.03).value == pytest.approx(undisturbed, rel=0.03)
    counted = by_counts(trials, 0, BUDGET, 80.0, 0.2).value
    assert by_counts([*trials, spoilt], 0, BUDGET, 80.0, 0.2).value == pytest.approx(counted, rel=0.03)


def test_a_trial_without_requests_says_nothing() -> None:
    trials = search(5, [80.0, 86.0])
    empty = trial(9, 80.0, measurement([(0, 0)] * 10))
    assert by_queue([*trials, empty], 0, BUDGET, 100.0, 0.03) == by_queue(trials, 0, BUDGET, 100.0, 0.03)
    assert by_counts([*trials, empty], 0, BUDGET, 80.0, 0.2) == by_counts(trials, 0, BUDGET, 80.0, 0.2)


def test_without_any_trial_the_prior_is_left() -> None:
    estimate = by_queue([], 0, BUDGET, 100.0, 0.1)
    assert not estimate.disturbed
    assert 70 < estimate.value < 100
    estimate = by_counts([], 0, BUDGET, 50.0, 0.2)
    assert estimate.value == pytest.approx(50, rel=0.01)


@pytest.mark.parametrize("estimate", [Estimate(80.0, 0.02, mu=100.0), Estimate(80.0, 0.02)])
def test_the_expected_misses_rise_through_the_budget_at_the_capacity(estimate: Estimate) -> None:
    loads = np.linspace(40, 120, 60)
    fractions = [estimate.miss_fraction(float(x), BUDGET) for x in loads]
    assert all(a <= b + 1e-12 for a, b in pairwise(fractions))
    assert estimate.miss_fraction(80.0, BUDGET) == pytest.approx(BUDGET, rel=1e-6)
    assert fractions[-1] > 0.9


def test_the_interval_is_95_percent_of_a_lognormal() -> None:
    estimate = Estimate(80.0, 0.1)
    assert estimate.low == pytest.approx(80 * math.exp(-0.196), rel=1e-4)
    assert estimate.high * estimate.low == pytest.approx(6400)
    assert estimate.at(0) == 80
