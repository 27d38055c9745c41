"""What the trials say of the capacity, for the policy to decide on: every number here is derived, none is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from .estimate import Z95, Estimate, by_counts, by_queue, service_rate
from .evidence import beta_cdf, dispersion, probability_over, uneven
from .past import Past
from .trial import Purpose, Trial

BOLDER, HARDLY = 0.5, 0.25
"""Each dwell in a row with at most this share of the budgeted misses takes the next so many standard deviations
higher."""
CLEAN_LOOKS, CLEAN, CLEAN_MISSES = 2, 0.15, 100
"""So many looks in a row with less than this share of the budgeted misses, where this many were to be expected in all,
say that the capacity is higher."""
DOUBT = 0.1
"""What is less probable than this is not waited for."""
LUCKY, UNKNOWN_RATE = 1.5, 0.1
"""The highest load that passed is within so many standard errors of the service rate; where that makes these greater
than this share, the rate is not known: together, a pass up to 16 % above the rate is luck, and more is another rate."""
BOLD = 0.05
"""A dither goes no further above the estimate than this share."""
SLOW_SHARE, SETTLED_S = 0.25, 240.0
"""Slow phases that spoil more than this share of the close looks, of so many seconds, are counted. A phase spoils each
look that it touches: with looks and phases of about ten seconds, a tenth of the time is slow when a fifth is spoilt."""
LIGHTEST, HEAVIEST = 0.25, 0.7
"""A canary shows how fast the server is at a load between these shares of the capacity."""
UNSEEN_DRIFT = 0.025
"""A drift that canaries no longer see may go on by about this much."""


class Belief(Past):
    """What the trials say of the capacity."""

    @cached_property
    def _pressure(self) -> list[tuple[float, int]]:
        """Constraints by how hard they press at the loads that matter, hardest first: misses over budgeted misses."""
        near = [t for t in self._recent if t.load >= 0.8 * self.best]
        objectives = self.settings.objectives
        failed = next((i for i, o in enumerate(objectives) if o.signal == "errors" and o.scope is None), None)
        out = []
        for i in self.settings.constraints:
            budget = objectives[i].budget or 1.0
            k = sum(t.measurement.counts(i)[0] for t in near)
            n = sum(t.measurement.counts(i)[1] for t in near)
            if failed is not None and objectives[i].signal == "latency":
                # A failure misses every latency objective too, but it is not slowness that limits then.
                k = max(k - sum(t.measurement.counts(failed)[0] for t in near), 0)
            out.append(((k + 0.5 * budget) / (budget * (n + 1)), i))
        return sorted(out, key=lambda pair: (-pair[0], pair[1]))

    @property
    def binding(self) -> int | None:
        return self._pressure[0][1] if self._pressure else None

    @property
    def next_binding(self) -> int | None:
        return self._pressure[1][1] if len(self._pressure) > 1 else None

    @cached_property
    def _rate(self) -> tuple[float, float] | None:
        """Open loop: service rate and its spread, of this world, or of the search where this world does not
        contradict it.

        In closed loop the arrivals follow the answers, and a queue fed with them says nothing new. Of arrivals that
        come in bursts it would say what the server takes of Poisson's, and that is not the question."""
        if self.settings.loop == "closed" or self.bursty:
            return None
        limit = self.settings.limit
        for trials in (self.world, self.trials):
            # What failed well below what passes was disturbed.
            found = service_rate([t for t in trials if t.load > 0.9 * self.best], limit)
            if found is None:
                continue
            # A server does not work at a rate below what it passes, or hardly: a short probe may pass by luck.
            rate, spread = found
            needed = math.log(self.best / rate) / LUCKY
            if needed <= UNKNOWN_RATE:
                return rate, max(spread, needed)
        return None

    @cached_property
    def bursty(self) -> bool:
        """Open loop: do the arrivals clump more than Poisson's, as seen through the latency limit?"""
        near = (t for t in self.trials if t.load >= 0.5 * self.best)
        sent = ((t.measurement.sent_at, t.measurement.elapsed_s, t.load) for t in near)
        return self.settings.loop == "open" and uneven(sent, self.settings.limit)

    @cached_property
    def estimate(self) -> Estimate:
        """The capacity by what is known of this world: of the server as it mostly is, unless it is slow too often."""
        found = self._at_rest
        return replace(found, sd=math.hypot(found.sd, UNSEEN_DRIFT)) if self.drifts else found

    @property
    def _at_rest(self) -> Estimate:
        """The same, if the server drifts no further."""
        return self.with_phases if self.slow_phases_count else self.undisturbed

    @cached_property
    def undisturbed(self) -> Estimate:
        """The capacity if what was slow for a while is left out."""
        return self._by_queue(forgiving=True) or self._by_counts()

    @cached_property
    def with_phases(self) -> Estimate:
        """The capacity with everything counted."""
        return self._by_queue(forgiving=False) or self._by_counts()

    def _by_queue(self, forgiving: bool) -> Estimate | None:
        i = self.binding
        assert i is not None
        objective = self.settings.objectives[i]
        if self._rate is None or objective.signal != "latency" or objective.scope is not None:
            return None
        assert objective.budget is not None
        return by_queue(self.world, i, objective.budget, *self._rate, forgiving)

    def _by_counts(self) -> Estimate:
        i = self.binding
        assert i is not None
        budget = self.settings.objectives[i].budget
        assert budget is not None
        spread = 0.1 + 0.5 * abs(math.log(self.worst / self.best))
        return by_counts(self.world, i, budget, math.sqrt(self.best * self.worst), spread)

    # -- slow phases ---------------------------------------------------------------------------------------------------

    @cached_property
    def left_out(self) -> list[Trial]:
        """The close looks that the undisturbed estimate leaves out, since something slowed the server down."""
        return [t for t in self.close_looks if t.number in self.undisturbed.disturbed]

    @property
    def _seen_enough(self) -> bool:
        return sum(t.ended - t.started for t in self.close_looks) >= SETTLED_S

    @cached_property
    def slow_phases_count(self) -> bool:
        """Open loop: is the server slow so often that this is what it is?"""
        if self.settings.loop == "closed" or not self._seen_enough:
            return False
        return len(self.left_out) > SLOW_SHARE * len(self.close_looks)

    @property
    def unsettled(self) -> bool:
        """Does what was left out matter, and has the server been seen for too short to tell how often that happens?"""
        looks, spoilt = len(self.close_looks), len(self.left_out)
        # Beta posterior of the share that is spoilt, from no opinion.
        often = 1 - beta_cdf(SLOW_SHARE, spoilt + 1, looks - spoilt + 1)
        if self._seen_enough or not spoilt or often < DOUBT:
            return False
        apart = abs(math.log(self.with_phases.value / self.undisturbed.value))
        precision = self.settings.precision
        return Z95 * self.with_phases.sd > precision or apart > max(Z95 * self.undisturbed.sd, precision / 2)

    # -- what it means for the next probe ------------------------------------------------------------------------------

    @cached_property
    def outgrown(self) -> bool:
        """Open loop: do the last close looks contradict the service rate? So they do when they push the estimate to the
        edge of what it allows, and when hardly a request missed at that estimate."""
        climbed = max((t.number for t in self.since_world(Purpose.LOCATE)), default=0)
        looks = [t for t in self.close_looks if t.number > climbed]
        i, estimate = self.binding, self.estimate
        if len(looks) < CLEAN_LOOKS or i is None:
            return False
        if self._rate is not None and estimate.mu is not None:
            rate, sd = self._rate
            if estimate.value > 0.97 * rate * math.exp(2 * sd):
                return True
        clean = self._clean(looks, CLEAN)
        missing = sum(allowed * (load / estimate.value) ** estimate.slope for load, allowed in clean)
        return len(clean) >= CLEAN_LOOKS and missing >= CLEAN_MISSES

    def _clean(self, looks: Sequence[Trial], share: float) -> list[tuple[float, float]]:
        """The last of these looks, in a row, that missed no more than this share of what was allowed: the load of each,
        and the misses allowed."""
        i = self.binding
        assert i is not None
        budget, clean = self.settings.objectives[i].budget or 0.0, []
        for trial in reversed(looks):
            k, n = trial.measurement.counts(i)
            if k > share * budget * n:
                break
            clean.append((trial.load, budget * n))
        return clean

    @cached_property
    def contested(self) -> bool:
        """Open loop: did the last probe overload the server where it should not have? Then a light load shows whether
        it is slow just now."""
        last = self.world[-1] if self.world else None
        if last is None or last not in self.close_looks or not last.overloaded or not self.located:
            return False
        return self.settings.loop == "open" and last.load < self.estimate.at(-1)

    @property
    def misses_per_s(self) -> float:
        """How many requests a second may miss the objective that limits, at the capacity."""
        i = self.binding
        budget = self.settings.objectives[i].budget if i is not None else None
        return (budget or 0.0) * self.estimate.value

    @property
    def light(self) -> float:
        """A load that is light for the server as it is now."""
        if not self.located:
            return 0.6 * self.best
        return max(0.6 * self.estimate.value, self.last_light.load)

    @property
    def light_load(self) -> float:
        """What the next canary holds: the last one's load while that is light for what is known now, or what it showed
        is in doubt."""
        last = self.last_light
        load = last.load
        if self.settings.loop == "closed" or not self.located or (self.in_doubt and not last.overloaded):
            return load
        if LIGHTEST <= load / self.estimate.value <= HEAVIEST:
            return load
        return self.settings.grid.snap(0.5 * min(self.estimate.value, self.best))

    def converged(self) -> bool:
        """Is the interval as narrow as asked, by enough dwells, or in closed loop the step from pass to fail found?"""
        if self.settings.loop == "closed" and self.users_bracket is not None:
            return True
        refined, dwells = self.since_world(Purpose.REFINE), self.settings.dwells
        enough = len(refined) >= dwells and sum(t.measurement.clean_s for t in refined) >= 5 * dwells
        # No look narrows what a drift may still do.
        return enough and Z95 * self._at_rest.sd <= self.settings.precision

    def next_load(self, sds: float) -> float:
        """Where to look next."""
        grid = self.settings.grid
        if self.settings.loop == "closed":
            value = self.users_capacity
            seen = {load: n for load, (_, n) in self._by_users.items()}
            return min((grid.snap(value), grid.snap(value + 1)), key=lambda load: (seen.get(load, 0.0), load))
        last = [t.load for t in self.world if t.purpose in (Purpose.LOCATE, Purpose.REFINE)][-1]
        if self.slow_phases_count or (self.converged() and self.unsettled):
            wanted = self.with_phases.value
        else:
            # Where hardly a request was late, little was learnt.
            streak = len(self._clean(self.since_world(Purpose.REFINE), HARDLY))
            wanted = self.estimate.at(min(sds, BOLD / self.estimate.sd) + BOLDER * streak)
        return grid.snap(min(max(wanted, 0.9 * last), 1.1 * last))

    # -- closed loop ---------------------------------------------------------------------------------------------------

    @cached_property
    def _by_users(self) -> dict[float, tuple[float, float]]:
        """Closed loop: effective misses and requests at each number of users, by the binding objective."""
        i = self.binding
        assert i is not None
        budget = self.settings.objectives[i].budget or 1.0
        out: dict[float, tuple[float, float]] = {}
        for trial in self.world:
            k, n = trial.measurement.counts(i)
            phi = dispersion(*trial.measurement.batches(i), budget)
            before = out.get(trial.load, (0.0, 0.0))
            out[trial.load] = (before[0] + k / phi, before[1] + n / phi)
        return out

    @cached_property
    def users_bracket(self) -> int | None:
        """The number of users that passes while one more fails, both beyond reasonable doubt; None if not found."""
        i = self.binding
        assert i is not None
        budget = self.settings.objectives[i].budget or 1.0
        belief = {load: probability_over(k, n, budget) for load, (k, n) in self._by_users.items()}
        for load, over in belief.items():
            if over < 0.1 and belief.get(load + 1, 0.0) > 0.9 and self._by_users[load][1] > 10:
                return round(load)
        return None

    @property
    def users_capacity(self) -> int:
        """Closed loop: the number of users that meets the SLO, as far as known."""
        if self.users_bracket is not None:
            return self.users_bracket
        return max(math.floor(self.estimate.value), round(self.settings.grid.minimum))
