"""Probe, measurement, verdict, trial: the one fact that a search appends, and what can be read off it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np

from .histogram import Histogram
from .slices import SLICE_S, Cohort, Flow, bins_per_slice

GONE, SURGE, STALLS = "target_gone", "errors_surge", "stalls_each_time"
UNREACHABLE, ALL_WRONG = "target_unreachable", "every_request_fails"
CUT = ("overload", "hang", SURGE, GONE, STALLS)
"""Reasons of a FAIL at which the load was taken away at once: what was answered before is not the latency at it."""
ANSWERS = (GONE, SURGE, UNREACHABLE, ALL_WRONG)
"""Reasons of a trial that the last answers ended, before the counts that decide a verdict could hold them."""


class Verdict(StrEnum):
    """Law 7. PASS and FAIL move the bracket, UNDECIDED informs the estimate, INVALID does neither."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNDECIDED = "UNDECIDED"
    INVALID = "INVALID"


class Purpose(StrEnum):
    """Why a load is held."""

    RAMP = "ramp"
    GATE = "gate"
    LOCATE = "locate"
    REFINE = "refine"
    CANARY = "canary"
    VERIFY = "verify"
    CHALLENGE = "challenge"
    """Above the estimate: in journals of earlier versions; refining looks there too."""
    RECHECK = "recheck"
    DRAIN = "drain"
    ABANDON = "abandon"
    """A drain in which what is still open is given up: the driver ends it."""
    RECOVER = "recover"
    """A light load, until the target answers again."""


UNMEASURED = frozenset({Purpose.DRAIN, Purpose.ABANDON, Purpose.RECOVER})
"""Purposes of loads that no trial comes of."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One intended load: arrivals per second, or users.

    The first `settle_s` seconds are not counted. It is measured for at least `min_s` clean seconds if `early` evidence
    decides, and for `max_s` otherwise. With `until_steady` it ends once latency has stopped falling, at `max_s` at the
    latest, or once it plainly fails.
    """

    load: float
    purpose: Purpose
    settle_s: float
    min_s: float
    max_s: float
    early: bool = False
    until_steady: bool = False
    repeats: int | None = None
    """Number of the probe that this one measures again, if that one was cut short or invalid."""


@dataclass(frozen=True, slots=True)
class Excision:
    """A stretch of a probe, in seconds from its start, that is left out of the counts, and why: `stall` (the target
    gave nothing back) or `generator` (our own sending was late). `length` is how long the disturbance itself
    lasted."""

    start: float
    end: float
    cause: str
    length: float


@dataclass(frozen=True)
class Measurement:
    """The merged slices of a probe.

    `preamble` are flows of the load held just before, when nothing was drained in between: what they sent is still in
    the server when this probe begins. `settle` slices at the start are not counted.
    """

    bin_s: float
    flows: tuple[Flow, ...]
    cohorts: tuple[Cohort, ...]
    preamble: tuple[Flow, ...] = ()
    carried: bool = False
    settle: int = 0
    excised: tuple[Excision, ...] = ()

    def is_clean(self, index: int) -> bool:
        """Does the slice count?"""
        start, end = index * SLICE_S, (index + 1) * SLICE_S
        return index >= self.settle and not any(x.start < end and start < x.end for x in self.excised)

    @cached_property
    def clean(self) -> list[Cohort]:
        """The cohorts that count."""
        return [c for c in self.cohorts if self.is_clean(c.index)]

    @property
    def clean_s(self) -> float:
        return len(self.clean) * SLICE_S

    @property
    def elapsed_s(self) -> float:
        return sum(f.span for f in self.flows)

    def counts(self, objective: int) -> tuple[int, int]:
        """`(misses, requests)` of a counted objective."""
        pairs = [c.counts(objective) for c in self.clean]
        return sum(k for k, _ in pairs), sum(n for _, n in pairs)

    def batches(self, objective: int, seconds: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
        """Misses and requests of a counted objective in consecutive stretches of about `seconds`."""
        pairs = np.array([c.counts(objective) for c in self.clean], dtype=float).reshape(-1, 2)
        size = max(round(seconds / SLICE_S), 1)
        whole = pairs[: len(pairs) // size * size].reshape(-1, size, 2).sum(axis=1)
        return whole[:, 0], whole[:, 1]

    def latencies(self, scope: str | None = None) -> Histogram:
        """Latencies of the answered requests in the clean slices, of one name or of all."""
        total = Histogram()
        for cohort in self.clean:
            for name, counts in cohort.names.items():
                if scope in (None, name):
                    total.merge(Histogram(counts.hist))
        return total

    @property
    def sent(self) -> int:
        return sum(f.sent for f in self.flows)

    @property
    def failed_share(self) -> float:
        """Failed ones among what came back, by the clock."""
        done = sum(f.done for f in self.flows)
        return sum(f.failed for f in self.flows) / done if done else 0.0

    @property
    def outstanding(self) -> int:
        """Open requests at the end."""
        return self.flows[-1].open if self.flows else 0

    def busy_rate(self, level: float) -> tuple[float, int, float]:
        """Completions per second and their number while more than `level` requests were open, and the share of that
        time."""
        timeline = Timeline.of(self.flows, self.bin_s)
        busy = timeline.open > level
        done = int(timeline.completions[busy].sum())
        return (done / (busy.sum() * self.bin_s) if done else 0.0), done, float(busy.mean()) if len(busy) else 0.0

    @cached_property
    def sent_at(self) -> np.ndarray:
        """When each request was sent, in seconds from the start of the probe."""
        return arrival_times(self.flows, self.bin_s)

    @cached_property
    def sent_before(self) -> np.ndarray:
        """When each request of the preamble was sent, in seconds from its start."""
        return arrival_times(self.preamble, self.bin_s)

    def little_breach(self) -> float:
        """Relative gap between the two tallies of request-seconds, `area` and `residence` (Little's law)."""
        area = sum(f.area for f in self.flows)
        residence = sum(f.residence for f in self.flows)
        return abs(area - residence) / area if area > 1e-9 else 0.0


def arrival_times(flows: tuple[Flow, ...] | list[Flow], bin_s: float) -> np.ndarray:
    """Times in seconds of the requests sent in `flows` that follow one another from 0; those of a bin are spread evenly
    over it."""
    timeline = Timeline.of(flows, bin_s)
    bins = np.flatnonzero(timeline.arrivals)
    counts = timeline.arrivals[bins]
    of_bin = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    times: np.ndarray = bin_s * (np.repeat(bins, counts) + (of_bin + 0.5) / np.repeat(counts, counts))
    return times


@dataclass(frozen=True)
class Timeline:
    """Bins of a run of flows: arrivals, completions, and the requests open at the start of each bin."""

    arrivals: np.ndarray
    completions: np.ndarray
    open: np.ndarray

    @classmethod
    def of(cls, flows: tuple[Flow, ...] | list[Flow], bin_s: float) -> Timeline:
        if not flows:
            return cls(*(np.zeros(0, dtype=np.int64) for _ in range(3)))
        sizes = [max(min(round(f.span / bin_s), bins_per_slice(bin_s)), 1) for f in flows]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        arrivals = np.zeros(offsets[-1], dtype=np.int64)
        completions = np.zeros_like(arrivals)
        for flow, offset, size in zip(flows, offsets, sizes, strict=False):
            for into, bins in ((arrivals, flow.arrivals), (completions, flow.completions)):
                if bins:
                    places = np.minimum(np.fromiter(bins, np.int64, len(bins)), size - 1)
                    np.add.at(into, offset + places, np.fromiter(bins.values(), np.int64, len(bins)))
        first = flows[0]
        at_start = first.open - first.sent + first.done
        open_ = at_start + np.concatenate([[0], np.cumsum(arrivals - completions)[:-1]])
        return cls(arrivals, completions, open_)


@dataclass(frozen=True)
class Trial:
    """A probe, what was measured, and what it means. `reason` is a short word that explains the verdict.

    `started` is in seconds of the search.
    """

    number: int
    probe: Probe
    measurement: Measurement
    verdict: Verdict
    reason: str
    started: float
    ended: float

    @property
    def load(self) -> float:
        return self.probe.load

    @property
    def purpose(self) -> Purpose:
        return self.probe.purpose

    @property
    def overloaded(self) -> bool:
        """Was the load cut at once?"""
        return self.verdict is Verdict.FAIL and self.reason in CUT

    @property
    def cut_short(self) -> bool:
        """Did a stall end it before it could say anything?"""
        return self.verdict is Verdict.UNDECIDED and self.reason == "stall"

    @property
    def gone(self) -> bool:
        """Did the target go away in it?"""
        return self.reason == GONE

    @property
    def ended_by_answers(self) -> bool:
        """Did its failures end it, and not its counts?"""
        return self.reason in ANSWERS

    @property
    def disturbed(self) -> bool:
        """Did a known event from outside void it: workers that came or went, a target that went away? That says nothing
        of how well the rest is measured."""
        return self.gone or self.reason == "workers_changed"

    def to_plain(self) -> dict[str, Any]:
        """What a reader needs beside the flows and cohorts themselves, for the journal."""
        m = self.measurement
        probe = {
            "load": self.probe.load,
            "purpose": str(self.probe.purpose),
            "settle_s": self.probe.settle_s,
            "min_s": self.probe.min_s,
            "max_s": self.probe.max_s,
            "early": self.probe.early,
            "until_steady": self.probe.until_steady,
            "repeats": self.probe.repeats,
        }
        return {
            "number": self.number,
            "probe": probe,
            "verdict": str(self.verdict),
            "reason": self.reason,
            "started": self.started,
            "ended": self.ended,
            "slices": [len(m.flows), len(m.cohorts)],
            "carried": m.carried,
            "settle": m.settle,
            "excised": [[x.start, x.end, x.cause, x.length] for x in m.excised],
        }

    @classmethod
    def from_plain(
        cls,
        plain: dict[str, Any],
        bin_s: float,
        flows: list[Flow],
        cohorts: list[Cohort],
        preamble: list[Flow],
    ) -> Trial:
        """The inverse of `to_plain`, given the journalled slices of the probe."""
        probe = Probe(**{**plain["probe"], "purpose": Purpose(plain["probe"]["purpose"])})
        n_flows, n_cohorts = plain["slices"]
        measurement = Measurement(
            bin_s,
            tuple(flows[:n_flows]),
            tuple(cohorts[:n_cohorts]),
            tuple(preamble),
            plain["carried"],
            plain["settle"],
            tuple(Excision(*x) for x in plain["excised"]),
        )
        return cls(
            plain["number"],
            probe,
            measurement,
            Verdict(plain["verdict"]),
            plain["reason"],
            plain["started"],
            plain["ended"],
        )
