"""Stalls in the result: are they within the tolerance, and what is left when they are counted (the strict capacity)?"""

from __future__ import annotations

from collections.abc import Sequence

from .estimate import Estimate
from .events import Capacity, Stall
from .settings import Settings


def strict_capacity(
    settings: Settings,
    estimate: Estimate,
    binding: int | None,
    tolerant: Capacity,
    stalls: Sequence[Stall],
    elapsed: float,
) -> tuple[Capacity | None, str | None]:
    """The strict capacity, or None and why.

    A stall of length S makes late what arrives in it until S - L before its end, and what queues behind it: by the
    fluid queue, (S - L) mu / (mu - x) seconds of arrivals at load x. Added to the misses expected without stalls, the
    load at which the budget is spent is the strict capacity.
    """
    excised = [s for s in stalls if s.excised]
    if binding is None or not excised:
        return tolerant, None
    objective = settings.objectives[binding]
    budget = objective.budget or 0.0
    limit = objective.limit if objective.signal == "latency" else settings.limit
    late = sum(max(s.length - limit, 0.0) for s in excised) / max(elapsed, 1e-9)
    rate = estimate.mu or 2 * estimate.value

    def misses(load: float) -> float:
        return estimate.miss_fraction(load, budget) + late * rate / max(rate - load, 1e-9)

    if late >= budget:
        return None, (
            f"no load meets {objective}: its stalls alone make {100 * late:.2g} % of the requests late, "
            f"{100 * budget:.2g} % are allowed"
        )
    low, high = 0.0, estimate.value
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if misses(max(middle, 1e-9)) <= budget else (low, middle)
    share = low / estimate.value
    scaled = [
        None if x is None else settings.grid.snap(x * share) for x in (tolerant.value, tolerant.low, tolerant.high)
    ]
    return Capacity(*scaled), None


def tolerated(settings: Settings, stalls: Sequence[Stall], elapsed: float) -> bool:
    """Do the stalls take no more than the tolerated share of the time? One of them is free, whatever the share."""
    lengths = [s.length for s in stalls]
    return sum(lengths) <= settings.spike_tolerance * elapsed + max(lengths, default=0.0)
