"""What must hold of every run, whatever died, hung, lied or was stopped in it: its answer, and the load it made.

The load is counted at the target. `Loaded` asks for it, so that no scenario can forget to.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from locust_adaptive.report.again import decide_again
from locust_adaptive.report.fold import fold
from locust_adaptive.report.result import result, to_json
from tests.support.searches import Search

TOLERANCE = 1.08
"""A load this far above the truth is surely a bad one."""
ENDS_WITHIN_S = 10.0
"""From the end of a search, a signal, Stop, to the end of the load. Kubernetes allows 30 s for all of it."""
WINDOWS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""A burst shows in the shortest, a load that is held a little too high in the longest."""
CHANCE = 1e-4
"""That Poisson arrivals of the rate of the cap itself, all the time, are taken for more."""


def honest(found: Search, *, capacity: float = math.inf, served: float | None = None) -> None:
    """The journal is the run; no bad load passed; none above `capacity` is believed to.

    Bad is what is surely above the capacity. `served` is the rate at which the target works, where a probe of seconds
    may pass between the two: there the queue need not show in time, above it must.
    """
    assert found.journal.finished
    assert to_json(result(fold(found.journal))) == found.text
    assert decide_again(found.journal) is None
    bad = TOLERANCE * capacity if served is None else served
    wrong = [(t["number"], t["load"]) for t in found.outcome["trials"] if t["verdict"] == "PASS" and t["load"] > bad]
    assert not wrong, f"passed above {bad:g}: {wrong}"
    believed = found.outcome["capacity"]
    for name in ("value", "low", "verified"):
        assert (believed[name] or 0.0) <= TOLERANCE * capacity, (name, believed)


@dataclass(frozen=True)
class Report:
    """When a search started (by its own word, in whole seconds, and up to one later) and when its report was written,
    in Unix time; its verdict."""

    started: float
    written: float
    verdict: str


def within_cap(arrivals: Sequence[float], cap: float) -> None:
    """Arrivals, in seconds and ascending, are no more than Poisson arrivals of rate `cap` may be, in any window.

    Windows of each length begin at every quarter of it. That n or more come where m are expected has at most the chance
    exp(-(n ln(n/m) - n + m)) (Chernoff); over all windows the chances add up to CHANCE at most.
    """
    assert cap or not arrivals, f"{len(arrivals)} requests where no load was to be"
    if not arrivals:
        return
    first, last = arrivals[0], arrivals[-1]
    begins = {seconds: np.arange(first, last + seconds / 4, seconds / 4) for seconds in WINDOWS_S}
    most = math.log(sum(map(len, begins.values())) / CHANCE)
    for seconds, starts in begins.items():
        mean = cap * seconds
        counts = np.searchsorted(arrivals, starts + seconds) - np.searchsorted(arrivals, starts)
        n, since = int(counts.max()), float(starts[counts.argmax()]) - first
        assert n <= mean or n * math.log(n / mean) - n + mean <= most, (
            f"{n} requests within {seconds:g} s, from second {since:g} on: the cap is {cap:g}/s"
        )


def ended(arrivals: Collection[float], asked: Collection[float], reports: Collection[Report]) -> None:
    """From ENDS_WITHIN_S after each end of a search on nothing came, until the next one started; all in Unix time.

    A search ends at the latest with its report. One that was ended from outside was `asked` to at a moment that the
    scenario has to name.
    """
    for report in reports:
        offered = any(report.started <= t <= report.written for t in arrivals)
        named = any(report.started <= t <= report.written for t in asked)
        assert report.verdict != "aborted" or named or not offered, "aborted: call must_end() at the signal or Stop"
    ends = [*asked, *(report.written for report in reports)]
    assert ends or not arrivals, "there is no report: call must_end() when the load has to end"
    for end in ends:
        # The first report from then on is that of the search that ended, the second that of the next.
        later = sorted((report.written, report.started) for report in reports if report.written >= end)
        again = later[1][1] if len(later) > 1 else math.inf
        late = [t - end for t in arrivals if end + ENDS_WITHIN_S < t < again]
        assert not late, f"{len(late)} requests from {min(late):.1f} s to {max(late):.1f} s after the end"
