"""Is a measurement fit to be judged? The generator is measured as hard as the target (law 8).

The rules of `rules.py` are held against what was measured. A slice in which our own sending was late is left out; a
probe that loses too many slices, or breaks another rule that voids, is INVALID.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .histogram import Histogram
from .rules import LAG_FLOOR_S, LAG_SHARE, PEAK_S, RULES, Rule
from .slices import NO_BUFFERS, NO_DESCRIPTORS, NO_PORTS, SLICE_S, Flow
from .trial import Excision, Measurement


@dataclass(frozen=True, slots=True)
class Check:
    """A rule held against a measurement: `value` is None where it cannot be measured, and `ok` None where it does not
    apply."""

    rule: Rule
    value: float | None
    bound: float
    ok: bool | None


@dataclass(frozen=True)
class Fault:
    """A broken rule: its name, the value, the bound, and what to change."""

    rule: str
    value: float
    bound: float
    advice: str

    def __str__(self) -> str:
        return f"{self.rule} {self.value:.3g} (bound {self.bound:.3g}): {self.advice}"


def fault(measurement: Measurement, limit: float) -> Fault | None:
    """The first broken rule that voids, or None if the measurement is fit. `limit` is the latency limit in seconds."""
    for check in checks(measurement, limit):
        if check.ok is False and check.rule.effect == "void":
            assert check.value is not None
            return Fault(check.rule.name, check.value, check.bound, check.rule.advice)
    return None


def checks(measurement: Measurement, limit: float, users: float | None = None, reason: str = "") -> list[Check]:
    """Every rule that a single probe can be held against, in the order of `RULES`.

    `users` were asked for (closed loop). The controller finds V10 and V11 broken while the probe runs: the `reason` of
    its trial says so.
    """
    lost = _lost(measurement)
    values = _values(measurement, lost, users)
    out = []
    for rule in RULES[:-1]:
        value = values.get(rule.id)
        bound = lag_bound(limit) if rule.bound is None else rule.bound
        ok: bool | None
        if rule.id in ("V10", "V11", "V11b"):
            ok = None if rule.id == "V10" and users is None else rule.name != reason
        elif value is None:
            ok = None
        else:
            ok = value >= bound if rule.at_least else value <= bound
        if rule.id == "V18" and len(lost) <= 2:
            ok = True
        out.append(Check(rule, value, bound, ok))
    return out


def worst(found: Iterable[Sequence[Check]]) -> list[Check]:
    """Rule by rule the worst of several probes' checks."""
    out = []
    for same in zip(*found, strict=True):
        rule = same[0].rule
        values = [c.value for c in same if c.value is not None]
        value = None if not values else min(values) if rule.at_least else max(values)
        told = [c.ok for c in same if c.ok is not None]
        out.append(Check(rule, value, same[0].bound, all(told) if told else None))
    return out


def lightest_errors(measurements: Sequence[tuple[float, Measurement]]) -> Check:
    """V21, of the loads and measurements of all valid probes."""
    rule, lowest = RULES[-1], min((load for load, _ in measurements), default=0.0)
    names = [c for load, m in measurements if load == lowest for x in m.clean for c in x.names.values()]
    sent = sum(c.sent for c in names)
    assert rule.bound is not None
    if not sent:
        return Check(rule, None, rule.bound, None)
    failed = sum(n for c in names for n in c.errors.values()) / sent
    return Check(rule, failed, rule.bound, failed <= rule.bound)


def lag_bound(limit: float) -> float:
    """Seconds that sending may be late at the 99th percentile, for a latency limit in seconds."""
    return max(LAG_FLOOR_S, LAG_SHARE * limit)


def lag_quantile(flows: Sequence[Flow], quantile: float) -> float:
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


# -- values ------------------------------------------------------------------------------------------------------------


def busiest(measurement: Measurement, seconds: float | None = None) -> float:
    """The share of its core that the busiest generator process used: over the probe once settled, or in the busiest
    `seconds` of it. 0 where the probe is shorter."""
    flows = _settled(measurement)
    n = len(flows) if seconds is None else round(seconds / SLICE_S)
    if not flows or len(flows) < n:
        return 0.0
    # Old journals, and a single process, have no shares apart. A worker that says nothing in a last slice used nothing.
    apart = [flow.cpus or [flow.cpu] for flow in flows]
    shares = np.zeros((len(flows), max(map(len, apart))))
    for row, cpus in zip(shares, apart, strict=True):
        row[: len(cpus)] = cpus
    spans = np.array([flow.span for flow in flows])
    used = np.vstack([np.zeros(shares.shape[1]), np.cumsum(shares * spans[:, None], axis=0)])
    time = np.concatenate([[0.0], np.cumsum(spans)])
    return float(((used[n:] - used[:-n]) / np.maximum(time[n:] - time[:-n], 1e-9)[:, None]).max())


def _values(measurement: Measurement, lost: set[int], users: float | None) -> dict[str, float]:
    """By the id of the rule. What could not be measured is not there."""
    flows = _settled(measurement)
    if not flows:
        return {}
    out = {
        "V1": busiest(measurement),
        "V1b": busiest(measurement, PEAK_S),
        "V2": lag_quantile([f for f in flows if f.index not in lost], 0.99),
        "V18": len(lost) / len(flows),
        "V25": measurement.little_breach(),
    }
    for rule, kind in (("V15a", NO_DESCRIPTORS), ("V15b", NO_PORTS), ("V15c", NO_BUFFERS)):
        out[rule] = sum(f.errors.get(kind, 0) for f in measurement.flows)
    if intended := sum(f.intended for f in flows):
        out["V3"] = (intended - sum(f.dropped for f in flows)) / intended
    if users is not None:
        out["V10"] = max(abs(f.users - users) for f in flows)
    for rule, key, over in (("V15d", "descriptors", max), ("V19", "steal", _mean), ("V19b", "throttled", _mean)):
        if told := [f.host[key] for f in flows if key in f.host]:
            out[rule] = over(told)
    return out


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _settled(measurement: Measurement) -> list[Flow]:
    return [f for f in measurement.flows if f.index >= measurement.settle]


def _lost(measurement: Measurement) -> set[int]:
    """Slices of the settled time that are left out because the generator itself was late."""
    late = [x for x in measurement.excised if x.cause == "generator"]
    return {f.index for f in _settled(measurement) if any(_overlaps(x, f) for x in late)}


def _overlaps(excision: Excision, flow: Flow) -> bool:
    return excision.start < (flow.index + 1) * SLICE_S and flow.index * SLICE_S < excision.end
