"""Signals, in every way to run and at every moment: the load is gone, the report is there, the exit code says why."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.buttons import start, web
from tests.faults.loaded import Loaded
from tests.faults.oracle import ENDS_WITHIN_S, honest
from tests.support.searches import (
    CAPACITY,
    CLOSED,
    HEADER,
    OPEN,
    QUICK,
    Cluster,
    Ended,
    LocustRun,
    Search,
    forks_ports,
    free_port,
    locustfile,
    read_search,
    to_results,
)
from tests.support.target import Target, Trouble
from tests.support.truth import SMALL
from tests.support.wait import wait_until

HANGS = Trouble(pause_s=9.9, period_s=10)
LINGERS = CLOSED + "    def on_stop(self):\n        time.sleep(60)\n"


@dataclass(frozen=True)
class Stopped:
    """`took_s`: from the signal to the end of the process."""

    search: Search
    took_s: float
    workers: tuple[Ended, ...]


@dataclass(frozen=True)
class Case:
    """One way to run, one moment, one signal. `moment`: what the log says then; with `trouble`: when the target hangs
    after that. `group`: to all processes. `again`: a second time, once the report is there. `cap`: of arrivals a second
    or users; twice the first probe's load, where it ends there."""

    number: signal.Signals
    moment: str = "probe 1 "
    users: str = OPEN
    trouble: Trouble | None = None
    arguments: tuple[str, ...] = ()
    workers: int = 0
    expect: int | None = None
    web: bool = False
    group: bool = False
    again: bool = False
    cap: float = 32
    seconds: float = 20

    def __call__(self, folder: Path) -> Stopped:
        port = free_port()
        with ExitStack() as stack:
            load = Loaded(folder, SMALL.service, self.cap, users="OpenLoop" not in self.users, trouble=self.trouble)
            target = stack.enter_context(load)
            arguments = [*target.aim, *QUICK, "--adaptive-start", "16", *to_results(folder), *self.arguments]
            arguments += web(port) if self.web else ["--headless"]
            file = locustfile(folder, "import time\n" + HEADER + CAPACITY + self.users)
            hands: list[LocustRun] = []
            if self.workers:
                cluster = Cluster(folder, file, *arguments, workers=self.workers, expect=self.expect)
                run, hands = stack.enter_context(cluster).master, cluster.workers
            else:
                arguments += forks_ports() if "--processes" in arguments else []
                run = stack.enter_context(LocustRun(folder, file, *arguments))
            if self.web and "--autostart" not in self.arguments:
                start(port)
            run.says(self.moment, timeout=90)
            if self.trouble is not None:
                wait_until(lambda: hanging(target), "a hang with requests open", 40)
            began = target.must_end()
            run.interrupt(self.number, group=self.group)
            if self.again:
                wait_until((folder / "results" / "capacity.json").exists, "the report", 10)
                time.sleep(max(began + 1.0 - time.monotonic(), 0))  # closer together they are one
                began = time.monotonic()
                run.interrupt(self.number)
            ended = run.wait(40)
            took_s = time.monotonic() - began
            others = tuple(hand.over(ENDS_WITHIN_S) for hand in hands)
            run.over(1)
            return Stopped(read_search(folder, ended), took_s, others)


def hanging(target: Target) -> bool:
    """Are there requests, and no answers for a second?"""
    before = target.stats()
    time.sleep(1.0)  # that nothing is answered can only be waited out
    now = target.stats()
    return bool(before["open"] and now["open"] and before["answered"] == now["answered"])


CASES: dict[str, Case] = {
    "ramp": Case(signal.SIGTERM),
    "refine": Case(signal.SIGINT, "locate  ", cap=130),
    "open hang": Case(signal.SIGTERM, trouble=HANGS, cap=130),
    "closed hang": Case(signal.SIGINT, "spawned", CLOSED, HANGS),
    "terminal closed": Case(signal.SIGHUP, "spawned"),
    "processes": Case(signal.SIGTERM, arguments=("--processes", "2")),
    "a whole group": Case(signal.SIGINT, arguments=("--processes", "2"), group=True),
    "master": Case(signal.SIGTERM, workers=2),
    "master, closed hang": Case(signal.SIGINT, "spawned", CLOSED, HANGS, workers=2),
    "waiting for workers": Case(signal.SIGTERM, "reported as ready", workers=1, expect=2),
    "web": Case(signal.SIGTERM, web=True),
    "web, Ctrl-C": Case(signal.SIGINT, web=True),
    "autostart": Case(signal.SIGINT, web=True, arguments=("--autostart",)),
    "twice": Case(signal.SIGTERM, "spawned", LINGERS, again=True),
    "twice, processes": Case(signal.SIGINT, "spawned", LINGERS, arguments=("--processes", "2"), again=True),
}


def scenario(name: str) -> Callable[[Path], Any]:
    def run(folder: Path) -> Stopped:
        return CASES[name](folder)

    run.__name__ = name.replace(" ", "_").replace(",", "")
    return run


EACH = [pytest.param(name, marks=pytest.mark.scenario(scenario(name), seconds=CASES[name].seconds)) for name in CASES]


@pytest.mark.parametrize("name", EACH)
def test_a_signal_ends_a_search_with_its_report(name: str, found: Stopped) -> None:
    case, search = CASES[name], found.search
    honest(search, capacity=SMALL.capacity)
    assert search.ended.code == 128 + case.number
    assert (search.outcome["verdict"], search.outcome["reason"]) == ("aborted", f"stopped by {case.number.name}")
    assert found.took_s < (3 if case.again else ENDS_WITHIN_S), "requests were still open"
    if not case.group:  # it reaches the workers too, where Locust is interrupted wherever it is
        assert "Traceback" not in search.ended.stderr + search.ended.stdout
    assert [ended.code for ended in found.workers] == [0] * case.workers
    if "probe 1 " in case.moment:
        assert search.outcome["trials"]
