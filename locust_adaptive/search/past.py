"""What happened: the trials of a search, its worlds and its bracket. Every number here is derived, none is kept.

Evidence from an earlier world is set aside: see `worlds`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

from .answers import Answers
from .estimate import service_rate
from .settings import Settings
from .trial import Measurement, Purpose, Trial, Verdict
from .worlds import Worlds, differs, is_reference, worlds

DAMPING = 1.25
"""After the first overload no probe exceeds the best pass by more than this factor."""
SOFT_FAILURES = 6
"""The ramp climbs over this many failures without overload: a server may fail at low load (batch timers) and pass
above."""
UNFIT_SHARE, UNFIT_LEAST = 0.3, 3
"""With more invalid probes than this share, and so many at least, the others are doubtful too."""
LIGHT = 2.0
"""Arrivals per second, or users, that are light for any server that is to be searched."""
NONE_GOOD, START_UP_S = 20, 30.0
"""Of so many answers not one was good, this many seconds after the first request: nothing else is to be expected."""
HEAVIER = 1.25
"""A load is plainly heavier than another by this factor."""
SAME = 0.7
"""Shares of failures at two loads are about the same within this factor."""


class Past:
    """The trials of a search, in order, at second `now`: `trials` are the valid ones, `invalid` the others."""

    def __init__(self, settings: Settings, trials: Sequence[Trial], now: float) -> None:
        self.settings = settings
        self.trials = [t for t in trials if t.verdict is not Verdict.INVALID]
        self.invalid = [t for t in trials if t.verdict is Verdict.INVALID]
        self.now = now

    @property
    def unreliable(self) -> bool:
        """Were so many probes unfit that those beside them are doubtful too?

        Not counted are those that a known event voided from outside, and that were then repeated without it: workers
        that came or went, a target that went away. They say nothing of how well the rest was measured.
        """
        unfit = sum(not t.disturbed for t in self.invalid)
        return unfit >= UNFIT_LEAST and unfit > UNFIT_SHARE * (len(self.trials) + unfit)

    def of(self, purpose: Purpose) -> list[Trial]:
        return [t for t in self.trials if t.purpose is purpose]

    def since_world(self, purpose: Purpose) -> list[Trial]:
        return [t for t in self.world if t.purpose is purpose]

    # -- the ramp ----------------------------------------------------------------------------------------------------

    @cached_property
    def ramp_over(self) -> bool:
        """Has the ramp met its end: an overload, in closed loop a failure, or failures that no climbing cures? With a
        prior it is over where half of that passes."""
        ramp = self.of(Purpose.RAMP)
        if self.settings.prior and ramp and ramp[0].verdict is Verdict.PASS:
            return True
        if any(t.overloaded or (t.verdict is Verdict.FAIL and self.settings.loop == "closed") for t in ramp):
            return True
        soft = 0
        for trial in ramp:
            soft = soft + 1 if trial.verdict is Verdict.FAIL else 0
            if soft >= SOFT_FAILURES or (soft and self._error_share(trial.measurement) > 0.5):
                return True
        top = [t for t in self.trials if t.load >= self.settings.grid.maximum]
        return any(t.verdict is Verdict.FAIL for t in top)

    def _error_share(self, measurement: Measurement) -> float:
        sent = errors = 0
        for cohort in measurement.clean:
            for counts in cohort.names.values():
                sent += counts.sent
                errors += sum(counts.errors.values())
        return errors / sent if sent else 0.0

    @cached_property
    def gate_load(self) -> float:
        """Half of what overloaded the server, or of the rate at which it then worked; within the damping."""
        ramp = self.of(Purpose.RAMP)
        passed = max((t.load for t in ramp if t.verdict is Verdict.PASS), default=None)
        failed = min(
            (t.load for t in ramp if t.verdict is Verdict.FAIL and t.load > (passed or 0.0)),
            default=self.settings.prior or self.best,
        )
        rate = service_rate(ramp, self.settings.limit)
        # Never far below what passed: a server that hangs or sheds answers at no rate to go by.
        load = max(0.5 * min(failed, rate[0] if rate else math.inf), 0.5 * (passed or 0.0))
        return max(load if passed is None else min(load, DAMPING * passed), self.settings.grid.minimum)

    # -- the world ---------------------------------------------------------------------------------------------------

    @cached_property
    def _worlds(self) -> Worlds:
        return worlds(self.trials, self.settings)

    @property
    def changes(self) -> int:
        """How often the server became another after the gate."""
        return max(len(self._worlds.beginnings) - 1, 0)

    @property
    def drifts(self) -> bool:
        """Did this world begin because the server drifted, so that it may go on to?"""
        return self._worlds.drifts

    @property
    def in_doubt(self) -> bool:
        """Did the last canary differ from this world's, and has that to be seen again?"""
        return self._worlds.in_doubt

    @cached_property
    def world(self) -> list[Trial]:
        return self.trials[self._worlds.beginnings[-1] :] if self._worlds.beginnings else []

    @cached_property
    def interrupted(self) -> Trial | None:
        """The probe in which the target went away right before this world, unless that failed."""
        before = [t for t in (*self.trials, *self.invalid) if self.world and t.number < self.world[0].number]
        last = max(before, key=lambda t: t.number, default=None)
        return last if last is not None and last.gone and last.verdict is Verdict.INVALID else None

    @property
    def last_light(self) -> Trial:
        """The last light load of this world, gate or canary, that was looked at."""
        return [t for t in self.world if t.purpose in (Purpose.GATE, Purpose.CANARY)][-1]

    @cached_property
    def excused(self) -> frozenset[int]:
        """Numbers of the probes that overloaded a server which a light load right after them found slow."""
        out, world = set(), self.world
        for before, canary in pairwise(world):
            if before.overloaded and canary.purpose is Purpose.CANARY and is_reference(canary):
                reference = next(t for t in world if is_reference(t) and t.load == canary.load)
                if differs(reference, canary, self.settings):
                    out.add(before.number)
        return frozenset(out)

    # -- the bracket -------------------------------------------------------------------------------------------------

    @property
    def _recent(self) -> list[Trial]:
        return self.world or self.trials

    @cached_property
    def passed(self) -> list[Trial]:
        return [t for t in self._recent if t.verdict is Verdict.PASS]

    @cached_property
    def failed(self) -> list[Trial]:
        return [t for t in self._recent if t.verdict is Verdict.FAIL]

    @property
    def fails_anyway(self) -> bool:
        """Do requests fail too often whatever the load? So it is when a probe failed at half the load of another, or
        less, with about the same share of failures; and when nothing good came back, at a light load too, from a target
        that has had time to start up."""
        failed = [t for t in self.trials if t.verdict is Verdict.FAIL]
        seen = Answers.of(f for t in self.trials for f in t.measurement.flows)
        if not seen.good and seen.failed >= NONE_GOOD and len(failed) > 1 and self.now >= START_UP_S:
            return min(t.load for t in failed) <= LIGHT
        budgets = (self.settings.objectives[i].budget for i in self.settings.constraints)
        allowed = min((b for b in budgets if b is not None), default=1.0)
        soft = [
            (t.load, t.measurement.failed_share)
            for t in self.trials
            if t.verdict is Verdict.FAIL and not t.overloaded and t.measurement.failed_share > allowed
        ]
        return any(2 * low <= high and few >= SAME * many for low, few in soft for high, many in soft)

    @property
    def non_monotone(self) -> bool:
        """Does a light load fail, of a server that has passed heavier ones before and after?"""
        return any(
            light.verdict is Verdict.FAIL and not light.overloaded and self._passes_around(light, self.world)
            for light in self.world
        )

    @property
    def metastable(self) -> bool:
        """Was the server still overloaded, right after an overload beyond all that it passes, by a load that it passes
        at other times? The trigger is gone and the failure stays: so metastable failures are told (Bronson et al.,
        Metastable Failures in Distributed Systems, HotOS 2021)."""
        most = max((t.load for t in self.trials if t.verdict is Verdict.PASS), default=0.0)
        return any(
            before.reason == after.reason == "overload"
            and before.load > most
            and self._passes_around(after, self.trials)
            for before, after in pairwise(self.trials)
        )

    @staticmethod
    def _passes_around(light: Trial, trials: Sequence[Trial]) -> bool:
        """Do plainly heavier loads pass before and after?"""
        heavier = [t for t in trials if t.verdict is Verdict.PASS and t.load > HEAVIER * light.load]
        return {True, False} <= {t.number > light.number for t in heavier}

    @property
    def overloads(self) -> bool:
        """Has the server been overloaded, or failed, yet?"""
        return any(t.verdict is Verdict.FAIL for t in self.trials)

    @property
    def limited(self) -> bool:
        """Is it a rate limiter (429) that fails most of the probes that fail?"""
        of_limiter = 0
        failed = [t for t in self.trials if t.verdict is Verdict.FAIL]
        for trial in failed:
            m = trial.measurement
            refused = sum(f.errors.get("http 429", 0) for f in m.flows)
            missed = max((m.counts(i)[0] for i in self.settings.constraints), default=0)
            of_limiter += 2 * refused > max(missed, sum(f.failed for f in m.flows))
        return 2 * of_limiter > len(failed)

    @cached_property
    def best(self) -> float:
        """The highest load believed to pass; without one in this world, what passed before up to the load it began
        with; without any, the lowest that did not overload, or was tried."""
        if self.passed:
            return max(t.load for t in self.passed)
        calm = [t.load for t in self._recent if not t.overloaded]
        before = [t.load for t in self.trials if t.verdict is Verdict.PASS and t.load <= min(calm, default=0.0)]
        return max(before, default=min(calm or [t.load for t in self.trials] or [self.settings.grid.minimum]))

    @cached_property
    def worst(self) -> float:
        """The lowest load above the best that failed, in this world or else in the search; without one, twice the
        best."""
        for trials in (self.failed, [t for t in self.trials if t.verdict is Verdict.FAIL]):
            above = [t.load for t in trials if t.load > self.best]
            if above:
                return min(above)
        return 2 * self.best

    # -- around the capacity ------------------------------------------------------------------------------------------

    @cached_property
    def located(self) -> bool:
        """Is there enough for an estimate?"""
        return bool(self.world) and (self.settings.loop == "closed" or bool(self.since_world(Purpose.LOCATE)))

    @cached_property
    def close_looks(self) -> list[Trial]:
        """The probes of this world around the capacity."""
        return [t for t in self.world if t.purpose in (Purpose.REFINE, Purpose.CHALLENGE, Purpose.VERIFY)]

    @cached_property
    def climb(self) -> list[Trial]:
        """The probes that locate the capacity of this world, if none has looked closer since."""
        closer = max((t.number for t in self.close_looks), default=0)
        return [t for t in self.since_world(Purpose.LOCATE) if t.number > closer]

    @property
    def soaks(self) -> list[Trial]:
        return [t for t in self._recent if t.purpose is Purpose.VERIFY and t.number not in self.excused]

    def soak(self, load: float) -> tuple[float, bool]:
        """Clean seconds soaked at a load in this world, and whether the SLO held over all of them."""
        soaks = [t for t in self.soaks if t.load == load]
        seconds = sum(t.measurement.clean_s for t in soaks)
        holds = not any(t.overloaded for t in soaks)
        for i in self.settings.constraints:
            k = sum(t.measurement.counts(i)[0] for t in soaks)
            n = sum(t.measurement.counts(i)[1] for t in soaks)
            holds = holds and k <= (self.settings.objectives[i].budget or 0.0) * n
        return seconds, holds

    @property
    def verified(self) -> float | None:
        """The highest load whose soak was long enough and held."""
        held = []
        for load in {t.load for t in self.soaks}:
            seconds, holds = self.soak(load)
            if holds and seconds >= self.settings.soak_s:
                held.append(load)
        return max(held, default=None)
