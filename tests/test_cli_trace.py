"""What is done with traces on the command line: head, verify, sample, redact, export. Import and seal: test_cli.py."""

import json
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import sys

import pytest
from click.testing import CliRunner

from locust_adaptive.cli import main
from locust_adaptive.replay.record import Record
from locust_adaptive.replay.store import Trace, TraceWriter

COMMAND = [sys.executable, "-c", "from locust_adaptive.cli import main; main()", "trace"]


def run(*arguments):
    return CliRunner().invoke(main, ["trace", *map(str, arguments)])


@pytest.fixture
def day(tmp_path):
    path = tmp_path / "day.trace"
    with TraceWriter(path, origin="test") as writer:
        for i in range(100):
            body, omitted = (b"", 50) if i % 10 == 9 else (json.dumps({"user": f"u{i}", "n": 1}).encode(), 0)
            headers = (("Content-Type", "application/json"), ("Authorization", f"Bearer {i}"))
            writer.append(
                Record(i * 10**8, f"s{i % 10}", "POST", f"/v1?token=t{i:03}", headers, body, "rank", 200, omitted)
            )
        writer.note("dropped", {"queue full": 4})
    return path


def test_head_shows_a_request_readably(day):
    shown = run("head", day, "-n", 1).stdout
    assert shown == (
        "#0  0.000000 s  POST  /v1?token=t000  session s0  name rank  32 bytes  expects 200\n"
        "    Content-Type: application/json\n"
        "    Authorization: Bearer 0\n"
        '    {"user": "u0", "n": 1}\n'
    ).replace("32 bytes", f"{len(json.dumps({'user': 'u0', 'n': 1}))} bytes")
    assert run("head", day).stdout.count("#") == 10
    assert "50 bytes  expects 200\n" in run("head", day).stdout
    assert "(the body was not kept)" in run("head", day).stdout
    assert run("head", day, "-n", 1000).stdout.count("#") == 100


def test_head_shows_nothing_that_moves_the_cursor(tmp_path):
    bodies = [b"\x1b[2J", b"\xff\xfe\x00" * 50, "é".encode() * 500, b"a" * 399 + "é".encode() * 9, b"\xe2\x82"]
    with TraceWriter(tmp_path / "t.trace", origin="test") as writer:
        for i, body in enumerate(bodies):
            writer.append(Record(i, "s\x1b\u202e", "POST", "/", (("A", "\x1b[1m\x9b"),), body, "n\x07"))
    shown = run("head", tmp_path / "t.trace").stdout
    assert all(c.isprintable() or c == "\n" for c in shown)
    lines = shown.splitlines()
    assert lines[2] == r"    \x1b[2J"
    assert lines[5].startswith("    hex ff fe 00 ff")
    assert lines[5].endswith(" ...")
    assert lines[8] == f"    {'é' * 200} ... and 600 bytes more"
    assert lines[11] == f"    {'a' * 399} ... and 17 bytes more"
    assert lines[14] == "    hex e2 82"


def test_head_as_json_is_what_an_import_reads(tmp_path, day):
    (tmp_path / "x.jsonl").write_bytes(run("head", day, "--json", "-n", 20).stdout_bytes)
    assert run("import", tmp_path / "x.jsonl", tmp_path / "x.trace").exit_code == 0
    with Trace.open(day) as whole, Trace.open(tmp_path / "x.trace") as part:
        assert len(part) == 20
        assert part.record(9).omitted == 50
        assert part.record(3).body == whole.record(3).body


def test_verify_says_sound_or_a_line_a_fault(day):
    done = run("verify", day)
    assert (done.exit_code, done.stdout) == (0, f"{day}: 100 requests, 10 sessions, 90 bodies: sound\n")
    assert done.stderr == ""
    with sqlite3.connect(day) as db:
        db.execute("UPDATE body SET data = x'00' WHERE id = 7")
    db.close()
    done = run("verify", day)
    assert done.exit_code == 1
    assert "body 7 is not what was recorded: its hash differs\n" in done.stdout
    assert "sound" not in done.stdout


def test_verify_of_what_is_no_trace_is_exit_2(tmp_path):
    (tmp_path / "x").write_text("x")
    assert run("verify", tmp_path / "x").exit_code == 2


def test_sample_makes_a_trace_and_says_so_in_it(tmp_path, day):
    out = tmp_path / "out"
    assert (
        run("sample", day, out, "--sessions", "50%", "--from", "1s", "--to", "0.1m").stdout == f"{out}: 25 requests\n"
    )
    told = json.loads(run("info", out, "--json").stdout)
    assert told["sampling"] == [
        {"of": "time", "share": None, "how": "from 1 s to 6 s"},
        {"of": "sessions", "share": 0.5, "how": "by hash, seed 1"},
    ]
    assert told["dropped"] == {"queue full": 4}
    shown = run("info", out).stdout
    assert "sampled       time: from 1 s to 6 s\n" in shown
    assert "sampled       50 % of the sessions: by hash, seed 1\n" in shown
    assert "dropped       4 requests: queue full\n" in shown


def test_info_says_what_can_be_played(day):
    told = json.loads(run("info", day, "--json").stdout)
    assert (told["requests"], told["playable_requests"], told["playable_sessions"]) == (100, 90, 9)
    assert (told["borrowed_requests"], told["sent_size_mean"], told["unsent_requests"]) == (10, 22.9, 0)
    shown = run("info", day).stdout
    assert "90 requests in 9 sessions (90.0%) that have all their bodies" in shown
    assert (
        "borrowed      10 requests, with recorded arrivals, so that all sessions come; mean body then 22.9 bytes\n"
        in shown
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "nothing says which part"),
        (["--sessions", "x"], "--sessions 'x' is not a number"),
        (["--sessions", "200%"], "--sessions '200%' must be a share"),
        (["--from", "noon"], "--from 'noon' is not a time"),
        (["--requests", "0"], "0 is not in the range"),
        (["--from", "1h"], "no request of the trace is in that part"),
    ],
)
def test_a_faulty_sample_is_exit_2_and_no_file(tmp_path, day, options, says):
    done = run("sample", day, tmp_path / "out", *options)
    assert (done.exit_code, says in done.stderr) == (2, True)
    assert os.listdir(tmp_path) == ["day.trace"]


def test_redact_says_what_went_and_what_was_found_nowhere(tmp_path, day):
    out = tmp_path / "out"
    done = run("redact", day, out, "--field", "user", "--field", "user.email", "--header", "X-Id", "--query", "q")
    assert done.stdout == f"{out}: 100 requests\n"
    assert done.stderr.splitlines() == [
        "redacted: field user (90 times)",
        "redacted: header authorization (100 times)",
        "redacted: query token (100 times)",
        "found nowhere: header x-id",
        "found nowhere: query q",
        "found nowhere: field user.email",
    ]
    assert b"Bearer" not in out.read_bytes()
    assert "redacted      field user (90 times)\n" in run("info", out).stdout
    with Trace.open(out) as trace:
        assert trace.record(0).body == b'{"user": "xx", "n": 1}'
        assert trace.record(0).path == "/v1?token=xxxx"


def test_export_to_a_file_and_to_standard_output(tmp_path, day):
    out = tmp_path / "out.jsonl"
    assert run("export", day, out).stdout == f"{out}: 100 requests\n"
    assert run("export", day).stdout_bytes == out.read_bytes()
    assert len(out.read_bytes().splitlines()) == 100
    done = run("export", day, "--format", "vegeta", "--target", "http://h")
    assert len(done.stdout.splitlines()) == 90
    assert done.stderr == "left out: 10 requests whose bodies were not kept\n"
    before = out.read_bytes()
    assert run("export", day, out).exit_code == 2
    assert run("export", day, out, "--format", "vegeta", "--force").exit_code == 2
    assert out.read_bytes() == before


@pytest.mark.parametrize("command", ["sample --sessions 99%", "redact", "export"])
@pytest.mark.parametrize(("mode", "made"), [(0o600, 0o600), (0o444, 0o644)])
def test_what_is_made_of_a_trace_is_as_secret_as_the_trace(tmp_path, day, command, mode, made):
    kept = tmp_path / "kept.trace"
    shutil.copy(day, kept)
    kept.chmod(mode)
    umask = os.umask(0o022)
    try:
        assert run(*command.split(), kept, tmp_path / "out").exit_code == 0
    finally:
        os.umask(umask)
    assert (tmp_path / "out").stat().st_mode & 0o777 == made


def test_a_reader_that_has_seen_enough_ends_an_export_quietly(tmp_path):
    path = tmp_path / "t.trace"
    with TraceWriter(path, origin="test") as writer:
        for i in range(3000):
            writer.append(Record(i, "s", "POST", "/", (), b"x" * 100))
    for command in ("export", "head --json -n 3000"):
        process = subprocess.Popen([*COMMAND, *command.split(), path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 1
        process.stderr.close()


def test_progress_is_shown_to_a_person_who_watches(tmp_path, day):
    person, terminal = pty.openpty()
    done = subprocess.run([*COMMAND, "verify", day], stderr=terminal, stdout=subprocess.PIPE, timeout=60, check=True)
    os.write(terminal, b"END")
    shown = b""
    while not shown.endswith(b"END"):
        shown += os.read(person, 65536)
    os.close(terminal)
    os.close(person)
    shown = shown.decode()
    assert done.stdout.endswith(b"sound\n")
    assert all(step in shown for step in ("the file", "bodies", "sessions", "requests"))
    assert "100%" in shown


@pytest.mark.parametrize("command", ["sample --sessions 99%", "redact", "export"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_mid_work_leaves_nothing(tmp_path, day, command, number):
    """The signal comes when the output has grown beside its place; a request that never ends holds the work there."""
    script = (
        "import sys, time, os; from locust_adaptive.cli import main; from locust_adaptive.replay.store import Trace\n"
        "read, count = Trace.record, iter(range(10**9))\n"
        "def slow(self, i):\n"
        "    if next(count) == 30:\n"
        "        print('in mid work', os.listdir('.'), flush=True); time.sleep(60)\n"
        "    return read(self, i)\n"
        "Trace.record = slow; main()"
    )
    name, *options = command.split()
    process = subprocess.Popen(
        [sys.executable, "-c", script, "trace", name, "day.trace", "out", *options],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert b".out." in process.stdout.readline()
    process.send_signal(number)
    assert process.wait(30) in (128 + number, 1)
    process.stdout.close()
    process.stderr.close()
    assert os.listdir(tmp_path) == ["day.trace"]


@pytest.mark.parametrize("command", ["head", "verify", "export"])
def test_looking_imports_no_gevent(day, command):
    script = (
        "import sys; from click.testing import CliRunner; from locust_adaptive.cli import main;"
        "assert CliRunner().invoke(main, ['trace', *sys.argv[1:]]).exit_code == 0;"
        "print([m for m in ('gevent', 'locust') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, command, str(day)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"
