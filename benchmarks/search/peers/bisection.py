"""Probabilistic bisection: no tool has it, and it is the baseline to beat.

Source: Horstein 1963; Waeber, Frazier and Henderson 2013. A probe at the posterior's median moves its mass: the side
the answer points to is multiplied by p, the other by 1 - p, and both are normalised.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ..bench import Bench
from .shared import anytime, meets

NAME = "probabilistic bisection"
ASSUMPTIONS = (
    "The prior is uniform in the logarithm of the load.",
    "Each answer is taken to be right with p = 0.75.",
    "A probe lasts 10 s (a second row: 30 s), and is drained; a third row goes on from probe to probe without a pause.",
    "It ends when the central 95 % of the posterior are narrower than 5 %, and answers with the median.",
)

RIGHT, MASS, WIDTH = 0.75, 0.95, 0.05


@anytime
def search(bench: Bench, seconds: float = 10.0, drained: bool = True) -> Iterator[float]:
    """The posterior's median, 1/s."""
    edges = np.log([bench.low, bench.high])
    below = np.array([0.0, 1.0])  # the posterior's distribution function at the edges, linear between them
    median, width = float(edges.mean()), math.inf
    while width >= math.log1p(WIDTH):
        passed = meets(bench, bench.run(math.exp(median), seconds, drain=drained))
        at = int(np.searchsorted(edges, median))
        edges, below = np.insert(edges, at, median), np.insert(below, at, 0.5)
        # Half of the mass lies on either side of the median: times p and 1 - p, it sums to a half.
        mass = np.diff(below)
        mass[:at] *= 2 * (1 - RIGHT if passed else RIGHT)
        mass[at:] *= 2 * (RIGHT if passed else 1 - RIGHT)
        below = np.concatenate([[0.0], np.cumsum(mass)])
        low, median, high = np.interp([(1 - MASS) / 2, 0.5, (1 + MASS) / 2], below, edges).tolist()
        width = high - low
        yield math.exp(median)
