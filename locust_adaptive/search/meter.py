"""The worker's counter: every request goes through it twice, and it makes flows and cohorts of them.

Pure: the time comes in as an argument, in seconds of any one monotonic clock. The plug-in and the simulator use the
same meter, so a law tested in virtual time holds on a worker. `begin` and `finish` are on each request's path and are
written for speed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping

from .histogram import index_of
from .slices import LADDER, LIMIT_RUNG, SLICE_S, Cohort, Flow, NameCounts, Shipment
from .slo import Objective, Slo

MAX_NAMES = 100
OTHER = "other"
DROPPED = "(dropped)"
ARRIVAL = "(arrival)"
"""The name of an open-loop arrival's record until its first request gives it one."""
LATER_S = 1.0
"""How late is late: this is found out for at most so long past the limit, and for at most another limit."""


class Request:
    """One open request. Made by `Meter.begin`, given back to `Meter.finish` or `Meter.cancel`."""

    __slots__ = ("due", "name", "order", "probe", "sent", "slice")

    def __init__(self, probe: _ProbeCounts | None, slice_: int, due: float, sent: float, name: str, order: int) -> None:
        self.probe = probe
        self.slice = slice_
        self.due = due
        self.sent = sent
        self.name = name
        self.order = order


class _ProbeCounts:
    """The cohorts of one probe on this worker that have not been shipped."""

    def __init__(self, number: int, start: float) -> None:
        self.number = number
        self.start = start
        self.cohorts: dict[int, _CohortCounts] = {}
        self.shipped = 0  # cohorts below this index are gone


class _CohortCounts:
    __slots__ = ("names", "pending", "rungs")

    def __init__(self, rungs: list[list[int]]) -> None:
        self.rungs = rungs
        self.names: dict[str, NameCounts] = {}
        self.pending: dict[str, int] = {}


class Meter:
    """Counts a worker's requests for the objectives of one SLO.

    `open_probe` starts a probe; `begin`, `rename`, `finish`, `cancel` and `drop` follow each request; `collect` gives
    out what is complete. `horizon` seconds after the end of a slice its cohort is complete: every request in it has
    answered or is late for every latency objective. The cohorts that a probe had not completed at its end are not given
    out: it has been judged without them.
    """

    def __init__(self, slo: Slo, bin_s: float, now: float, patience: float = 10.0) -> None:
        """`patience`: seconds after which an open request counts as failed when the SLO has no latency objective."""
        self._objectives = slo.counted
        limit = slo.horizon(patience)
        # Waiting a little longer than judging needs shows how late the late ones are.
        self.horizon = limit + min(limit, LATER_S)
        self._late_is_error = not any(o.signal == "latency" for o in self._objectives)
        self._bin_s = bin_s
        self._judges: dict[str, list[tuple[int, Callable[[float], int] | None]]] = {}
        self._templates = [len(LADDER) + 1 if o.signal == "latency" else 2 for o in self._objectives]
        self._probe: _ProbeCounts | None = None
        self._names = {o.scope for o in self._objectives if o.scope is not None}
        self._open: dict[int, Request] = {}
        self._set_up: dict[int, Request] = {}
        self._order = 0
        self._flow = Flow(0)
        self._flow_start = now
        self._slice_end = float("inf")
        self._area_at = now
        self._ages_at_start = 0.0
        self._flows: list[Flow] = []
        self._shipments: list[Shipment] = []

    @property
    def in_flight(self) -> int:
        """Open requests now, of any probe and of none."""
        return len(self._open) + len(self._set_up)

    # -- probes ------------------------------------------------------------------------------------------------------

    def open_probe(self, number: int, now: float) -> None:
        """From now on, requests that become due belong to probe `number`."""
        if self._probe is not None:
            self._roll(now)
            self._close_flow(now, SLICE_S - (self._slice_end - now))
            self._shipments.append(Shipment(self._probe.number, tuple(self._flows), (), final=True))
            self._flows = []
        self._probe = _ProbeCounts(number, now)
        self._flow = Flow(0)
        self._start_flow(now)
        self._slice_end = now + SLICE_S

    # -- requests ----------------------------------------------------------------------------------------------------

    def begin(self, now: float, due: float, name: str, counted: bool = True) -> Request:
        """A request that should have gone out at `due` goes out now. Not `counted`, or before the first probe: set-up,
        seen in flight only."""
        if now >= self._slice_end:
            self._roll(now)
        self._order = order = self._order + 1
        probe = self._probe
        if not counted or probe is None:
            request = self._set_up[order] = Request(None, 0, due, now, name, order)
            return request
        flow = self._flow
        flow.intended += 1
        if name == ARRIVAL:
            flow.tasks += 1
        slice_ = int((due - probe.start) // SLICE_S)
        if slice_ < probe.shipped:
            probe = None  # sent too late to be judged: what was due then is settled, or of a probe that has ended
        else:
            name = self._counts(probe, slice_, name)
        lag = index_of(now - due)
        flow.lag[lag] = flow.lag.get(lag, 0) + 1
        b = int((now - self._flow_start) / self._bin_s)
        flow.arrivals[b] = flow.arrivals.get(b, 0) + 1
        flow.area += len(self._open) * (now - self._area_at)
        self._area_at = now
        request = self._open[order] = Request(probe, slice_, due, now, name, order)
        return request

    def rename(self, request: Request, name: str) -> None:
        """What was begun as an arrival turns out to be a request of this name."""
        probe = request.probe
        if probe is None or request.slice < probe.shipped:
            return
        old = probe.cohorts[request.slice]
        old.names[request.name].sent -= 1
        old.pending[request.name] -= 1
        request.name = self._counts(probe, request.slice, name)

    def finish(self, request: Request, now: float, error: str | None = None) -> None:
        """The request has its answer, or an `error` kind. A second call does nothing."""
        if not self._close(request, now):
            return
        if error is not None:
            errors = self._flow.errors
            errors[error] = errors.get(error, 0) + 1
        probe = request.probe
        if probe is None:
            return
        name = request.name
        if request.slice < probe.shipped:
            self._book_late(probe, name, now, error)
            return
        latency = now - request.due
        cohort = probe.cohorts[request.slice]
        cohort.pending[name] -= 1
        counts = cohort.names[name]
        bucket = index_of(latency)
        counts.hist[bucket] = counts.hist.get(bucket, 0) + 1
        if error is not None:
            counts.errors[error] = counts.errors.get(error, 0) + 1
            for row, _ in self._judges[name]:
                cohort.rungs[row][-1] += 1
            return
        for row, rung in self._judges[name]:
            cohort.rungs[row][rung(latency) if rung else 0] += 1

    def cancel(self, request: Request, now: float) -> None:
        """What was begun turns out to be no request: take it back."""
        if not self._close(request, now):
            return
        probe = request.probe
        if probe is not None and request.slice >= probe.shipped:
            cohort = probe.cohorts[request.slice]
            cohort.names[request.name].sent -= 1
            cohort.pending[request.name] -= 1

    def drop(self, now: float, due: float) -> None:
        """An arrival that could not be sent (the cap on requests in flight): it misses every objective of its probe."""
        if now >= self._slice_end:
            self._roll(now)
        self._flow.intended += 1
        self._flow.tasks += 1
        self._flow.dropped += 1
        probe = self._probe
        if probe is None:
            return
        slice_ = int((due - probe.start) // SLICE_S)
        if slice_ < probe.shipped:
            return
        name = self._counts(probe, slice_, DROPPED)
        cohort = probe.cohorts[slice_]
        cohort.pending[name] -= 1
        counts = cohort.names[name]
        counts.errors["dropped"] = counts.errors.get("dropped", 0) + 1
        for row in cohort.rungs:
            row[-1] += 1

    def skip(self, now: float) -> None:
        """An arrival that this process did not send because it stood still, or was not to send: it is missing from the
        load, but says nothing of the target."""
        if now >= self._slice_end:
            self._roll(now)
        self._flow.intended += 1
        self._flow.tasks += 1
        self._flow.dropped += 1

    # -- giving out --------------------------------------------------------------------------------------------------

    def health(self, cpu: float, hub_lag: float, users: int, host: Mapping[str, float] | None = None) -> None:
        """The generator's state since the last report, to be given before `collect`: share of a core, longest loop
        delay (s), live users, and what the host says of itself (`Flow.host`)."""
        for flow in (*self._flows, self._flow):  # the last may have ended too, or is told anew when it has
            flow.cpu, flow.hub_lag, flow.users, flow.host = cpu, hub_lag, users, dict(host or {})

    def next_collect(self) -> float:
        """When the first slice ends that was not given out: the past if there is one. A busy process makes requests
        before it reports, and those begin the next slice."""
        return self._slice_end - SLICE_S if self._flows or self._shipments else self._slice_end

    def collect(self, now: float) -> list[Shipment]:
        """What is complete now and was not given out before."""
        if now >= self._slice_end:
            self._roll(now)
        out, self._shipments = self._shipments, []
        probe = self._probe
        if probe is not None:
            cohorts = self._ship_ripe(probe, now)
            if self._flows or cohorts:
                out.append(Shipment(probe.number, tuple(self._flows), tuple(cohorts)))
                self._flows = []
        return out

    def _ship_ripe(self, probe: _ProbeCounts, now: float) -> list[Cohort]:
        ripe = int((now - self.horizon - probe.start) / SLICE_S + 1e-9)
        out = []
        while probe.shipped < ripe:
            index = probe.shipped
            cohort = probe.cohorts.pop(index, None) or _CohortCounts(self._blank())
            for name, pending in cohort.pending.items():
                cohort.names[name].open = pending
                for row, rung in self._judges[name]:
                    if rung or self._late_is_error:
                        cohort.rungs[row][-1] += pending
            names = {name: counts for name, counts in cohort.names.items() if counts.sent}
            out.append(Cohort(index, cohort.rungs, names))
            probe.shipped += 1
        return out

    # -- inside ------------------------------------------------------------------------------------------------------

    def _blank(self) -> list[list[int]]:
        return [[0] * n for n in self._templates]

    def _counts(self, probe: _ProbeCounts, slice_: int, name: str) -> str:
        """Book one more request of `name`; the name it is counted under."""
        if name not in self._names:
            if len(self._names) >= MAX_NAMES:
                name = OTHER
            self._names.add(name)
        cohort = self._cohort(probe, slice_)
        counts = cohort.names.get(name)
        if counts is None:
            counts = cohort.names[name] = NameCounts()
            cohort.pending[name] = 0
            if name not in self._judges:
                self._judges[name] = self._judges_of(name)
        counts.sent += 1
        cohort.pending[name] += 1
        return name

    def _cohort(self, probe: _ProbeCounts, slice_: int) -> _CohortCounts:
        cohort = probe.cohorts.get(slice_)
        if cohort is None:
            cohort = probe.cohorts[slice_] = _CohortCounts(self._blank())
        return cohort

    def _book_late(self, probe: _ProbeCounts, name: str, now: float, error: str | None) -> None:
        """An answer after its cohort has gone: late by every latency objective, but an error or none only now."""
        if probe is self._probe and not self._late_is_error:
            for row, rung in self._judges[name]:
                if rung is None:
                    self._cohort(probe, int((now - probe.start) // SLICE_S)).rungs[row][error is not None] += 1

    def _judges_of(self, name: str) -> list[tuple[int, Callable[[float], int] | None]]:
        applies = [(i, o) for i, o in enumerate(self._objectives) if name == DROPPED or o.scope in (None, name)]
        return [(i, _rung(o) if o.signal == "latency" else None) for i, o in applies]

    def _start_flow(self, now: float) -> None:
        self._flow_start = self._area_at = now
        self._ages_at_start = sum(now - r.sent for r in self._open.values())

    def _close(self, request: Request, now: float) -> bool:
        """Take a request out of the flow; False if it is not in it."""
        if self._open.pop(request.order, None) is None:
            self._set_up.pop(request.order, None)
            return False
        if now >= self._slice_end:
            self._roll(now, also=request)
        flow = self._flow
        flow.area += (len(self._open) + 1) * (now - self._area_at)
        self._area_at = now
        flow.residence += now - request.sent
        b = int((now - self._flow_start) / self._bin_s)
        flow.completions[b] = flow.completions.get(b, 0) + 1
        return True

    def _roll(self, now: float, also: Request | None = None) -> None:
        """Close the slices that ended by now. `also` was open in them although it is gone from the open ones."""
        if also is not None:
            self._open[also.order] = also
        while now >= self._slice_end:
            end = self._slice_end
            self._close_flow(end, SLICE_S)
            was = self._flow
            self._flow = Flow(was.index + 1, cpu=was.cpu, hub_lag=was.hub_lag, users=was.users, host=dict(was.host))
            self._start_flow(end)
            self._slice_end = end + SLICE_S
        if also is not None:
            del self._open[also.order]

    def _close_flow(self, end: float, span: float) -> None:
        flow = self._flow
        flow.span = span
        flow.open = len(self._open)
        flow.area += flow.open * (end - self._area_at)
        ages = sum(end - r.sent for r in self._open.values())
        flow.residence += ages - self._ages_at_start
        flow.oldest = max((end - r.due for r in self._open.values()), default=0.0)
        self._flows.append(flow)


def _rung(objective: Objective) -> Callable[[float], int]:
    """The function from a latency in seconds to its rung. At the limit itself, `<` misses and `<=` does not."""
    thresholds = [factor * objective.limit for factor in LADDER]
    thresholds[LIMIT_RUNG - 1] = objective.limit
    place = bisect_right if objective.op == "<" else bisect_left
    return lambda latency: place(thresholds, latency)
