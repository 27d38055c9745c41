"""What the peers share: an answer whenever time runs out, a verdict, and the search that three of them vary."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import ParamSpec

from ..bench import Bench, BudgetSpent, Window

P = ParamSpec("P")

ASSUMPTIONS = (
    "What is varied is the rate of Poisson arrivals, also where the tool by itself varies users.",
    "The tool is told the SLO and the range of loads [low, high], and starts and ends there.",
    "Its percentile is the SLO's, where it has another by default.",
    "A request that was refused counts as one over the limit, also where the tool leaves errors out.",
    "What it had found when the time allowed was over is its answer, also where it would print none.",
)


def anytime(tool: Callable[P, Iterator[float]]) -> Callable[P, float | None]:
    """Make of a tool that yields its answer so far, each time it changes, one that returns the last; None if none."""

    @functools.wraps(tool)
    def search(*args: P.args, **kwargs: P.kwargs) -> float | None:
        best = None
        try:
            for answer in tool(*args, **kwargs):
                best = answer
        except BudgetSpent:
            pass
        return best

    return search


def at_most(probes: int, probe: Callable[[int], Window]) -> Callable[[int], Window]:
    """The same probe, with a budget of so many: the next raises BudgetSpent."""
    left = iter(range(probes))

    def limited(load: int) -> Window:
        if next(left, None) is None:
            raise BudgetSpent(f"the tool makes at most {probes} probes")
        return probe(load)

    return limited


def meets(bench: Bench, window: Window) -> bool:
    """Whether the SLO held in the window: the point estimate, as every tool takes it."""
    return window.quantile(bench.quantile) <= bench.limit_s


def drain(bench: Bench) -> None:
    """Send nothing until nothing is open."""
    bench.run(bench.low, 0.0, drain=True)


def double_and_bisect(
    passes: Callable[[int], bool],
    first: int,
    last: int,
    *,
    close: Callable[[int, int], bool] = lambda good, bad: False,
    descend: bool = False,
) -> Iterator[int]:
    """Yield each load that passes: twice the one before until one fails or `last` has passed, then midpoints.

    Ends when `close(good, bad)`, or when they are neighbours. If `first` fails there is no answer, unless `descend`:
    then it is halved until a load passes.
    """
    good, bad, load = 0, last + 1, first
    while good < load < bad:
        if passes(load):
            good = load
            yield good
        else:
            bad = load
        if bad > last:
            load = min(2 * good, last)
        elif good == 0:
            load = bad // 2 if descend else 0
        elif close(good, bad):
            return
        else:
            load = (good + bad) // 2
