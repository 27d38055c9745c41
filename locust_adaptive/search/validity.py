"""Is a measurement fit to be judged? The generator is measured as hard as the target (law 8).

The rules are data: name, the value measured, its bound, what to do. A slice in which our own sending was late is left
out; a probe that loses too many slices, or breaks a rule over those that remain, is INVALID.
"""

from __future__ import annotations

from dataclasses import dataclass

from .histogram import Histogram
from .slices import SLICE_S, Flow
from .trial import Excision, Measurement

CPU_BOUND = 0.70
SENT_BOUND = 0.98
LOST_BOUND = 0.4
LAG_FLOOR_S, LAG_SHARE = 0.005, 0.05
OF_ITS_OWN = "give the generator a core of its own, or add workers"


@dataclass(frozen=True)
class Fault:
    """A broken rule: its name, the value, the bound, and what to change."""

    rule: str
    value: float
    bound: float
    advice: str

    def __str__(self) -> str:
        return f"{self.rule} {self.value:.3g} (bound {self.bound:.3g}): {self.advice}"


def lag_bound(limit: float) -> float:
    """Seconds that sending may be late at the 99th percentile, for a latency limit in seconds."""
    return max(LAG_FLOOR_S, LAG_SHARE * limit)


def lag_quantile(flows: list[Flow], quantile: float) -> float:
    """Quantile of the send lag in seconds; 0 when nothing was sent."""
    total = Histogram()
    for flow in flows:
        for bucket, n in flow.lag.items():
            total.buckets[bucket] = total.buckets.get(bucket, 0) + n
    return total.quantile(quantile) if total.buckets else 0.0


def late_slices(flows: list[Flow], limit: float) -> list[Excision]:
    """The slices in which the generator itself stood still: every tenth request was late, or the loop for twice as
    long."""
    bound = lag_bound(limit)
    out = []
    for flow in flows:
        late = max(lag_quantile([flow], 0.9), flow.hub_lag / 2)
        if late > bound:
            # What was due while the loop was blocked is booked in the slices before.
            start = max(flow.index * SLICE_S - max(lag_quantile([flow], 0.99), flow.hub_lag), 0.0)
            out.append(Excision(start, (flow.index + 1) * SLICE_S, "generator", round(late, 4)))
    return out


def fault(measurement: Measurement, limit: float) -> Fault | None:
    """The first broken rule, or None if the measurement is fit."""
    flows = [f for f in measurement.flows if f.index >= measurement.settle]
    if not flows:
        return None
    cpu = sum(f.cpu * f.span for f in flows) / max(sum(f.span for f in flows), 1e-9)
    if cpu > CPU_BOUND:
        return Fault("generator CPU", cpu, CPU_BOUND, "add workers (--processes -1) or use a cheaper client")
    intended = sum(f.intended for f in flows)
    sent = intended - sum(f.dropped for f in flows)
    if intended and sent < SENT_BOUND * intended:
        return Fault("share of arrivals sent", sent / intended, SENT_BOUND, "raise the cap on requests in flight")
    kept = [f for f in flows if not any(x.cause == "generator" and _overlaps(x, f) for x in measurement.excised)]
    lost = 1 - len(kept) / len(flows)
    if lost > LOST_BOUND and len(flows) - len(kept) > 2:
        return Fault("share of time in which sending stood still", lost, LOST_BOUND, OF_ITS_OWN)
    lag = lag_quantile(kept, 0.99)
    if lag > lag_bound(limit):
        return Fault("send lag p99 in seconds", lag, lag_bound(limit), OF_ITS_OWN)
    return None


def _overlaps(excision: Excision, flow: Flow) -> bool:
    return excision.start < (flow.index + 1) * SLICE_S and flow.index * SLICE_S < excision.end
