import errno
import os

import pytest

from locust_adaptive.report.files import JournalFile, write_atomically
from locust_adaptive.report.journal import Header, read
from locust_adaptive.search.events import WorkersChanged
from locust_adaptive.search.grid import Grid
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.slo import Slo


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "capacity.json"
    path.write_text("old")
    write_atomically(path, "née\n")
    assert path.read_bytes() == "née\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "capacity.json"
    path.write_text("old")

    def full(_fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


class Disk:
    """Lets so many steps be written."""

    def __init__(self, journal, steps, monkeypatch):
        self._left = steps
        self._write = journal._writer._file.write
        monkeypatch.setattr(journal._writer, "_file", self)

    def write(self, text):
        self._left -= 1
        if self._left < 0:
            self._write(text[: len(text) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._write(text)

    def flush(self):
        pass


@pytest.mark.parametrize("room", [0, 1, 3])
def test_a_journal_ends_where_the_disk_is_full_and_says_so_once(room, tmp_path, monkeypatch):
    lost = []
    header = Header(Settings(Slo.parse("p99<250ms"), "open", Grid("rate", 1.0, 100.0), 2.0), "script", 1, "then")
    journal = JournalFile(tmp_path / "journal.jsonl", header, lost.append)
    Disk(journal, room, monkeypatch)
    for t in range(1, 6):
        journal.write(WorkersChanged(float(t), t), [])
    journal.note("too late")
    journal.close()
    assert lost == ["No space left on device"]
    assert journal.lost
    found = read((tmp_path / "journal.jsonl").read_text().splitlines(keepends=True))
    assert [step.event.t for step in found.steps] == [float(t) for t in range(1, room + 1)]
    assert found.torn
    assert found.notes == []


def test_a_journal_with_room_is_whole(tmp_path):
    header = Header(Settings(Slo.parse("p99<250ms"), "open", Grid("rate", 1.0, 100.0), 2.0), "script", 1, "then")
    journal = JournalFile(tmp_path / "journal.jsonl", header, pytest.fail)
    journal.write(WorkersChanged(1.0, 2), [])
    journal.note("a word")
    journal.close()
    assert not journal.lost
    found = read((tmp_path / "journal.jsonl").read_text().splitlines(keepends=True))
    assert (len(found.steps), found.notes, found.torn) == (1, ["a word"], None)


def test_a_journal_is_never_written_over(tmp_path):
    (tmp_path / "journal.jsonl").write_text("of another")
    with pytest.raises(FileExistsError):
        JournalFile(tmp_path / "journal.jsonl", None, pytest.fail)
