"""The known capacities of `target.py`'s server, by simulation of the same queue; and the standard settings.

Open loop: Poisson arrivals, from an empty queue with the start left out. Closed loop: users who send again at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heapreplace

import numpy as np

from locust_adaptive.demo.capacity import Capacity, Floats, find_capacity
from tests.support.target import Service, VirtualQueue


@dataclass(frozen=True, slots=True)
class Setting:
    """A server with its capacity under `p99<250ms`: requests a second (open loop) or users (closed loop)."""

    service: Service
    capacity: float

    @property
    def served(self) -> float:
        """Requests a second that the server can serve at all."""
        return self.service.workers / self.service.mean_s


LIMIT_S = 0.25
QUANTILE = 0.99

# Computed by open_loop_capacity (standard error 0.15 %) and closed_loop_capacity; a test does it again, shorter.
# The closed-loop setting is decisive: 12 users miss the limit 0.6 % of the time, 13 users 2.7 %.
SMALL = Setting(Service(workers=1, mean_s=0.0131, sigma=0.4), capacity=65.7)
LARGE = Setting(Service(workers=2, mean_s=0.01135, sigma=0.4), capacity=165.3)
CLOSED = Setting(Service(workers=1, mean_s=0.0155, sigma=0.4), capacity=12)


def open_loop_capacity(
    service: Service,
    limit_s: float = LIMIT_S,
    quantile: float = QUANTILE,
    *,
    runs: int = 256,
    requests: int = 20_000,
    seed: int = 1,
) -> Capacity:
    """Largest Poisson rate at which `quantile` of the latencies stays within the limit, on common random numbers."""
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.standard_exponential((requests, runs)), axis=0)
    services = np.exp(service.log_mean + service.sigma * rng.standard_normal((requests, runs)))
    settled = requests // 10

    def misses(rate: float) -> Floats:
        latencies = simulate(service.workers, arrivals / rate, services)
        return np.asarray(np.mean(latencies[settled:] > limit_s, axis=0))

    return find_capacity(misses, 1 - quantile, service.workers / service.mean_s)


def simulate(workers: int, arrivals: Floats, services: Floats) -> Floats:
    """Latency in seconds of each request of many independent runs; all arrays are [requests, runs].

    The twin of `VirtualQueue` (Kiefer and Wolfowitz's recursion), one request of every run a step.
    """
    runs = arrivals.shape[1]
    free_at = np.full((workers, runs), -np.inf)
    run = np.arange(runs)
    done = np.empty_like(arrivals)
    for arrival, service_s, out in zip(arrivals, services, done, strict=True):
        soonest = free_at.argmin(axis=0) if workers > 1 else 0
        np.maximum(arrival, free_at[soonest, run], out=out)
        out += service_s
        free_at[soonest, run] = out
    return done - arrivals


def closed_loop_capacity(
    service: Service, limit_s: float = LIMIT_S, quantile: float = QUANTILE, *, requests: int = 200_000, seed: int = 1
) -> int:
    """Largest number of users, each sending again at the moment of its answer, whose quantile is within the limit."""
    users = 0
    while closed_loop_misses(service, users + 1, limit_s, requests, seed) <= 1 - quantile:
        users += 1
    return users


def closed_loop_misses(service: Service, users: int, limit_s: float, requests: int, seed: int = 1) -> float:
    """The share of requests that take longer than the limit with this many users."""
    rng = np.random.default_rng(seed)
    draws = np.exp(service.log_mean + service.sigma * rng.standard_normal(requests))
    queue = VirtualQueue(service.workers)
    open_requests = [queue.completion(0.0, draw) for draw in draws[:users].tolist()]
    heapify(open_requests)
    late = 0
    for draw in draws[users:].tolist():
        # The user whose answer comes first sends again at that moment.
        sent = open_requests[0]
        done = queue.completion(sent, draw)
        heapreplace(open_requests, done)
        late += done - sent > limit_s
    return late / (requests - users)
