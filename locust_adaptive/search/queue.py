"""The virtual queue: a fluid server fed with the arrivals really sent, whose long-run tail is known in closed form.

Each arrival adds one unit of work, served at `mu` units a second: v = max(v - mu dt, 0) + 1. Whether the real server
missed its limit follows v closely when the misses come from queueing, so comparing its misses with the virtual queue's
removes the luck of the arrivals from the estimate (law 6).
"""

from __future__ import annotations

import math

import numpy as np


def workload(times: np.ndarray, mu: float) -> np.ndarray:
    """Work in the queue in units just after each arrival at `times` (s, ascending), from an empty queue (Lindley)."""
    i = np.arange(len(times))
    drained = mu * times
    depth: np.ndarray = i + 1 - drained - np.minimum.accumulate(i - drained)
    return depth


def tail(rho: float | np.ndarray, depth: np.ndarray | float) -> np.ndarray:
    """P(v > depth) for Poisson arrivals at utilisation `rho` < 1: the Cramer-Lundberg approximation of M/D/1.

    P(v > d) = A exp(-theta (d - 1)), rho (e^theta - 1) = theta, A = (1 - rho) / (rho e^theta - 1); 1 below d = 1.
    """
    theta, scale = _lundberg(np.asarray(rho, dtype=float))
    chance: np.ndarray = np.minimum(scale * np.exp(-theta * np.maximum(np.asarray(depth) - 1, 0)), 1.0)
    return chance


def threshold(rho: np.ndarray, budget: float) -> np.ndarray:
    """Depth that the virtual queue exceeds at the fraction `budget` of the arrivals at utilisation `rho` < 1."""
    theta, scale = _lundberg(np.asarray(rho, dtype=float))
    depth: np.ndarray = 1 + np.maximum(np.log(scale / budget), 0) / theta
    return depth


def _lundberg(rho: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    theta = 2 * (1 - rho) / rho  # heavy-traffic start, above the root
    for _ in range(40):
        step = (rho * np.expm1(theta) - theta) / (rho * np.exp(theta) - 1)
        theta = theta - step
    return theta, (1 - rho) / (rho * np.exp(theta) - 1)


def service_spread(n: int, cv: float = 0.6) -> float:
    """Standard error, as a ratio, of a service rate that was seen over `n` completions of a saturated server."""
    return math.sqrt(0.03**2 + cv**2 / max(n, 1))
