"""The known capacity: against queueing theory, and of the demo as it is shipped."""

from pathlib import Path

import numpy as np
import pytest

from locust_adaptive.demo.accelerator import Device
from locust_adaptive.demo.capacity import capacity, find_capacity, simulate
from locust_adaptive.demo.workload import candidate_counts, make_workload
from locust_adaptive.replay.store import Trace

TRACE = Path(__file__).parents[2] / "traces" / "demo.trace"
SHIPPED = 121.6  # printed by `python -m locust_adaptive.demo.capacity`, standard error 0.23


def test_one_request_a_batch_is_an_md1_queue() -> None:
    device = Device(overhead_s=0.01, per_candidate_s=0.0, max_batch=1, max_delay_s=0.0)
    rng = np.random.default_rng(5)
    load = 0.7
    arrivals = np.cumsum(rng.standard_exponential((100, 10_000)), axis=1) * 0.01 / load
    latencies = simulate(device, arrivals, np.ones(arrivals.shape, dtype=np.int64))[:, 1_000:]
    # Pollaczek and Khinchine, deterministic service.
    assert latencies.mean() == pytest.approx(0.01 * (1 + load / (2 * (1 - load))), rel=0.02)


def test_the_shipped_capacity() -> None:
    found = capacity(candidate_counts(make_workload()), runs=64, requests=10_000, seed=9)
    assert found.value == pytest.approx(SHIPPED, rel=0.015)
    assert 0.001 < found.standard_error / found.value < 0.01


def test_the_trace_holds_the_workload_that_the_capacity_is_known_for() -> None:
    workload = make_workload()
    with Trace.open(TRACE) as trace:
        records = [trace.record(i) for i in range(len(trace))]
    assert [(r.due_ns, r.session, r.body) for r in records] == [(r.due_ns, f"s{r.session}", r.body()) for r in workload]
    assert {(r.method, r.path, r.expect) for r in records} == {("POST", "/v2/models/ranker/infer", 200)}
    assert TRACE.stat().st_size < 1.5e6


def test_base_latency_is_well_below_the_limit() -> None:
    counts = candidate_counts(make_workload())[None, :]
    arrivals = np.arange(counts.shape[1], dtype=np.float64)[None, :]  # one at a time
    latencies = simulate(Device(), arrivals, counts)
    assert 0.02 < np.median(latencies) < 0.04
    assert latencies.max() < 0.1


def test_find_capacity_recovers_a_known_curve_and_its_error() -> None:
    offsets = np.linspace(-0.001, 0.001, 50)
    found = find_capacity(lambda load: np.asarray(load / 10_000 + offsets), 0.01, 200.0)
    assert found.value == pytest.approx(100, rel=2e-4)
    assert found.standard_error == pytest.approx(offsets.std(ddof=1) / np.sqrt(50) * 10_000, rel=1e-3)


def test_no_load_that_passes_is_said() -> None:
    with pytest.raises(ValueError, match="no load meets the limit"):
        capacity(np.array([50]), limit_s=0.001, runs=4, requests=100)
