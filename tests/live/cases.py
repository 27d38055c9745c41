"""The live cases: which server, which locustfile, which way to run it; and what is kept of the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from locust_adaptive.demo.process import DemoServer, ServerProcess
from tests.support.searches import LOCUSTFILES, Search, search
from tests.support.target import Target, Trouble
from tests.support.truth import CLOSED, SMALL

QUICK = ("--adaptive-precision", "9.5%", "--adaptive-soak", "10s")
"""Less sure than by default, so that a search takes two to four minutes."""


@dataclass(frozen=True)
class Answer:
    """A search, how many requests its server received, and whether it is the second try."""

    search: Search
    received: int
    again: bool


@dataclass(frozen=True)
class Case:
    """`server()` makes a fresh server; `received(server)` is how many requests it got."""

    server: Callable[[], ServerProcess]
    received: Callable[[Any], int]
    locustfile: str
    arguments: tuple[str, ...] = ()
    workers: int = 0

    def __call__(self, folder: Path) -> Answer:
        answer = self._run(folder, again=False)
        outcome = answer.search.outcome
        # A machine busy with other things voids measurements: that is no wrong answer, but none. Once more, and said.
        if outcome["verdict"] != "resolved" and outcome["generator"]["invalid_probes"]:
            return self._run(folder.with_name(folder.name + "-again"), again=True)
        return answer

    def _run(self, folder: Path, again: bool) -> Answer:
        with self.server() as server:
            arguments = ["-H", server.url, *QUICK, *self.arguments]
            found = search(folder, LOCUSTFILES / self.locustfile, arguments, workers=self.workers)
            return Answer(found, self.received(server), again)


def small(trouble: Trouble | None = None) -> Callable[[], ServerProcess]:
    return lambda: Target(SMALL.service, trouble=trouble)


def by_stats(server: Target) -> int:
    return int(server.stats()["received"])


def by_metrics(server: DemoServer) -> int:
    with urlopen(f"{server.url}/metrics", timeout=10) as response:
        counts = dict(line.rsplit(" ", 1) for line in response.read().decode().splitlines() if line[0] != "#")
    return int(counts["demo_inference_seconds_count"])


HIGHER = ("--adaptive-start", "16")

# The longest first.
CASES = {
    "pause": Case(small(Trouble(pause_s=1, period_s=45)), by_stats, "open_loop.py"),
    "cold": Case(small(Trouble(cold_s=20, cold_factor=3)), by_stats, "open_loop.py"),
    "distributed": Case(small(), by_stats, "open_loop.py", HIGHER, workers=2),
    "demo": Case(DemoServer, by_metrics, "quickstart.py", HIGHER),
    "processes": Case(small(), by_stats, "open_loop.py", (*HIGHER, "--processes", "2")),
    "open": Case(small(), by_stats, "open_loop.py", HIGHER),
    "closed": Case(lambda: Target(CLOSED.service), by_stats, "http_user.py"),
}
