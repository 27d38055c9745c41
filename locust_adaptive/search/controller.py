"""The controller: events in, commands out, no clock of its own. It runs one probe at a time.

probing --overload, hang, most answers fail--> FAIL, drain --empty--> light load, unless seen to answer --> next probe
probing --nobody listens--> INVALID (FAIL when it happens again) --> light load --answers--> next probe
probing --stall, open loop--> load away, wait until answers resume --> judged on what is clean, drain
probing --enough evidence, or time up--> PASS | FAIL | UNDECIDED --> next probe at once
probing --generator unfit, workers changed--> INVALID
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from . import answers
from .answers import Answers
from .events import (
    CohortArrived,
    Command,
    Conclusion,
    Done,
    Event,
    FlowArrived,
    Hold,
    Judged,
    Stall,
    Started,
    Stopped,
    TimePassed,
    WorkersChanged,
)
from .holds import Draining, Held, Probing, Recovering
from .past import LIGHT
from .searchpolicy import SearchPolicy
from .settings import Settings
from .slices import SLICE_S, Flow
from .stalls import HANG_S, Gaps, forgivable
from .trial import ALL_WRONG, GONE, STALLS, SURGE, UNREACHABLE, Excision, Measurement, Purpose, Trial, Verdict
from .validity import fault, late_slices
from .verdict import judge, lost, overloaded
from .warmup import steady

SILENCE_S = 8.0
"""A probe whose slices stay away this long is INVALID: a worker does not report."""
DRAIN_S = 30.0
"""What is still open after this and ten limits without load is given up ..."""
STUCK_S = 5.0
"""... or already when nothing came back for this and a limit, from a server that has answered before."""
ABANDON_S = 10.0
"""What was given up must be gone by then."""
RECOVER_S = 60.0
"""A target that is away, or does not answer a light load, is waited for so long."""
AGAIN = 1.1
"""A load that makes the target go away fails when this share of it, or less, did so before."""
USERS_S = 30.0
"""Closed loop: the users of a probe must be there within this."""
STAND_BACK_S = 1.0
"""After this long without an answer the load is taken away."""
STALLS_AT_LOAD = 3
"""A load FAILs when so many probes of it in a row were cut short by a stall."""
FOREVER = 1e9


class Controller:
    """Runs a search: feed it events with `step`, do what the commands say, until `Done`."""

    def __init__(self, settings: Settings, policy: SearchPolicy) -> None:
        self.settings = settings
        self.policy = policy
        self.trials: list[Trial] = []
        self.stalls: list[Stall] = []
        self.done: Conclusion | None = None
        self._now = 0.0
        self._number = 0
        self._hold: Held | None = None
        self._seen = Answers()
        self._tail: list[Flow] = []
        self._tail_of = 0
        self._gaps = Gaps(settings.bin_s, open_loop=settings.loop == "open")

    def step(self, event: Event) -> list[Command]:
        """What follows from one event. Events come in the order of their times."""
        if self.done is not None:
            return []
        self._now = event.t
        match event:
            case Started():
                return self._next(carried=False)
            case Stopped(_, reason):
                return [*self._pending(), *self._end(self.policy.give_up(self.trials, self.stalls, "aborted", reason))]
            case WorkersChanged():
                if isinstance(self._hold, Probing):
                    return self._close(self._hold, Verdict.INVALID, "workers_changed")
                return []
            case FlowArrived(_, probe, flow):
                self._take_flow(probe, flow)
            case CohortArrived(_, probe, cohort):
                if isinstance(self._hold, Probing) and probe == self._hold.number:
                    self._hold.cohorts.append(cohort)
            case TimePassed():
                if (
                    isinstance(self._hold, Probing)
                    and self._now - self._hold.heard <= SILENCE_S
                    and not self._out_of_time
                ):
                    return []
        if self._out_of_time:
            commands = self._pending()
            return [*commands, *self._end(self.policy.give_up(self.trials, self.stalls, "unresolved", "budget_spent"))]
        if isinstance(self._hold, Probing):
            return self._advance(self._hold)
        if isinstance(self._hold, Draining):
            return self._drain(self._hold)
        if isinstance(self._hold, Recovering):
            return self._recover(self._hold)
        return []

    @property
    def _out_of_time(self) -> bool:
        return self._now >= self.settings.budget_s

    # -- one probe ---------------------------------------------------------------------------------------------------

    def _take_flow(self, probe: int, flow: Flow) -> None:
        hold = self._hold
        self._seen = self._seen + Answers.of([flow])
        if hold is not None and probe == hold.number:
            hold.flows.append(flow)
            hold.heard = self._now
            if isinstance(hold, Probing):
                hold.late += late_slices([flow], self.settings.limit)
        elif probe == self._tail_of:
            # The end of the load before, sent after we last looked: still in the server when this probe began.
            self._tail.append(flow)

    def _advance(self, probing: Probing) -> list[Command]:
        settings, probe = self.settings, probing.probe
        if self._now - probing.heard > SILENCE_S:
            return self._close(probing, Verdict.INVALID, "no_report")
        if not probing.flows:
            return []
        if (commands := self._watch_answers(probing)) is not None:
            return commands
        if settings.loop == "closed" and not probing.settled(self._now):
            if self._now - probing.since > USERS_S:
                return self._close(probing, Verdict.INVALID, "users_not_reached")
            return []
        if (commands := self._watch_stall(probing)) is not None:
            return commands
        measurement = self._measure(probing)
        clean_s = measurement.clean_s
        if settings.loop == "open" and overloaded(measurement, probe.load, settings):
            return self._close(probing, Verdict.FAIL, "overload", drain=True)
        if answers.missed(probing.flows):
            # Whether the target has gone shows within a second; until then nothing is judged.
            return []
        if (probe.early or probe.until_steady) and clean_s >= probe.min_s:
            verdict, reason = judge(measurement, settings, self.trials, final=False)
            if verdict is Verdict.FAIL or (verdict is Verdict.PASS and probe.early):
                return self._close(probing, verdict, reason)
        if clean_s >= probe.max_s or (probe.until_steady and clean_s >= probe.min_s and steady(measurement)):
            return self._close(probing)
        overdue = (len(probing.flows) - measurement.settle) * SLICE_S > probe.max_s + settings.limit + 2
        if overdue and (broken := fault(measurement, settings.limit)):
            # More time would cure bad luck, not a generator that is unfit.
            return self._close(probing, Verdict.INVALID, str(broken))
        if self._now - probing.since > 3 * (probe.settle_s + probe.max_s) + settings.limit + 20:
            return self._close(probing, Verdict.INVALID, "too little clean time")
        return []

    def _watch_answers(self, probing: Probing) -> list[Command] | None:
        """Commands if the target is not there, or most of its answers are failures; None if it goes on."""
        flows, load = probing.flows, probing.probe.load
        first = answers.latest(flows, answers.FIRST_S, answers.FIRST_ANSWERS)
        if first is not None and not self._seen.good and first.failed:
            if not self._reached:
                return self._unfit(probing, UNREACHABLE)
            if first.wrong == first.failed:
                return self._unfit(probing, ALL_WRONG)
        if answers.gone(flows) and self._reached:
            before = any(t.gone and t.load <= AGAIN * load for t in self.trials)
            judged = self._judge(probing, Verdict.FAIL if before else Verdict.INVALID, GONE)
            return [judged, *self._start_recovery(gone=True)]
        # Nobody there, or a wrong request: that shows within seconds, and has a name of its own.
        named = answers.missed(flows) or (not self._seen.good and self._seen.wrong == self._seen.failed)
        if answers.surging(flows, self._tolerated) and not named:
            return self._close(probing, Verdict.FAIL, SURGE, drain=True)
        return None

    def _unfit(self, probing: Probing, reason: str) -> list[Command]:
        """End the search: nothing was measured that says anything of the target's capacity."""
        judged = self._judge(probing, Verdict.INVALID, reason)
        return [judged, *self._end(self.policy.give_up(self.trials, self.stalls, "invalid", reason))]

    @property
    def _reached(self) -> bool:
        """Was anybody ever there?"""
        return self._seen.good + self._seen.failed > self._seen.nobody

    @property
    def _tolerated(self) -> float:
        """The share of failures that every constraint of the SLO allows."""
        budgets = (self.settings.objectives[i].budget for i in self.settings.constraints)
        return min((b for b in budgets if b is not None), default=0.0)

    def _watch_stall(self, probing: Probing) -> list[Command] | None:
        """Commands if the target stands still or stood still; None if it goes on."""
        gap = self._gaps.look(probing.flows)
        if gap is None and not self._seen.good and not self._seen.failed:
            # Nothing has ever come back, so that no gap is unusual yet.
            waited = sum(f.span for f in probing.flows)
            if probing.flows[-1].open and waited > HANG_S + self.settings.limit:
                return self._close(probing, Verdict.FAIL, "hang", drain=True)
        if gap is None or gap.start < probing.looked:
            return None
        if probing.blocked(gap) >= gap.length / 2:
            # We stood still ourselves: the slices are left out as late, the target is not to blame.
            if not gap.open:
                probing.looked = gap.end
            return None
        closed_loop = self.settings.loop == "closed"
        affected = max(gap.start - self.settings.limit, 0.0)
        if gap.open:
            if closed_loop or gap.length < STAND_BACK_S:
                return [] if gap.length < HANG_S + self.settings.limit else self._close(probing, Verdict.FAIL, "hang")
            if not self._forgiven(gap.length):
                return None
            # Do not pile up work on it while waiting to see whether it is a stall or a hang.
            probing.excised.append(Excision(affected, FOREVER, "stall", round(gap.length, 3)))
            return self._start_drain(stalled=probing, stalled_at=probing.started + gap.start)
        probing.looked = gap.end
        if not self._forgiven(gap.length):
            return [self._stall(probing, gap.start, gap.length)]
        end = gap.end + self.settings.limit if closed_loop else FOREVER
        probing.excised.append(Excision(affected, end, "stall", round(gap.length, 3)))
        if closed_loop:
            return [self._stall(probing, gap.start, gap.length)]
        # What queued up behind the stall is not this load's doing: drain, judge what came before, and measure again.
        probing.ended = round(self._now, 3)
        return self._start_drain(stalled=probing, stalled_at=probing.started + gap.start, stall_s=gap.length)

    def _forgiven(self, length: float) -> bool:
        """May a stall of this length be left out?"""
        return forgivable(sum(s.length for s in self.stalls) + length, self._now)

    def _stall(self, probing: Probing, start: float, length: float) -> Stall:
        at, excised = round(probing.started + start, 3), self._forgiven(length)
        stall = Stall(at, round(length, 3), probing.number, excised)
        self.stalls.append(stall)
        return stall

    def _measure(self, probing: Probing) -> Measurement:
        settle = math.ceil(probing.probe.settle_s / SLICE_S - 1e-9) + probing.settled_slices
        return Measurement(
            self.settings.bin_s,
            tuple(probing.flows),
            tuple(probing.cohorts),
            tuple(self._tail),
            probing.carried,
            settle,
            (*probing.excised, *probing.late),
        )

    def _close(
        self, probing: Probing, verdict: Verdict | None = None, reason: str = "", drain: bool = False
    ) -> list[Command]:
        """End the probe, and go on: with a drain, or with the next probe at once."""
        commands: list[Command] = [self._judge(probing, verdict, reason)]
        if drain and self.settings.loop == "open":
            return [*commands, *self._start_drain()]
        return [*commands, *self._next(carried=self.trials[-1].verdict is not Verdict.INVALID)]

    def _judge(self, probing: Probing, verdict: Verdict | None = None, reason: str = "") -> Judged:
        """Append the trial. Whatever it says, an unfit measurement is INVALID. Without a verdict its counts decide; a
        probe that was cut before its time may lack them."""
        measurement = self._measure(probing)
        if verdict is not Verdict.INVALID and (broken := fault(measurement, self.settings.limit)):
            verdict, reason = Verdict.INVALID, str(broken)
        elif verdict is None:
            verdict, why = judge(measurement, self.settings, self.trials, final=True)
            reason = reason or why
            if measurement.clean_s < probing.probe.min_s:
                verdict = Verdict.UNDECIDED
            if not measurement.excised:
                self._gaps.learn(probing.flows)
        started, ended = probing.started, probing.ended or round(self._now, 3)
        trial = Trial(probing.number, probing.probe, measurement, verdict, reason, started, ended)
        self.trials.append(trial)
        return Judged(trial)

    # -- between probes ----------------------------------------------------------------------------------------------

    def _next(self, carried: bool) -> list[Command]:
        answer = self.policy.ask(self.trials, self._now, self.stalls)
        if isinstance(answer, Conclusion):
            return self._end(answer)
        self._tail, self._tail_of = [], self._number
        self._number += 1
        self._hold = Probing(self._number, self._now, answer, carried and self.settings.loop == "open")
        return [Hold(self._number, answer.load, answer.purpose)]

    def _start_drain(self, **more: Any) -> list[Command]:
        check = bool(self.trials) and self.trials[-1].overloaded
        self._number += 1
        self._hold = Draining(self._number, self._now, check=check, **more)
        return [Hold(self._number, 0.0, Purpose.DRAIN)]

    def _drain(self, draining: Draining) -> list[Command]:
        commands: list[Command] = []
        flows, waited, limit = draining.flows, self._now - draining.since, self.settings.limit
        if flows and flows[-1].done:
            draining.answered = self._now
        if (probing := draining.stalled) and draining.stall_s is None:
            if resumed := next((f for f in flows if f.done), None):
                end = draining.since + resumed.index * SLICE_S + min(resumed.completions) * self.settings.bin_s
                draining.stall_s, probing.ended = end - draining.stalled_at, round(self._now, 3)
            elif waited > HANG_S + limit:
                draining.stalled, draining.check = None, True
                commands.append(self._lost(probing, Verdict.FAIL))
            else:
                return []
        if flows and flows[-1].open == 0:
            return [*commands, *self._pending(), *self._emptied(draining)]
        if self._now - draining.heard > SILENCE_S:
            # Nobody reports: the next probe will say so as INVALID.
            return [*commands, *self._next(carried=False)]
        never = not self._seen.good and not self._seen.failed
        if draining.abandoned:
            if waited > ABANDON_S:
                return [*commands, *self._unrecovered("target_does_not_recover")]
        elif waited > DRAIN_S + 10 * limit or (not never and self._now - draining.answered > STUCK_S + limit):
            if never:
                # Not one answer to any load: not at the lowest either.
                return [*commands, *self._unrecovered("below_minimum")]
            if probing := draining.stalled:
                stuck = flows[-1].open if flows else 0
                commands.append(self._lost(probing, lost(stuck, probing.flows, self._tolerated)))
            self._number += 1
            self._hold = Draining(self._number, self._now, check=True, abandoned=True)
            commands.append(Hold(self._number, 0.0, Purpose.ABANDON))
        return commands

    def _stalled(self, probing: Probing, start: float, length: float) -> list[Command]:
        """Judge a probe that a stall cut short. What stands still each time that a load is offered does not take it."""
        stall = self._stall(probing, start, length)
        if not stall.excised:
            probing.excised.clear()
        judged = self._judge(probing, reason="stall")
        last = self.trials[-STALLS_AT_LOAD:]
        if len(last) == STALLS_AT_LOAD and all(t.cut_short and t.load == probing.probe.load for t in last):
            judged = Judged(replace(self.trials.pop(), verdict=Verdict.FAIL, reason=STALLS))
            self.trials.append(judged.trial)
        return [stall, judged]

    def _pending(self) -> list[Command]:
        """Judge the probe that waits for the server to be empty, if its stall has ended."""
        hold = self._hold
        if isinstance(hold, Draining) and hold.stalled and hold.stall_s is not None:
            return self._stalled(hold.stalled, hold.stalled_at - hold.stalled.started, hold.stall_s)
        return []

    def _lost(self, probing: Probing, verdict: Verdict | None) -> Judged:
        """Judge a probe of which requests never came back: what seemed a stall was none. Without a verdict its counts
        decide."""
        probing.excised.clear()
        return self._judge(probing, verdict, "" if verdict is None else "hang")

    def _emptied(self, draining: Draining) -> list[Command]:
        """Nothing is open any more. Go on once the target is seen to answer, if there is a load that it answered."""
        well = not draining.abandoned and answers.back(draining.flows)
        if not draining.check or well or all(t.verdict is not Verdict.PASS for t in self.trials):
            return self._next(carried=False)
        return self._start_recovery(gone=False)

    def _start_recovery(self, gone: bool) -> list[Command]:
        self._number += 1
        self._hold = Recovering(self._number, self._now, gone)
        grid = self.settings.grid
        passed = min((t.load for t in self.trials if t.verdict is Verdict.PASS), default=self.settings.start)
        load = grid.minimum if self.settings.loop == "closed" else grid.snap(min(passed, LIGHT))
        return [Hold(self._number, load, Purpose.RECOVER)]

    def _recover(self, recovering: Recovering) -> list[Command]:
        if answers.back(recovering.flows) or self._now - recovering.heard > SILENCE_S:
            return self._next(carried=False)
        if self._now - recovering.since <= RECOVER_S:
            return []
        gone = recovering.gone or answers.missed(recovering.flows)
        return self._unrecovered(GONE if gone else "target_does_not_recover")

    def _unrecovered(self, reason: str) -> list[Command]:
        return self._end(self.policy.give_up(self.trials, self.stalls, "unresolved", reason))

    def _end(self, conclusion: Conclusion) -> list[Command]:
        self.done = conclusion
        self._hold = None
        return [Done(conclusion)]
