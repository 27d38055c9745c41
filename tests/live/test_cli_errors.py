"""What cannot work ends at once: exit code 2, one clear message, no load, nobody left. And signals end cleanly."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from locust_adaptive.report.journal import read
from tests.support.lab import Backend
from tests.support.searches import CAPACITY, CLOSED, HEADER, OPEN, LocustRun, free_port
from tests.support.wait import wait_until

SHAPE = "class Capacity(AdaptiveShape):\n    pass\n"
REPLAY = 'class Replaying(ReplayUser):\n    trace = "day.trace"\n'
SLO = ("--slo", "p99<250ms")
SECONDS = 20.0

MISTAKES = {
    "unit": (SHAPE + OPEN, ("--slo", "p99<250"), ["--slo", "SLO: p99<250\n            ^", "did you mean p99<250ms?"]),
    "percentile": (SHAPE + OPEN, ("--slo", "p42x<1ms"), ["--slo", "SLO: p42x<1ms\n     ^", "no percentile"]),
    "no slo": (SHAPE + OPEN, (), ["--slo 'p99<250ms & errors<1%'"]),
    "empty slo": (SHAPE + OPEN, ("--slo", ""), ["--slo 'p99<250ms & errors<1%'"]),
    "endless slo": (SHAPE + OPEN, ("--slo", "p99<250ms & " * 100), ["--slo: a text of 1200 characters"]),
    "no load": (SHAPE + OPEN, (*SLO, "--adaptive-max", "0"), ["--adaptive-max '0'", "above 0"]),
    "no users": (SHAPE + OPEN, (*SLO, "-u", "0"), ["-u 0"]),
    "mixed": (SHAPE + OPEN + CLOSED, SLO, ["Ranker", "Visitor", "OpenLoop"]),
    "no source": (SHAPE + OPEN, ("--slo", "p99<1s & gpu.memory<95%"), ["gpu.memory", "no source"]),
    "out": (SHAPE + OPEN, (*SLO, "--adaptive-out", "."), ["--adaptive-out .", "never overwritten"]),
    "no prior": (
        SHAPE + OPEN,
        (*SLO, "--adaptive-prior", "gone.json"),
        ["--adaptive-prior 'gone.json'", "No such file"],
    ),
    "no trace": (SHAPE + REPLAY, SLO, ["Replaying", "'day.trace'", "locust-adaptive trace import"]),
    "no credential": (
        SHAPE + 'class Replaying(ReplayUser):\n    trace = "{demo}"\n    headers = {{"X-Key": "env:NO_SUCH"}}\n',
        SLO,
        ["Replaying", "X-Key", "NO_SUCH"],
    ),
    "processes": (SHAPE + OPEN, (*SLO, "--adaptive-max", "0", "--processes", "2"), ["--adaptive-max '0'"]),
    "trace and processes": (SHAPE + REPLAY, (*SLO, "--processes", "2"), ["Replaying", "'day.trace'"]),
}


@pytest.fixture
def backend():
    server = Backend()
    yield server
    server.close()


def locust(folder: Path, text: str, *arguments: str) -> LocustRun:
    """A headless run of a locustfile of this text."""
    folder.mkdir(exist_ok=True)
    file = folder / "locustfile.py"
    demo = Path(__file__).parents[2] / "traces" / "demo.trace"
    file.write_text(HEADER + (text.format(demo=demo) if "{demo}" in text else text))
    port = str(free_port())
    ports = ("--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port)
    return LocustRun(
        folder,
        file,
        *(() if "--worker" in arguments else ("--headless",)),
        *(ports if "--processes" in arguments else ()),
        *arguments,
    )


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_ends_with_one_message(name: str, tmp_path: Path, backend: Backend) -> None:
    text, arguments, said = MISTAKES[name]
    with locust(tmp_path, text, "-H", backend.url, *arguments) as run:
        ended = run.wait(SECONDS)
        wait_until(lambda: not run.left_behind, "the end of every process", 5)
    assert ended.code == 2, ended.stderr
    assert ended.stderr.count("locust-adaptive: ") == 1
    for words in said:
        assert words in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "# reqs" not in ended.stdout + ended.stderr, "the message would be lost among Locust's tables"
    assert backend.received == 0
    assert not (tmp_path / "adaptive-results").exists()


def test_a_worker_without_the_trace_says_so(tmp_path: Path, backend: Backend) -> None:
    """And ends the search, before any load. The master needs none: it sends nothing."""
    port = str(free_port())
    lead = ("--master", "--expect-workers", "1", "--master-bind-host", "127.0.0.1", "--master-bind-port", port)
    join = ("--worker", "--master-host", "127.0.0.1", "--master-port", port)
    with (
        locust(tmp_path / "master", SHAPE + REPLAY, "-H", backend.url, *SLO, *lead) as master,
        locust(tmp_path / "worker", SHAPE + REPLAY, *join) as worker,
    ):
        led, ended = master.wait(SECONDS), worker.wait(SECONDS)
        wait_until(lambda: not (master.left_behind or worker.left_behind), "the end of every process", 5)
    assert (led.code, ended.code) == (2, 2)
    for run in (led, ended):
        assert "Replaying: there is no trace 'day.trace'" in run.stderr
    assert "worker " in led.stderr
    assert backend.received == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_search_with_its_report(number: int, code: int, tmp_path: Path, backend: Backend) -> None:
    with locust(tmp_path, CAPACITY + OPEN, "-H", backend.url, "--adaptive-out", "out", "--adaptive-start", "20") as run:
        wait_until(lambda: "probe 1 " in run.said, "the first probe", SECONDS)
        run.interrupt(number)
        ended = run.wait(SECONDS)
        wait_until(lambda: not run.left_behind, "the end of every process", 5)
    assert ended.code == code, ended.stderr
    found = json.loads((tmp_path / "out" / "capacity.json").read_text())
    assert (found["verdict"], found["reason"]) == ("aborted", f"stopped by {signal.Signals(number).name}")
    assert found["trials"]
    assert read((tmp_path / "out" / "journal.jsonl").read_text().splitlines(keepends=True)).finished
    assert ended.stdout.rstrip().endswith(f"exit {code}")
    assert "Traceback" not in ended.stderr
