"""Traces: recorded requests for replay."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .faults import faults, terminable
from .record import record
from .tracelook import head, verify
from .tracemake import export, redact, sample

if TYPE_CHECKING:
    from ..replay.profile import Profile, Rescaled
    from ..replay.store import TraceInfo


@click.group()
def trace() -> None:
    """Make and look into traces: recorded requests for replay."""


for _command in (record, head, verify, sample, redact, export):
    trace.add_command(_command)


@trace.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--format", default="jsonl", show_default=True, help="What SOURCE is.")
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
def import_(source: Path, out: Path, format: str, force: bool) -> None:
    """Make the trace OUT of the recorded requests in SOURCE."""
    from ..replay.importers import import_trace

    with faults(), terminable():
        notes = import_trace(source, out, format=format, force=force)
    click.echo(f"{out}: {notes.requests} requests" + ", without arrival times" * (notes.time_quality == "none"))
    for what, times in sorted(notes.dropped.items()):
        click.echo(f"left out: {what} ({times} times)", err=True)


@trace.command()
@click.argument("file", type=click.Path(path_type=Path))
def seal(file: Path) -> None:
    """Finish the trace FILE whose writer was killed."""
    from ..replay.store import Trace
    from ..replay.store import seal as finish

    with faults(), terminable():
        finish(file)
        click.echo(f"{file}: {len(Trace.open(file))} requests")


@trace.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--at", "rate", type=float, help="Play it at RATE/s: is it as bursty?")
def info(file: Path, as_json: bool, rate: float | None) -> None:
    """Say what the trace FILE holds."""
    import json
    from dataclasses import asdict

    from ..replay.fitness import unfit
    from ..replay.profile import profile, rescaled
    from ..replay.record import TraceError
    from ..replay.store import Trace

    with faults(), Trace.open(file) as opened:
        facts = opened.info()
        figures = profile(opened.index(), timed=facts.time_quality != "none")
        why = unfit(opened.index(), facts.time_quality)
        if rate is not None and facts.time_quality == "none":
            raise TraceError(f"{file} has no arrival times to play at another rate; leave --at out")
        then = None if rate is None else rescaled(opened.index(), rate)
    if as_json:
        told = {"file": str(file), **asdict(facts), **asdict(figures), "unfit": why}
        told |= {"at": asdict(then)} if then else {}
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        click.echo(_table(file, facts, figures, why, then))


def _table(file: Path, facts: "TraceInfo", figures: "Profile", why: str | None, then: "Rescaled | None") -> str:
    from ..replay.provenance import sentence
    from .burstiness import rows as burstiness

    shown = 10

    def figure(value: float | None, unit: str = "") -> str:
        return "-" if value is None else f"{value:.4g}{unit}"

    mix = [f"{name}  {count} ({count / figures.requests:.1%})" for name, count in figures.endpoints.items()]
    if len(mix) > shown:
        mix = [*mix[:shown], f"and {len(mix) - shown} more"]
    lines = [
        ("requests", f"{figures.requests} in {figures.sessions} sessions"),
        ("duration", figure(figures.duration_s, " s")),
        ("mean rate", figure(figures.rate, " req/s")),
        *burstiness(figures, then),
        ("time quality", facts.time_quality),
        ("arrivals", f"Poisson's advised: {why}" if why else "as recorded"),
        (
            "body bytes",
            f"p50 {figures.size_p50}, p90 {figures.size_p90}, max {figures.size_max}, "
            f"mean {figures.size_mean:.4g} +- {figures.size_error:.1%}",
        ),
        ("bodies", f"{facts.distinct_bodies} distinct"),
        *_kept(figures),
        ("origin", facts.origin),
        *(("sampled", sentence(step)) for step in facts.sampling),
        *(("redacted", f"{what} ({times} times)") for what, times in sorted(facts.redactions.items())),
        *(("dropped", f"{times} requests: {why}") for why, times in sorted(facts.dropped.items())),
        *zip(["endpoints", *[""] * (len(mix) - 1)], mix, strict=True),
    ]
    return "\n".join([str(file), *(f"  {label:<14}{text}" for label, text in lines)])


def _kept(figures: "Profile") -> list[tuple[str, str]]:
    """What is played, where not every body was kept."""
    if figures.playable_requests == figures.requests:
        return []
    mean = "" if figures.playable_size_mean is None else f", mean body {figures.playable_size_mean:.4g} bytes"
    share = figures.playable_sessions / figures.sessions
    lines = [
        (
            "playable",
            f"{figures.playable_requests} requests in {figures.playable_sessions} sessions ({share:.1%}) that have all "
            f"their bodies{mean} (of all: {figures.size_mean:.4g})",
        )
    ]
    if figures.sent_size_mean is not None and figures.duration_s is not None:
        all_come = "so that all sessions come"
        if figures.unsent_requests:
            all_come = f"but {figures.unsent_requests} are left out, as nobody can lend to their sessions"
        lines.append(
            (
                "borrowed",
                f"{figures.borrowed_requests} requests, with recorded arrivals, {all_come}; mean body then "
                f"{figures.sent_size_mean:.4g} bytes",
            )
        )
    return lines
