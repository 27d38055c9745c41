"""A step ramp: 20 equal steps of 30 s up to the highest load, and the last that passed. What people do by hand.

Source: the step-load shapes of Locust, k6 and JMeter with an abort at the first step over the threshold.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..bench import Bench
from .shared import anytime, meets

NAME = "step ramp"
ASSUMPTIONS = (
    "It ends at the first step in which the percentile is over the limit.",
    "A step's figures are of the requests sent in it; the load goes on from step to step without a pause.",
)

STEPS, SECONDS = 20, 30.0


@anytime
def search(bench: Bench) -> Iterator[float]:
    """The rate of the last step before the first that fails, 1/s."""
    for step in range(1, STEPS + 1):
        rate = bench.high * step / STEPS
        if not meets(bench, bench.run(rate, SECONDS, drain=False)):
            return
        yield rate
