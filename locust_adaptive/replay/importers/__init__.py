"""Other formats to traces: the list of importers, and the one way from a source to a finished file.

A later importer is a module with `read(source, notes)` that yields records in any order, and a line in `FORMATS`.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ..output import whole
from ..record import CREDENTIALS, Record, TraceError
from ..writer import TraceWriter
from . import jsonl
from .notes import Notes

Importer = Callable[[Path, Notes], Iterator[Record]]

_CREDENTIALS = frozenset(f"header {name}" for name in CREDENTIALS)

FORMATS: dict[str, Importer] = {"jsonl": jsonl.read}


def import_trace(
    source: str | os.PathLike[str], out: str | os.PathLike[str], *, format: str = "jsonl", force: bool = False
) -> Notes:
    """Make the trace `out` of `source`: all of it or, on an error, nothing. `force` replaces an existing file.

    Raises `TraceError` for an unknown format, an existing `out`, or a source that is empty, unreadable or faulty.
    """
    source, out = Path(source), Path(out)
    if format not in FORMATS:
        raise TraceError(f"unknown trace format {format!r}; known are {', '.join(sorted(FORMATS))}")
    notes = Notes()
    with (
        whole(out, force) as unfinished,
        TraceWriter(unfinished, origin=f"{format} {source.name}", batch=4096) as writer,
    ):
        for record in FORMATS[format](source, notes):
            writer.append(record)
            notes.requests += 1
        if not notes.requests:
            raise TraceError(f"{source} has no requests; nothing was written")
        writer.time_quality = notes.time_quality
        secrets = {what: times for what, times in notes.dropped.items() if what in _CREDENTIALS}
        writer.note("redactions", secrets)
    return notes
