import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from locust_adaptive import __version__
from locust_adaptive.cli import main
from locust_adaptive.replay.record import Record
from locust_adaptive.replay.store import Trace, TraceWriter


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def source(tmp_path):
    lines = [
        {
            "timestamp": i / 10,
            "session": f"s{i % 50}",
            "path": f"/v1/{'rank' if i % 4 else 'embed'}",
            "body": {"n": i % 10},
        }
        for i in range(1000)
    ]
    path = tmp_path / "day.jsonl"
    path.write_text("\n".join(json.dumps({**line, "headers": {"Cookie": "c"}}) for line in lines))
    return path


def left(folder):
    return sorted(os.listdir(folder))


def test_a_trace_is_imported_and_described(tmp_path, source):
    out = tmp_path / "day.trace"
    done = run("trace", "import", source, out)
    assert (done.exit_code, done.stdout) == (0, f"{out}: 1000 requests\n")
    assert "left out: header cookie (1000 times)" in done.stderr
    told = json.loads(run("trace", "info", out, "--json").stdout)
    assert {key: told[key] for key in ("requests", "sessions", "endpoints", "distinct_bodies", "time_quality")} == {
        "requests": 1000,
        "sessions": 50,
        "endpoints": {"/v1/rank": 750, "/v1/embed": 250},
        "distinct_bodies": 10,
        "time_quality": "ms",
    }
    assert told["rate"] == pytest.approx(10)
    assert told["duration_s"] == pytest.approx(99.9)
    assert told["dispersion_1s"] == pytest.approx(0)
    assert told["dispersion_10s"] is None
    assert told["size_max"] == len('{"n":0}')
    shown = run("trace", "info", out).stdout
    for text in (
        "1000 in 50 sessions",
        "99.9 s",
        "10 req/s",
        "/v1/rank  750 (75.0%)",
        "jsonl day.jsonl",
        "  recorded    0       0       -       -",
    ):
        assert text in shown


def test_a_trace_is_described_at_another_rate(tmp_path, source):
    out = tmp_path / "day.trace"
    run("trace", "import", source, out)
    told = json.loads(run("trace", "info", out, "--at", 25, "--json").stdout)
    assert told["at"]["multiple"] == pytest.approx(2.5, rel=0.01)
    assert told["at"]["rate"] == 25
    assert told["at"]["dispersion_1s"] is not None
    shown = run("trace", "info", out, "--at", 25).stdout
    for text in ("  at 25/s ", "2 copies and 50.0% of the sessions", "  Poisson     1       1       1       1\n"):
        assert text in shown
    assert "at" not in json.loads(run("trace", "info", out, "--json").stdout)


@pytest.mark.parametrize(("rate", "says"), [("0", "above 0"), ("nan", "above 0"), ("1e12", "at most"), ("x", "'x'")])
def test_a_rate_that_cannot_be_is_exit_2(tmp_path, source, rate, says):
    out = tmp_path / "day.trace"
    run("trace", "import", source, out)
    done = run("trace", "info", out, "--at", rate)
    assert (done.exit_code, says in done.stderr) == (2, True)


def test_a_trace_without_times_has_no_other_rate(tmp_path):
    source, out = tmp_path / "x.jsonl", tmp_path / "x.trace"
    source.write_text('{"path": "/"}\n' * 3)
    run("trace", "import", source, out)
    assert "Poisson's advised: it has no arrival times" in run("trace", "info", out).stdout
    done = run("trace", "info", out, "--at", 5)
    assert (done.exit_code, "no arrival times to play" in done.stderr) == (2, True)


def test_a_trace_without_times_says_so(tmp_path):
    source, out = tmp_path / "x.jsonl", tmp_path / "x.trace"
    source.write_text('{"path": "/"}\n' * 3)
    assert "without arrival times" in run("trace", "import", source, out).stdout
    assert json.loads(run("trace", "info", out, "--json").stdout)["rate"] is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"path": "/"}\nnot json\n', "x.jsonl:2: not JSON at column 1"),
        ("", "x.jsonl has no requests"),
        (None, "cannot read"),
    ],
)
def test_a_faulty_source_is_one_line_exit_2_and_no_file(tmp_path, text, says):
    source = tmp_path / "x.jsonl"
    if text is not None:
        source.write_text(text)
    before = left(tmp_path)
    done = run("trace", "import", source, tmp_path / "x.trace")
    assert done.exit_code == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert left(tmp_path) == before


def test_an_existing_file_is_replaced_only_by_force_and_only_on_success(tmp_path, source):
    out, faulty = tmp_path / "day.trace", tmp_path / "faulty.jsonl"
    out.write_text("precious")
    faulty.write_text("x")
    refused = run("trace", "import", source, out)
    assert (refused.exit_code, out.read_text()) == (2, "precious")
    assert "--force" in refused.stderr
    assert run("trace", "import", faulty, out, "--force").exit_code == 2
    assert out.read_text() == "precious"
    assert run("trace", "import", source, out, "--force").exit_code == 0
    assert len(Trace.open(out)) == 1000


def test_an_unknown_format_names_the_known(tmp_path, source):
    done = run("trace", "import", source, tmp_path / "o", "--format", "har")
    assert (done.exit_code, "known are jsonl" in done.stderr) == (2, True)


def test_a_folder_that_does_not_exist_is_named(tmp_path, source):
    done = run("trace", "import", source, tmp_path / "no" / "o.trace")
    assert (done.exit_code, "cannot create" in done.stderr) == (2, True)


@pytest.mark.parametrize("command", ["info", "seal"])
def test_a_file_that_is_no_trace_is_exit_2(source, command):
    done = run("trace", command, source)
    assert (done.exit_code, "is not a trace" in done.stderr, done.stderr.count("\n")) == (2, True, 1)


def test_an_unfinished_trace_can_be_sealed(tmp_path):
    path = tmp_path / "t.trace"
    writer = TraceWriter(path, origin="test")
    writer.append(Record(0, "s", "GET", "/"))
    writer.close()
    assert "trace seal" in run("trace", "info", path).stderr
    assert run("trace", "seal", path).stdout == f"{path}: 1 requests\n"
    assert run("trace", "info", path).exit_code == 0


def test_a_terminated_import_leaves_nothing(tmp_path):
    """The source is a pipe whose writer stops: the import has begun and waits when the signal comes."""
    source = tmp_path / "pipe"
    os.mkfifo(source)
    command = [
        sys.executable,
        "-c",
        "from locust_adaptive.cli import main; main()",
        "trace",
        "import",
        "pipe",
        "o.trace",
    ]
    process = subprocess.Popen(command, cwd=tmp_path)
    with source.open("wb") as pipe:  # opens when the import has opened the other end
        pipe.write(b'{"path": "/"}\n')
        pipe.flush()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    assert left(tmp_path) == ["pipe"]


def test_the_version():
    assert run("--version").stdout.split()[-1] == __version__


def test_help_imports_no_room():
    script = (
        "import sys; from click.testing import CliRunner; from locust_adaptive.cli import main;"
        "assert all(CliRunner().invoke(main, a + ['--help']).exit_code == 0"
        " for a in ([], ['trace'], *(['trace', name] for name in main.commands['trace'].commands)));"
        "print([m for m in ('numpy', 'gevent', 'locust', 'sqlite3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_trace_commands_import_no_gevent(tmp_path, source):
    script = (
        "import sys; from click.testing import CliRunner; from locust_adaptive.cli import main;"
        "assert CliRunner().invoke(main, ['trace', 'import', *sys.argv[1:]]).exit_code == 0;"
        "print([m for m in ('gevent', 'locust') if m in sys.modules])"
    )
    command = [sys.executable, "-c", script, str(source), str(tmp_path / "o.trace")]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == "[]\n"
