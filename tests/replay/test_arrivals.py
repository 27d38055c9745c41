import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.replay.arrivals import Constant, Pacer, Poisson

SCHEDULES = st.lists(st.tuples(st.floats(0, 5), st.sampled_from([0.0, 0.5, 3.0, 40.0])), min_size=1, max_size=12)


def dues(pacer, until):
    popped = []
    while pacer.next_due() <= until:
        popped.append(pacer.pop().due)
    return popped


def schedule(pacer, steps, *, prompt=True):
    """Play (duration, rate) steps; pop at the end of each step, or all at the end of the last."""
    now, popped = 100.0, []
    for duration, rate in steps:
        pacer.set_rate(now, rate)
        now += duration
        if prompt:
            popped += dues(pacer, now)
    pacer.set_rate(now, 0)
    return popped + dues(pacer, now), now


@given(SCHEDULES, st.integers(0, 2**32))
def test_due_times_never_decrease_and_stay_within_the_schedule(steps, seed):
    popped, end = schedule(Pacer(Poisson(random.Random(seed))), steps)
    assert popped == sorted(popped)
    assert all(100 <= due <= end for due in popped)


@given(SCHEDULES, st.integers(0, 2**32))
def test_a_caller_that_pops_late_gets_the_same_arrivals(steps, seed):
    prompt, _ = schedule(Pacer(Poisson(random.Random(seed))), steps)
    late, _ = schedule(Pacer(Poisson(random.Random(seed))), steps, prompt=False)
    assert late == pytest.approx(prompt, abs=1e-9)


@given(SCHEDULES, st.integers(0, 2**32), st.lists(st.integers(0, 5), min_size=12, max_size=12))
def test_a_caller_that_pops_ahead_still_gets_no_due_before_the_last(steps, seed, ahead):
    pacer, now, popped = Pacer(Poisson(random.Random(seed))), 0.0, []
    for (duration, rate), extra in zip(steps, ahead, strict=False):
        pacer.set_rate(now, rate)
        now += duration
        popped += dues(pacer, now) + [pacer.pop().due for _ in range(extra) if rate]
    assert popped == sorted(popped)


@given(SCHEDULES)
def test_constant_arrivals_are_those_of_the_integral_of_the_rate(steps):
    popped, _ = schedule(Pacer(Constant()), steps)
    work = sum(duration * rate for duration, rate in steps)
    assert math.floor(work - 1e-6) <= len(popped) <= math.floor(work + 1e-6)


def test_constant_arrivals_do_not_drift():
    pacer = Pacer(Constant())
    pacer.set_rate(1000.0, 3)
    assert [pacer.pop().due for _ in range(100_000)] == [1000.0 + k / 3 for k in range(1, 100_001)]


def test_a_rate_change_keeps_the_work_already_done():
    pacer = Pacer(Constant())
    pacer.set_rate(0, 1)
    pacer.set_rate(0.75, 0)  # three quarters of the first gap are over
    assert pacer.next_due() == math.inf
    pacer.set_rate(10, 0.5)
    assert [pacer.pop().due, pacer.pop().due] == [10.5, 12.5]


def test_phases_keep_workers_apart():
    workers = [Pacer(Constant(phase)) for phase in (0.25, 0.5, 0.75, 1)]
    for worker in workers:
        worker.set_rate(0, 1)
    assert [worker.pop().due for worker in workers] == [0.25, 0.5, 0.75, 1]
    assert [worker.pop().due for worker in workers] == [1.25, 1.5, 1.75, 2]


def test_poisson_counts_over_changing_rates_have_the_mean_and_variance_of_a_poisson_process():
    counts = [
        len(schedule(Pacer(Poisson(random.Random(seed))), [(1, 5), (0.4, 0), (0.5, 30), (2, 2.5)])[0])
        for seed in range(4000)
    ]
    # 5 + 0 + 15 + 5 expected; 5 sigma of the mean and of the variance of 4000 draws
    assert np.mean(counts) == pytest.approx(25, abs=5 * math.sqrt(25 / 4000))
    assert np.var(counts) == pytest.approx(25, abs=5 * 25 * math.sqrt(2.04 / 4000))


def test_nothing_is_due_before_a_rate_is_set():
    pacer = Pacer(Constant())
    assert pacer.next_due() == math.inf
    with pytest.raises(ValueError, match="rate 0"):
        pacer.pop()


@pytest.mark.parametrize(("now", "rate"), [(0, -1), (0, math.nan), (0, math.inf), (math.nan, 1), (math.inf, 1)])
def test_a_rate_or_time_that_makes_no_sense_is_refused(now, rate):
    with pytest.raises(ValueError, match="finite"):
        Pacer(Constant()).set_rate(now, rate)


def test_a_phase_outside_a_gap_is_refused():
    with pytest.raises(ValueError, match="phase"):
        Constant(1.5)
