"""Trials made of nothing but numbers: counts that are given, or a small M/G/1 queue metered as a worker would."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from locust_adaptive.search.meter import Meter, Request
from locust_adaptive.search.slices import LADDER, SLICE_S, Cohort, Flow, NameCounts
from locust_adaptive.search.slo import Slo
from locust_adaptive.search.trial import Excision, Measurement, Probe, Purpose, Trial, Verdict

BIN_S = 0.01


def cohort(index: int, sent: int, misses: int, errors: int | None = None, bucket: int = 450) -> Cohort:
    """A cohort of one latency objective, and of an errors objective if `errors` is given."""
    rungs = [[sent - misses, *[0] * (len(LADDER) - 1), misses]]
    if errors is not None:
        rungs.append([sent - errors, errors])
    failed = {"http 500": errors} if errors else {}
    return Cohort(index, rungs, {"/a": NameCounts(sent, 0, failed, {bucket: sent} if sent else {})})


def measurement(
    per_slice: Sequence[tuple[int, int]],
    errors: Sequence[int] | None = None,
    settle: int = 0,
    excised: Sequence[Excision] = (),
    backlog: int = 0,
) -> Measurement:
    """`(sent, misses)` in each half second, evenly spread; `backlog` are left open at the end."""
    flows = []
    for index, (sent, _) in enumerate(per_slice):
        places = [int(i * SLICE_S / BIN_S / max(sent, 1)) for i in range(sent)]
        bins = {place: places.count(place) for place in places}
        flows.append(Flow(index, arrivals=bins, completions=dict(bins), intended=sent, lag={100: sent} if sent else {}))
    if backlog:
        flows[-1].open = backlog
    cohorts = tuple(
        cohort(i, sent, misses, None if errors is None else errors[i]) for i, (sent, misses) in enumerate(per_slice)
    )
    return Measurement(BIN_S, tuple(flows), cohorts, settle=settle, excised=tuple(excised))


def trial(
    number: int,
    load: float,
    m: Measurement,
    verdict: Verdict = Verdict.UNDECIDED,
    purpose: Purpose = Purpose.REFINE,
    reason: str = "",
    started: float = 0.0,
) -> Trial:
    probe = Probe(load, purpose, 0.0, 1.0, m.clean_s or 1.0)
    return Trial(number, probe, m, verdict, reason, started, started + m.elapsed_s)


def queue_trial(
    number: int, load: float, seconds: float, slo: str, rng: np.random.Generator, mean_s: float, sigma: float
) -> Trial:
    """A trial against an idle M/G/1 server with log-normal service, through the real meter."""
    parsed = Slo.parse(slo)
    meter = Meter(parsed, BIN_S, 0.0)
    meter.open_probe(number, 0.0)
    sent = np.cumsum(rng.exponential(1 / load, int(seconds * load * 1.5) + 20))
    sent = sent[sent < seconds]
    service = rng.lognormal(np.log(mean_s) - sigma**2 / 2, sigma, len(sent))
    free, moments = 0.0, []
    for i, (t, s) in enumerate(zip(sent.tolist(), service.tolist(), strict=True)):
        free = max(free, t) + s
        moments += [(t, 0, i), (free, 1, i)]
    open_: dict[int, Request] = {}
    flows: list[Flow] = []
    cohorts: list[Cohort] = []
    end = seconds + meter.horizon
    for t, kind, i in sorted(m for m in moments if m[0] < end):
        if kind == 0:
            open_[i] = meter.begin(t, t, "/a")
        else:
            meter.finish(open_.pop(i), t)
    for shipment in meter.collect(end):
        flows += shipment.flows
        cohorts += shipment.cohorts
    whole = round(seconds / SLICE_S)
    m = Measurement(BIN_S, tuple(flows[:whole]), tuple(cohorts[:whole]))
    overloaded = m.outstanding > 2 * load * parsed.horizon(10.0) + 20
    verdict, reason = (Verdict.FAIL, "overload") if overloaded else (Verdict.UNDECIDED, "")
    return trial(number, load, m, verdict, reason=reason)
