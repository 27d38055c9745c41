"""The controller alone, fed by a world made of numbers: no server, no meter, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from locust_adaptive.search.controller import ABANDON_S, DRAIN_S, RECOVER_S, SILENCE_S, STUCK_S, Controller
from locust_adaptive.search.events import (
    Capacity,
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
from locust_adaptive.search.grid import Grid
from locust_adaptive.search.histogram import index_of
from locust_adaptive.search.policy import AdaptivePolicy
from locust_adaptive.search.settings import Loop, Settings
from locust_adaptive.search.slices import LADDER, SLICE_S, Cohort, Flow, NameCounts
from locust_adaptive.search.slo import Slo
from locust_adaptive.search.stalls import HANG_S
from locust_adaptive.search.trial import UNMEASURED, Probe, Purpose, Trial, Verdict

BINS = 50
LATE_BUCKET, GOOD_BUCKET = 640, 470


def settings(loop: Loop = "open", budget_s: float = 300.0, slo: str = "p95<250ms") -> Settings:
    grid = Grid.rate(1, 1000) if loop == "open" else Grid.users(1, 100)
    return Settings(Slo.parse(slo), loop, grid, 10.0, budget_s=budget_s)


class Script:
    """A policy that asks for given probes in turn, then concludes."""

    name, version = "script", 1

    def __init__(self, *probes: Probe) -> None:
        self.probes = probes

    def ask(self, trials: list[Trial], now: float, stalls: list[Stall]) -> Probe | Conclusion:
        if len(trials) < len(self.probes):
            return self.probes[len(trials)]
        return Conclusion("resolved", "converged", Capacity(1.0, 1.0, 1.0))

    def give_up(self, trials: list[Trial], stalls: list[Stall], verdict: str, reason: str) -> Conclusion:
        return Conclusion(verdict, reason, Capacity(None, max((t.load for t in trials), default=None), None))


def probe(load: float = 40.0, seconds: float = 6.0, purpose: Purpose = Purpose.REFINE) -> Probe:
    return Probe(load, purpose, 0.5, seconds / 2, seconds)


@dataclass
class World:
    """Drives a controller slice by slice. `flow` and `cohort` make what a slice of the present load shows."""

    controller: Controller
    t: float = 0.0
    hold: Hold | None = None
    slice_: int = 0
    commands: list[Command] = field(default_factory=list)
    open: int = 0

    def tell(self, event: Event) -> list[Command]:
        commands = self.controller.step(event)
        for command in commands:
            if isinstance(command, Hold):
                self.hold, self.slice_ = command, 0
        self.commands += commands
        return commands

    def start(self) -> World:
        self.tell(Started(0.0, 1))
        return self

    def flow(self, **more: object) -> Flow:
        """A slice of a healthy server, at the load that is held."""
        assert self.hold is not None
        closed = self.controller.settings.loop == "closed"
        sent = round((20 if closed else self.hold.load) * SLICE_S)
        bins = {int(i * BINS / sent): 1 for i in range(sent)}
        values: dict[str, object] = {
            "arrivals": bins,
            "completions": dict(bins),
            "intended": sent,
            "users": round(self.hold.load) if closed else 0,
            "open": 2 if sent else 0,
        }
        return Flow(self.slice_, **{**values, **more})  # type: ignore[arg-type]

    def cohort(self, index: int, misses: float = 0.0) -> Cohort:
        assert self.hold is not None
        closed = self.controller.settings.loop == "closed"
        sent = round((20 if closed else self.hold.load) * SLICE_S)
        k = round(sent * misses)
        hist = {b: n for b, n in ((GOOD_BUCKET, sent - k), (LATE_BUCKET, k)) if n}
        rungs = [[sent - k, *[0] * (len(LADDER) - 1), k]]
        return Cohort(index, rungs, {"/a": NameCounts(sent, 0, {}, hist)} if sent else {})

    def pass_slice(self, misses: float = 0.0, silent: bool = False, **flow: object) -> None:
        """Half a second goes by."""
        self.t += SLICE_S
        if not silent and self.hold is not None:
            number, index = self.hold.probe, self.slice_
            made = self.flow(**flow)
            self.slice_ += 1
            self.tell(FlowArrived(self.t, number, made))
            # The limit is one slice long or less: its cohort follows a slice later.
            if index and self.hold.probe == number and self.controller.done is None:
                self.tell(CohortArrived(self.t, number, self.cohort(index - 1, misses)))
        self.tell(TimePassed(self.t))

    def run(self, slices: int, **more: object) -> World:
        for _ in range(slices):
            if self.controller.done is not None:
                break
            self.pass_slice(**more)  # type: ignore[arg-type]
        return self

    def until(self, condition: Callable[[], bool], **more: object) -> World:
        for _ in range(1000):
            if condition():
                return self
            self.pass_slice(**more)  # type: ignore[arg-type]
        raise AssertionError("it never happens")

    @property
    def trials(self) -> list[Trial]:
        return self.controller.trials

    @property
    def draining(self) -> bool:
        return self.hold is not None and self.hold.purpose is Purpose.DRAIN


def world(*probes: Probe, loop: Loop = "open", budget_s: float = 300.0) -> World:
    return World(Controller(settings(loop, budget_s), Script(*probes))).start()


# -- a calm search ---------------------------------------------------------------------------------------------------


def test_probes_follow_one_another_with_rising_numbers() -> None:
    w = world(probe(40), probe(60)).run(60)
    holds = [c for c in w.commands if isinstance(c, Hold)]
    assert [(h.probe, h.load) for h in holds] == [(1, 40), (2, 60)]
    assert [t.verdict for t in w.trials] == [Verdict.PASS, Verdict.PASS]
    assert [t.number for t in w.trials] == [1, 2]
    assert [c.trial for c in w.commands if isinstance(c, Judged)] == w.trials
    assert isinstance(w.commands[-1], Done)


def test_the_settling_time_is_not_counted() -> None:
    w = world(probe(40, seconds=6)).run(60)
    m = w.trials[0].measurement
    assert m.settle == 1
    assert m.clean_s == 6
    assert not m.carried


def test_a_probe_without_a_drain_before_it_carries_the_flows_that_came_late() -> None:
    w = world(probe(40), probe(60))
    w.until(lambda: len(w.trials) == 1)
    late = Flow(13, span=0.2, arrivals={1: 3}, open=5)
    w.tell(FlowArrived(w.t, 1, late))
    w.run(40)
    assert w.trials[1].measurement.carried
    assert w.trials[1].measurement.preamble == (late,)


@pytest.mark.parametrize(("misses", "verdict"), [(0.0, Verdict.PASS), (0.5, Verdict.FAIL)])
def test_the_counts_decide(misses: float, verdict: Verdict) -> None:
    w = world(probe(40)).run(60, misses=misses)
    assert w.trials[0].verdict is verdict
    assert w.trials[0].reason == ("p95<250ms" if verdict is Verdict.FAIL else "")


def test_nothing_follows_the_end() -> None:
    w = world(probe(40)).run(60)
    assert w.controller.done is not None
    before = list(w.trials)
    for event in (TimePassed(99.0), Stopped(99.0, "user"), WorkersChanged(99.0, 3), FlowArrived(99.0, 1, Flow(0))):
        assert w.controller.step(event) == []
    assert w.trials == before


# -- overload, hang, stall -------------------------------------------------------------------------------------------


def test_an_overload_is_recognised_from_the_backlog_and_drained() -> None:
    w = world(probe(40), probe(20)).run(3)
    w.pass_slice(open=200)
    assert (w.trials[0].verdict, w.trials[0].reason) == (Verdict.FAIL, "overload")
    assert w.draining
    assert w.hold is not None
    assert (w.hold.load, w.hold.probe) == (0.0, 2)
    w.run(3, open=50)
    assert w.draining
    w.pass_slice(open=0)
    assert not w.draining
    assert (w.hold.load, w.hold.probe) == (20, 3)
    w.run(40)
    assert not w.trials[1].measurement.carried


def test_a_server_that_never_empties_ends_the_search() -> None:
    w = world(probe(40), probe(20)).run(2).run(1, open=500)
    w.run(200, open=400)
    assert w.controller.done is not None
    assert (w.controller.done.verdict, w.controller.done.reason) == ("unresolved", "target_does_not_recover")
    assert w.t == pytest.approx(1.5 + STUCK_S + ABANDON_S, abs=1.5)


def learned(*probes: Probe, loop: Loop = "open", budget_s: float = 300.0) -> World:
    """A world in which one probe has gone by, so that the usual gaps are known."""
    w = world(probe(40 if loop == "open" else 10, seconds=10), *probes, loop=loop, budget_s=budget_s)
    return w.until(lambda: len(w.trials) == 1)


def test_a_short_stall_is_left_out_and_the_probe_judged_on_the_rest() -> None:
    w = learned(probe(40, seconds=10), probe(40)).run(8)
    # Nothing for 0.4 s in the middle of a slice.
    w.pass_slice(arrivals={0: 1, 10: 9}, completions={0: 1, 45: 9}, open=2)
    assert w.draining
    cut = w.t
    w.run(2)
    (stall,) = (c for c in w.commands if isinstance(c, Stall))
    assert stall.length == pytest.approx(0.44, abs=0.02)
    assert (stall.excised, stall.probe) == (True, 2)
    assert w.trials[1].reason == "stall"
    (excision,) = w.trials[1].measurement.excised
    assert excision.cause == "stall"
    # What was sent up to a limit before the stall may have been caught by it.
    assert excision.start == pytest.approx(8 * SLICE_S + 0.01 - 0.25, abs=0.02)
    assert w.trials[1].ended == cut


def test_a_long_stall_takes_the_load_away_until_answers_resume() -> None:
    w = learned(probe(40, seconds=10), probe(40)).run(6)
    w.run(3, completions={}, open=30)
    assert w.draining
    assert len(w.trials) == 1
    w.run(2, arrivals={}, completions={}, open=30)
    w.pass_slice(arrivals={}, completions={20: 30}, open=0)
    (stall,) = (c for c in w.commands if isinstance(c, Stall))
    assert stall.excised
    assert stall.length == pytest.approx(3 * 0.5 + 2 * 0.5 + 0.2, abs=0.06)
    assert (w.trials[1].reason, w.trials[1].verdict) != ("hang", Verdict.FAIL)
    assert w.hold is not None
    assert w.hold.load == 40


def test_a_hang_fails() -> None:
    w = learned(probe(40, seconds=10), probe(20)).run(6)
    w.run(3, completions={}, open=30)
    w.run(round((HANG_S + 1) / SLICE_S), arrivals={}, completions={}, open=30)
    assert (w.trials[1].verdict, w.trials[1].reason) == (Verdict.FAIL, "hang")
    assert w.trials[1].overloaded
    assert not w.trials[1].measurement.excised


def test_a_hang_fails_in_closed_loop_too() -> None:
    w = learned(probe(20, seconds=10), probe(10), loop="closed").run(6)
    w.run(round((HANG_S + 2) / SLICE_S), arrivals={}, completions={}, open=20)
    assert (w.trials[1].verdict, w.trials[1].reason) == (Verdict.FAIL, "hang")


def test_our_own_standing_still_is_no_stall_of_the_target() -> None:
    w = learned(probe(40, seconds=10)).run(8)
    w.pass_slice(arrivals={0: 1, 45: 9}, completions={0: 1, 45: 9}, open=2, hub_lag=0.43)
    w.until(lambda: len(w.trials) == 2)
    assert not w.controller.stalls
    assert [x.cause for x in w.trials[1].measurement.excised] == ["generator"]
    assert w.trials[1].verdict is Verdict.PASS


def test_stalls_beyond_their_share_are_measured_as_they_are() -> None:
    w = learned(*[probe(40, seconds=10)] * 40)
    for _ in range(30):
        if w.controller.done is None:
            w.run(2)
            if not w.draining:
                w.pass_slice(arrivals={0: 1, 10: 9}, completions={0: 1, 47: 9}, open=2)
            w.run(2, open=0)
    excised = [s.excised for s in w.controller.stalls]
    assert excised[0]
    assert not all(excised)
    assert any(t.reason != "stall" for t in w.trials[1:])


# -- the target is away, or sheds ------------------------------------------------------------------------------------

REFUSED = {"completions": {0: 20}, "errors": {"refused": 20}, "open": 0}
SHED = {"completions": {0: 20}, "errors": {"http 503": 15}, "open": 0}
GOOD = {"completions": {0: 3}, "open": 0}


def test_nobody_there_ends_the_search_in_seconds() -> None:
    w = world(probe(40)).run(20, **REFUSED)
    assert w.controller.done is not None
    assert (w.controller.done.verdict, w.controller.done.reason) == ("invalid", "target_unreachable")
    assert (w.trials[0].verdict, w.t) == (Verdict.INVALID, 3.0)


def test_a_target_that_goes_away_voids_the_probe_and_is_waited_for_lightly() -> None:
    w = world(probe(40, seconds=20), probe(40)).run(6).run(2, **REFUSED)
    assert (w.trials[0].verdict, w.trials[0].reason) == (Verdict.INVALID, "target_gone")
    assert w.hold is not None
    assert (w.hold.load, w.hold.purpose) == (2.0, Purpose.RECOVER)
    w.run(20, completions={0: 1}, errors={"refused": 1})
    assert w.hold.purpose is Purpose.RECOVER
    w.run(1, **GOOD)
    assert (w.hold.load, w.hold.purpose) == (40, Purpose.REFINE)


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [(40, 40, Verdict.FAIL), (40, 60, Verdict.FAIL), (60, 40, Verdict.INVALID), (42, 40, Verdict.FAIL)],
)
def test_a_load_that_makes_it_go_away_again_fails(first: float, second: float, verdict: Verdict) -> None:
    w = world(probe(first, seconds=20), probe(second, seconds=20), probe(10))
    for _ in range(2):
        w.run(6).run(2, **REFUSED).run(2, **GOOD)
    assert [t.verdict for t in w.trials] == [Verdict.INVALID, verdict]
    assert w.trials[1].overloaded is (verdict is Verdict.FAIL)


def test_a_target_that_stays_away_ends_the_search() -> None:
    w = world(probe(40, seconds=20), probe(40)).run(6).run(200, **REFUSED)
    assert w.controller.done is not None
    assert (w.controller.done.verdict, w.controller.done.reason) == ("unresolved", "target_gone")
    assert w.t == pytest.approx(3 + 1 + RECOVER_S, abs=1.5)


def test_a_surge_of_failures_takes_the_load_away_and_the_target_is_looked_at() -> None:
    w = world(probe(20), probe(40, seconds=60), probe(20))
    w.until(lambda: len(w.trials) == 1)
    w.run(4).until(lambda: len(w.trials) == 2, **SHED)
    assert (w.trials[1].verdict, w.trials[1].reason) == (Verdict.FAIL, "errors_surge")
    assert w.trials[1].overloaded
    assert w.draining
    w.run(1)
    assert w.hold is not None
    assert w.hold.purpose is Purpose.RECOVER
    w.run(1, **GOOD)
    assert (w.hold.load, w.hold.purpose) == (20, Purpose.REFINE)


def test_a_drain_in_which_good_answers_come_is_recovery_enough() -> None:
    w = world(probe(20), probe(40), probe(20))
    w.until(lambda: len(w.trials) == 1)
    w.run(3).run(1, open=200)
    assert w.draining
    w.run(1, completions={0: 20}, open=0)
    assert w.hold is not None
    assert w.hold.purpose is Purpose.REFINE


def test_what_never_comes_back_is_given_up_and_is_no_stall() -> None:
    w = learned(probe(40, seconds=10), probe(40)).run(8)
    w.pass_slice(arrivals={0: 1, 10: 9}, completions={0: 1, 45: 9}, open=30)
    assert w.draining
    w.run(round((STUCK_S + 1) / SLICE_S), open=30)
    assert (w.trials[1].verdict, w.trials[1].reason) == (Verdict.FAIL, "hang")
    assert not w.trials[1].measurement.excised
    assert not w.controller.stalls
    assert w.hold is not None
    assert w.hold.purpose is Purpose.ABANDON
    w.run(1, open=0)
    assert w.hold.purpose is Purpose.RECOVER


def test_a_target_that_never_answers_anything_is_given_the_time_to_start_up() -> None:
    w = world(probe(40), probe(20)).run(200, completions={}, open=200)
    assert w.controller.done is not None
    assert (w.controller.done.verdict, w.controller.done.reason) == ("unresolved", "below_minimum")
    assert w.trials[0].verdict is Verdict.FAIL
    assert DRAIN_S < w.t < DRAIN_S + 5


def test_three_stalls_in_a_row_are_the_loads_doing() -> None:
    stalling = probe(40, seconds=10)
    w = learned(stalling, stalling, stalling, probe(20))
    for _ in range(3):
        w.run(2).pass_slice(arrivals={0: 1, 10: 9}, completions={0: 1, 40: 9}, open=2)
        w.run(1, open=0)
    assert [t.verdict for t in w.trials[1:]] == [Verdict.UNDECIDED] * 2 + [Verdict.FAIL]
    assert w.trials[3].reason == "stalls_each_time"


# -- unfit measurements ----------------------------------------------------------------------------------------------


def test_workers_that_come_or_go_void_the_probe() -> None:
    w = world(probe(40), probe(40)).run(4)
    commands = w.tell(WorkersChanged(w.t, 2))
    assert (w.trials[0].verdict, w.trials[0].reason) == (Verdict.INVALID, "workers_changed")
    assert isinstance(commands[-1], Hold)
    assert commands[-1].probe == 2


def test_workers_that_change_in_a_drain_void_nothing() -> None:
    w = world(probe(40), probe(40)).run(2).run(1, open=500)
    assert w.draining
    assert w.tell(WorkersChanged(w.t, 2)) == []


def test_silence_voids_the_probe() -> None:
    w = world(probe(40), probe(40)).run(4)
    w.run(round(SILENCE_S / SLICE_S), silent=True)
    assert not w.trials
    w.run(1, silent=True)
    assert (w.trials[0].verdict, w.trials[0].reason) == (Verdict.INVALID, "no_report")


def test_a_late_generator_voids_its_slices() -> None:
    w = world(probe(40, seconds=6)).run(5)
    w.pass_slice(lag={index_of(0.1): 20})
    w.run(40)
    m = w.trials[0].measurement
    assert [x.cause for x in m.excised] == ["generator"]
    assert m.clean_s == 6
    assert not m.is_clean(5)
    assert w.trials[0].verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("unfit", "rule"),
    [
        ({"cpu": 0.9}, "generator CPU"),
        ({"dropped": 3}, "share of arrivals sent"),
    ],
)
def test_an_unfit_generator_voids_the_probe(unfit: dict[str, float], rule: str) -> None:
    w = world(probe(40), probe(40))
    w.until(lambda: bool(w.trials), **unfit)
    assert w.trials[0].verdict is Verdict.INVALID
    assert w.trials[0].reason.startswith(rule)


def test_a_generator_that_is_always_late_voids_the_probe() -> None:
    w = world(probe(40), probe(40))
    w.until(lambda: bool(w.trials), hub_lag=0.05)
    assert w.trials[0].verdict is Verdict.INVALID
    assert w.t < 60


def test_three_invalid_probes_in_a_row_end_the_search() -> None:
    question = settings()
    w = World(Controller(question, AdaptivePolicy(question))).start()
    w.run(200, cpu=0.95)
    assert [t.verdict for t in w.trials] == [Verdict.INVALID] * 3
    assert [t.probe.repeats for t in w.trials] == [None, 1, 2]
    assert w.controller.done is not None
    assert (w.controller.done.verdict, w.controller.done.reason) == ("unresolved", "measurement_invalid")


def test_an_overload_seen_by_a_busy_generator_is_no_overload() -> None:
    w = world(probe(40), probe(40)).run(3, cpu=0.95)
    w.pass_slice(open=300, cpu=0.95)
    assert w.trials[0].verdict is Verdict.INVALID
    assert w.draining


# -- users -----------------------------------------------------------------------------------------------------------


def test_closed_loop_counts_from_when_its_users_are_there() -> None:
    w = world(probe(10, seconds=4), loop="closed").run(4, users=3).run(40)
    assert w.trials[0].measurement.settle == 4 + 1
    assert w.trials[0].verdict is Verdict.PASS


def test_users_that_never_come_void_the_probe() -> None:
    w = world(probe(10), loop="closed")
    w.until(lambda: bool(w.trials), users=3)
    assert (w.trials[0].verdict, w.trials[0].reason) == (Verdict.INVALID, "users_not_reached")


# -- ends ------------------------------------------------------------------------------------------------------------


def test_stop_ends_with_what_is_known() -> None:
    w = world(probe(40), probe(60)).run(20)
    (done,) = w.tell(Stopped(w.t, "signal 15"))
    assert isinstance(done, Done)
    assert (done.conclusion.verdict, done.conclusion.reason) == ("aborted", "signal 15")
    assert done.conclusion.capacity.low == 40


def test_a_spent_budget_ends_in_mid_probe() -> None:
    w = world(probe(40), probe(60, seconds=500), budget_s=30).run(100)
    assert w.t == 30
    assert w.controller.done is not None
    assert (w.controller.done.verdict, w.controller.done.reason) == ("unresolved", "budget_spent")
    assert w.controller.done.capacity.low == 40


@pytest.mark.parametrize("loop", ["open", "closed"])
@pytest.mark.parametrize("event", [Stopped(0.0, "user"), TimePassed(1e6)])
def test_a_search_that_ends_before_its_first_slice_knows_nothing(loop: Loop, event: Event) -> None:
    question = settings(loop)
    w = World(Controller(question, AdaptivePolicy(question))).start()
    (done,) = w.tell(event)
    assert isinstance(done, Done)
    assert done.conclusion.capacity.value is None


# -- any world at all ------------------------------------------------------------------------------------------------


@st.composite
def moments(draw: st.DrawFn) -> list[tuple[str, float]]:
    """What the slices of a search show, over and over: mostly calm, at times anything."""
    kinds = ["calm"] * 8 + ["misses", "backlog", "stall", "hang", "silence", "workers", "lag", "cpu", "few", "empty"]
    return draw(st.lists(st.tuples(st.sampled_from(kinds), st.floats(0, 1)), min_size=1, max_size=60))


def slices(script: list[tuple[str, float]], capacity: float) -> Iterator[tuple[str, float, float]]:
    while True:
        for kind, x in script:
            repeats = {"silence": 17, "hang": 24, "stall": 3}.get(kind, 1 + round(6 * x))
            for _ in range(repeats):
                yield kind, x, capacity


def play(w: World, script: list[tuple[str, float]], capacity: float) -> None:
    """Let the search run in that world to its end."""
    for steps, (kind, x, knee) in enumerate(slices(script, capacity)):
        if w.controller.done is not None:
            return
        assert steps < 3 * w.controller.settings.budget_s / SLICE_S
        load = w.hold.load if w.hold else 0.0
        over = max(load - knee, 0.0) / max(load, 1e-9)
        w.open = max(w.open + round((load - knee) * SLICE_S), 0) if load else 0
        closed = w.controller.settings.loop == "closed"
        more: dict[str, object] = {"open": 2 if closed else w.open, "misses": min(2 * over, 1.0)}
        if kind == "misses":
            more["misses"] = x
        elif kind == "backlog":
            more["open"] = round(3000 * x)
        elif kind in ("stall", "hang"):
            more |= {"completions": {}, "open": 5 + round(300 * x)}
        elif kind == "lag":
            more["hub_lag"] = x
        elif kind == "cpu":
            more["cpu"] = x
        elif kind == "few":
            more |= {"users": 1, "dropped": round(5 * x)}
        elif kind == "empty":
            more |= {"arrivals": {}, "completions": {}, "open": 0, "intended": 0}
        elif kind == "workers":
            w.tell(WorkersChanged(w.t, 1 + round(3 * x)))
        if w.controller.done is None:
            w.pass_slice(silent=kind == "silence", **more)  # type: ignore[arg-type]


@examples(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(moments(), st.sampled_from([2.0, 15.0, 60.0, 300.0, 5000.0]), st.sampled_from(["open", "closed"]))
def test_every_search_ends_in_its_budget_whatever_happens(
    script: list[tuple[str, float]], capacity: float, loop: Loop
) -> None:
    question = settings(loop, budget_s=240.0)
    w = World(Controller(question, AdaptivePolicy(question))).start()
    play(w, script, capacity)
    done = w.controller.done
    assert done is not None
    assert w.t <= question.budget_s + SLICE_S
    assert done.verdict in ("resolved", "unresolved", "invalid", "aborted")
    assert isinstance(w.commands[-1], Done)
    assert w.controller.step(TimePassed(w.t + 1)) == []
    known = done.capacity
    if known.low is not None and known.high is not None:
        assert known.low <= known.high
        if known.value is not None:
            assert known.low <= known.value <= known.high
    # Numbers rise and are never used again; every probe but the last has its trial.
    holds = [c for c in w.commands if isinstance(c, Hold)]
    numbers = [h.probe for h in holds]
    assert numbers == sorted(set(numbers))
    probes = [h.probe for h in holds if h.purpose not in UNMEASURED]
    assert [t.number for t in w.trials] in (probes, probes[:-1])
    assert all(question.grid.minimum <= h.load <= question.grid.maximum for h in holds if h.load)


@examples(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(moments(), st.sampled_from([2.0, 15.0, 60.0, 300.0]))
def test_after_the_first_overload_no_probe_exceeds_the_best_pass_by_more_than_a_quarter(
    script: list[tuple[str, float]], capacity: float
) -> None:
    question = settings(budget_s=240.0)
    w = World(Controller(question, AdaptivePolicy(question))).start()
    play(w, script, capacity)
    best, seen = 0.0, False
    for t in w.trials:
        if seen and best and t.probe.repeats is None:
            assert t.load <= 1.25 * best * 1.005  # three digits
        if t.verdict is Verdict.PASS:
            best = max(best, t.load)
        seen = seen or t.overloaded
