"""The rules of validity as data: what must hold of a measurement, and what to do where it does not.

A broken rule that *voids* makes a probe INVALID, whatever its latencies; one that *flags* is only told. Our thresholds
are the design's; `source` names where each comes from. docs/reference/validity.md is this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .slices import NO_BUFFERS, NO_DESCRIPTORS, NO_PORTS

CPU_BOUND, CPU_PEAK_BOUND, PEAK_S = 0.70, 0.90, 3.0
SENT_BOUND = 0.98
LOST_BOUND = 0.4
LAG_FLOOR_S, LAG_SHARE = 0.005, 0.05
LITTLE_BOUND = 0.05

_WORKERS = "add workers (--processes -1) or use a cheaper client"
_OF_ITS_OWN = "give the generator a core of its own, or add workers"
_FEWER_SOCKETS = "keep connections alive, or add workers on other machines or addresses"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of validity.

    `name` is the reason of a probe that it voids. The value may be `bound` at most, or at least if `at_least`;
    a `bound` of None depends on the latency limit. `unit`: `share`, `s`, `requests` or `users`. `formula` says how the
    value comes about, `source` where the bound comes from, `advice` what to do.
    """

    id: str
    name: str
    effect: Literal["void", "flag"]
    bound: float | None
    unit: Literal["share", "s", "requests", "users"]
    formula: str
    source: str
    advice: str
    at_least: bool = False


RULES = (
    Rule(
        "V15a",
        NO_DESCRIPTORS,
        "void",
        0,
        "requests",
        "requests that failed with EMFILE or ENFILE",
        "k6, running large tests: raise the limits of the system first",
        "raise the limit on open files (ulimit -n), or add workers",
    ),
    Rule(
        "V15b",
        NO_PORTS,
        "void",
        0,
        "requests",
        "requests that failed with EADDRNOTAVAIL",
        "k6, running large tests: widen the range of local ports",
        _FEWER_SOCKETS,
    ),
    Rule(
        "V15c",
        NO_BUFFERS,
        "void",
        0,
        "requests",
        "requests that failed with ENOBUFS or ENOMEM",
        "as V15a",
        "give the generator more memory, or add workers on other machines",
    ),
    Rule(
        "V1",
        "generator CPU",
        "void",
        CPU_BOUND,
        "share",
        "CPU seconds that a generator process used, or waited for while others had the core (Linux), per second of the "
        "probe once settled; the busiest process counts",
        "k6 keeps 20 % idle, AWS Graviton runbook 50 %; above 70 % a Poisson sender queues behind itself",
        _WORKERS,
    ),
    Rule(
        "V1b",
        "generator CPU in any 3 s",
        "void",
        CPU_PEAK_BOUND,
        "share",
        "the same in the busiest 3 s",
        "Locust warns above 90 %",
        _WORKERS,
    ),
    Rule(
        "V18",
        "share of time in which sending stood still",
        "void",
        LOST_BOUND,
        "share",
        "slices left out because the event loop was held up for longer than twice the bound of V2, or a tenth of "
        "their requests left later than it / all slices; two slices may always be",
        "HdrHistogram's jHiccup: pauses of the meter itself are measured and taken out",
        _OF_ITS_OWN,
    ),
    Rule(
        "V3",
        "share of arrivals sent",
        "void",
        SENT_BOUND,
        "share",
        "arrivals sent / arrivals that were due; open loop",
        "k6: dropped_iterations must stay near 0; LoadGen compares scheduled and completed",
        "raise the cap on requests in flight",
        at_least=True,
    ),
    Rule(
        "V2",
        "send lag p99 in seconds",
        "void",
        None,
        "s",
        "99th percentile of (sent - due) in the slices that count; may be 5 ms, or 5 % of the latency limit",
        "wrk2 and LoadGen measure from when a request was due; so do we, and lag must stay small beside the limit",
        _OF_ITS_OWN,
    ),
    Rule(
        "V10",
        "users_not_reached",
        "void",
        0,
        "users",
        "closed loop: largest difference between the users there and those asked for, in the slices that count; they "
        "must be there within 30 s",
        "Locust may undershoot for good after a fast change; k6 executes fixed segments",
        "see Locust's log for why they do not start",
    ),
    Rule(
        "V11",
        "no_report",
        "void",
        8,
        "s",
        "longest wait for a slice that every worker of the probe has reported",
        "Locust's heartbeat: a worker is missing after 3 s",
        "see whether the worker is alive and not overloaded",
    ),
    Rule(
        "V11b",
        "workers_changed",
        "void",
        0,
        "users",
        "workers that came or went during the probe",
        "Locust splits the users anew when a worker joins; a lost one takes its load away",
        "keep the workers connected during the search",
    ),
    Rule(
        "V15d",
        "open descriptors",
        "flag",
        0.80,
        "share",
        "open descriptors / the limit on them, of the process nearest to its limit; Linux",
        "as V15a: a warning before requests fail",
        "raise the limit on open files (ulimit -n)",
    ),
    Rule(
        "V19",
        "CPU stolen from the host",
        "flag",
        0.01,
        "share",
        "steal time / CPU time of the host, on average; Linux",
        "pyperf system tune, SPEC: a dedicated host",
        "run the generator on a host that is not overbooked",
    ),
    Rule(
        "V19b",
        "CPU quota",
        "flag",
        0,
        "share",
        "periods in which the control group was throttled / its periods, on average; Linux",
        "as V19",
        "raise the CPU quota of the generator's container",
    ),
    Rule(
        "V25",
        "Little's law",
        "flag",
        LITTLE_BOUND,
        "share",
        "|area - residence| / area: requests in flight summed over time, and the time they took, are the same number",
        "Little 1961: L = lambda W holds for any stable queue, so a gap is an error of counting",
        "please report it with the journal",
    ),
    Rule(
        "V21",
        "errors at the lightest load",
        "flag",
        0,
        "share",
        "failed requests / requests, in the valid probes of the lowest load",
        "Chaos Toolkit: a steady state before the experiment",
        "see what fails: an error that does not come from the load hides what does",
    ),
)
"""In the order in which they are held against a probe: causes before what follows from them."""
