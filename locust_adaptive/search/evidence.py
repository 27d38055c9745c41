"""From counts to belief: is the fraction of misses below its budget? All tests allow for requests that come in clumps.

Near capacity a miss brings its neighbours along, so `n` requests say less than `n` independent ones. Counts are divided
by a dispersion `phi`: the variance of batch counts over that of independent requests (quasi-likelihood).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

CLUMPED = 1.5
"""Index of dispersion above which arrivals are not Poisson's, however sure; below it, what is made of Poisson traffic
holds well enough."""
PHI_PRIOR, PHI_WEIGHT = 3.0, 3.0
"""Dispersion expected before any is seen, and how many batches that expectation weighs."""


def dispersion(k: np.ndarray, n: np.ndarray, budget: float) -> float:
    """Variance of batch counts `k` of `n` over the binomial one, shrunk to the prior, at least 1."""
    total = n.sum()
    if total == 0:
        return PHI_PRIOR
    p = max(k.sum() / total, budget)
    squares = ((k - n * k.sum() / total) ** 2 / np.maximum(n * p * (1 - p), 1e-9)).sum()
    batches = max(len(k) - 1, 0)
    return max(float(PHI_WEIGHT * PHI_PRIOR + squares) / (PHI_WEIGHT + batches), 1.0)


def uneven(stretches: Iterable[tuple[np.ndarray, float, float]], window: float) -> bool:
    """Do arrivals clump more than those of a Poisson process? Each stretch: their times in seconds, its length, and the
    load to which their rate is proportional.

    Index of dispersion of the counts in windows of so many seconds: 1 for a Poisson process, with a standard error of
    sqrt(2 / windows) (Cox and Lewis, The Statistical Analysis of Series of Events, 1966, 6.3).
    """
    counts, loads = [], []
    for times, seconds, load in stretches:
        if windows := int(seconds / window):
            counts.append(np.histogram(times, bins=windows, range=(0, windows * window))[0])
            loads.append(np.full(windows, load))
    if not any(c.sum() for c in counts):
        return False
    seen, expected = np.concatenate(counts), np.concatenate(loads)
    expected = expected * (seen.sum() / expected.sum())
    index = float(((seen - expected) ** 2 / expected).mean())
    return index > max(CLUMPED, 1 + 5 * math.sqrt(2 / len(seen)))


def probability_over(k: float, n: float, budget: float) -> float:
    """P(long-run miss fraction > budget) after `k` misses in `n` independent requests.

    Jeffreys' beta posterior with its prior scaled so that its mean is near the budget: no evidence is about even odds.
    """
    return 1.0 - beta_cdf(budget, k + 0.5, n - k + 0.5 / budget - 0.5)


def log_e_value(k: float, n: float, budget: float) -> float:
    """Log of the beta-mixture martingale against `fraction = budget`: above log(1/alpha) at any time rejects at alpha.

    e = B(a + k, b + n - k) / (B(a, b) budget^k (1 - budget)^(n - k)), a = 1/2, b = 1/(2 budget): valid under optional
    stopping (Ville's inequality; Robbins' mixtures).
    """
    a, b = 0.5, 0.5 / budget
    return log_beta(a + k, b + n - k) - log_beta(a, b) - k * math.log(budget) - (n - k) * math.log1p(-budget)


def log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def beta_cdf(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b), by Lentz's continued fraction (DLMF 8.17.22)."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - beta_cdf(1 - x, b, a)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta(a, b)) / a
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    result = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 + term * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + term / c
            c = c if abs(c) > tiny else tiny
            result *= c * d
        if abs(c * d - 1.0) < 1e-12:
            break
    return front * result
