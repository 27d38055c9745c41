"""How far a trace of so many requests is from the traffic it was cut from, by the sizes of its bodies.

python -m benchmarks.arrivals.sizes      # a second; prints the table of docs/how-to/is-my-trace-good-enough.md
"""

import numpy as np

SIGMA = 1.2
"""Of log-normal sizes, drawn independently: the largest 1 % of the bodies are 16 times the median and more."""
DRAWS = 400
P99 = float(np.exp(SIGMA * 2.3263))
MEAN = float(np.exp(SIGMA**2 / 2))


def main() -> None:
    print("| requests | mean body off by | p99 off by |\n|---|---|---|")
    rng = np.random.default_rng(1)
    for n in (100, 1000, 3000, 10_000, 30_000):
        sizes = np.exp(SIGMA * rng.standard_normal((DRAWS, n)))
        errors = abs(sizes.mean(axis=1) / MEAN - 1), abs(np.quantile(sizes, 0.99, axis=1) / P99 - 1)
        print(f"| {n} | " + " | ".join(f"{100 * np.quantile(error, 0.95):.2g} %" for error in errors) + " |")


if __name__ == "__main__":
    main()
