"""The middleware around applications that are called as a server would, without a server."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from locust_adaptive.replay.record import TraceError
from locust_adaptive.replay.recording.asgi import Recording
from locust_adaptive.replay.store import Trace


def scope(**changes):
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"k=1&token=CANARY",
        "headers": [(b"content-length", b"6"), (b"authorization", b"CANARY"), (b"x-a", b"\xe9")],
        "client": ("10.9.8.7", 1),
        **changes,
    }


def body(*pieces):
    messages = [
        {"type": "http.request", "body": piece, "more_body": i < len(pieces) - 1} for i, piece in enumerate(pieces)
    ]
    return [*messages, {"type": "http.disconnect"}]


def run(app, *calls):
    """Each call: a scope and the messages that the server has for it. Gives what the application sent."""
    sent = []

    async def all_of_them():
        for a_scope, messages in calls:
            queue = iter(messages)

            async def receive(queue=queue):
                return next(queue)

            async def send(message):
                sent.append(message)

            await app(a_scope, receive, send)

    asyncio.run(all_of_them())
    return sent


async def echo(scope, receive, send):
    """Answers each piece before it asks for the next: nothing may be read ahead."""
    while True:
        message = await receive()
        await send({"type": "http.response.body", "body": message.get("body", b"")})
        if not message.get("more_body"):
            return


async def deaf(scope, receive, send):
    await send({"type": "http.response.start", "status": 200})


def finished(app, path):
    app.recorder.close()
    with Trace.open(path) as trace:
        return [trace.record(i) for i in range(len(trace))]


def test_bodies_are_seen_as_the_application_reads_them(tmp_path):
    app = Recording(echo, tmp_path / "t.trace")
    sent = run(app, (scope(), body(b"abc", b"", b"def")))
    assert [message["body"] for message in sent] == [b"abc", b"", b"def"]
    (record,) = finished(app, tmp_path / "t.trace")
    assert (record.method, record.path, record.body) == ("POST", "/a%20b?k=1&token=xxxxxx", b"abcdef")
    assert record.headers == (("x-a", "é"),)
    held = (tmp_path / "t.trace").read_bytes()
    assert b"CANARY" not in held
    assert b"10.9.8.7" not in held


@pytest.mark.parametrize(
    ("app", "messages", "kept", "why"),
    [
        (deaf, body(b"abcdef"), b"", {"incomplete": 1}),
        (
            echo,
            [{"type": "http.request", "body": b"abc", "more_body": True}, {"type": "http.disconnect"}],
            b"",
            {"incomplete": 1},
        ),
        (echo, body(b"abcdef"), b"abcdef", {}),
    ],
)
def test_a_body_that_was_not_read_to_its_end_is_counted(tmp_path, app, messages, kept, why):
    recording = Recording(app, tmp_path / "t.trace")
    run(recording, (scope(), messages))
    assert [record.body for record in finished(recording, tmp_path / "t.trace")] == [kept]
    assert recording.recorder.progress().left_out == why


@pytest.mark.parametrize("version", ["2", "3"])
def test_a_body_without_a_length_is_kept(tmp_path, version):
    app = Recording(echo, tmp_path / "t.trace")
    run(app, (scope(http_version=version, headers=[]), body(b"abc", b"def")))
    assert [record.body for record in finished(app, tmp_path / "t.trace")] == [b"abcdef"]


def test_a_request_without_a_body_need_not_be_read(tmp_path):
    app = Recording(deaf, tmp_path / "t.trace")
    run(app, (scope(method="GET", headers=[], raw_path=None, query_string=b""), []))
    (record,) = finished(app, tmp_path / "t.trace")
    assert (record.method, record.path, record.body) == ("GET", "/a%20b", b"")
    assert app.recorder.progress().left_out == {}


def test_the_applications_errors_pass_and_the_arrival_stays(tmp_path):
    async def broken(scope, receive, send):
        await receive()
        raise RuntimeError("theirs")

    app = Recording(broken, tmp_path / "t.trace")
    with pytest.raises(RuntimeError, match="theirs"):
        run(app, (scope(), body(b"abc", b"def")))
    assert len(finished(app, tmp_path / "t.trace")) == 1


def test_other_scopes_pass_and_the_shutdown_seals(tmp_path):
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.shutdown.complete"})

    recording = Recording(app, tmp_path / "t.trace")
    run(recording, (scope(headers=[]), []), ({"type": "websocket"}, []), ({"type": "lifespan"}, []))
    assert seen == ["http", "websocket", "lifespan"]
    assert len(Trace.open(tmp_path / "t.trace")) == 1


def test_an_existing_file_and_a_plan_that_is_none_are_said_at_once(tmp_path):
    (tmp_path / "t.trace").write_text("precious")
    with pytest.raises(TraceError, match="exists"):
        Recording(echo, tmp_path / "t.trace")
    with pytest.raises(ValueError, match="between 0 and 1"):
        Recording(echo, tmp_path / "u.trace", bodies=10)


def test_nothing_is_written_before_the_server_starts_and_without_a_start_no_file_is_left(tmp_path):
    before = threading.active_count()
    app = Recording(echo, tmp_path / "t.trace")
    assert threading.active_count() == before, "a thread does not survive the fork of a server"
    for _ in range(2):
        assert not app.recorder.close().fault
        assert not (tmp_path / "t.trace").exists()


def test_a_start_of_the_server_and_a_shutdown_without_requests_leave_no_file(tmp_path):
    async def app(scope, receive, send):
        await send({"type": "lifespan.startup.complete"})
        assert recording.recorder._thread.is_alive()
        await send({"type": "lifespan.shutdown.complete"})

    recording = Recording(app, tmp_path / "t.trace")
    assert len(run(recording, ({"type": "lifespan"}, []))) == 2
    assert not (tmp_path / "t.trace").exists()


PRELOADING = """
import os, signal, sys, time
from tests.replay.recording.test_asgi import Recording, body, echo, run, scope

def lifespan(app):
    return run(app, ({"type": "lifespan"}, [{"type": "lifespan.startup"}]))

signal.alarm(20)
app = Recording(echo, sys.argv[1])
if sys.argv[2] == "served":
    run(app, (scope(), body(b"abcdef")))
    while not app.recorder.progress().written:
        time.sleep(0.005)
child = os.fork()
if not child:
    signal.alarm(20)
    (said,) = lifespan(app)
    print(said["type"], said["message"])
    try:
        run(app, (scope(), body(b"abcdef")))
    except Exception as fault:
        print(type(fault).__name__, fault)
    sys.exit(3)  # not os._exit: what is to be done at the end is done, as in a worker of a server
_, status = os.waitpid(child, 0)
print("worker ended with", os.waitstatus_to_exitcode(status))
run(app, (scope(), body(b"abcdef")))
"""


@pytest.mark.parametrize(("made", "requests"), [("loaded", 1), ("served", 2)])
def test_a_worker_that_was_forked_from_a_loaded_application_says_so_and_spoils_nothing(tmp_path, made, requests):
    path = tmp_path / "t.trace"
    command = [sys.executable, "-c", PRELOADING, str(path), made]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    started, asked, ended = done.stdout.splitlines()
    assert started.startswith(f"lifespan.startup.failed {path} is made by process ")
    assert asked.startswith(f"TraceError {path} is made by process ")
    assert "without --preload" in started
    assert ended == "worker ended with 3"
    with Trace.open(path) as trace:
        assert [record.body for record in (trace.record(i) for i in range(len(trace)))] == [b"abcdef"] * requests
