"""A variant of the shipped estimate that learns from the trials how far to trust the virtual queue.

Expected misses are B (M / B)^s (K / M)^(b s): B is the budget of the requests sent, M the virtual queue's long-run
misses at the load, K those of the arrivals really sent. s says how steeply the server's misses grow with the load, as a
share of how the virtual queue's do, and b how much of the luck of the arrivals they show, block by block, in the probes
about the capacity. Both are 1 in `by_queue`, and where that is right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from locust_adaptive.search import estimate
from locust_adaptive.search.estimate import PHI, PHI_TRIALS, RATIOS
from locust_adaptive.search.queue import tail, threshold
from locust_adaptive.search.trial import Trial

from ..engine import Floats

NEAR = 0.1
"""Probes at loads so close to the capacity, as a ratio, tell of b."""
BLOCK_S = 4.0
STEEPNESSES = (1.0, 0.7, 0.5, 0.35, 0.25)
STEADY = 0.995
"""Above this utilisation the virtual queue has no long run to speak of."""


@dataclass(frozen=True)
class Learnt:
    """Capacity and service rate, 1/s; standard deviation of the log of the capacity; and what else was learnt."""

    value: float
    sd: float
    rate: float
    trust: float
    steepness: float


def by_learnt_queue(
    trials: Sequence[Trial],
    objective: int,
    budget: float,
    mu: float,
    mu_sd: float,
    trusts: float | None = None,
    steepnesses: Sequence[float] = STEEPNESSES,
) -> Learnt:
    """As `by_queue`, averaged over `steepnesses`; `trusts` is b, learnt if None. With b = s = 1 that is `by_queue`."""
    seen = [t for t in trials if t.measurement.counts(objective)[1] > 0]
    if trusts is None:
        first = by_learnt_queue(trials, objective, budget, mu, mu_sd, 1.0, (1.0,))
        trusts = trust(trials, objective, budget, first.value, first.rate)
    step = mu_sd * 4 / 6
    centre = _posterior(seen, trials, objective, budget, mu, mu_sd, step * np.arange(-3, 4), trusts, steepnesses)[1]
    fine = centre + step / 3 * np.arange(-3, 4)
    learnt, _ = _posterior(seen, trials, objective, budget, mu, mu_sd, fine, trusts, steepnesses)
    return learnt


def _posterior(
    seen: Sequence[Trial],
    trials: Sequence[Trial],
    objective: int,
    budget: float,
    mu: float,
    mu_sd: float,
    steps: np.ndarray,
    b: float,
    steepnesses: Sequence[float],
) -> tuple[Learnt, float]:
    """Over service rates `mu exp(steps)`, `steepnesses` and RATIOS; also the mean of the steps."""
    depths = threshold(RATIOS, budget)
    observed = {t.number: t.measurement.counts(objective) for t in seen}
    k, n = np.array(list(observed.values()), float).T[:, :, None]
    cap = np.maximum(6 * budget * n, 1)
    k = np.minimum(k, cap)
    cut = np.array([t.overloaded for t in seen])
    logs, weights = [], []
    for shift in steps:
        rate = mu * math.exp(shift)
        arrivals = estimate._expected(trials, observed, rate, depths, budget)
        usual = n * np.array([tail(min(t.load / rate, STEADY), depths) for t in seen])
        prior = -0.5 * (np.log(RATIOS / 0.9) / 0.15) ** 2 + np.log(np.gradient(np.log(RATIOS)))
        for s in steepnesses:
            least = 0.02 * budget * n + 0.02
            usual = np.maximum(usual, least)
            bent = budget * n * (usual / (budget * n)) ** s * (arrivals / usual) ** (b * s)
            # Beyond the service rate there is no long run, and every queue overflows.
            expected = np.clip(np.where(cut[:, None], arrivals, bent), least, cap)
            weights.append(_quasi(k, expected) + prior - 0.5 * (shift / mu_sd) ** 2)
            logs.append(np.log(rate * RATIOS))
    table = np.exp(np.array(weights) - np.max(weights))
    table /= table.sum()
    value, sd = estimate._median(np.ravel(logs), table.ravel())
    parts = table.sum(axis=1).reshape(len(steps), len(steepnesses))
    shift, s = float(parts.sum(axis=1) @ steps), float(parts.sum(axis=0) @ np.array(steepnesses))
    return Learnt(math.exp(value), sd, mu * math.exp(shift), b, s), shift


def _quasi(k: Floats, expected: Floats) -> Floats:
    """Log-likelihood for each capacity, as in `by_queue`, and with the dispersion's own term: steepnesses compete."""
    with np.errstate(divide="ignore", invalid="ignore"):
        deviance = np.where(k > 0, k * np.log(expected / k), 0.0) - expected + k
    floor = np.where(k > expected, 0.02, 0.03)
    phi = PHI
    for _ in range(2):
        likely = np.log((1 - floor) * np.exp(deviance / phi) + floor).sum(axis=0)
        at = expected[:, int(likely.argmax())]
        squares = np.minimum((k[:, 0] - at) ** 2 / at, 4 * PHI)
        phi = (PHI_TRIALS * PHI + float(squares.sum())) / (PHI_TRIALS + len(at))
    out: Floats = likely - 0.5 * len(k) * math.log(phi)
    return out


def trust(trials: Sequence[Trial], objective: int, budget: float, capacity: float, rate: float) -> float:
    """By what share misses change with the virtual queue's, over the blocks within each probe about the `capacity`;
    between 0 and 1, and 1 where nothing is known."""
    depth = float(threshold(np.array([min(capacity / rate, STEADY)]), budget)[0])
    near = [t for t in trials if abs(t.load / capacity - 1) < NEAR and not t.overloaded and t.measurement.clean]
    seen = estimate._virtual(trials, {t.number: 0 for t in near}, rate)
    both = squares = real = virtual = 0.0
    for t, (depths, _) in zip(near, seen, strict=True):
        k, n = t.measurement.batches(objective, BLOCK_S)
        if len(k) < 2:
            continue
        deep = np.concatenate([[0], np.cumsum(depths > depth)])
        ends = np.concatenate([[0], np.cumsum(n)]).astype(int)
        over = np.diff(deep[np.minimum(ends, len(depths))])
        both += float(((k - k.mean()) * (over - over.mean())).sum())
        squares += float(((over - over.mean()) ** 2).sum())
        real, virtual = real + float(k.sum()), virtual + float(over.sum())
    return min(max(both / squares * virtual / real, 0.0), 1.0) if squares and real else 1.0
