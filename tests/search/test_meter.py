"""The meter against an oracle that keeps every request and counts afterwards. Times are multiples of 1/64 s: exact."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locust_adaptive.search.histogram import index_of
from locust_adaptive.search.meter import ARRIVAL, DROPPED, MAX_NAMES, OTHER, Meter, Request
from locust_adaptive.search.slices import LADDER, LIMIT_RUNG, SLICE_S, Cohort, Flow, Shipment
from locust_adaptive.search.slo import Slo

TICK = 1 / 64
SLO = Slo.parse("p99<250ms & p50{/b}<=125ms & errors<1%")
LIMITS = {0: 0.25, 1: 0.125}


@dataclass
class Seen:
    """What the oracle knows of one request. `name` None: it was taken back, or never counted."""

    due: float
    sent: float
    probe: int
    name: str | None
    counted: bool = True
    end: float | None = None
    ended_at_step: float = math.inf
    error: str | None = None


@dataclass
class World:
    """A meter, driven by random operations, and the oracle's book."""

    meter: Meter = field(default_factory=lambda: Meter(SLO, 0.005, 0.0))
    now: float = 0.0
    starts: list[float] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    drops: list[tuple[float, int]] = field(default_factory=list)
    open: list[tuple[Request, Seen]] = field(default_factory=list)
    shipments: list[tuple[int, Shipment]] = field(default_factory=list)
    step: int = 0

    def probe_of(self, due: float) -> int:
        """The probe in force when it was due (law 4); 0 before the first."""
        return max((n for n, start in enumerate(self.starts, start=1) if start <= due), default=0)

    def do(self, operation: str, ticks: int, pick: int, name: str) -> None:
        meter, now = self.meter, self.now
        self.step += 1
        if operation == "wait":
            self.now += ticks * TICK
        elif operation in ("begin", "setup"):
            # Never so late that its cohort has gone; that case has a test of its own.
            due = max(now - (ticks % 8) * TICK, 0.0)
            counted = operation == "begin"
            seen = Seen(due, now, self.probe_of(due), name if counted else None, counted and bool(self.starts))
            self.open.append((meter.begin(now, due, name, counted=counted), seen))
            self.seen.append(seen)
        elif operation == "drop":
            due = max(now - (ticks % 8) * TICK, 0.0)
            meter.drop(now, due)
            if self.starts:
                self.drops.append((due, self.probe_of(due)))
        elif operation == "probe":
            self.starts.append(now)
            meter.open_probe(len(self.starts), now)
        elif operation == "collect":
            self.collect()
        elif self.open:
            request, seen = self.open[pick % len(self.open)]
            if operation == "rename":
                meter.rename(request, name)
                if seen.name is not None and not self.told(seen):
                    seen.name = name
                return
            self.open.remove((request, seen))
            seen.end, seen.ended_at_step = now, self.step
            if operation == "cancel":
                meter.cancel(request, now)
                if not self.told(seen):
                    seen.name = None
            else:
                seen.error = "http 503" if operation == "fail" else None
                meter.finish(request, now, seen.error)
                meter.finish(request, now, "twice")

    def told(self, seen: Seen) -> bool:
        """Was its cohort given out? Then nothing changes it any more."""
        if seen.probe == 0:
            return False
        place = (seen.due - self.starts[seen.probe - 1]) // SLICE_S
        return any(cohort.index == place for _, cohort in self.cohorts(seen.probe))

    def collect(self) -> None:
        self.shipments += [(self.step, s) for s in self.meter.collect(self.now)]

    def flows(self, probe: int) -> list[Flow]:
        return [f for _, s in self.shipments if s.probe == probe for f in s.flows]

    def cohorts(self, probe: int) -> list[tuple[int, Cohort]]:
        return [(at, c) for at, s in self.shipments if s.probe == probe for c in s.cohorts]


operations = st.lists(
    st.tuples(
        st.sampled_from(
            ["wait", "begin", "finish"] * 3 + ["begin", "fail", "cancel", "drop", "rename", "setup", "probe", "collect"]
        ),
        st.integers(1, 40),
        st.integers(0, 20),
        st.sampled_from(["/a", "/b"]),
    ),
    max_size=120,
)


def played(script: list[tuple[str, int, int, str]]) -> World:
    world = World()
    world.do("probe", 0, 0, "")
    for operation in script:
        world.do(*operation)
    world.do("wait", 3, 0, "")
    world.do("collect", 0, 0, "")
    # A probe of its own closes the last slice of the one before.
    world.do("probe", 0, 0, "")
    world.do("collect", 0, 0, "")
    return world


@settings(max_examples=300, deadline=None)
@given(operations)
def test_flows_conserve_requests_and_request_seconds(script: list[tuple[str, int, int, str]]) -> None:
    world = played(script)
    still_open = 0
    for probe, (start, end) in enumerate(zip(world.starts, world.starts[1:], strict=False), start=1):
        flows = world.flows(probe)
        assert [f.index for f in flows] == list(range(len(flows)))
        at = start
        for flow in flows:
            until = at + flow.span
            counted = [r for r in world.seen if r.counted]
            still_open += flow.sent - flow.done
            assert flow.open == still_open
            assert flow.area == pytest.approx(flow.residence, abs=1e-9)
            inside = [max(min(until, until if r.end is None else r.end) - max(at, r.sent), 0.0) for r in counted]
            assert flow.area == pytest.approx(sum(inside), abs=1e-9)
            at = until
        assert at == pytest.approx(end, abs=1e-9)
        dropped = sum(f.dropped for f in flows)
        assert sum(f.sent for f in flows) == sum(sum(f.lag.values()) for f in flows)
        assert sum(f.intended for f in flows) == sum(f.sent for f in flows) + dropped
    total = [f for probe in range(1, len(world.starts)) for f in world.flows(probe)]
    assert sum(f.sent for f in total) == sum(r.counted for r in world.seen)
    assert sum(f.dropped for f in total) == len(world.drops)
    assert sum(f.done for f in total) == sum(r.counted and r.end is not None for r in world.seen)
    assert world.meter.in_flight == len(world.open)


@settings(max_examples=300, deadline=None)
@given(operations)
def test_cohorts_count_each_request_once_where_it_was_due(script: list[tuple[str, int, int, str]]) -> None:
    world = played(script)
    for probe, start in enumerate(world.starts, start=1):
        for place, (step, cohort) in enumerate(world.cohorts(probe)):
            assert cohort.index == place
            begin = start + place * SLICE_S
            due = [r for r in world.seen if r.name and r.probe == probe and begin <= r.due < begin + SLICE_S]
            drops = [d for d, of in world.drops if of == probe and begin <= d < begin + SLICE_S]
            ended = [r for r in due if r.ended_at_step < step]
            assert cohort.sent == len(due) + len(drops)
            by_name = {n: c for n, c in cohort.names.items() if n != DROPPED}
            assert {n: c.sent for n, c in by_name.items()} == {
                n: k for n in ("/a", "/b") if (k := sum(r.name == n for r in due))
            }
            for name, counts in by_name.items():
                mine = [r for r in ended if r.name == name]
                answered = [index_of(r.end - r.due) for r in mine if r.end is not None]
                assert counts.hist == {b: answered.count(b) for b in answered}
                assert sum(counts.errors.values()) == sum(r.error is not None for r in mine)
                assert counts.sent == sum(counts.hist.values()) + counts.open
            for row, limit in LIMITS.items():
                subject = [r for r in due if row == 0 or r.name == "/b"]
                good = [
                    r
                    for r in subject
                    if r in ended
                    and not r.error
                    and r.end is not None
                    and (r.end - r.due < limit if row == 0 else r.end - r.due <= limit)
                ]
                assert cohort.counts(row) == (len(subject) - len(good) + len(drops), len(subject) + len(drops))


@settings(max_examples=200, deadline=None)
@given(operations)
def test_an_error_is_counted_once_and_being_late_is_none(script: list[tuple[str, int, int, str]]) -> None:
    world = played(script)
    if len(world.starts) > 2:
        return
    # One probe: what was still open past the limit is booked when it is known.
    rows = [cohort.rungs[2] for _, cohort in world.cohorts(1)]
    bad, good = sum(row[1] for row in rows), sum(row[0] for row in rows)
    errors = sum(r.error is not None for r in world.seen if r.counted and r.name)
    assert bad <= errors + len(world.drops)
    assert good <= sum(r.end is not None and r.error is None and r.name is not None for r in world.seen)


# -- at the boundaries -----------------------------------------------------------------------------------------------


def metered(slo: str = "p99<250ms", patience: float = 10.0) -> Meter:
    meter = Meter(Slo.parse(slo), 0.010, 0.0, patience)
    meter.open_probe(1, 0.0)
    return meter


def cohorts_of(meter: Meter, now: float) -> list[Cohort]:
    return [c for s in meter.collect(now) for c in s.cohorts]


@pytest.mark.parametrize(
    ("slo", "latency", "miss"),
    [
        ("p99<250ms", 0.25, True),
        ("p99<250ms", 0.2499999, False),
        ("p99<=250ms", 0.25, False),
        ("p99<=250ms", 0.2500001, True),
    ],
)
def test_at_the_limit_itself_only_less_or_equal_holds(slo: str, latency: float, miss: bool) -> None:
    meter = metered(slo)
    meter.finish(meter.begin(0.0, 0.0, "/a"), latency)
    assert cohorts_of(meter, 1.0)[0].counts(0) == (int(miss), 1)


def test_each_latency_has_its_rung() -> None:
    meter = metered("p99<=1s")
    for factor in LADDER:
        meter.finish(meter.begin(0.0, 0.0, "/a"), factor)
    assert cohorts_of(meter, 3.0)[0].rungs == [[1] * len(LADDER) + [0]]


def test_latency_counts_from_the_due_time() -> None:
    meter = metered()
    meter.finish(meter.begin(0.2, 0.0, "/a"), 0.3)
    assert cohorts_of(meter, 1.0)[0].counts(0) == (1, 1)


def test_a_request_due_at_the_end_of_a_slice_belongs_to_the_next() -> None:
    meter = metered()
    meter.finish(meter.begin(0.5, 0.5, "/a"), 0.5)
    assert [c.sent for c in cohorts_of(meter, 1.5)] == [0, 1]


def test_a_hanging_request_misses_once_its_limit_has_passed() -> None:
    meter = metered()
    hanging = meter.begin(0.4, 0.4, "/a")
    assert cohorts_of(meter, 0.99) == []
    (cohort,) = cohorts_of(meter, 1.0)
    assert cohort.counts(0) == (1, 1)
    assert cohort.names["/a"].open == 1
    meter.finish(hanging, 5.0)
    assert all(c.counts(0) == (0, 0) for c in cohorts_of(meter, 9.0))


def test_late_is_no_error_but_an_error_is_late() -> None:
    """p95<100ms & errors<1%: an answer after 150 ms misses the first and is fine by the second."""
    meter = metered("p95<100ms & errors<1%")
    slow = meter.begin(0.45, 0.45, "/a")
    failing = meter.begin(0.45, 0.45, "/a")
    meter.finish(failing, 0.46, "http 500")
    first = cohorts_of(meter, 0.7)[0]
    assert first.counts(0) == (2, 2)
    assert first.counts(1) == (1, 1)
    meter.finish(slow, 0.9)
    later = cohorts_of(meter, 2.0)
    assert sum(c.counts(1)[0] for c in later) == 0
    assert sum(c.counts(1)[1] for c in later) == 1


def test_an_error_that_comes_after_the_limit_still_counts() -> None:
    meter = metered("p95<100ms & errors<1%")
    request = meter.begin(0.0, 0.0, "/a")
    assert cohorts_of(meter, 0.7)[0].counts(1) == (0, 0)
    meter.finish(request, 1.2, "timeout")
    later = cohorts_of(meter, 2.0)
    assert [c.counts(1) for c in later] == [(0, 0), (1, 1)]
    assert [c.counts(0) for c in later] == [(0, 0), (0, 0)]


def test_without_a_latency_objective_patience_decides() -> None:
    meter = metered("errors<1%", patience=2.0)
    meter.begin(0.0, 0.0, "/a")
    assert cohorts_of(meter, 3.4) == []
    assert cohorts_of(meter, 3.5)[0].counts(0) == (1, 1)


def test_a_request_due_in_one_probe_is_none_of_the_next() -> None:
    meter = metered()
    running = meter.begin(0.9, 0.9, "/a")
    meter.open_probe(2, 1.0)
    late = meter.begin(1.05, 0.95, "/a")
    meter.drop(1.05, 0.95)
    mine = meter.begin(1.05, 1.05, "/a")
    for request in (running, late, mine):
        meter.finish(request, 1.1)
    assert [c.sent for s in meter.collect(2.0) if s.probe == 2 for c in s.cohorts] == [1]


def test_the_last_flow_of_a_probe_is_as_long_as_it_was() -> None:
    meter = metered()
    meter.begin(0.6, 0.6, "/a")
    meter.open_probe(2, 0.75)
    first, *_ = meter.collect(0.75)
    assert first.final
    assert [f.span for f in first.flows] == [0.5, 0.25]
    assert first.flows[1].open == 1
    assert first.flows[1].oldest == pytest.approx(0.15)


def test_set_up_is_in_flight_and_nowhere_else() -> None:
    meter = metered()
    request = meter.begin(0.1, 0.1, "login", counted=False)
    assert meter.in_flight == 1
    meter.finish(request, 0.9)
    assert meter.in_flight == 0
    for shipment in meter.collect(2.0):
        assert all((f.open, f.sent, f.done, f.intended, f.area) == (0, 0, 0, 0, 0) for f in shipment.flows)
        assert all(c.sent == 0 for c in shipment.cohorts)


def test_a_hundred_names_then_other() -> None:
    meter = metered()
    for i in range(MAX_NAMES + 50):
        meter.finish(meter.begin(0.1, 0.1, f"/{i}"), 0.2)
    names = cohorts_of(meter, 1.0)[0].names
    assert len(names) == MAX_NAMES + 1
    assert names[OTHER].sent == 50


def test_a_name_that_the_slo_speaks_of_is_never_other() -> None:
    meter = metered("p99{/rank}<250ms")
    for i in range(MAX_NAMES + 50):
        meter.finish(meter.begin(0.1, 0.1, f"/{i}"), 0.2)
    meter.finish(meter.begin(0.1, 0.1, "/rank"), 0.45)
    (cohort,) = cohorts_of(meter, 1.0)
    assert cohort.names["/rank"].sent == 1
    assert cohort.counts(0) == (1, 1)
    assert len(cohort.names) <= MAX_NAMES + 1


def test_a_dropped_arrival_misses_every_objective() -> None:
    meter = metered("p99<250ms & errors<1% & p50{/rank}<1s")
    meter.drop(0.1, 0.1)
    (shipment,) = meter.collect(2.5)
    cohort = shipment.cohorts[0]
    assert [cohort.counts(i) for i in range(3)] == [(1, 1)] * 3
    assert cohort.names[DROPPED].errors == {"dropped": 1}
    assert (shipment.flows[0].intended, shipment.flows[0].dropped, shipment.flows[0].sent) == (1, 1, 0)


def test_rename_moves_a_request_between_objectives() -> None:
    meter = metered("p99{/rank}<250ms")
    request = meter.begin(0.1, 0.1, "task")
    meter.rename(request, "/rank")
    meter.finish(request, 0.2)
    (cohort,) = cohorts_of(meter, 1.0)
    assert set(cohort.names) == {"/rank"}
    assert cohort.counts(0) == (0, 1)


@pytest.mark.parametrize("busy", [True, False])
def test_health_belongs_to_the_slice_that_has_just_ended(busy: bool) -> None:
    meter = metered()
    if busy:  # a request has already closed the slice
        meter.begin(0.5, 0.5, "/a")
    meter.health(0.4, 0.01, 8)
    (flow,) = (f for s in meter.collect(0.5) for f in s.flows)
    assert (flow.index, flow.cpu, flow.hub_lag, flow.users) == (0, 0.4, 0.01, 8)
    meter.health(0.1, 0.001, 8)
    (after,) = (f for s in meter.collect(1.0) for f in s.flows)
    assert (after.cpu, after.hub_lag, after.users) == (0.1, 0.001, 8)


def test_misses_are_the_rungs_from_the_limit_on() -> None:
    assert LADDER[LIMIT_RUNG - 1] == 1.0
    assert LADDER[LIMIT_RUNG - 2] < 1.0


def test_an_arrival_is_one_task_however_many_requests_it_sends() -> None:
    meter = metered()
    first = meter.begin(0.1, 0.1, ARRIVAL)
    meter.rename(first, "/a")
    meter.begin(0.2, 0.2, "/a")
    meter.drop(0.3, 0.3)
    (flow,) = [f for s in meter.collect(0.5) for f in s.flows]
    assert (flow.tasks, flow.intended, flow.dropped) == (2, 3, 1)


def test_a_slice_is_due_although_requests_have_begun_the_next() -> None:
    meter = metered()
    assert meter.next_collect() == 0.5
    meter.begin(0.501, 0.501, "/a")
    assert meter.next_collect() == 0.5
    assert [f.index for s in meter.collect(0.502) for f in s.flows] == [0]
    assert meter.next_collect() == 1.0
    meter.open_probe(2, 0.75)
    assert meter.next_collect() < 0.76, "the end of the last probe waits to be told"


def test_no_slice_is_without_the_state_of_its_generator() -> None:
    """Late reports: some slices were closed by requests, one has ended unseen, one is cut short by the next probe."""
    meter = metered()
    meter.begin(0.6, 0.6, "/a")
    meter.health(0.9, 0.7, 3, {"steal": 0.1})
    flows = [f for s in meter.collect(1.6) for f in s.flows]
    meter.open_probe(2, 1.8)
    flows += [f for s in meter.collect(1.8) if s.probe == 1 for f in s.flows]
    assert [f.index for f in flows] == [0, 1, 2, 3]
    assert {(f.cpu, f.hub_lag, f.users, f.host["steal"]) for f in flows} == {(0.9, 0.7, 3, 0.1)}
    meter.health(0.2, 0.001, 3)
    (late,) = meter.collect(2.3)
    assert late.flows[0].cpu == 0.2
