"""MLRsearch 1.2.1 (FD.io CSIT, IETF draft-ietf-bmwg-mlrsearch), from its own package.

What is written here is the measurer only: a trial is a drained run, and a request over the limit is a lost frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from MLRsearch import Config, MeasurementResult, MultipleLossRatioSearch, SearchGoal

from ..bench import Bench
from .shared import anytime

NAME = "MLRsearch"
ASSUMPTIONS = (
    "A loss is a request over the limit, the goal's loss ratio one minus the SLO's quantile.",
    "Its answer is the relevant lower bound: the conditional throughput would take off the losses that the SLO allows.",
    "The default row has the package's defaults (trials of 1 s, 21 s in all, width 0.5 %), the tuned one trials of "
    "10 s, 60 s in all, width 2 %; the third row is tuned with its warm-up trial, at high, of 120 s.",
    "The search may take as long as the time allowed, not its 1200 s, and has no answer before it ends.",
)


@anytime
def search(bench: Bench, tuned: bool = False, warm_up_s: float = 1.0) -> Iterator[float]:
    """The relevant lower bound, 1/s. Nothing if `low` has too many losses, or time runs out: it fails then."""
    loss_ratio = 1 - bench.quantile
    if tuned:
        goal = SearchGoal(
            loss_ratio=loss_ratio,
            relative_width=0.02,
            initial_trial_duration=10.0,
            final_trial_duration=10.0,
            duration_sum=60.0,
        )
    else:
        goal = SearchGoal(loss_ratio=loss_ratio)
    config = Config(
        goals=[goal],
        min_load=bench.low,
        max_load=bench.high,
        search_duration_max=math.inf,  # of its own clock, which is not the bench's
        warmup_duration=warm_up_s,
    )
    try:
        found = MultipleLossRatioSearch(config).search(_Trials(bench))
    except RuntimeError:  # how it says that the lowest load fails
        return
    bound = found[goal].relevant_lower_bound
    if bound is not None:
        yield float(bound)


class _Trials:
    """What it calls a measurer. Its base class has types for nobody, and is not asked for."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def measure(self, intended_duration: float, intended_load: float) -> MeasurementResult:
        window = self.bench.run(intended_load, intended_duration)
        lost = round(window.miss_ratio(self.bench.limit_s) * window.sent)
        return MeasurementResult(intended_duration, intended_load, offered_count=window.sent, loss_count=lost)
