"""The files of a run on a disk that may fail: a result of which a reader never sees half, a journal that the search
outlives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from ..search.events import Command, Event
from .journal import Header, JournalWriter


class JournalFile:
    """A journal that never raises OSError once it is open: when the disk fails it ends there, and the search goes on.

    `on_lost(why)` is called once. A new file is made; OSError if that cannot be done.
    """

    def __init__(self, path: Path, header: Header, on_lost: Callable[[str], None]) -> None:
        self.lost = False
        self._on_lost = on_lost
        self._file = path.open("x", encoding="utf-8")
        try:
            self._writer = JournalWriter(self._file, header, lambda: os.fsync(self._file.fileno()))
        except OSError:
            self._close()
            raise

    def write(self, event: Event, commands: Iterable[Command]) -> None:
        """Record one step."""
        self._try(lambda: self._writer.write(event, commands))

    def note(self, text: str) -> None:
        """Record a note."""
        self._try(lambda: self._writer.note(text))

    def close(self) -> None:
        """The run is over."""
        self._try(self._file.close)

    def _try(self, act: Callable[[], None]) -> None:
        if self.lost:
            return
        try:
            act()
        except OSError as e:
            # Nothing more goes into it: half a line may be its last, and only the last may be.
            self.lost = True
            self._close()
            self._on_lost(e.strerror or str(e))

    def _close(self) -> None:
        try:
            self._file.close()
        except OSError:  # what is still buffered cannot be written either
            pass


def write_atomically(path: Path, text: str) -> None:
    """Write beside `path`, sync, rename over it, and sync the folder. OSError leaves what was there untouched."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
