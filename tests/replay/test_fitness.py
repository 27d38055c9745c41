import numpy as np
import pytest

from benchmarks.arrivals.synthetic import KINDS
from locust_adaptive.replay.fitness import unfit
from tests.replay.test_profile import index


def poisson(rate, seconds, seed=0):
    rng = np.random.default_rng(seed)
    due = np.sort(rng.integers(0, int(seconds * 1e9), round(rate * seconds)))
    return index(due - due[0])


@pytest.mark.parametrize(
    ("quality", "says"),
    [("none", "no arrival times"), ("send_time", "sent on, not when they arrived"), ("s", "whole seconds")],
)
def test_times_that_are_not_those_of_the_arrivals_are_named(quality, says):
    assert says in unfit(poisson(10, 600), quality)


@pytest.mark.parametrize("quality", ["ns", "us", "ms"])
def test_a_steady_trace_is_fit(quality):
    assert unfit(poisson(10, 600), quality) is None


def test_poisson_arrivals_are_hardly_ever_called_too_short():
    assert not any(unfit(poisson(3, 60, seed), "ns") for seed in range(300))


@pytest.mark.parametrize("kind", KINDS)
def test_bursts_are_fit_when_the_trace_has_many_and_too_short_when_it_has_few(kind):
    long = [unfit(KINDS[kind](8 * 3600, np.random.default_rng(seed)), "ns") for seed in range(5)]
    assert long == [None] * 5
    if kind != "session-driven":  # whose bursts are of a second
        short = [unfit(KINDS[kind](180, np.random.default_rng(seed)), "ns") for seed in range(20)]
        assert sum(why is not None and "too short for its slowest burst" in why for why in short) >= 15


def test_a_rate_that_drifts_through_the_trace_is_no_sample_of_anything():
    rng = np.random.default_rng(1)
    due = np.sort((3600e9 * np.sqrt(rng.uniform(0, 1, 50_000))).astype(np.int64))  # from nothing to twice the mean
    assert "too short" in unfit(index(due - due[0]), "ns")


def test_one_or_two_bursts_are_no_sample_either():
    for bursts in ([0], [0, 700], [100, 300, 500]):
        due = np.sort(
            np.concatenate([np.arange(1000) * 10**9, *(np.arange(500) * 10**6 + at * 10**9 for at in bursts)])
        )
        assert f"most of it in {len(bursts)}." in unfit(index(due), "ns")


def test_a_drift_of_a_few_percent_is_no_matter():
    rng = np.random.default_rng(1)
    share = rng.uniform(0, 1, 200_000)
    due = np.sort((3600e9 * (share + 0.02 * np.sin(2 * np.pi * share))).astype(np.int64))
    assert unfit(index(due - due[0]), "ns") is None


@pytest.mark.parametrize("due", [[0], [0, 0, 0], [0, 1]])
def test_requests_due_at_once_have_no_rhythm(due):
    assert "at once" in unfit(index(due), "ns")
