import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.search.queue import service_spread, tail, threshold, workload


@given(st.lists(st.floats(0.0, 0.5), min_size=1, max_size=60), st.floats(0.5, 50.0))
def test_workload_is_the_recursion(gaps: list[float], mu: float) -> None:
    times = np.cumsum(gaps)
    depth, before, expected = 0.0, None, []
    for t in times.tolist():
        depth = 1.0 if before is None else max(depth - mu * (t - before), 0.0) + 1
        before = t
        expected.append(depth)
    assert workload(times, mu).tolist() == pytest.approx(expected, abs=1e-6)


def test_an_empty_queue_has_no_depths() -> None:
    assert workload(np.zeros(0), 10.0).tolist() == []


def erlang(rho: float, wait: float) -> float:
    """P(W > wait) in an M/D/1 queue with unit service (Erlang 1909), in 120 digits as its terms alternate."""
    with localcontext() as context:
        context.prec = 120
        r, x = Decimal(rho), Decimal(wait)
        terms = ((r * (k - x)) ** k / math.factorial(k) * (-r * (k - x)).exp() for k in range(int(wait) + 1))
        return float(1 - (1 - r) * sum(terms, Decimal(0)))


@pytest.mark.parametrize("rho", [0.5, 0.7, 0.85, 0.95])
@pytest.mark.parametrize("budget", [0.05, 0.01])
def test_threshold_is_exceeded_at_the_budget_exactly(rho: float, budget: float) -> None:
    depth = float(threshold(np.array([rho]), budget)[0])
    assert erlang(rho, depth - 1) == pytest.approx(budget, rel=0.01)
    assert float(tail(rho, depth)) == pytest.approx(budget, rel=1e-9)


@pytest.mark.parametrize(("rho", "within"), [(0.5, 0.02), (0.7, 0.03), (0.85, 0.05), (0.95, 0.15)])
def test_tail_agrees_with_a_long_run(rho: float, within: float) -> None:
    # Near saturation a run of a million arrivals still has an error of 10 %: hence the exact formula above.
    at = float(threshold(np.array([rho]), 0.05)[0])
    runs = [np.cumsum(np.random.default_rng(seed).exponential(1.0, 1_000_000)) for seed in range(6)]
    seen = [float((workload(times, 1 / rho)[10_000:] > at).mean()) for times in runs]
    assert np.mean(seen) == pytest.approx(0.05, rel=within)


@given(st.floats(0.3, 0.99), st.floats(0.0005, 0.2))
def test_threshold_is_the_inverse_of_the_tail(rho: float, budget: float) -> None:
    depth = threshold(np.array([rho]), budget)
    assert depth[0] >= 1
    if depth[0] > 1:
        assert tail(rho, depth)[0] == pytest.approx(budget, rel=1e-6)


@given(st.floats(0.3, 0.98), st.floats(1.0, 40.0))
def test_a_busier_or_shallower_queue_is_exceeded_more(rho: float, depth: float) -> None:
    assert tail(rho + 0.01, depth) >= tail(rho, depth) - 1e-12
    assert tail(rho, depth + 1) <= tail(rho, depth)


def test_a_rate_seen_longer_is_known_better() -> None:
    assert service_spread(10) > service_spread(100) > service_spread(10_000) > 0.03
    assert math.isfinite(service_spread(0))
