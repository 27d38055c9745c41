"""How many requests, and how long, a trace must be: the tables of docs/how-to/is-my-trace-good-enough.md.

python -m benchmarks.arrivals.sample      # seconds; prints them
"""

import numpy as np

from locust_adaptive.replay.fitness import unfit

from .synthetic import BURST_S, CALM_S, rate_driven

SIGMA = 1.2
"""Of log-normal sizes, drawn independently: the largest 1 % of the bodies are 16 times the median and more."""
DRAWS = 400
P99 = float(np.exp(SIGMA * 2.3263))
MEAN = float(np.exp(SIGMA**2 / 2))
RECORDINGS = 100


def sizes() -> None:
    """How far a trace of so many requests is from the traffic it was cut from."""
    print("| requests | mean body off by | p99 off by |\n|---|---|---|")
    rng = np.random.default_rng(1)
    for n in (100, 1000, 3000, 10_000, 30_000):
        drawn = np.exp(SIGMA * rng.standard_normal((DRAWS, n)))
        errors = abs(drawn.mean(axis=1) / MEAN - 1), abs(np.quantile(drawn, 0.99, axis=1) / P99 - 1)
        print(f"| {n} | " + " | ".join(f"{100 * np.quantile(error, 0.95):.2g} %" for error in errors) + " |")


def lengths() -> None:
    """How many recordings of the same bursts are called too short for their slowest one."""
    print(f"\nBursts of {BURST_S:g} s, {CALM_S:g} s between them:\n\n| minutes | called too short |\n|---|---|")
    for minutes in (2, 5, 10, 20, 40, 120):
        made = (rate_driven(60 * minutes, np.random.default_rng(seed)) for seed in range(RECORDINGS))
        print(f"| {minutes} | {sum(unfit(index, 'ns') is not None for index in made)} of {RECORDINGS} |")


if __name__ == "__main__":
    sizes()
    lengths()
