"""A server as a child: it comes up, says why when it does not, and never stays behind."""

import subprocess
import sys
import time

import pytest

from locust_adaptive.demo.process import DemoServer, ServerProcess


def gone(pid: int, within_s: float = 5.0) -> bool:
    """Whether the process ends in time; it may be nobody's child here."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)  # there is nothing to wait on for another's child
    return False


def python(code: str, **options: float) -> ServerProcess:
    return ServerProcess([sys.executable, "-c", code], **options)


def test_it_is_ready_soon_and_stops() -> None:
    started = time.monotonic()
    with DemoServer() as server:
        assert time.monotonic() - started < 10  # 0.3 s on a quiet machine
        assert server.url.startswith("http://127.0.0.1:")
        pid = server.pid
    assert gone(pid)
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.url
    server.stop()


def test_it_can_be_started_again_and_not_twice() -> None:
    server = DemoServer()
    with server, pytest.raises(RuntimeError, match="running already"):
        server.start()
    with server:
        assert server.url


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise SystemExit(3)", "ended with exit code 3 before it was ready"),
        ("print('hello', flush=True); import time; time.sleep(60)", "expected a line 'ready URL', got b'hello"),
        ("import time; time.sleep(60)", "not ready after 0.5 s"),
    ],
)
def test_a_child_that_does_not_come_up_is_explained_and_ended(code: str, message: str) -> None:
    server = python(code, ready_timeout_s=10.0 if "60" not in code or "hello" in code else 0.5)
    with pytest.raises(RuntimeError, match=message):
        server.start()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.pid


def test_a_child_that_ignores_sigterm_is_killed() -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready x', flush=True); time.sleep(60)"
    with python(code) as server:
        pid, server.grace_s = server.pid, 0.2
    assert gone(pid)


def test_a_port_in_use_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    with DemoServer() as first:
        port = int(first.url.rsplit(":", 1)[1])
        with pytest.raises(RuntimeError, match="exit code 1"):
            DemoServer(port).start()
    assert f"cannot serve on 127.0.0.1:{port}" in capfd.readouterr().err


def test_it_ends_when_its_parent_is_killed() -> None:
    code = (
        "import os, signal; from locust_adaptive.demo.process import DemoServer\n"
        "print(DemoServer().start().pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    parent = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=30, check=False)
    assert gone(int(parent.stdout))


def test_a_fork_does_not_stop_its_parents_server() -> None:
    code = (
        "import os; from urllib.request import urlopen; from locust_adaptive.demo.process import DemoServer\n"
        "server = DemoServer().start()\n"
        "if os.fork() == 0: raise SystemExit(0)\n"  # the child runs its atexit functions
        "os.wait(); print(urlopen(server.url + '/v2/health/live', timeout=10).status)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=30, check=False)
    assert done.stdout.strip() == b"200"


def test_it_imports_neither_gevent_nor_locust_nor_numpy() -> None:
    code = "import sys, locust_adaptive.demo.process; print({'gevent', 'locust', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=30, check=True)
    assert done.stdout.strip() == b"set()"
