"""`trace record` as a process of its own: secrets, kills, signals, a full disk, and what it says."""

import json
import os
import re
import resource
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from locust_adaptive.replay.store import Trace, seal
from tests.support.origin import CLI, Origin, Wire, proxy

SECRET = b"CANARY-6f1d"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answering(wire):
    while True:
        head = wire.head()
        length = re.search(rb"(?i)content-length: (\d+)", head)
        wire.exactly(int(length[1]) if length else 0)
        wire.send(OK)


@pytest.fixture(scope="module")
def origin():
    with Origin(answering) as origin:
        yield origin


def post(client, body=b"{}", headers=b"", path=b"/v1"):
    client.send(b"POST %b HTTP/1.1\r\nHost: h\r\n%bContent-Length: %d\r\n\r\n" % (path, headers, len(body)) + body)
    return client.answer()[1]


def wait_until(true, what, timeout=10.0):
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def bytes_of(folder):
    return b"".join(file.read_bytes() for file in Path(folder).iterdir())


def committed(folder):
    return (folder / "day.trace").exists() and b"a-mark-to-wait-for" in bytes_of(folder)


def test_no_secret_is_in_any_file_before_or_after_sealing(tmp_path, origin):
    secret = (b"Authorization", b"Cookie", b"X-Api-Key", b"X-My-Token", b"X-Person", b"X-User", b"X-Forwarded-For")
    headers = b"".join(name + b": " + SECRET + b"\r\n" for name in secret)
    body = b'{"n": 1, "user": {"email": "%b", "deep": [{"\\u006b": "%b"}]}}' % (SECRET, SECRET)
    redact = ["--redact-header", "X-Person", "--redact-query", "who", "--redact-field", "user"]
    with (
        proxy(origin.url, *redact, "--session-header", "X-User", folder=tmp_path) as running,
        Wire.to(running.url) as client,
    ):
        for _ in range(20):
            assert post(client, body, headers, b"/v1?api_key=%b&who=%b&a=b" % (SECRET, SECRET)) == b"ok"
        post(client, b"a-mark-to-wait-for")
        wait_until(lambda: committed(tmp_path), "the last request is on the disk")
        assert {"day.trace", "day.trace-wal"} <= set(os.listdir(tmp_path))
        assert SECRET not in bytes_of(tmp_path)
        assert b"127.0.0.1:" not in bytes_of(tmp_path).replace(origin.url.encode(), b"")
    assert os.listdir(tmp_path) == ["day.trace"]
    assert SECRET not in bytes_of(tmp_path)
    with Trace.open(tmp_path / "day.trace") as trace:
        assert len(trace) == 21
        first = trace.record(0)
        assert first.path == "/v1?api_key=xxxxxxxxxxx&who=xxxxxxxxxxx&a=b"
        assert len(first.body) == len(body)
        assert json.loads(first.body)["n"] == 1
        assert first.headers == ()
        assert trace.info().sessions == 2


def test_a_kill_loses_at_most_the_last_tenth_of_a_second(tmp_path, origin):
    """Requests until the kill, each with the time at which its answer was there."""
    running = proxy(origin.url, folder=tmp_path).start()
    answered = []
    with Wire.to(running.url) as client:
        ends = time.monotonic() + 1.0
        while time.monotonic() < ends:
            assert post(client, b"%d" % len(answered)) == b"ok"
            answered.append(time.monotonic())
        os.kill(running.pid, signal.SIGKILL)
        killed = time.monotonic()
    running.stop()
    done = subprocess.run([*CLI, "trace", "seal", tmp_path / "day.trace"], capture_output=True, text=True, check=True)
    with Trace.open(tmp_path / "day.trace") as trace:
        kept = {int(trace.record(i).body) for i in range(len(trace))}
    assert f"{len(kept)} requests" in done.stdout
    assert kept == set(range(len(kept)))
    due = [i for i, at in enumerate(answered) if at < killed - 0.1]
    assert len(due) > 20
    assert set(due) <= kept


def test_a_full_disk_ends_the_recording_and_not_the_relaying(tmp_path, origin):
    """A file size limit stands for the disk: writing beyond it fails as on a full one."""
    command = [*CLI, "trace", "record", "--target", origin.url, "--listen", "127.0.0.1:0", "--out", "day.trace"]
    running = subprocess.Popen(
        command,
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: (
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)),
        ),
    )
    try:
        url = running.stdout.readline().split()[1]
        said = []
        listening = threading.Thread(target=lambda: said.extend(iter(running.stderr.readline, "")))
        listening.start()
        with Wire.to(url) as client:
            post(client, b"a-mark-to-wait-for")
            wait_until(lambda: committed(tmp_path), "the first is on the disk")
            for _ in range(100):
                assert post(client, os.urandom(30_000)) == b"ok"
            wait_until(lambda: any("recording has ended" in line for line in said), "the end is said")
            assert post(client) == b"ok"
        running.terminate()
        assert running.wait(20) == 2
        listening.join(5)
    finally:
        running.kill()
    (ended,) = [line for line in said if "recording has ended" in line]
    assert "check the disk" in ended
    assert "relaying goes on" in ended
    assert "trace seal day.trace" in said[-1]
    seal(tmp_path / "day.trace")
    assert 0 < len(Trace.open(tmp_path / "day.trace")) < 101


def test_at_a_limit_the_trace_is_complete_and_relaying_goes_on(tmp_path, origin):
    with proxy(origin.url, "--max-time", "1s", folder=tmp_path) as running, Wire.to(running.url) as client:
        post(client)
        wait_until(lambda: os.listdir(tmp_path) == ["day.trace"] and sealed(tmp_path / "day.trace"), "it is sealed")
        assert post(client) == b"ok"
        assert len(Trace.open(tmp_path / "day.trace")) == 1


def sealed(path):
    with path.open("rb") as file:
        return file.read(19)[18] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_open_requests_finish_and_seals(tmp_path, number):
    reached, go = threading.Event(), threading.Event()

    def slow(wire):
        wire.head()
        reached.set()
        assert go.wait(10)
        wire.send(OK)

    with Origin(slow) as origin:
        command = [*CLI, "trace", "record", "--target", origin.url, "--listen", "127.0.0.1:0", "--out", "day.trace"]
        running = subprocess.Popen(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            url = running.stdout.readline().split()[1]
            with Wire.to(url) as client, Wire.to(url) as idle:
                client.send(b"GET / HTTP/1.1\r\nHost: h\r\nCookie: a\r\n\r\n")
                assert reached.wait(5)
                running.send_signal(number)
                assert idle.rest() == b""  # so it is closing
                with pytest.raises(ConnectionRefusedError):
                    Wire.to(url)
                go.set()
                assert client.rest().endswith(b"ok")
            out, err = running.communicate(timeout=20)
        finally:
            running.kill()
    assert running.returncode == 0, err
    assert re.fullmatch(r"day\.trace: 1 requests, 1 bodies, 0\.\d MB\n", out)
    assert "redacted: header cookie (1 times)" in err
    assert len(Trace.open(tmp_path / "day.trace")) == 1


def test_a_request_that_does_not_end_is_cut_off_after_the_grace(tmp_path):
    reached = threading.Event()

    def hanging(wire):
        wire.head()
        reached.set()
        wire.head()

    with (
        Origin(hanging) as origin,
        proxy(origin.url, "--grace", "100ms", folder=tmp_path) as running,
        Wire.to(running.url) as client,
    ):
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert reached.wait(5)
        running.stop()
        with pytest.raises((ConnectionError, EOFError)):
            client.exactly(1)
    assert len(Trace.open(tmp_path / "day.trace")) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--target", "model:8000"], "no URL"),
        (["--target", "http://a..b"], "no URL"),
        (["--target", "ftp://h"], "http://127.0.0.1:8000"),
        (["--target", "http://h/v1"], "the paths come from the clients"),
        (["--target", "http://u:CANARY@h"], "password"),
        (["--target", "http://u:CANARY/1@h"], "password"),
        (["--listen", "9001"], "write it as 127.0.0.1:9001"),
        (["--bodies", "200%"], "--bodies '200%' must be a share"),
        (["--max-size", "lots"], "--max-size 'lots' is not a size"),
        (["--max-time", "0s"], "--max-time '0s' must be"),
        (["--redact-field", "a..b"], "empty name"),
        (["--out", "there.trace"], "exists"),
        (["--listen", "192.0.2.1:1"], "cannot listen on 192.0.2.1:1"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_file(tmp_path, options, says):
    from click.testing import CliRunner

    from locust_adaptive.cli import main

    there = tmp_path / "there.trace"
    there.write_text("precious")
    given = {"--target": "http://127.0.0.1:1", "--listen": "127.0.0.1:0", "--out": "new.trace"}
    given.update(zip(options[::2], options[1::2], strict=True))
    given["--out"] = str(tmp_path / given["--out"])
    if "cannot listen" in says:  # the only one for which an event loop runs
        words = [*CLI, "trace", "record", *(word for pair in given.items() for word in pair)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30)
        code, error = done.returncode, done.stderr
    else:
        done = CliRunner().invoke(main, ["trace", "record", *(word for pair in given.items() for word in pair)])
        code, error = done.exit_code, done.stderr
    assert (code, error.count("\n")) == (2, 1), error
    assert says in error
    assert "CANARY" not in error
    assert os.listdir(tmp_path) == ["there.trace"]
    assert there.read_text() == "precious"
