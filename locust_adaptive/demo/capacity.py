"""The known capacity of the demo server: simulation of the accelerator's formula under Poisson arrivals.

Every run is simulated at once with numpy, on common random numbers, from an empty queue with the start left out.
`python -m locust_adaptive.demo.capacity` prints the capacity with its standard error.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from locust_adaptive.demo.accelerator import Device
from locust_adaptive.demo.workload import candidate_counts, make_workload

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Capacity:
    """Where the SLO just holds, in requests a second, and the standard error of that figure."""

    value: float
    standard_error: float


def capacity(
    counts: Counts,
    device: Device | None = None,
    *,
    limit_s: float = 0.25,
    quantile: float = 0.99,
    runs: int = 192,
    requests: int = 20_000,
    seed: int = 1,
) -> Capacity:
    """Largest Poisson rate at which `quantile` of the latencies stays within `limit_s`.

    `counts` are the candidates of the trace's requests; each run of `requests` requests draws them in a fresh order,
    all of them once before any comes again. The server's bounded queue is left out: where it would refuse a request,
    that request would be late by seconds, a miss either way.
    """
    device = device or Device()
    rng = np.random.default_rng(seed)
    gaps = rng.standard_exponential((runs, requests))
    arrivals = np.cumsum(gaps, axis=1)
    rounds = -(-requests // len(counts))
    candidates = np.hstack([rng.permuted(np.tile(counts, (runs, 1)), axis=1) for _ in range(rounds)])[:, :requests]
    settled = requests // 10

    def misses(rate: float) -> Floats:
        latencies = simulate(device, arrivals / rate, candidates)
        return np.asarray(np.mean(latencies[:, settled:] > limit_s, axis=1))

    # A device that only ever launches full batches of mean size is as fast as it gets.
    ceiling = device.max_batch / device.busy_s(device.max_batch * float(np.mean(counts)))
    return find_capacity(misses, 1 - quantile, ceiling)


def simulate(device: Device, arrivals: Floats, candidates: Counts) -> Floats:
    """Latency in seconds of each request of many independent runs; all arrays are [runs, requests].

    The twin of `Accelerator`, one batch of every run a step. `arrivals` must not decrease along a run.
    """
    runs, requests = arrivals.shape
    # Behind the last request come `max_batch` that never arrive, so that every window of a batch exists.
    padded = np.hstack([arrivals, np.full((runs, device.max_batch), np.inf)])
    cumulative = np.zeros(padded.shape, dtype=np.int64)
    np.cumsum(candidates, axis=1, out=cumulative[:, 1 : requests + 1])
    done = np.empty_like(padded)
    flat_arrivals, flat_cumulative, flat_done = padded.ravel(), cumulative.ravel(), done.ravel()
    row = np.arange(runs) * padded.shape[1]
    window = np.arange(device.max_batch)
    head = np.zeros(runs, dtype=np.int64)
    free_at = np.full(runs, -np.inf)
    while head.min() < requests:
        places = (row + head)[:, None] + window
        waiting = flat_arrivals[places]
        launch = device.launch_at(free_at, waiting[:, 0], waiting[:, -1])
        # Who comes at the very moment of a launch is too late for it, unless it is the one that fills the batch.
        fills = (launch > free_at) & (launch == waiting[:, -1])
        aboard = (waiting < launch[:, None]) | ((waiting == launch[:, None]) & fills[:, None])
        size = np.minimum(aboard.sum(axis=1), requests - head)
        total = flat_cumulative[row + head + size] - flat_cumulative[row + head]
        free_at = launch + device.busy_s(total.astype(np.float64))
        # Places behind the batch are written too: the batches that follow write them again.
        flat_done[places] = free_at[:, None]
        head += size
    return np.asarray(done[:, :requests] - arrivals)


def find_capacity(
    misses: Callable[[float], Floats], allowed: float, ceiling: float, precision: float = 1e-4
) -> Capacity:
    """The load at which the mean of `misses(load)`, one share for each run, is `allowed`; by bisection up to `ceiling`.

    `misses` must use common random numbers, so that it grows with the load. The standard error is that of the mean
    over the runs, divided by its slope in the load (delta method). ValueError when not even a thousandth
    of the ceiling passes.
    """
    low, high = ceiling / 1000, ceiling
    if misses(low).mean() > allowed:
        raise ValueError(f"no load meets the limit: even at {low:.3g} req/s more than {allowed:.2%} miss it")
    while high - low > precision * high:
        middle = (low + high) / 2
        if misses(middle).mean() <= allowed:
            low = middle
        else:
            high = middle
    here = misses(low)
    step = 0.01 * low
    slope = (misses(low + step).mean() - misses(low - step).mean()) / (2 * step)
    return Capacity(low, float(here.std(ddof=1) / np.sqrt(len(here)) / slope))


def main() -> None:
    """Print the capacity of the demo server for the demo's workload."""
    parser = argparse.ArgumentParser(description="The known capacity of the demo server, by simulation.")
    parser.add_argument("--limit", type=float, default=0.25, metavar="S", help="latency limit (default 0.25)")
    parser.add_argument("--quantile", type=float, default=0.99, metavar="Q", help="share within it (default 0.99)")
    arguments = parser.parse_args()
    found = capacity(candidate_counts(make_workload()), limit_s=arguments.limit, quantile=arguments.quantile)
    print(
        f"capacity {found.value:.1f} req/s (standard error {found.standard_error:.2f}) under "
        f"p{100 * arguments.quantile:g}<{1000 * arguments.limit:g}ms, Poisson arrivals, bodies drawn from the trace"
    )


if __name__ == "__main__":
    main()
