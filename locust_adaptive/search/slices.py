"""The two kinds of half-second facts that a probe is made of, how they travel, and how workers' shares merge.

A *flow* says what happened in a slice of a probe by the clock: requests that left and came back, what was open, how the
generator did. It is known as soon as the slice ends. A *cohort* says what became of the requests that were *due* in a
slice; it is known once each of them has had its whole latency limit to answer (law 4: tag, don't timestamp; law 5: late
is failed). Both merge by adding, so any split of the same requests over workers gives the same merged facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

SLICE_S = 0.5
"""Length of a slice in seconds: short enough to see an overload in a second, long enough to cost nothing."""

LADDER = (0.25, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)
"""Thresholds, as multiples of a latency objective's limit, at which requests are counted exactly (law 6)."""

LIMIT_RUNG = LADDER.index(1.0) + 1
"""Rungs from this index on hold the misses of a latency objective."""

NO_DESCRIPTORS, NO_PORTS, NO_BUFFERS = OWN_ERRORS = ("no descriptors", "no ports", "no buffers")
"""Kinds of error that are the generator's own: the request never left this machine, and says nothing of the target."""

Bins = dict[int, int]


def bins_per_slice(bin_s: float) -> int:
    """Number of bins in a slice; `bin_s` divides the slice."""
    return round(SLICE_S / bin_s)


def bin_width(limit: float) -> float:
    """Bin width in seconds, fine against a latency `limit` in seconds: 1 to 10 ms, and a divisor of the slice."""
    for width in (0.010, 0.005, 0.002):
        if width <= limit / 25:
            return width
    return 0.001


@dataclass(slots=True)
class Flow:
    """What happened in slice `index` of a probe, by the clock, in all workers.

    `arrivals` and `completions` count requests sent and finished per bin of the slice. `open` requests are unanswered
    at its end, the oldest for `oldest` seconds. `area` is the integral of the open requests over the slice and
    `residence` the time that requests spent open in it, both in request-seconds: by Little's law they are the same
    number, found in two ways. `intended` arrivals were due, `dropped` of them could not be sent. `lag` is a latency
    histogram (bucket -> count) of how late they went out, `cpu` the busiest generator's share of a core, `cpus` that of
    each where they differ, `hub_lag` the longest event-loop delay in seconds, `users` the live Locust users.
    `host` holds shares that a generator asked its host for (`steal`, `throttled`, `descriptors`), the worst of all;
    one that is not there is not known. `tasks` open-loop arrivals were made, each
    of one request or more. `errors` counts by kind those of the completions that failed, known long before the
    cohort's.
    """

    index: int
    span: float = SLICE_S
    arrivals: Bins = field(default_factory=dict)
    completions: Bins = field(default_factory=dict)
    open: int = 0
    oldest: float = 0.0
    area: float = 0.0
    residence: float = 0.0
    intended: int = 0
    dropped: int = 0
    lag: Bins = field(default_factory=dict)
    cpu: float = 0.0
    hub_lag: float = 0.0
    users: int = 0
    tasks: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    cpus: list[float] = field(default_factory=list)
    host: dict[str, float] = field(default_factory=dict)

    @property
    def sent(self) -> int:
        return sum(self.arrivals.values())

    @property
    def done(self) -> int:
        return sum(self.completions.values())

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    def merge(self, other: Flow) -> None:
        """Add another worker's flow of the same slice."""
        self.span = max(self.span, other.span)
        _add(self.arrivals, other.arrivals)
        _add(self.completions, other.completions)
        self.open += other.open
        self.oldest = max(self.oldest, other.oldest)
        self.area += other.area
        self.residence += other.residence
        self.intended += other.intended
        self.dropped += other.dropped
        _add(self.lag, other.lag)
        self.cpu = max(self.cpu, other.cpu)
        self.hub_lag = max(self.hub_lag, other.hub_lag)
        self.users += other.users
        self.tasks += other.tasks
        _add(self.errors, other.errors)
        for key, share in other.host.items():
            self.host[key] = max(self.host.get(key, 0.0), share)

    def to_plain(self) -> dict[str, Any]:
        """Plain numbers, lists and strings, for msgpack and JSON; zero fields are left out."""
        plain: dict[str, Any] = {"i": self.index, "span": round(self.span, 6)}
        for name in ("arrivals", "completions", "lag"):
            if bins := getattr(self, name):
                plain[name] = _flat(bins)
        for name in ("open", "intended", "dropped", "users", "tasks"):
            if value := getattr(self, name):
                plain[name] = value
        for name in ("oldest", "area", "residence", "cpu", "hub_lag"):
            if value := round(getattr(self, name), 6):
                plain[name] = value
        if self.errors:
            plain["errors"] = dict(sorted(self.errors.items()))
        if self.cpus:
            plain["cpus"] = [round(share, 6) for share in self.cpus]
        if self.host:
            plain["host"] = {key: round(share, 6) for key, share in sorted(self.host.items())}
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Flow:
        fields: dict[str, Any] = {k: v for k, v in plain.items() if k != "i"}
        for name in ("arrivals", "completions", "lag"):
            fields[name] = _unflat(plain.get(name, ()))
        fields.update(
            errors=dict(plain.get("errors", {})), cpus=list(plain.get("cpus", ())), host=dict(plain.get("host", {}))
        )
        return cls(index=plain["i"], **fields)


@dataclass(slots=True)
class NameCounts:
    """Outcomes of the requests of one name: `hist` is a latency histogram (bucket -> count) of the answered ones,
    errors included; `errors` counts by kind; `open` were still unanswered past the limit."""

    sent: int = 0
    open: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    hist: Bins = field(default_factory=dict)

    def merge(self, other: NameCounts) -> None:
        self.sent += other.sent
        self.open += other.open
        _add(self.errors, other.errors)
        _add(self.hist, other.hist)


@dataclass(slots=True)
class Cohort:
    """What became of the requests due in slice `index` of a probe.

    `rungs` has a row for each counted objective of the SLO, in its order. A latency objective's row counts requests
    between the thresholds of the `LADDER` (misses from `LIMIT_RUNG` on; an error or an unanswered request is beyond
    all); an error objective's row is `[good, bad]`.
    """

    index: int
    rungs: list[list[int]]
    names: dict[str, NameCounts] = field(default_factory=dict)

    @property
    def sent(self) -> int:
        return sum(counts.sent for counts in self.names.values())

    def counts(self, objective: int) -> tuple[int, int]:
        """`(misses, requests)` of a counted objective, by its place in the SLO."""
        row = self.rungs[objective]
        return sum(row[1 if len(row) == 2 else LIMIT_RUNG :]), sum(row)

    def merge(self, other: Cohort) -> None:
        """Add another worker's cohort of the same slice."""
        for mine, theirs in zip(self.rungs, other.rungs, strict=True):
            for rung, n in enumerate(theirs):
                mine[rung] += n
        for name, counts in other.names.items():
            if name in self.names:
                self.names[name].merge(counts)
            else:
                self.names[name] = NameCounts(counts.sent, counts.open, dict(counts.errors), dict(counts.hist))

    def to_plain(self) -> dict[str, Any]:
        names = {n: [c.sent, c.open, c.errors, _flat(c.hist)] for n, c in sorted(self.names.items())}
        return {"i": self.index, "rungs": self.rungs, "names": names}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Cohort:
        names = {
            name: NameCounts(sent, still_open, dict(errors), _unflat(hist))
            for name, (sent, still_open, errors, hist) in plain["names"].items()
        }
        return cls(plain["i"], [list(row) for row in plain["rungs"]], names)


@dataclass(frozen=True, slots=True)
class Shipment:
    """What one worker has to say about a probe since its last word. `final`: no flow of this probe will follow."""

    probe: int
    flows: tuple[Flow, ...] = ()
    cohorts: tuple[Cohort, ...] = ()
    final: bool = False

    def to_plain(self) -> dict[str, Any]:
        return {
            "probe": self.probe,
            "flows": [f.to_plain() for f in self.flows],
            "cohorts": [c.to_plain() for c in self.cohorts],
            "final": self.final,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Shipment:
        return cls(
            plain["probe"],
            tuple(Flow.from_plain(f) for f in plain["flows"]),
            tuple(Cohort.from_plain(c) for c in plain["cohorts"]),
            plain["final"],
        )


class Merger:
    """Merges the workers' shipments of one probe, and gives each slice out once, in order, when every worker's is
    there."""

    def __init__(self, workers: Iterable[str]) -> None:
        self._flows: dict[str, list[Flow]] = {w: [] for w in workers}
        self._cohorts: dict[str, list[Cohort]] = {w: [] for w in self._flows}
        self._final: set[str] = set()
        self._flows_out = self._cohorts_out = 0

    def add(self, worker: str, shipment: Shipment) -> tuple[list[Flow], list[Cohort]]:
        """The flows and cohorts that this shipment completes. A worker that is not of the probe adds nothing."""
        if worker not in self._flows:
            return [], []
        self._flows[worker].extend(shipment.flows)
        self._cohorts[worker].extend(shipment.cohorts)
        if shipment.final:
            self._final.add(worker)
        flows: list[Flow] = []
        while merged := self._merge_next(self._flows_out):
            flows.append(merged)
            self._flows_out += 1
        cohorts: list[Cohort] = []
        while all(len(c) > self._cohorts_out for c in self._cohorts.values()):
            shares = [c[self._cohorts_out] for c in self._cohorts.values()]
            total = Cohort(self._cohorts_out, [[0] * len(row) for row in shares[0].rungs])
            for share in shares:
                total.merge(share)
            cohorts.append(total)
            self._cohorts_out += 1
        return flows, cohorts

    def _merge_next(self, index: int) -> Flow | None:
        # Workers hear of a change of load at slightly different times: in the last slice some may have none.
        shares = []
        for worker, flows in self._flows.items():
            if len(flows) > index:
                shares.append(flows[index])
            elif worker not in self._final:
                return None
        if not shares:
            return None
        total = Flow(index, span=0.0)
        for share in shares:
            total.merge(share)
        cpus = [flows[index].cpu if len(flows) > index else 0.0 for flows in self._flows.values()]
        total.cpus = cpus if len(set(cpus)) > 1 else []
        return total


def _add(into: dict[Any, int], more: Mapping[Any, int]) -> None:
    for key, n in more.items():
        into[key] = into.get(key, 0) + n


def _flat(bins: Bins) -> list[int]:
    return [x for pair in sorted(bins.items()) for x in pair]


def _unflat(flat: Iterable[int]) -> Bins:
    values = list(flat)
    return dict(zip(values[::2], values[1::2], strict=True))
