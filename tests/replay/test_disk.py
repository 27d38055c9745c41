"""What the disk does: full, read only, in use by another. A clear error each, nothing lost, nothing half-done left."""

import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from locust_adaptive.replay.derive import Part, redact, sample
from locust_adaptive.replay.importers import import_trace
from locust_adaptive.replay.output import whole
from locust_adaptive.replay.record import Record, TraceError
from locust_adaptive.replay.redact import Redactor
from locust_adaptive.replay.store import Trace, TraceWriter, seal
from locust_adaptive.replay.verify import verify


def record(i, size=2000):
    return Record(i, f"s{i % 40}", "POST", f"/{i % 3}", (), i.to_bytes(4, "big") * (size // 4))


@pytest.fixture
def day(tmp_path):
    path = tmp_path / "day.trace"
    with TraceWriter(path, origin="test") as writer:
        for i in range(400):
            writer.append(record(i))
    return path


def child(script, *arguments, folder):
    """Run a script that may limit itself; its standard output."""
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


LIMITED = """
    import resource, sys
    from locust_adaptive.cli import main
    from click.testing import CliRunner
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
    done = CliRunner().invoke(main, ["trace", *sys.argv[2:]])
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(done.exit_code, done.output, end="")
"""


@pytest.mark.parametrize(
    "command",
    [
        ["sample", "day.trace", "out", "--sessions", "80%"],
        ["redact", "day.trace", "out"],
        ["export", "day.trace", "out"],
        ["import", "day.jsonl", "out"],
        ["sample", "day.trace", "kept", "--sessions", "80%", "--force"],
    ],
)
@pytest.mark.parametrize("limit", [0, 100_000, 500_000])
def test_a_full_disk_leaves_no_file_and_names_the_one_asked_for(tmp_path, day, command, limit):
    child(LIMITED, -1, "export", "day.trace", "day.jsonl", folder=tmp_path)
    (tmp_path / "kept").write_text("precious")
    before = sorted(os.listdir(tmp_path))
    said = child(LIMITED, limit, *command, folder=tmp_path)
    assert said.startswith("2 Error: ")
    assert said.count("\n") == 1
    assert command[2] in said
    assert f".{command[2]}." not in said
    assert "disk" in said or "free space" in said
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "kept").read_text() == "precious"


def test_a_writer_on_a_full_disk_keeps_what_was_committed_and_goes_on_after(tmp_path):
    script = """
        import resource, sys
        from locust_adaptive.replay.record import Record, TraceError
        from locust_adaptive.replay.store import TraceWriter
        def limit(size):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        def record(i):
            return Record(i, f"s{i}", "POST", f"/{i}", (), i.to_bytes(4, "big") * 500)
        writer = TraceWriter("t.trace", origin="test", batch=50)
        limit(1_000_000)
        sent = 0
        try:
            while sent < 5000:
                writer.append(record(sent))
                sent += 1
        except TraceError as fault:
            assert "t.trace" in str(fault) and "disk" in str(fault), fault
        assert 0 < writer.committed <= sent < 5000
        safe = writer.committed
        limit(resource.RLIM_INFINITY)
        for i in range(sent, sent + 75):
            writer.append(record(i))
        writer.commit()
        assert writer.committed == safe + 75
        if sys.argv[1] == "finalise":
            writer.finalise()
        else:
            writer.close()
        print(safe, sent)
    """
    for end in ("finalise", "close"):
        safe, sent = map(int, child(script, end, folder=tmp_path).split())
        path = tmp_path / "t.trace"
        seal(path)
        with Trace.open(path) as trace:
            assert len(trace) == safe + 75
            # Sessions and templates made in the lost batch are made again: nothing points to another's.
            assert {(r.session, r.path) for r in map(trace.record, range(len(trace)))} == {
                (f"s{i}", f"/{i}") for i in [*range(safe), *range(sent, sent + 75)]
            }
        assert list(verify(path)) == []
        path.unlink()


def test_a_disk_too_full_to_seal_leaves_the_trace_to_be_sealed_later(tmp_path):
    script = """
        import os, resource
        from locust_adaptive.replay.record import Record, TraceError
        from locust_adaptive.replay.store import TraceWriter
        writer = TraceWriter("t.trace", origin="test")
        for i in range(20_000):
            writer.append(Record(-i, "s", "POST", "/", (), b""))
        writer.commit()
        used = max(os.path.getsize(name) for name in os.listdir("."))
        resource.setrlimit(resource.RLIMIT_FSIZE, (used, resource.RLIM_INFINITY))
        try:
            writer.finalise()
        except TraceError as fault:
            print(fault)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    """
    assert "t.trace" in child(script, folder=tmp_path)
    with pytest.raises(TraceError, match="trace seal"):
        Trace.open(tmp_path / "t.trace")
    seal(tmp_path / "t.trace")
    assert len(Trace.open(tmp_path / "t.trace")) == 20_000
    assert list(verify(tmp_path / "t.trace")) == []


def test_a_disk_that_is_full_at_once_leaves_no_empty_file(tmp_path):
    script = """
        import resource
        from locust_adaptive.replay.record import TraceError
        from locust_adaptive.replay.store import TraceWriter
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        try:
            TraceWriter("t.trace", origin="test")
        except TraceError as fault:
            pass
        else:
            raise AssertionError("no error")
    """
    child(script, folder=tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_read_only_folder_is_read_from_and_named_when_written_to(day):
    script = """
        import os, sys
        from locust_adaptive.cli import main
        from click.testing import CliRunner
        import locust_adaptive.replay.derive, locust_adaptive.replay.importers, locust_adaptive.replay.export
        import locust_adaptive.replay.profile, locust_adaptive.search.quantities
        if os.geteuid() == 0:
            os.setuid(65534)  # root may write anywhere
        for command in (["info", "day.trace"], ["sample", "day.trace", "out", "--sessions", "50%"],
                        ["redact", "day.trace", "out"], ["export", "day.trace", "out"],
                        ["seal", "open.trace"]):
            done = CliRunner().invoke(main, ["trace", *command])
            print(done.exit_code, done.output.splitlines()[0])
    """
    folder = Path(tempfile.mkdtemp())  # not below tmp_path, where others may not look
    try:
        (folder / "day.trace").write_bytes(day.read_bytes())
        writer = TraceWriter(folder / "open.trace", origin="test")
        writer.append(record(1))
        writer.close()
        folder.chmod(0o555)
        lines = child(script, folder=folder).splitlines()
        assert lines[0] == "0 day.trace"
        for line in lines[1:4]:
            assert line.startswith("2 Error: cannot ")
            assert "out: Permission denied" in line
        assert lines[4].startswith("2 Error: open.trace")
        assert "permissions" in lines[4]
        assert sorted(os.listdir(folder)) == ["day.trace", "open.trace"]
    finally:
        folder.chmod(0o755)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def test_two_writers_of_one_file(tmp_path):
    path = tmp_path / "t.trace"
    first = TraceWriter(path, origin="first")
    first.append(record(1))
    with pytest.raises(TraceError, match="exists and is not overwritten"):
        TraceWriter(path, origin="second")
    first.append(record(2))
    first.finalise()
    assert len(Trace.open(path)) == 2


def test_a_file_that_came_meanwhile_is_not_replaced(tmp_path, day):
    out = tmp_path / "out"

    def late(rows):
        out.write_text("precious")
        return iter(rows)

    for make in (
        lambda: sample(day, out, Part(sessions=0.5), progress=late),
        lambda: redact(day, out, Redactor(), progress=late),
    ):
        out.unlink(missing_ok=True)
        with pytest.raises(TraceError, match=r"out exists; .*--force"):
            make()
        assert out.read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["day.trace", "out"]


def test_a_fault_in_mid_work_leaves_nothing(tmp_path, day):
    def interrupted(rows):
        yield from list(rows)[:100]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(day, tmp_path / "out", Part(sessions=0.9), progress=interrupted)
    with pytest.raises(KeyboardInterrupt):
        redact(day, tmp_path / "out", Redactor(), progress=interrupted)
    assert os.listdir(tmp_path) == ["day.trace"]


@pytest.mark.parametrize("force", [False, True])
def test_only_a_regular_file_is_replaced(tmp_path, force):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(TraceError, match=f"{name} is no regular file"), whole(tmp_path / name, force) as path:
            path.touch()
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe"]


def test_a_file_system_without_links(tmp_path, monkeypatch):
    def link(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with whole(tmp_path / "out") as path:
        path.write_text("new")
    assert (tmp_path / "out").read_text() == "new"

    def late():
        with whole(tmp_path / "late") as path:
            path.write_text("new")
            (tmp_path / "late").write_text("precious")

    with pytest.raises(TraceError, match="exists"):
        late()
    assert (tmp_path / "late").read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["late", "out"]


def test_a_trace_may_replace_itself(day):
    assert sample(day, day, Part(sessions=0.5), force=True) < 400
    assert list(verify(day)) == []


def test_an_import_beside_a_faulty_source_names_the_source(tmp_path):
    (tmp_path / "x.jsonl").write_text("{}")
    with pytest.raises(TraceError, match=r"x\.jsonl:1"):
        import_trace(tmp_path / "x.jsonl", tmp_path / "out")
    assert os.listdir(tmp_path) == ["x.jsonl"]
