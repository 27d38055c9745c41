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

ROOT = Path(__file__).resolve().parents[2]
LOCUSTFILES = ROOT / "locustfiles"

HEADER = (
    "from locust import FastHttpUser, HttpUser, task\nfrom locust_adaptive import AdaptiveShape, OpenLoop, ReplayUser\n"
)
CAPACITY = 'class Capacity(AdaptiveShape):\n    slo = "p99<250ms & errors<1%"\n'
OPEN = 'class Ranker(OpenLoop, FastHttpUser):\n    @task\n    def rank(self):\n        self.client.get("/rank")\n'
CLOSED = OPEN.replace("Ranker(OpenLoop, FastHttpUser)", "Visitor(HttpUser)")


@dataclass(frozen=True)
class Ended:
    """A run that is over."""

    code: int
    stdout: str
    stderr: str
    seconds: float


class LocustRun:
    """`locust` in a process group of its own: `wait` for its end; leaving the `with` block ends what is left."""

    def __init__(self, folder: Path, locustfile: Path, *arguments: str) -> None:
        """`folder` gets the output, as `stdout` and `stderr`, and is the working directory."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._out, self._err = folder / "stdout", folder / "stderr"
        self._began = time.monotonic()
        with self._out.open("w") as out, self._err.open("w") as err:
            # The environment of a person's shell, without options that it may hold.
            environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
            self._child = subprocess.Popen(
                [sys.executable, "-m", "locust", "-f", str(locustfile), *arguments],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                start_new_session=True,
            )

    def wait(self, timeout: float) -> Ended:
        """Fails, with what the run said, when it is not over in time."""
        try:
            code = self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not over after {timeout:g} s:\n{self._err.read_text()[-3000:]}") from None
        return Ended(code, self._out.read_text(), self._err.read_text(), time.monotonic() - self._began)

    def interrupt(self, number: int) -> None:
        """Send a signal to its first process."""
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


def search(
    folder: Path, locustfile: Path, arguments: Sequence[str], *, workers: int = 0, timeout: float = 600.0
) -> Search:
    """Run a headless search to its end. `workers`: as many separate worker processes and a master."""
    results = folder / "results"
    arguments = [
        "--headless",
        "--only-summary",
        "--json-file",
        str(folder / "stats"),
        "--adaptive-out",
        str(results),
        *arguments,
    ]
    port = str(free_port())
    if workers or "--processes" in arguments:
        arguments += ["--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port]
    if workers:
        arguments += ["--master", "--expect-workers", str(workers), "--expect-workers-max-wait", "60"]
    with LocustRun(folder, locustfile, *arguments) as run:
        if not workers:
            ended = run.wait(timeout)
        else:
            join = ["--worker", "--master-host", "127.0.0.1", "--master-port", port]
            hands = [LocustRun(folder / f"worker{n}", locustfile, *join) for n in range(workers)]
            try:
                ended = run.wait(timeout)
                for hand in hands:
                    assert hand.wait(20).code == 0, hand.said
            finally:
                for hand in hands:
                    hand.__exit__(None, None, None)
    capacity = results / "capacity.json"
    assert capacity.exists(), f"exit code {ended.code}, no capacity.json:\n{ended.stderr[-3000:]}"
    text = capacity.read_text()
    journal = read((results / "journal.jsonl").read_text().splitlines(keepends=True))
    counted = sum(entry["num_requests"] for entry in json.loads((folder / "stats.json").read_text()))
    return Search(ended, from_json(text), text, journal, counted)
