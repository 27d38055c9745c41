"""GuideLLM 0.8.1, profile `goodput`.

Source: its description of the profile. Streams are doubled from 4 until the share of requests within the limit falls
below the target, then bisected. Its Wilson interval is logged and decides nothing, so it is not here.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..bench import Bench, Window
from .shared import anytime, at_most, double_and_bisect, meets

NAME = "GuideLLM goodput"
ASSUMPTIONS = (
    "A stream is a quarter of low: its 4 streams at the start are low.",
    "If low fails, streams are halved down to one: below the range, as the tool does it.",
    "A probe lasts 30 s (the tool leaves it to the user), and is drained.",
    "The share of requests that must meet the limit is the SLO's quantile.",
)

PROBES, SECONDS = 15, 30.0


@anytime
def search(bench: Bench) -> Iterator[float]:
    """The highest rate at which the target share was attained, 1/s."""
    stream = bench.low / 4

    def run(streams: int) -> Window:
        return bench.run(streams * stream, SECONDS)

    probe = at_most(PROBES, run)
    for streams in double_and_bisect(
        lambda streams: meets(bench, probe(streams)),
        4,
        round(bench.high / stream),
        close=lambda best, worst: worst - best <= max(1, 0.1 * best),
        descend=True,
    ):
        yield streams * stream
