"""The launcher of the real servers, with servers that need nothing: up and checked, or explained; never left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks.cases.targets import NotServed, Served, Target, elsewhere
from benchmarks.cases.targets.cached import BUILD, ROOT
from tests.support.wait import wait_until

SERVER = """
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write({answer!r})

server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
{before}
server.serve_forever()
"""
# In a session of its own, deaf to SIGTERM: no signal to the server's group, nor its own end, would end it.
CHILD = """
import subprocess
subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"],
                 start_new_session=True)
"""
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"


def check(url: str) -> None:
    connection = HTTPConnection("127.0.0.1", urlsplit(url).port, timeout=5)
    try:
        connection.request("GET", "/")
        if (said := connection.getresponse().read()) != b"right":
            raise ValueError(f"it says {said!r}")
    finally:
        connection.close()


def program(text: str) -> Target:
    command: Callable[[int], Sequence[str]] = lambda port: [sys.executable, "-c", text, str(port)]  # noqa: E731
    return Target("simple", command, check)


def server(before: str = "", answer: bytes = b"right") -> Target:
    return program(SERVER.format(before=before, answer=answer))


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def family(pid: int) -> list[int]:
    """A process and all below it."""
    return [pid, *(below for child in children(pid) for below in family(child))]


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_it_answers_inside_the_block_and_is_gone_after_it(log: Path) -> None:
    with Served(server(), log=log) as served:
        check(served.url)
        assert served.running
        processes = family(served.pid)
        assert len(processes) == 2
    assert gone(processes)
    assert not served.running
    assert "GET / HTTP/1.1" in log.read_text()


def test_it_has_its_port_and_core_and_one_thread(log: Path) -> None:
    core = max(os.sched_getaffinity(0))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    say = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['TMPDIR'], flush=True)"
    with Served(server(say), port=port, core=core, log=log) as served:
        assert served.url == f"http://127.0.0.1:{port}"
        (child,) = children(served.pid)
        assert os.sched_getaffinity(child) == {core}
        threads, scratch = log.read_text().split()[:2]
        assert (threads, Path(scratch).is_dir()) == ("1", True)
    assert not Path(scratch).exists()


def test_a_core_that_is_not_ours_is_refused(log: Path) -> None:
    with pytest.raises(ValueError, match="core 100000 is none of those"), Served(server(), core=100_000, log=log):
        pass


def test_a_port_in_use_is_said_and_whoever_is_there_does_not_answer_for_us(log: Path) -> None:
    with (
        Served(server(), log=log) as first,
        pytest.raises(NotServed, match=f"simple: port {first.port}: Address already in use"),
        Served(server(), port=first.port, log=log.with_name("second")),
    ):
        pass


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (program("raise SystemExit('no model here')"), ["ended with exit code 1 before it was ready", "no model here"]),
        (program("import os; os.kill(os.getpid(), 9)"), ["exit code 137", "(it said nothing)"]),
        (program("import time; print('loading', flush=True); time.sleep(600)"), ["no right answer in 1 s", "loading"]),
        (server(answer=b"wrong"), ["no right answer in 1 s", "it says b'wrong'"]),
        (Target("simple", lambda port: ["/no/such/program"], check), ["exit code 1", "No such file", "/no/such"]),
    ],
    ids=["ends", "killed", "silent", "wrong", "no program"],
)
def test_one_that_does_not_come_up_is_explained_and_gone(target: Target, words: list[str], log: Path) -> None:
    before = set(children(os.getpid()))
    served = Served(target, log=log, ready_s=1.0)
    with pytest.raises(NotServed) as caught, served:
        pass
    assert all(word in str(caught.value) for word in [*words, str(log)]), caught.value
    assert set(children(os.getpid())) == before
    with pytest.raises(RuntimeError, match="not running"):
        _ = served.pid


def test_what_is_not_installed_is_named(log: Path) -> None:
    target = Target("simple", lambda port: [], check, modules=("json", "no_such_module"))
    with pytest.raises(NotServed, match="not installed: no_such_module; they are in the group targets"):
        Served(target, log=log).__enter__()


def test_children_in_sessions_of_their_own_end_with_it(log: Path) -> None:
    with Served(server(CHILD), log=log) as served:
        processes = family(served.pid)
        assert len(processes) == 3
    assert gone(processes)


def test_one_that_is_deaf_to_sigterm_is_killed(log: Path) -> None:
    with Served(server(DEAF), log=log, grace_s=0.3) as served:
        processes = family(served.pid)
        began = time.monotonic()
    assert gone(processes)
    assert 0.3 <= time.monotonic() - began < 5


def test_one_that_is_killed_in_between_is_seen_and_leaves_nothing(log: Path) -> None:
    with Served(server(CHILD), log=log) as served:
        processes = family(served.pid)
        os.kill(children(served.pid)[0], signal.SIGKILL)
        wait_until(lambda: not served.running, "the end of the server", 10)
    assert gone(processes[1:])


def test_an_error_in_the_block_ends_it(log: Path) -> None:
    processes: list[int] = []

    def fails() -> None:
        with Served(server(CHILD), log=log) as served:
            processes.extend(family(served.pid))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert len(processes) == 3
    assert gone(processes)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_it_ends_with_the_process_that_wanted_it(number: signal.Signals, log: Path) -> None:
    """Even one that can do nothing more for it."""
    text = (
        "import sys, time; from pathlib import Path; from benchmarks.cases.targets import Served, Target\n"
        "command = lambda port: [sys.executable, '-c', sys.argv[2], str(port)]\n"
        "with Served(Target('simple', command, lambda url: None), log=Path(sys.argv[1])) as served:\n"
        "    print(served.pid, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", text, str(log), SERVER.format(before=CHILD, answer=b"")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as wanting:
        assert wanting.stdout is not None
        keeper = int(wanting.stdout.readline())
        wait_until(lambda: len(family(keeper)) == 3, "the server and its child", 15)
        processes = family(keeper)
        wanting.send_signal(number)
    wait_until(lambda: gone(processes), "the end of every process", 15)


def test_it_can_be_started_again_and_not_twice(log: Path) -> None:
    served = Served(server(), log=log)
    with served, pytest.raises(RuntimeError, match="running already"):
        served.__enter__()
    with served:
        check(served.url)


def test_elsewhere_leaves_a_core_to_the_server_and_takes_it_back() -> None:
    ours = os.sched_getaffinity(0)
    core = max(ours)
    with elsewhere(core):
        assert os.sched_getaffinity(0) == (ours - {core} or ours)
    assert os.sched_getaffinity(0) == ours


def test_by_default_the_log_lies_outside_of_git() -> None:
    assert Served(server()).log == BUILD / "simple.log"
    assert subprocess.run(["git", "check-ignore", "-q", BUILD], cwd=ROOT).returncode in (0, 128)  # 128: no repository
