"""Searches with workers that die, come and stand still: what is kept of them, and what must hold."""

from __future__ import annotations

import math
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from locust_adaptive.search.events import Hold, WorkersChanged
from tests.faults.oracle import honest
from tests.support import searches
from tests.support.searches import Cluster, LocustRun, Search, read_search
from tests.support.target import Target
from tests.support.truth import SMALL

QUICK = ("--headless", *searches.QUICK, "-t", "300")
OPEN_LOOP = (*QUICK, "--adaptive-start", "16")
CAP = 130.0
"""The ramp's doubling from 16 comes to 128."""
STRANGER = "import locust_adaptive\nlocust_adaptive.__version__ = '0.0.1'\n"
"""Before a locustfile: that of another version."""
LONG = 300.0


@dataclass
class Found:
    """A search, the target's counts after its end, and what was noted on the way."""

    search: Search
    stats: dict[str, Any]
    noted: dict[str, Any] = field(default_factory=dict)

    @property
    def trials(self) -> list[Any]:
        return list(self.search.outcome["trials"])

    @property
    def voided(self) -> list[Any]:
        """The probes that a change of workers made INVALID."""
        return [t for t in self.trials if (t["verdict"], t["reason"]) == ("INVALID", "workers_changed")]


def probes(run: LocustRun, more: int = 1) -> None:
    """Wait until so many more probes were judged."""
    run.says("probe ", run.said.count("probe ") + more, 90)


def pause(run: LocustRun, seconds: float) -> None:
    """Stop it, and let it go on: the one thing here that is a fixed time."""
    run.interrupt(signal.SIGSTOP)
    time.sleep(seconds)  # how long it stands still is what is tested
    run.interrupt(signal.SIGCONT)


def ended(folder: Path, target: Target, cluster: Cluster, **noted: Any) -> Found:
    """Wait for the end of a search, and of everybody's processes."""
    over = cluster.master.over(LONG)
    for worker in cluster.workers:
        worker.over(20)
    return Found(read_search(folder, over), target.stats(), noted)


def answers(found: Found, capacity: float, within: float = 0.08) -> None:
    """The search came to an answer that is right, and all that must hold of any run holds."""
    honest(found.search, capacity=capacity, served=SMALL.served)
    assert found.search.outcome["capacity"]["verified"]
    outcome, over = found.search.outcome, found.search.ended
    assert (outcome["verdict"], over.code) == ("resolved", 0), over.stdout[-2000:]
    assert outcome["capacity"]["value"] == pytest.approx(capacity, rel=within)
    said = over.stdout + over.stderr
    # Locust's exit handler waits for a fork that died more than a minute ago, and gevent has forgotten it.
    assert said.count("Traceback") == said.count("in kill_workers"), said[-3000:]


def changes_under_load(found: Found) -> int:
    """How often workers came or went while a probe was held; in between there is nothing to void."""
    held, changes = False, 0
    for step in found.search.journal.steps:
        changes += held and isinstance(step.event, WorkersChanged)
        for command in step.commands:
            if isinstance(command, Hold):
                held = command.load > 0
    return changes


def repeated(found: Found) -> None:
    """Each probe that a change of workers voided was tried again at the same load."""
    for trial in found.voided:
        again = next((t for t in found.trials if t["number"] > trial["number"]), None)
        assert again is not None
        assert again["load"] == trial["load"]


def bursts(found: Found) -> list[tuple[int, int, float]]:
    """Seconds in which the target got more than 1.1 times what was asked for: (second, received, load).

    Its seconds begin with the first request, a moment after the first hold: compared with what was asked for from half
    a second before to two seconds after. Poisson arrivals: 5 standard deviations.
    """
    holds = [
        (step.event.t, c.load) for step in found.search.journal.steps for c in step.commands if isinstance(c, Hold)
    ]
    ends = [*(t for t, _ in holds[1:]), math.inf]
    over = []
    for second, received in enumerate(found.stats["per_second"]):
        load = max(
            (load for (t, load), end in zip(holds, ends, strict=True) if t < second + 2 and end > second - 0.5),
            default=0.0,
        )
        if received > 1.1 * load + 5 * math.sqrt(1.1 * load) + 2:
            over.append((second, received, load))
    return over
