"""Looking into a trace: its first requests, and whether it is sound."""

import codecs
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .faults import faults, terminable
from .progress import progress

if TYPE_CHECKING:
    from ..replay.record import Record

PREVIEW = 400
"""Bytes of a body that are shown."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-n", "--requests", type=click.IntRange(min=1), default=10, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="Print them whole, as JSON lines that `trace import` reads.")
def head(file: Path, requests: int, as_json: bool) -> None:
    """Show the first requests of the trace FILE."""
    from ..replay.export import jsonl as line
    from ..replay.export import start_of
    from ..replay.store import Trace

    with faults(), Trace.open(file) as trace:
        start_ns = start_of(trace.info())
        for i in range(min(requests, len(trace))):
            record = trace.record(i)
            text = line(record, start_ns) if as_json else _readable(i, record)
            click.echo(text.encode())


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def verify(file: Path) -> None:
    """Check that the trace FILE is what was recorded: every body, count, reference and order.

    Exit code 1, and a line a fault, when it is not; 2 when it cannot be checked.
    """
    from ..replay.store import Trace
    from ..replay.verify import verify as faults_of

    def shown(label: str, rows: Iterable[Any], length: int) -> Iterable[Any]:
        return progress(rows, length, label)

    sound = True
    with faults(), terminable():
        for fault in faults_of(file, shown):
            sound = False
            click.echo(fault)
        if sound:
            with Trace.open(file) as trace:
                facts = trace.info()
            click.echo(
                f"{file}: {facts.requests} requests, {facts.sessions} sessions, {facts.distinct_bodies} bodies: sound"
            )
    if not sound:
        sys.exit(1)


def _readable(i: int, record: "Record") -> str:
    facts = [f"{record.due_ns / 1e9:.6f} s", record.method, record.path, f"session {_plain(record.session)}"]
    if record.name != record.path.partition("?")[0]:
        facts.append(f"name {_plain(record.name)}")
    facts.append(f"{record.size} bytes")
    if record.expect is not None:
        facts.append(f"expects {record.expect}")
    lines = [f"{name}: {_plain(value)}" for name, value in record.headers]
    if record.omitted:
        lines.append("(the body was not kept)")
    elif record.body:
        lines.append(_preview(record.body))
    return "\n".join([f"#{i}  {'  '.join(facts)}", *(f"    {line}" for line in lines)])


def _preview(body: bytes) -> str:
    """The body's beginning on one line: as text where it is text, else in hexadecimal."""
    start = body[:PREVIEW]
    try:
        text, _ = codecs.utf_8_decode(start, "strict", len(start) == len(body))  # the cut may go through a character
    except UnicodeDecodeError:
        return f"hex {start[:64].hex(' ')}{' ...' * (len(body) > 64)}"
    return _plain(text) + f" ... and {len(body) - PREVIEW} bytes more" * (len(body) > PREVIEW)


def _plain(text: str) -> str:
    """The text with what would move a terminal's cursor escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
