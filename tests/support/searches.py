"""Real `locust` runs as child processes, and what they leave: exit code, words, result, journal, everybody's counts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from locust_adaptive.report.journal import Journal, read
from locust_adaptive.report.result import Result, from_json
from tests.support.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]
LOCUSTFILES = ROOT / "locustfiles"

HEADER = (
    "from locust import FastHttpUser, HttpUser, task\nfrom locust_adaptive import AdaptiveShape, OpenLoop, ReplayUser\n"
)
CAPACITY = 'class Capacity(AdaptiveShape):\n    slo = "p99<250ms & errors<1%"\n'
OPEN = 'class Ranker(OpenLoop, FastHttpUser):\n    @task\n    def rank(self):\n        self.client.get("/rank")\n'
CLOSED = OPEN.replace("Ranker(OpenLoop, FastHttpUser)", "Visitor(HttpUser)")
QUICK = ("--adaptive-precision", "12%", "--adaptive-soak", "5s")
"""A search of a minute or two."""


@dataclass(frozen=True)
class Ended:
    """A run that is over."""

    code: int
    stdout: str
    stderr: str
    seconds: float


class LocustRun:
    """`locust` in a process group of its own: `wait` for its end; leaving the `with` block ends what is left."""

    def __init__(self, folder: Path, locustfile: Path, *arguments: str, descriptors: int | None = None) -> None:
        """`folder` gets the output, as `stdout` and `stderr`, and is the working directory. `descriptors`: how many
        files and sockets the run may have open."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._out, self._err = folder / "stdout", folder / "stderr"
        self._began = time.monotonic()
        with self._out.open("w") as out, self._err.open("w") as err:
            # The environment of a person's shell, without options that it may hold.
            environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
            limited = [] if descriptors is None else ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh"]
            # Whoever runs the tests may ignore signals (nohup, a job in the background), and would pass that on.
            heeding = ["env", "--default-signal=HUP,INT,TERM"]
            self._child = subprocess.Popen(
                [*heeding, *limited, sys.executable, "-m", "locust", "-f", str(locustfile), *arguments],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    def wait(self, timeout: float) -> Ended:
        """Fails, with what the run said, when it is not over in time."""
        try:
            code = self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not over after {timeout:g} s:\n{self._err.read_text()[-3000:]}") from None
        return Ended(code, self._out.read_text(), self._err.read_text(), time.monotonic() - self._began)

    def over(self, timeout: float) -> Ended:
        """Wait for its end, and then for the end of every process that it made."""
        ended = self.wait(timeout)
        wait_until(lambda: not self.left_behind, "the end of every process", 10)
        return ended

    def says(self, words: str, times: int = 1, timeout: float = 60.0) -> float:
        """Wait until standard error has the words so often; how many seconds that took."""
        began = time.monotonic()
        wait_until(lambda: self.said.count(words) >= times, f"{words!r}, {times} times", timeout)
        return time.monotonic() - began

    def interrupt(self, number: int, *, group: bool = False) -> None:
        """Send a signal to its first process; `group`: to all of them, as a terminal does."""
        if group:
            os.killpg(self._child.pid, number)
        else:
            self._child.send_signal(number)

    @property
    def said(self) -> str:
        """What is on standard error so far."""
        return self._err.read_text()

    @property
    def left_behind(self) -> bool:
        """Is any process of its group alive?"""
        try:
            os.killpg(self._child.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            os.killpg(self._child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._child.wait()


@dataclass(frozen=True)
class Search:
    """A search that came to its end. `counted`: requests in Locust's own statistics."""

    ended: Ended
    outcome: Result
    text: str
    """capacity.json as it was written."""
    journal: Journal
    counted: int


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def forks_ports() -> list[str]:
    """Arguments for `--processes`: a port of its own, so that runs can be beside each other."""
    port = str(free_port())
    return ["--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port]


def locustfile(folder: Path, text: str) -> Path:
    """The text as a locustfile in a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "locustfile.py"
    file.write_text(text)
    return file


def read_search(folder: Path, ended: Ended) -> Search:
    """What a search with the arguments of `to_results` left in its folder."""
    statistics = folder / "stats.json"
    entries = json.loads(statistics.read_text()) if statistics.exists() else []
    return read_results(folder / "results", ended, sum(entry["num_requests"] for entry in entries))


def read_results(results: Path, ended: Ended, counted: int = 0) -> Search:
    """A search by the folder of its results."""
    capacity = results / "capacity.json"
    assert capacity.exists(), f"exit code {ended.code}, no capacity.json:\n{ended.stderr[-3000:]}"
    text = capacity.read_text()
    journal = read((results / "journal.jsonl").read_text().splitlines(keepends=True))
    return Search(ended, from_json(text), text, journal, counted)


def to_results(folder: Path) -> list[str]:
    """Arguments that make a run leave its results where `read_search` finds them."""
    return ["--only-summary", "--json-file", str(folder / "stats"), "--adaptive-out", str(folder / "results")]


class Cluster:
    """A master and its workers, each a `LocustRun`; `cluster.master`, `cluster.workers`. Leaving the block ends all."""

    def __init__(
        self, folder: Path, locustfile: Path, *arguments: str, workers: int, expect: int | None = None
    ) -> None:
        """`expect`: workers that the master waits for before it begins (all)."""
        self._folder, self._locustfile = folder, locustfile
        self._port = str(free_port())
        waiting = ["--expect-workers", str(workers if expect is None else expect), "--expect-workers-max-wait", "60"]
        bound = ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", self._port]
        self.master = LocustRun(folder, locustfile, *bound, *waiting, *arguments)
        self.workers: list[LocustRun] = []
        for _ in range(workers):
            self.join()

    def join(self, locustfile: Path | None = None, *arguments: str) -> LocustRun:
        """Start one more worker."""
        folder = self._folder / f"worker{len(self.workers)}"
        where = ["--worker", "--master-host", "127.0.0.1", "--master-port", self._port]
        worker = LocustRun(folder, locustfile or self._locustfile, *where, *arguments)
        self.workers.append(worker)
        return worker

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for run in (self.master, *self.workers):
            run.__exit__(kind, error, trace)


def search(
    folder: Path, locustfile: Path, arguments: Sequence[str], *, workers: int = 0, timeout: float = 600.0
) -> Search:
    """Run a headless search to its end. `workers`: as many separate worker processes and a master."""
    arguments = ["--headless", *to_results(folder), *arguments]
    if workers:
        with Cluster(folder, locustfile, *arguments, workers=workers) as cluster:
            ended = cluster.master.wait(timeout)
            for hand in cluster.workers:
                assert hand.wait(20).code == 0, hand.said
    else:
        if "--processes" in arguments:
            arguments += forks_ports()
        with LocustRun(folder, locustfile, *arguments) as run:
            ended = run.wait(timeout)
    return read_search(folder, ended)
