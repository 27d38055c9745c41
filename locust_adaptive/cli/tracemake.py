"""Making something of a trace: a part of it, one without its secrets, or text."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

from .faults import faults, parsed, terminable
from .progress import progress

_FILE = click.Path(path_type=Path)
_force = click.option("--force", is_flag=True, help="Replace OUT if it exists.")


@click.command()
@click.argument("file", type=_FILE)
@click.argument("out", type=_FILE)
@click.option("--from", "start", default="", metavar="60s", help="Only requests due from this time on.")
@click.option("--to", "stop", default="", metavar="5m", help="Only requests due before this time.")
@click.option("--sessions", default="", metavar="10%", help="Only this share of the sessions, whole, by hash.")
@click.option(
    "--requests", type=click.IntRange(min=1), metavar="N", help="Only so many sessions, whole, as have N requests."
)
@click.option("--seed", default=1, show_default=True, help="Of the choice of sessions; equal seeds nest.")
@_force
def sample(
    file: Path, out: Path, start: str, stop: str, sessions: str, requests: int | None, seed: int, force: bool
) -> None:
    """Make the trace OUT of a part of the trace FILE.

    Times count from the first request.
    """
    from ..replay.derive import Part
    from ..replay.derive import sample as make
    from ..search import quantities

    with faults(), terminable():
        part = Part(
            start_ns=round(parsed("--from", start, quantities.seconds) * 1e9) if start else 0,
            stop_ns=round(parsed("--to", stop, quantities.seconds) * 1e9) if stop else None,
            sessions=parsed("--sessions", sessions, quantities.ratio) if sessions else None,
            requests=requests,
            seed=seed,
        )
        if part == Part(seed=seed):
            raise ValueError("nothing says which part; give --sessions, --requests, --from or --to")
        made = make(file, out, part, force=force, progress=_bar(out))
    click.echo(f"{out}: {made} requests")


@click.command()
@click.argument("file", type=_FILE)
@click.argument("out", type=_FILE)
@click.option("--header", "headers", multiple=True, metavar="NAME", help="Remove this header; may be repeated.")
@click.option("--query", multiple=True, metavar="NAME", help="Blank this query parameter; may be repeated.")
@click.option("--field", "fields", multiple=True, metavar="user.email", help="Blank this JSON field; may be repeated.")
@_force
def redact(
    file: Path, out: Path, headers: tuple[str, ...], query: tuple[str, ...], fields: tuple[str, ...], force: bool
) -> None:
    """Make the trace OUT of the trace FILE without what is secret in it. Sizes stay.

    Credentials in headers and query parameters always go.
    """
    from ..replay.derive import redact as make
    from ..replay.redact import Redactor

    with faults(), terminable():
        redactor = Redactor(headers, query, fields)
        made = make(file, out, redactor, force=force, progress=_bar(out))
    click.echo(f"{out}: {made} requests")
    for what, times in sorted(redactor.counts.items()):
        click.echo(f"redacted: {what} ({times} times)", err=True)
    asked = [("header", headers), ("query", query)]
    wanted = [f"{kind} {name.lower()}" for kind, names in asked for name in names] + [
        f"field {name}" for name in fields
    ]
    for what in dict.fromkeys(wanted):
        if what not in redactor.counts:
            click.echo(f"found nowhere: {what}", err=True)
    if redactor.unsearched:
        click.echo(f"not searched for fields: {redactor.unsearched} bodies that are no JSON", err=True)


@click.command()
@click.argument("file", type=_FILE)
@click.argument("out", type=_FILE, required=False)
@click.option("--format", default="jsonl", show_default=True, help="jsonl, which `trace import` reads, or vegeta.")
@click.option("--target", metavar="URL", help="Where vegeta is to send the requests.")
@_force
def export(file: Path, out: Path | None, format: str, target: str | None, force: bool) -> None:
    """Write the requests of the trace FILE as text, a line each, to OUT or standard output."""
    from ..replay.export import line_of, start_of
    from ..replay.store import Trace

    written = 0
    with faults(), terminable(), Trace.open(file) as trace:
        line = line_of(format, start_of(trace.info()), target)
        with _stream(file, out, force) as stream:
            for row in progress(range(len(trace)), len(trace), "export"):
                if (text := line(trace.record(row))) is not None:
                    stream.write(text.encode() + b"\n")
                    written += 1
    if out is not None:
        click.echo(f"{out}: {written} requests")
    if left_out := len(trace) - written:
        click.echo(f"left out: {left_out} requests whose bodies were not kept", err=True)


@contextmanager
def _stream(source: Path, out: Path | None, force: bool) -> Iterator[IO[bytes]]:
    """Where text goes: standard output, or a file that is there when it is whole."""
    from ..replay.output import mode_of, whole

    def as_secret(path: str, flags: int) -> int:
        return os.open(path, flags, mode_of(source))

    if out is None:
        yield sys.stdout.buffer
        sys.stdout.flush()
    else:
        with whole(out, force) as unfinished, open(unfinished, "xb", opener=as_secret) as stream:
            yield stream


def _bar(out: Path) -> Callable[[Sequence[int]], Iterable[int]]:
    return lambda rows: progress(rows, len(rows), str(out.name))
