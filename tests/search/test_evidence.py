import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.search.evidence import (
    PHI_PRIOR,
    beta_cdf,
    dispersion,
    log_beta,
    log_e_value,
    probability_over,
    uneven,
)


def integrated(x: float, a: float, b: float, steps: int = 40_000) -> float:
    """I_x(a, b) by the midpoint rule in u = sqrt(t), which tames the pole of a >= 1/2 at 0."""
    u = (np.arange(steps) + 0.5) * math.sqrt(x) / steps
    logs = (2 * a - 1) * np.log(u) + (b - 1) * np.log1p(-(u**2)) - log_beta(a, b)
    return float(2 * np.exp(logs).sum() * math.sqrt(x) / steps)


@pytest.mark.parametrize(
    ("x", "a", "b", "expected"),
    [
        (0.0, 2.0, 3.0, 0.0),
        (1.0, 2.0, 3.0, 1.0),
        (-0.1, 2.0, 3.0, 0.0),
        (0.5, 2.0, 2.0, 0.5),
        (0.3, 1.0, 1.0, 0.3),
        (0.25, 0.5, 0.5, 1 / 3),  # arcsine law: 2/pi asin(sqrt(x))
        (0.2, 1.0, 5.0, 1 - 0.8**5),
        (0.9, 3.0, 1.0, 0.9**3),
        (0.3, 3.0, 5.0, 1 - sum(math.comb(7, k) * 0.3**k * 0.7 ** (7 - k) for k in range(3))),
        (0.01, 11.0, 990.0, 1 - sum(math.comb(1000, k) * 0.01**k * 0.99 ** (1000 - k) for k in range(11))),
    ],
)
def test_beta_cdf_known_values(x: float, a: float, b: float, expected: float) -> None:
    assert beta_cdf(x, a, b) == pytest.approx(expected, abs=1e-11)


@given(st.floats(0.001, 0.95), st.floats(0.5, 300.0), st.floats(0.5, 5000.0))
def test_beta_cdf_agrees_with_integration_and_its_mirror(x: float, a: float, b: float) -> None:
    value = beta_cdf(x, a, b)
    assert value == pytest.approx(1 - beta_cdf(1 - x, b, a), abs=1e-9)
    if b >= 1:
        assert value == pytest.approx(integrated(x, a, b), abs=2e-4)


@given(st.floats(0.01, 0.9), st.floats(0.01, 0.09), st.floats(0.5, 80.0), st.floats(0.5, 800.0))
def test_beta_cdf_rises(x: float, more: float, a: float, b: float) -> None:
    assert beta_cdf(x, a, b) <= beta_cdf(x + more, a, b) + 1e-12


@given(st.sampled_from([0.001, 0.01, 0.05]), st.integers(0, 50), st.integers(100, 5000))
def test_more_misses_make_a_breach_more_likely(budget: float, k: int, n: int) -> None:
    assert probability_over(k + 1, n, budget) >= probability_over(k, n, budget) - 1e-12
    assert probability_over(k, n + 100, budget) <= probability_over(k, n, budget) + 1e-12


def test_no_evidence_is_about_even_odds() -> None:
    for budget in (0.001, 0.01, 0.05):
        assert 0.25 < probability_over(0, 0, budget) < 0.5
        assert probability_over(0, 100 / budget, budget) < 1e-6
        assert probability_over(300, 100 / budget, budget) > 0.999


@pytest.mark.parametrize("budget", [0.01, 0.05, 0.3])
@pytest.mark.parametrize(("k", "n"), [(0, 0), (0, 40), (3, 200), (30, 200)])
def test_the_e_value_is_a_martingale_under_the_null(budget: float, k: int, n: int) -> None:
    now = math.exp(log_e_value(k, n, budget))
    miss, hit = (math.exp(log_e_value(k + more, n + 1, budget)) for more in (1, 0))
    assert budget * miss + (1 - budget) * hit == pytest.approx(now, rel=1e-9)
    assert log_e_value(0, 0, budget) == pytest.approx(0)


def test_optional_stopping_rejects_no_more_than_it_says() -> None:
    budget, alpha, runs, n = 0.05, 0.05, 600, 2000
    rng = np.random.default_rng(1)
    misses = rng.random((runs, n)) < budget
    k = misses.cumsum(axis=1)
    bound = math.log(1 / alpha)
    # Looked at after every tenth request, as often as one likes.
    looks = np.arange(9, n, 10)
    least = {int(m): next(j for j in range(int(m) + 2) if log_e_value(j, int(m) + 1, budget) > bound) for m in looks}
    low = {m: budget * (m + 1) for m in least}
    rejected = np.zeros(runs, dtype=bool)
    for m, enough in least.items():
        # The mixture also rejects far below the budget; the verdict looks above it only.
        over = next(j for j in range(math.ceil(low[m]), m + 3) if log_e_value(j, m + 1, budget) > bound)
        assert over >= enough
        rejected |= k[:, m] >= over
    assert rejected.mean() <= alpha
    assert rejected.any()


def test_a_breach_is_found_in_the_end() -> None:
    assert log_e_value(100, 1000, 0.05) > math.log(1 / 0.05)
    assert log_e_value(50, 1000, 0.05) < 0


def test_independent_requests_have_dispersion_near_one() -> None:
    rng = np.random.default_rng(2)
    n = np.full(400, 200.0)
    assert dispersion(rng.binomial(200, 0.05, 400).astype(float), n, 0.05) == pytest.approx(1, abs=0.2)


def test_clumps_are_overdispersed_by_their_size() -> None:
    rng = np.random.default_rng(3)
    k = 8.0 * rng.binomial(25, 0.05, 400)
    assert dispersion(k, np.full(400, 200.0), 0.05) == pytest.approx(8, rel=0.25)


def test_dispersion_without_data_is_its_prior() -> None:
    none = np.zeros(0)
    assert dispersion(none, none, 0.01) == PHI_PRIOR
    assert dispersion(np.zeros(3), np.full(3, 100.0), 0.01) >= 1


def clumps(share: float, rng: np.random.Generator) -> list[tuple[np.ndarray, float, int]]:
    """Stretches of 20 s; `share` of the arrivals come in bursts of half a second, two seconds apart."""
    out = []
    for load in (100, 120):
        n = rng.poisson(20 * load)
        times = rng.uniform(0, 20, n)
        late = rng.random(n) < share
        times[late] = 2 * (times[late] // 2) + times[late] % 0.5
        out.append((np.sort(times), 20.0, load))
    return out


@given(st.integers(0, 10_000))
def test_poisson_arrivals_at_several_loads_are_even(seed: int) -> None:
    assert not uneven(clumps(0, np.random.default_rng(seed)), 0.1)


def test_arrivals_in_bursts_are_uneven() -> None:
    assert uneven(clumps(0.3, np.random.default_rng(1)), 0.1)
    # Also where each stretch is even, and their rates are not those of their loads.
    stretches = clumps(0, np.random.default_rng(1))
    assert uneven([(stretches[0][0], 20.0, 200.0), stretches[1]], 0.1)


def test_without_arrivals_nothing_is_uneven() -> None:
    assert not uneven([], 0.1)
    assert not uneven([(np.zeros(0), 5.0, 100.0)], 0.1)
    assert not uneven([(np.array([0.1]), 0.05, 100.0)], 0.1)
