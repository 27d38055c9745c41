"""The result of a run, `capacity.json`: plain values, schema 1, derived from the facts alone.

docs/reference/capacity-json.md describes each field and when it is null. Changes only add fields.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from ..search.events import Capacity
from ..search.histogram import Histogram
from ..search.rules import LITTLE_BOUND
from ..search.settings import Settings
from ..search.slo import Objective
from ..search.trial import Measurement, Trial, Verdict
from ..search.validity import busiest, lag_quantile
from .files import write_atomically
from .fitness import BrokenPart, ValidityPart, broken, validity
from .fold import Fold

SCHEMA = 1
CONFIDENCE = 0.95
ONE_REQUEST = 1e-3
"""Arrivals send one request each when their mean is within this of 1."""

Unit = Literal["rps", "arrivals", "users"]


class CapacityPart(TypedDict):
    value: float | None
    unit: Unit
    rps: float | None
    rps_low: float | None
    low: float | None
    high: float | None
    confidence: float
    verified: float | None


class LimitPart(TypedDict):
    objective: str | None
    signal: str | None
    next: str | None


class LoadPart(TypedDict):
    kind: Literal["open", "closed"]
    arrivals: str | None
    requests_per_arrival: float


class ExcisedPart(TypedDict):
    start_s: float
    end_s: float
    cause: str
    length_s: float


class ProbesPart(TypedDict):
    judged: int
    valid: int
    invalid: int
    repeated: int


class TrialPart(TypedDict):
    number: int
    load: float
    purpose: str
    verdict: str
    reason: str
    repeats: int | None
    started_s: float
    seconds: float
    requests: int
    misses: dict[str, list[int]]
    latency_ms: dict[str, float | None]
    errors: dict[str, int]
    throughput: float | None
    little_breach: bool
    broken: list[BrokenPart]
    excised: list[ExcisedPart]


class StallPart(TypedDict):
    at_s: float
    length_s: float
    probe: int
    excised: bool


class GeneratorPart(TypedDict):
    workers: int
    cpu_max: float
    send_lag_p99_ms: float
    hub_lag_max_ms: float
    late_s: float
    invalid_probes: int


class Result(TypedDict):
    schema: int
    verdict: str
    reason: str
    capacity: CapacityPart
    strict: CapacityPart | None
    strict_reason: str | None
    undisturbed: CapacityPart | None
    limit: LimitPart
    slo: str
    load: LoadPart
    warmup_s: float | None
    started: str
    elapsed_s: float
    requests: int
    probes: ProbesPart
    validity: list[ValidityPart]
    trials: list[TrialPart]
    stalls: list[StallPart]
    generator: GeneratorPart
    notes: list[str]
    package: str
    policy: list[Any]
    environment: dict[str, Any]
    options: dict[str, Any]


class ResultError(ValueError):
    """A text that is no result that can be read here."""


def result(facts: Fold) -> Result:
    """The result of a run: of its last state where it has not ended."""
    header, ending = facts.header, facts.conclusion
    settings, objectives = header.settings, header.settings.objectives
    trials = [trial_part(trial, settings) for trial in facts.trials]
    nothing = Capacity(None, None, None)

    def named(place: int | None) -> Objective | None:
        return None if place is None else objectives[place]

    binding, following = (named(ending.objective), named(ending.next_objective)) if ending else (None, None)
    notes = list(ending.notes) if ending else []
    notes += ["little_breach"] if any(t["little_breach"] for t in trials) else []
    notes += facts.notes
    return {
        "schema": SCHEMA,
        "verdict": ending.verdict if ending else "aborted",
        "reason": ending.reason if ending else "journal_ends",
        "capacity": _capacity(ending.capacity if ending else nothing, facts),
        "strict": _strict(facts),
        "strict_reason": ending.strict_reason if ending else None,
        "undisturbed": _capacity(ending.undisturbed, facts) if ending and ending.undisturbed else None,
        "limit": {
            "objective": str(binding) if binding else None,
            "signal": binding.signal if binding else None,
            "next": str(following) if following else None,
        },
        "slo": str(settings.slo),
        "load": {
            "kind": settings.loop,
            "arrivals": header.arrivals,
            "requests_per_arrival": round(facts.requests_per_arrival, 4),
        },
        "warmup_s": ending.warmup_s if ending else None,
        "started": header.started,
        "elapsed_s": round(facts.elapsed_s, 3),
        "requests": facts.requests,
        "probes": {
            "judged": len(trials),
            "valid": sum(t["verdict"] != "INVALID" for t in trials),
            "invalid": sum(t["verdict"] == "INVALID" for t in trials),
            "repeated": sum(t["repeats"] is not None for t in trials),
        },
        "validity": validity(
            facts.trials, settings, unfit=ending is not None and ending.reason == "measurement_invalid"
        ),
        "trials": trials,
        "stalls": [{"at_s": s.at, "length_s": s.length, "probe": s.probe, "excised": s.excised} for s in facts.stalls],
        "generator": _generator(facts),
        "notes": notes,
        "package": header.package,
        "policy": [header.policy, header.policy_version],
        "environment": dict(header.environment),
        "options": dict(header.options),
    }


def trial_part(trial: Trial, settings: Settings) -> TrialPart:
    """One trial, as it stands in the result."""
    m, objectives = trial.measurement, settings.objectives
    flows = [f for f in m.flows if f.index >= m.settle]
    seconds = sum(f.span for f in flows)
    quantiles = {"p50": (0.5, None), **{key(o): (o.quantile, o.scope) for o in objectives if o.signal == "latency"}}
    return {
        "number": trial.number,
        "load": trial.load,
        "purpose": str(trial.purpose),
        "verdict": str(trial.verdict),
        "reason": trial.reason,
        "repeats": trial.probe.repeats,
        "started_s": trial.started,
        "seconds": round(trial.ended - trial.started, 3),
        "requests": m.sent,
        "misses": {str(o): list(m.counts(i)) for i, o in enumerate(objectives)},
        "latency_ms": {name: _latency_ms(m, q, scope) for name, (q, scope) in quantiles.items() if q is not None},
        "errors": _errors(trial),
        "throughput": _rounded(sum(f.done for f in flows) / seconds) if seconds else None,
        "little_breach": m.little_breach() > LITTLE_BOUND,
        "broken": broken(trial, settings),
        "excised": [
            {"start_s": x.start, "end_s": min(x.end, m.elapsed_s), "cause": x.cause, "length_s": x.length}
            for x in m.excised
        ],
    }


def _errors(trial: Trial) -> dict[str, int]:
    """Failed requests by kind, in the slices that count; by the clock where failures ended the probe, or the load was
    cut before any slice counted."""
    m, kinds = trial.measurement, Counter[str]()
    if trial.ended_by_answers or not m.clean:
        for flow in m.flows:
            kinds.update(flow.errors)
    else:
        for cohort in m.clean:
            for counts in cohort.names.values():
                kinds.update(counts.errors)
    return dict(sorted(kinds.items()))


def key(objective: Objective) -> str:
    """Name of a latency quantile: p99, or p99{/v1/rank}."""
    return (objective.aggregate or "") + ("" if objective.scope is None else f"{{{objective.scope}}}")


def _latency_ms(m: Measurement, quantile: float, scope: str | None) -> float | None:
    """Latency quantile of all requests: one that was not answered in time is slower than any that was (law 5). None
    where the quantile falls among those, and where there were no requests."""
    total, unanswered = Histogram(), 0
    for cohort in m.clean:
        for name, counts in cohort.names.items():
            if scope in (None, name):
                total.merge(Histogram(counts.hist))
                unanswered += counts.open
    answered = total.count
    if not answered:
        return None
    share = quantile * (answered + unanswered) / answered
    return _rounded(1000 * total.quantile(share)) if share <= 1 else None


def _capacity(capacity: Capacity, facts: Fold) -> CapacityPart:
    per_arrival = facts.requests_per_arrival
    unit: Unit
    if facts.header.settings.loop == "closed":
        unit = "users"
    else:
        unit = "rps" if abs(per_arrival - 1) <= ONE_REQUEST else "arrivals"

    def rps(load: float | None) -> float | None:
        if load is None or unit == "rps":
            return load
        return throughput_at(facts.trials, load) if unit == "users" else _rounded(load * per_arrival)

    return {
        "value": capacity.value,
        "unit": unit,
        "rps": rps(capacity.value),
        "rps_low": rps(capacity.low),
        "low": capacity.low,
        "high": capacity.high,
        "confidence": CONFIDENCE,
        "verified": capacity.verified,
    }


def _strict(facts: Fold) -> CapacityPart | None:
    """The capacity with the stalls counted: the same where none was left out."""
    ending = facts.conclusion
    if ending is None:
        return None
    nothing_left_out = ending.strict_reason is None and not any(s.excised for s in facts.stalls)
    strict = ending.strict or (ending.capacity if nothing_left_out else None)
    return None if strict is None else _capacity(strict, facts)


def throughput_at(trials: Sequence[Trial], load: float) -> float | None:
    """Closed loop: answers per second measured with so many users, between two loads by linear interpolation; None
    outside of what was measured."""
    done: dict[float, float] = {}
    spent: dict[float, float] = {}
    for trial in trials:
        if trial.verdict is not Verdict.INVALID:
            for flow in trial.measurement.flows:
                if flow.index >= trial.measurement.settle:
                    done[trial.load] = done.get(trial.load, 0.0) + flow.done
                    spent[trial.load] = spent.get(trial.load, 0.0) + flow.span
    below = max((x for x in done if x <= load), default=None)
    above = min((x for x in done if x >= load), default=None)
    if below is None or above is None:
        return None
    low, high = done[below] / spent[below], done[above] / spent[above]
    return _rounded(low if below == above else low + (high - low) * (load - below) / (above - below))


def _generator(facts: Fold) -> GeneratorPart:
    flows = [f for t in facts.trials for f in t.measurement.flows if f.index >= t.measurement.settle]
    return {
        "workers": facts.workers,
        "cpu_max": _rounded(max((busiest(t.measurement) for t in facts.trials), default=0.0)),
        "send_lag_p99_ms": _rounded(1000 * lag_quantile(flows, 0.99)),
        "hub_lag_max_ms": _rounded(1000 * max((f.hub_lag for f in flows), default=0.0)),
        "late_s": round(sum(_late_s(t.measurement) for t in facts.trials), 3),
        "invalid_probes": sum(t.verdict is Verdict.INVALID for t in facts.trials),
    }


def _late_s(m: Measurement) -> float:
    """Seconds left out because our own sending was late; stretches may overlap."""
    total = until = 0.0
    for x in sorted((x for x in m.excised if x.cause == "generator"), key=lambda x: x.start):
        total += max(x.end - max(x.start, until), 0.0)
        until = max(until, x.end)
    return total


def _rounded(value: float) -> float:
    """To six significant digits: no measurement here has more."""
    return float(f"{value:.6g}")


def to_json(outcome: Result) -> str:
    """The text of `capacity.json`: standard JSON, what is not a finite number is null."""
    return json.dumps(_finite(outcome), indent=1, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def write(outcome: Result, path: Path) -> None:
    """Write `capacity.json` at once or not at all."""
    write_atomically(path, to_json(outcome))


def from_json(text: str) -> Result:
    """Read a `capacity.json`; ResultError if it is none, or of a later schema."""
    try:
        plain = json.loads(text)
        schema = plain["schema"]
    except (ValueError, KeyError, TypeError) as e:
        raise ResultError(f"no capacity.json: {type(e).__name__}: {e}") from None
    if schema != SCHEMA:
        raise ResultError(f"the result has schema {schema}, this package reads {SCHEMA}: upgrade locust-adaptive")
    outcome: Result = plain
    return outcome
