"""The shipped policy: ramp, gate, locate, refine, then verify; everything derived from the trials.

    ramp       x2 until overload (or a failure in closed loop); soft failures do not stop the climb
    gate       half of that, until latency has stopped falling: the server is warm, and has recovered
    locate     x1.25 from there, and less where it strains, until it fails: now the service rate of the warm server is
               known; and again when close looks contradict that rate
    refine     dwells around the posterior median, mostly above it, until the interval is narrow, and until it is known
               how often the server is slow
    canary     a light load, now and then, before the end, and when a load fails that should not: is it still the same
               server? if not, locate anew
    verify     a soak just below the estimate
    recheck    where the search began with slow answers: a light load of then once more, since the server may have been
               cold, or be slower at lower loads

Damping: from the first overload on, no probe exceeds 1.25 times the best pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from .belief import Belief
from .estimate import Z95, Estimate
from .events import Capacity, Conclusion, Stall
from .past import DAMPING
from .settings import Settings
from .strict import strict_capacity, tolerated
from .trial import Probe, Purpose, Trial, Verdict
from .warmup import slow_start

MAX_DWELLS = 60
RECURS = 2
"""So many looks that something spoilt are worth a note; one may be chance."""
MAX_STRAINED = 6
"""So many probes that were too close to the limit to pass are followed by others before the server counts as found."""
CANARY_EVERY_S, LAST_CANARY_S, DOUBTED_S = 90.0, 45.0, 12.0
"""A canary follows the last one after so long: while dwells go on, before the end, and where the last one differs."""
MAY_BE_COLD_S, COLD_LOOK_S = 120.0, 10.0
"""A server that fails at the lowest load may be cold: before this second it is asked again, for so long at a time."""
REFUTED, SOAKS = 3, 5
"""Soaks at so many loads that all plainly failed, or at so many that did not hold, leave the estimate unverified."""
INVALID_LIMIT, COOL_DOWN_S = 3, 4.0
"""So many invalid probes in a row end the search; each repeat waits so much longer before it counts."""
COUNTABLE = 50
"""Fewer misses than this, allowed in the whole time of a search that is not cut short, are too few to find a capacity
by."""
DITHER = (1.0, 0.5, 1.0, 0.0)
"""Loads to try, in standard deviations from the median, in turn. Where hardly a request is late nothing is learnt: the
virtual queue says as much of the capacity from a load a little above it, and says it sooner."""


class AdaptivePolicy:
    """The shipped search policy; see the module."""

    name = "adaptive"
    version = 1

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def ask(self, trials: list[Trial], now: float, stalls: list[Stall]) -> Probe | Conclusion:
        past = Belief(self._settings, trials, now)
        if trials and trials[-1].purpose is Purpose.RECHECK:
            # However it went: the capacity was known before it.
            return self._conclude(past, stalls, "resolved", "converged")
        if trials and trials[-1].gone and (gates := past.of(Purpose.GATE)) and gates[-1] is not trials[-1]:
            # A server that comes back may be cold, or another one.
            gate = self._gate_probe(gates[-1].load)
            return replace(gate, repeats=trials[-1].number) if trials[-1].load == gate.load else gate
        if trials and trials[-1].verdict is Verdict.INVALID:
            return self._again(trials, stalls)
        if past.fails_anyway:
            return self._conclude(past, stalls, "unresolved", "below_minimum")
        for stage in (self._ramp, self._gate, self._locate, self._refine, self._finish, self._recheck):
            answer = stage(past, stalls)
            if answer is not None:
                return answer
        return self._conclude(past, stalls, "resolved", "converged")

    def give_up(self, trials: list[Trial], stalls: list[Stall], verdict: str, reason: str) -> Conclusion:
        past = Belief(self._settings, trials, trials[-1].ended if trials else 0.0)
        if reason == "budget_spent" and past.located:
            allowed = past.misses_per_s * max(self._settings.budget_s, Settings.budget_s)
            reason = "not_measurable" if allowed < COUNTABLE else reason
        return self._conclude(past, stalls, verdict, reason)

    # -- stages: a probe, a conclusion, or None for "this stage is over" ---------------------------------------------

    def _ramp(self, past: Belief, stalls: Sequence[Stall]) -> Probe | Conclusion | None:
        settings, ramp = self._settings, past.of(Purpose.RAMP)
        if not ramp:
            return self._ramp_probe(settings.grid.snap(settings.prior / 2 if settings.prior else settings.start))
        last = ramp[-1]
        if self._cut_short(ramp):
            return replace(last.probe, repeats=last.number)
        if past.ramp_over:
            if any(t.verdict is not Verdict.FAIL for t in ramp):
                return None
            lowest = min(t.load for t in ramp)
            if lowest <= settings.grid.minimum:
                if past.now < MAY_BE_COLD_S:
                    probe = self._ramp_probe(settings.grid.minimum)
                    seconds = max(probe.max_s, COLD_LOOK_S)
                    return replace(probe, min_s=seconds, max_s=seconds, repeats=last.number)
                return self._conclude(past, stalls, "unresolved", "below_minimum")
            return self._ramp_probe(settings.grid.snap(lowest / 4))
        if last.load >= settings.grid.maximum:
            return self._ceiling(past, stalls)
        return self._ramp_probe(settings.grid.snap(min(last.load * 2, settings.grid.maximum)))

    def _ceiling(self, past: Belief, stalls: Sequence[Stall]) -> Probe | Conclusion | None:
        """The highest load allowed passes: soak it."""
        top = self._settings.grid.maximum
        seconds, holds = past.soak(top)
        if not holds:
            return None
        if seconds >= self._settings.soak_s:
            return self._conclude(past, stalls, "unresolved", "ceiling_reached")
        return self._soak(top, seconds)

    def _gate(self, past: Belief, stalls: Sequence[Stall]) -> Probe | Conclusion | None:
        settings, gates = self._settings, past.of(Purpose.GATE)
        load = settings.grid.at_most(past.gate_load)
        if gates:
            last = gates[-1]
            # A gate may fail where a higher load passed: batch timers. Otherwise the server has not recovered, or is
            # slow.
            above = any(t.verdict is Verdict.PASS and t.load > last.load for t in past.trials)
            if last.verdict is not Verdict.FAIL or (above and not last.overloaded):
                return replace(last.probe, repeats=last.number) if self._cut_short(gates) else None
            if last.load <= settings.grid.minimum:
                if past.now < MAY_BE_COLD_S:
                    return replace(last.probe, repeats=last.number)
                return self._conclude(past, stalls, "unresolved", "below_minimum")
            load = max(settings.grid.snap(last.load / 2), settings.grid.minimum)
        return self._gate_probe(load)

    def _gate_probe(self, load: float) -> Probe:
        settings = self._settings
        slow = max(2.0, 20 / load) * 6 if settings.loop == "open" else 12.0
        longest = min(max(60.0, 40 * settings.limit, 2 * slow), 120.0)
        return Probe(load, Purpose.GATE, self._settle(1.0), min(slow, longest), longest, until_steady=True)

    def _locate(self, past: Belief, stalls: Sequence[Stall]) -> Probe | Conclusion | None:
        if self._settings.loop == "closed":
            return None
        settings, tried = self._settings, past.climb
        if not tried:
            if past.located and past.close_looks and not past.outgrown:
                return None
            if (cut := past.interrupted) is not None and cut.load > past.world[0].load and not past.close_looks:
                return replace(self._locate_probe(cut.load), repeats=cut.number)
            # Where there is a prior, go right below it.
            wanted = 0.8 * settings.prior if settings.prior and not past.overloads else DAMPING * past.best
            return self._locate_probe(min(settings.grid.at_most(wanted), self._cap(past)))
        last = tried[-1]
        if self._cut_short(tried):
            return replace(last.probe, repeats=last.number)
        if last.verdict is Verdict.UNDECIDED and sum(t.verdict is Verdict.UNDECIDED for t in tried) <= MAX_STRAINED:
            if (longer := self._dwell_s(last.load)) > last.probe.max_s:
                return replace(last.probe, min_s=longer, max_s=longer, repeats=last.number)
            # Not yet overloaded, and too close to the limit to pass: what lies between lets it climb on.
            between = settings.grid.snap(math.sqrt(past.best * last.load))
            return self._locate_probe(between) if past.best < between < last.load else None
        if last.verdict is not Verdict.PASS:
            return None
        if last.load >= settings.grid.maximum:
            return self._ceiling(past, stalls)
        return self._locate_probe(settings.grid.at_most(DAMPING * past.best))

    def _locate_probe(self, load: float) -> Probe:
        seconds = min(max(4.0, 4 * self._settings.limit, 40 / load), 20.0)
        return Probe(load, Purpose.LOCATE, self._settle(0.5), seconds, seconds)

    def _refine(self, past: Belief, stalls: Sequence[Stall]) -> Probe | Conclusion | None:
        if (canary := self._canary(past, CANARY_EVERY_S)) is not None:
            return canary
        dwells = past.since_world(Purpose.REFINE)
        if len(dwells) >= MAX_DWELLS:
            return self._conclude(past, stalls, "unresolved", "not_precise")
        if past.converged() and not past.in_doubt and not past.unsettled:
            return None
        return self._dwell(past, past.next_load(DITHER[len(dwells) % len(DITHER)]))

    def _finish(self, past: Belief, stalls: Sequence[Stall]) -> Probe | Conclusion | None:
        if (canary := self._canary(past, LAST_CANARY_S)) is not None:
            return canary
        # Where slow phases count, its dwells have soaked it for longer.
        if past.slow_phases_count or past.verified is not None:
            return None
        if past.soaks:
            load = past.soaks[-1].load
            seconds, holds = past.soak(load)
            if holds:
                return self._soak(load, seconds)
        if (lower := self._to_soak(past)) is None:
            return self._conclude(past, stalls, "unresolved", "not_verified")
        return self._soak(lower, 0.0)

    def _to_soak(self, past: Belief) -> float | None:
        """The next load that may hold, below all that were soaked; None if there is none worth a soak."""
        settings, levels = self._settings, {t.load for t in past.soaks}
        if len(levels) >= (SOAKS if any(t.verdict is not Verdict.FAIL for t in past.soaks) else REFUTED):
            return None
        open_loop = settings.loop == "open"
        load = settings.grid.snap(past.estimate.at(-1.3 - len(levels)) if open_loop else past.users_capacity)
        if levels and load >= min(levels):
            load = settings.grid.snap(0.97 * min(levels)) if open_loop else min(levels) - 1
        load = max(load, settings.grid.minimum)
        # What passes may be far below the estimate: whatever fails between them is not in the model.
        return load if load not in levels and load <= self._cap(past) else None

    def _recheck(self, past: Belief, stalls: Sequence[Stall]) -> Probe | None:
        """Not at the end of the budget: only the warm-up in the report depends on it."""
        start = slow_start(past.trials, past.light)
        if start is None or start.recheck is None:
            return None
        probe = self._look(start.recheck, Purpose.RECHECK)
        return probe if past.now + 2 * (probe.settle_s + probe.max_s) < self._settings.budget_s else None

    # -- probes ------------------------------------------------------------------------------------------------------

    def _ramp_probe(self, load: float) -> Probe:
        if self._settings.loop == "closed":
            return Probe(load, Purpose.RAMP, self._settle(1.0), 3.0, max(10.0, 8 * self._settings.limit), early=True)
        # Long enough for a dozen requests, and for those that a limit keeps waiting.
        seconds = max(min(max(12 / load, 2.0), 60.0), 2 * self._settings.limit)
        return Probe(load, Purpose.RAMP, self._settle(0.5), 2.0, seconds, early=True)

    def _dwell(self, past: Belief, load: float) -> Probe:
        load = min(load, self._cap(past))
        seconds = self._dwell_s(load)
        closed = self._settings.loop == "closed"
        return Probe(load, Purpose.REFINE, self._settle(1.0 if closed else 0.5), seconds / 2, seconds, early=closed)

    def _dwell_s(self, load: float) -> float:
        return min(max(12.0, 8 * self._settings.limit, 120 / load), 60.0)

    def _soak(self, load: float, already: float) -> Probe:
        seconds = max(self._settings.soak_s - already, 5.0)
        return Probe(load, Purpose.VERIFY, self._settle(0.5), min(5.0, seconds), seconds)

    def _canary(self, past: Belief, every: float) -> Probe | None:
        canary, since = self._look(past.light_load, Purpose.CANARY), past.now - past.last_light.ended
        wait = DOUBTED_S if past.in_doubt else max(every, 6 * (canary.max_s + canary.settle_s))
        # One that later canaries are to be compared with is due at once.
        due = canary.load != past.last_light.load or since >= wait or past.contested
        return canary if due else None

    def _look(self, load: float, purpose: Purpose) -> Probe:
        seconds = min(max(6.0, 60 / load, 4 * self._settings.limit), 20.0)
        return Probe(load, purpose, self._settle(1.5), seconds / 2, seconds)

    def _settle(self, least: float) -> float:
        return max(least, min(2 * self._settings.limit, 6.0)) if least >= 1 else least

    def _cap(self, past: Belief) -> float:
        """Damping, on the grid; before the first overload, which a prior may keep away for long, no more than twice."""
        most = (DAMPING if past.overloads else 2) * past.best
        if self._settings.loop == "closed":
            return max(math.floor(most), past.best + 1)
        return self._settings.grid.at_most(most)

    @staticmethod
    def _cut_short(trials: Sequence[Trial]) -> bool:
        """Did a stall end the last of these before it could say anything? It is repeated twice at most."""
        return trials[-1].cut_short and len(trials) < 3 + sum(t.reason != "stall" for t in trials)

    # -- ends --------------------------------------------------------------------------------------------------------

    def _again(self, trials: list[Trial], stalls: Sequence[Stall]) -> Probe | Conclusion:
        last = trials[-1]
        streak = 0
        for trial in reversed(trials):
            if trial.verdict is not Verdict.INVALID:
                break
            streak += not trial.disturbed
        if streak >= INVALID_LIMIT:
            return self.give_up(trials, list(stalls), "unresolved", "measurement_invalid")
        # Whatever disturbed us may pass.
        return replace(last.probe, repeats=last.number, settle_s=last.probe.settle_s + COOL_DOWN_S)

    def _conclude(self, past: Belief, stalls: Sequence[Stall], verdict: str, reason: str) -> Conclusion:
        settings = self._settings
        start = slow_start(past.trials, past.light) if past.trials else None
        warm = start.end if start is not None and start.cold else None
        notes = ("not_stationary",) if past.changes else ()
        if past.limited:
            notes = (*notes, "rate_limited")
        if past.non_monotone:
            notes = (*notes, "non_monotone")
        if past.metastable:
            notes = (*notes, "metastable")
        if verdict == "resolved" and past.unreliable:
            verdict, reason = "unresolved", "measurement_invalid"
        if reason == "ceiling_reached":
            top = settings.grid.maximum
            capacity = Capacity(None, top, None, top)
            return Conclusion(verdict, reason, capacity, warmup_s=warm, notes=notes)
        if reason == "below_minimum" or not past.trials or not past.located:
            best = past.best if past.passed and reason != "below_minimum" else None
            worst = past.worst if past.failed and past.worst > (best or 0.0) else None
            if reason == "below_minimum":
                worst = min((t.load for t in past.failed), default=None)
            known = Capacity(None, best, worst)
            return Conclusion(verdict, reason, known, objective=past.binding, warmup_s=warm, notes=notes)
        estimate = past.estimate
        capacity = self._capacity(past, estimate)
        undisturbed = None
        if past.slow_phases_count:
            notes, undisturbed = (*notes, "slow_phases"), self._capacity(past, past.undisturbed)
        spent = past.now
        if not tolerated(settings, stalls, spent):
            # What stands still only at loads above the capacity is what makes it the capacity.
            above = [t for t in (*past.trials, *past.invalid) if t.load > (capacity.value or math.inf)]
            stalls = [s for s in stalls if s.probe not in {t.number for t in above}]
            spent -= sum(t.ended - t.started for t in above)
        strict, why = strict_capacity(settings, estimate, past.binding, capacity, stalls, spent)
        if len(past.left_out) >= RECURS and not past.slow_phases_count:
            notes = (*notes, "slow_phases_left_out")
            if strict is not None:
                strict = min(strict, self._capacity(past, past.with_phases), key=lambda c: c.value or 0.0)
        if not tolerated(settings, stalls, spent):
            notes = (*notes, "stalls_exceed_tolerance")
            capacity = strict or Capacity(None, None, None)
            if strict is None and verdict == "resolved":
                verdict, reason = "unresolved", "stalls_exceed_tolerance"
        return Conclusion(
            verdict, reason, capacity, strict, why, past.binding, past.next_binding, warm, notes, undisturbed
        )

    def _capacity(self, past: Belief, estimate: Estimate) -> Capacity:
        settings, verified = self._settings, past.verified
        if settings.loop == "closed":
            value = past.users_capacity
            low, high = min(math.floor(estimate.low), value), max(math.floor(estimate.high), value)
            decided = past.users_bracket
            if decided is not None:
                low = high = decided
            return Capacity(value, max(low, settings.grid.minimum), high, verified)
        snap = settings.grid.snap
        if estimate.value >= past.worst and Z95 * estimate.sd > settings.precision and not past.converged():
            # Nothing precise yet, and above a load that failed: what is known is the bracket.
            middle = math.sqrt(past.best * past.worst)
            return Capacity(snap(middle), snap(min(estimate.low, middle)), snap(max(estimate.high, middle)), verified)
        return Capacity(snap(estimate.value), snap(estimate.low), snap(estimate.high), verified)
