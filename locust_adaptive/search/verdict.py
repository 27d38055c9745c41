"""The verdict on one probe, from exact counts (laws 5-7)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .evidence import PHI_PRIOR, dispersion, log_e_value, probability_over
from .settings import Settings
from .slices import Flow
from .slo import Objective
from .trial import Measurement, Trial, Verdict

ALPHA = 0.05
BELIEVED = 0.33
"""At the end of its time a probe passes when the odds are two to one that the misses stay within the budget ..."""
DISBELIEVED = 0.90
"""... and fails when they are nine to one that they do not."""
ENOUGH = 10
"""Fewer requests than this decide nothing."""
SHORT_S, STRAINED, STRAINED_SHORT = 8.0, 1.0, 0.6
"""Open loop: with a `strain` above this a probe, or one of less than so many seconds, is too close to the limit to pass
by having missed it rarely."""


def judge(measurement: Measurement, settings: Settings, trials: Sequence[Trial], final: bool) -> tuple[Verdict, str]:
    """Verdict and reason. Before the `final` judgement only strong evidence decides, by a test valid at any time.

    All objectives must pass; one that fails, fails the probe. The reason is the objective that decided.
    """
    undecided = None
    for i in settings.constraints:
        verdict = _judge_one(measurement, settings, i, trials, final)
        objective = str(settings.objectives[i])
        if verdict is Verdict.FAIL:
            return verdict, objective
        if verdict is Verdict.UNDECIDED:
            undecided = undecided or objective
    return (Verdict.UNDECIDED, undecided) if undecided else (Verdict.PASS, "")


def _judge_one(measurement: Measurement, settings: Settings, i: int, trials: Sequence[Trial], final: bool) -> Verdict:
    objective = settings.objectives[i]
    budget = objective.budget
    assert budget is not None
    k, n = measurement.counts(i)
    if n < ENOUGH:
        return Verdict.UNDECIDED
    phi = dispersion(*measurement.batches(i), budget)
    if k > budget * n and log_e_value(k / phi, n / phi, budget) > math.log(1 / ALPHA):
        return Verdict.FAIL
    if objective.signal == "errors" and k <= budget * n:
        # Errors below capacity do not depend on the load: probes that passed below lend their evidence.
        for trial in trials:
            if trial.verdict is Verdict.PASS and trial.load <= _load(measurement):
                more_k, more_n = trial.measurement.counts(i)
                k, n = k + more_k, n + more_n
    over = probability_over(k / phi, n / phi, budget)
    if not final:
        clear = k < budget * n / 4 and n / phi > 1.5 / budget
        return Verdict.PASS if clear and over < ALPHA else Verdict.UNDECIDED
    if over <= BELIEVED:
        return Verdict.UNDECIDED if _strained(measurement, settings, i, trials) else Verdict.PASS
    return Verdict.FAIL if over >= DISBELIEVED else Verdict.UNDECIDED


def _load(measurement: Measurement) -> float:
    seconds = sum(f.span for f in measurement.flows)
    return 1.001 * measurement.sent / seconds if seconds else 0.0


def lost(stuck: int, flows: Sequence[Flow], budget: float) -> Verdict | None:
    """The verdict on a probe of which `stuck` requests never came back, and of which the counts do not know it yet:
    FAIL if they are surely too many, UNDECIDED if they may be, None if the counts may decide."""
    sent = sum(f.sent for f in flows)
    if stuck <= budget * sent:
        return None
    believed = log_e_value(stuck / PHI_PRIOR, sent / PHI_PRIOR, budget) > math.log(1 / ALPHA)
    return Verdict.FAIL if believed else Verdict.UNDECIDED


def overloaded(measurement: Measurement, load: float, settings: Settings) -> bool:
    """Open loop: is the server plainly behind? Recognised from the backlog, in seconds, whatever the percentiles say.

    By Little's law a load x whose latencies meet a limit L holds about x L requests open at most. More than twice
    that, three standard deviations of such a count and five cannot be meeting it; nor can more than x L with answers
    lagging and most of them late.
    """
    flows = measurement.flows
    backlog = max(flows[-1].open, 0)
    within = load * settings.limit
    if backlog > 2 * within + 3 * math.sqrt(2 * within) + 5:
        return True
    if backlog > within + 10 and len(flows) >= 4:
        recent = flows[-4:]
        sent, done = sum(f.sent for f in recent), sum(f.done for f in recent)
        worst = max((_share(measurement, i) for i in settings.constraints), default=0.0)
        return done < 0.8 * sent and worst > 0.5
    return False


def strain(measurement: Measurement, objective: Objective) -> float:
    """How far the mean latency has come towards the limit: about 1 at the capacity, more above.

    A queue that only just grows misses nothing for many seconds, but its mean shows it. Latency beyond its fastest (5th
    percentile) b is taken for exponential, as that of a single queue is (M/M/1): its share 1 - q lies beyond L when
    (mean - b) ln(1 / (1 - q)) = L - b. nan without answers or without a limit.
    """
    latencies = measurement.latencies(objective.scope)
    if objective.signal != "latency" or not objective.budget or not latencies.buckets:
        return math.nan
    fastest = latencies.quantile(0.05)
    room = objective.limit - fastest
    return (latencies.mean - fastest) * math.log(1 / objective.budget) / room if room > 0 else math.inf


def _strained(measurement: Measurement, settings: Settings, i: int, trials: Sequence[Trial]) -> bool:
    """Is the strain too high to pass, and higher than under loads that are light? Not of a server whose latencies are
    never like an exponential's."""
    if settings.loop == "closed":
        return False
    objective = settings.objectives[i]
    mine, allowed = strain(measurement, objective), STRAINED_SHORT if measurement.clean_s < SHORT_S else STRAINED
    if not mine > allowed:
        return False
    lighter = (strain(t.measurement, objective) for t in trials if t.load <= _load(measurement) / 2)
    light = min((s for s in lighter if not math.isnan(s)), default=1.0)
    return mine > allowed * max(light, 1.0)


def _share(measurement: Measurement, i: int) -> float:
    k, n = measurement.counts(i)
    return k / n if n else 0.0
