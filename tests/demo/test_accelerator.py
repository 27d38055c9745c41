"""Laws of the emulated accelerator, and that the simulation of many runs is the same machine."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from locust_adaptive.demo.accelerator import Accelerator, Batch, Device
from locust_adaptive.demo.capacity import simulate

DEVICE = Device(overhead_s=0.01, per_candidate_s=0.0001, max_batch=4, max_delay_s=0.005)
REQUESTS = st.lists(
    st.tuples(st.floats(0, 0.03, allow_subnormal=False), st.integers(1, 300)), min_size=1, max_size=60
)  # gap in seconds, candidates


def replay(requests: list[tuple[float, int]], looks: int = 0) -> tuple[list[float], list[Batch]]:
    """Arrival times and batches; `looks` more calls of advance between two arrivals."""
    accelerator = Accelerator(DEVICE, max_queue=10_000)
    now = 0.0
    arrivals: list[float] = []
    batches: list[Batch] = []
    for gap, candidates in requests:
        for look in range(looks):
            batches += accelerator.advance(now + gap * look / looks)
        now += gap
        batches += accelerator.advance(now)
        assert accelerator.offer(now, candidates) == len(arrivals)
        arrivals.append(now)
    batches += accelerator.advance(np.inf)
    return arrivals, batches


@given(REQUESTS)
def test_every_request_is_served_once_in_order_by_one_device(requests: list[tuple[float, int]]) -> None:
    arrivals, batches = replay(requests)
    assert [ticket for batch in batches for ticket in batch.tickets] == list(range(len(requests)))
    for batch in batches:
        assert len(batch.tickets) <= DEVICE.max_batch
        assert all(arrivals[ticket] <= batch.start for ticket in batch.tickets)
        assert batch.end == batch.start + DEVICE.busy_s(float(sum(requests[ticket][1] for ticket in batch.tickets)))
    assert all(before.end <= after.start for before, after in pairwise(batches))


@given(REQUESTS)
def test_a_free_device_waits_no_longer_than_the_delay(requests: list[tuple[float, int]]) -> None:
    arrivals, batches = replay(requests)
    free_at = -np.inf
    for batch in batches:
        oldest = arrivals[batch.tickets[0]]
        assert batch.start <= max(free_at, oldest + DEVICE.max_delay_s)
        if len(batch.tickets) < DEVICE.max_batch:
            assert batch.start == max(free_at, oldest + DEVICE.max_delay_s)
        free_at = batch.end


@given(REQUESTS, st.integers(1, 5))
def test_looking_more_often_or_late_changes_nothing(requests: list[tuple[float, int]], looks: int) -> None:
    assert replay(requests, looks) == replay(requests)


@example([[(0.0, 1), (0.005, 1)]])  # arrives at the moment of a launch
@given(st.lists(REQUESTS, min_size=1, max_size=4))
def test_the_simulation_is_the_same_machine(runs: list[list[tuple[float, int]]]) -> None:
    shortest = min(map(len, runs))
    runs = [run[:shortest] for run in runs]
    arrivals, expected = [], []
    for run in runs:
        times, batches = replay(run)
        arrivals.append(times)
        expected.append([batch.end - times[ticket] for batch in batches for ticket in batch.tickets])
    latencies = simulate(DEVICE, np.array(arrivals), np.array([[n for _, n in run] for run in runs]))
    assert latencies.tolist() == expected


def test_a_full_queue_refuses_until_a_batch_leaves() -> None:
    accelerator = Accelerator(DEVICE, max_queue=2)
    assert [accelerator.offer(0.0, 1) for _ in range(3)] == [0, 1, None]
    assert accelerator.queue_depth == 2
    assert len(accelerator.advance(0.005)) == 1
    assert accelerator.queue_depth == 0
    assert accelerator.offer(0.005, 1) == 2


def test_busy_seconds_count_only_what_has_passed() -> None:
    accelerator = Accelerator(DEVICE, max_queue=8)
    accelerator.offer(1.0, 100)
    (batch,) = accelerator.advance(1.005)
    assert batch.start == 1.005
    assert batch.end == pytest.approx(1.025)
    assert accelerator.busy_seconds(1.005) == pytest.approx(0.0)
    assert accelerator.busy_seconds(1.015) == pytest.approx(0.010)
    assert accelerator.busy_seconds(9.0) == pytest.approx(0.020)
    assert accelerator.batches == 1
