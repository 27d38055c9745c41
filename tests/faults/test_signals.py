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

from tests.faults.buttons import silence, start
from tests.faults.oracle import honest
from tests.support.searches import (
    CAPACITY,
    CLOSED,
    HEADER,
    OPEN,
    Cluster,
    Ended,
    LocustRun,
    Search,
    free_port,
    read_search,
    to_results,
)
from tests.support.target import Target, Trouble
from tests.support.truth import SMALL
from tests.support.wait import wait_until

QUICK = ("--adaptive-precision", "12%", "--adaptive-soak", "5s", "--adaptive-start", "16")
BUDGET_S = 10.0
"""From the signal to the end of the load. Kubernetes allows 30 s for all of it."""
HANGS = Trouble(pause_s=9.9, period_s=10)
LINGERS = CLOSED + "    def on_stop(self):\n        time.sleep(60)\n"


@dataclass(frozen=True)
class Stopped:
    """`zero_s`: from the signal to the last request at the target; `took_s`: to the end of the process, and 1.5 s at
    least."""

    search: Search
    zero_s: float
    took_s: float
    left: bool
    workers: tuple[Ended, ...]


@dataclass(frozen=True)
class Case:
    """One way to run, one moment, one signal. `moment`: what the log says then; with `trouble`: when the target hangs
    after that. `group`: to all processes. `again`: a second time, once the report is there."""

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
    seconds: float = 20

    def __call__(self, folder: Path) -> Stopped:
        locustfile = folder / "locustfile.py"
        locustfile.write_text("import time\n" + HEADER + CAPACITY + self.users)
        port = free_port()
        with ExitStack() as stack:
            target = stack.enter_context(Target(SMALL.service, trouble=self.trouble))
            arguments = ["-H", target.url, *QUICK, *to_results(folder), *self.arguments]
            arguments += ["--web-host", "127.0.0.1", "--web-port", str(port)] if self.web else ["--headless"]
            hands: list[LocustRun] = []
            if self.workers:
                cluster = Cluster(folder, locustfile, *arguments, workers=self.workers, expect=self.expect)
                run, hands = stack.enter_context(cluster).master, cluster.workers
            else:
                if "--processes" in arguments:
                    bind = str(free_port())
                    arguments += ["--master-bind-host", "127.0.0.1", "--master-bind-port", bind, "--master-port", bind]
                run = stack.enter_context(LocustRun(folder, locustfile, *arguments))
            if self.web and "--autostart" not in self.arguments:
                start(port)
            wait_until(lambda: self.moment in run.said, self.moment, 90)
            if self.trouble is not None:
                wait_until(lambda: hanging(target), "a hang with requests open", 40)
            began = time.monotonic()
            run.interrupt(self.number, group=self.group)
            if self.again:
                wait_until((folder / "results" / "capacity.json").exists, "the report", 10)
                time.sleep(max(began + 1.0 - time.monotonic(), 0))  # closer together they are one
                began = time.monotonic()
                run.interrupt(self.number)
            zero_s = silence(target, began)
            ended = run.wait(40)
            took_s = time.monotonic() - began
            others = tuple(hand.wait(BUDGET_S) for hand in hands)
            wait_until(lambda: not run.left_behind, "the end of every process", BUDGET_S)
            return Stopped(read_search(folder, ended), zero_s, took_s, run.left_behind, others)


def hanging(target: Target) -> bool:
    """Are there requests, and no answers for a second?"""
    before = target.stats()
    time.sleep(1.0)  # that nothing is answered can only be waited out
    now = target.stats()
    return bool(before["open"] and now["open"] and before["answered"] == now["answered"])


CASES: dict[str, Case] = {
    "ramp": Case(signal.SIGTERM),
    "refine": Case(signal.SIGINT, "locate  "),
    "open hang": Case(signal.SIGTERM, trouble=HANGS),
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
    assert found.zero_s < BUDGET_S
    assert found.took_s < (3 if case.again else BUDGET_S), "requests were still open"
    assert not found.left
    if not case.group:  # it reaches the workers too, where Locust is interrupted wherever it is
        assert "Traceback" not in search.ended.stderr + search.ended.stdout
    assert [ended.code for ended in found.workers] == [0] * case.workers
    if "probe 1 " in case.moment:
        assert search.outcome["trials"]
