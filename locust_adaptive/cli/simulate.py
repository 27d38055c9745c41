"""The search against a simulated server: seen beforehand, in the terminal or as a file."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .faults import faults, terminable

if TYPE_CHECKING:
    from ..report.fold import Fold
    from ..report.result import Result
    from ..search.settings import Settings
    from ..simulation.describe import Target
    from ..simulation.search import Run

Function = TypeVar("Function", bound=Callable[..., Any])

OPTIONS = (
    ("--mode", "open", "open: the load is requests per second. closed: users who wait for their answers."),
    ("--service", "13ms", "Time of a request; of a batch, without what its requests add."),
    ("--sigma", "0.4", "Spread of that time: standard deviation of its logarithm (0.3)."),
    ("--workers", "2", "Requests, or batches, that are served side by side (1)."),
    ("--batch", "16", "Requests in a batch, at most (1)."),
    ("--batch-delay", "5ms", "How long a batch waits for more."),
    ("--per-request", "2ms", "What each request adds to the time of its batch."),
    ("--queue", "100", "Requests that may wait; more are refused (10000)."),
    ("--cold", "3x:60s", "Three times slower at first, normal after 60 s."),
    ("--pauses", "1s:45s", "Stands still for 1 s each 45 s. 0.5s..2s:60s: at random, 60 s apart on average."),
    ("--tenant", "1.3x:12s:28s", "A neighbour makes it slower: for 12 s on average, 28 s apart."),
    ("--drift", "15%:200s", "Becomes 15% slower, with a time constant of 200 s."),
    ("--leak", "30%", "Becomes so much slower each hour."),
    ("--bimodal", "5%:8x", "5% of the requests take 8 times longer."),
    ("--modes", "1.15x:40%:20s", "Slower for 40% of the time, in phases of 20 s on average."),
    ("--metastable", "20%:1.6x", "Slower once the queue is 20% full, until it is empty."),
    ("--scale", "3:80%:60s", "Up to 3 workers: one more after each 60 s that were busier than 80%."),
    ("--errors", "0.5%", "So many requests fail at once."),
    ("--rate-limit", "120", "More requests per second are answered 429."),
    ("--gone", "150s..158s", "Restarts: nobody there between these times of the search."),
    ("--bursts", "3x:0.5s:2s", "Traffic in bursts: 3 times as much, for 0.5 s on average, 2 s apart."),
    ("--min", "0.1", "Lowest load (0.1 per second, 1 user)."),
    ("--start", "2", "First load (2 per second, 1 user)."),
    ("--max", "500", "Highest load (10000 per second, 1000 users)."),
    ("--profile", "standard", "How sure the answer is to be: fast, standard or thorough."),
    ("--precision", "7%", "Half width that the 95% interval must reach (by the profile)."),
    ("--soak", "30s", "How long the verified load must hold the SLO (by the profile)."),
    ("--spike-tolerance", "3%", "Share of the time that pauses may take and be forgiven."),
    ("--prior", "120", "A capacity found before: the search starts at half of it."),
    ("--budget", "20m", "Time allowed."),
    ("--seed", "1", "Of the arrivals and of the server."),
    ("--runs", "20", "So many searches, with seeds from --seed on, summed up."),
)
"""Name, an example, and what it means. The texts are parsed in `simulation`."""
SUFFIXES = (".svg", ".txt", ".json", ".jsonl")


def _options(command: Function) -> Function:
    for name, example, meaning in reversed(OPTIONS):
        command = click.option(name, default="", metavar=example, help=meaning)(command)
    return command


# --adaptive-max is --max: what is written for a run can be tried here.
@click.command(context_settings={"token_normalize_func": lambda name: name.removeprefix("adaptive-")})
@click.option("--slo", multiple=True, metavar="SLO", help="What the server must hold; may be repeated.")
@_options
@click.option("--check", is_flag=True, help="Find the true capacity, too, by long runs (some 10 s).")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Also write FILE: " + ", ".join(SUFFIXES))
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def simulate(slo: Sequence[str], check: bool, out: Path | None, force: bool, **texts: str) -> None:
    """Search the capacity of a simulated server: see what a search would do, and how long it would take.

    \b
    locust-adaptive simulate --slo 'p99<250ms & errors<1%' --workers 2 --service 13ms --cold 3x:60s

    Options of a run may be written as there, too: --adaptive-max for --max.
    """
    from ..report.block import block
    from ..report.picture import picture
    from ..report.result import result
    from ..simulation import describe, question

    given = {"slo": " & ".join(slo), **{name: text for name, text in texts.items() if text}}
    with faults(), terminable():
        settings = question.settings(given)
        target = describe.parse(given, closed=settings.loop == "closed")
        seeds = question.seeds(given)
        if out is not None:
            _check(out, force, len(seeds))
        first, run = _searched(settings, target, seeds[0], given)
        outcomes = [result(first)]
        if len(seeds) > 1:
            with click.progressbar(seeds[1:], label=f"{len(seeds)} searches", file=sys.stderr) as others:
                outcomes += [result(_searched(settings, target, seed, given)[0]) for seed in others]
        parts = [
            f" SERVER    {describe.arguments(target)}\n",
            picture(outcomes[0], _columns()),
            block(outcomes[0]),
            *_summed_up(settings, target, outcomes, seeds[0], check),
        ]
        shown = "\n".join(filter(None, parts))
        _echo(shown)
        if out is not None:
            _write(out, shown, first, run, outcomes)


def _searched(settings: "Settings", target: "Target", seed: int, given: Mapping[str, str]) -> "tuple[Fold, Run]":
    """One search, and what it amounts to."""
    from datetime import UTC, datetime

    from ..report.fold import Fold
    from ..report.journal import Header
    from ..simulation.describe import arguments
    from ..simulation.search import simulate as search

    run = search(settings, target.server, seed, mischief=target.mischief, bursts=target.bursts)
    arrivals = None if settings.loop == "closed" else "poisson" if target.bursts is None else "bursty"
    header = Header.of(
        settings,
        run.controller.policy,
        f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        arrivals=arrivals,
        environment={"simulated": arguments(target)},
        options={**given, "seed": str(seed)},
    )
    facts = Fold(header)
    for event, commands in run.log:
        facts.add(event, commands)
    return facts, run


def _summed_up(
    settings: "Settings", target: "Target", outcomes: "Sequence[Result]", seed: int, check: bool
) -> list[str]:
    """The first answer beside the truth, and all beside each other."""
    from statistics import median

    from ..report.numbers import three
    from ..report.repeats import against, repeats, unknown
    from ..simulation.truth import truths

    text = ""
    true: list[float] = []
    if check:
        values = [value for o in outcomes if (value := o["capacity"]["value"]) is not None]
        try:
            if not values:
                raise ValueError("no search found a capacity to look around")
            found = truths(settings, target, median(values), seed)
        except ValueError as e:
            text = unknown(str(e))
        else:
            own = [found.of(any(s["excised"] for s in o["stalls"])) for o in outcomes]
            true = [truth.capacity for truth in own]
            whose = ""
            if found.unpaused is not None:
                whose = " with its pauses"
                if own[0] is found.unpaused:
                    with_them = "none" if found.whole is None else three(found.whole.capacity)
                    whose = f" without its pauses, {with_them} with them"
            text = against(outcomes[0], true[0], own[0].se, whose)
    return [text, repeats(outcomes, true) if len(outcomes) > 1 else ""]


def _columns() -> int:
    """What a picture takes of the terminal's width."""
    import shutil

    return min(max(shutil.get_terminal_size((101, 24)).columns - 1, 60), 100)


def _echo(text: str) -> None:
    """Print it; in ASCII where the terminal has no more."""
    from ..report.picture import plain

    encoding = sys.stdout.encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = plain(text).encode(encoding, "replace").decode(encoding)
    click.echo(text, nl=False)


def _check(out: Path, force: bool, runs: int) -> None:
    """Before a search that may take a while: can its file be written?"""
    if out.suffix not in SUFFIXES:
        raise ValueError(f"--out {out}: must end in one of {', '.join(SUFFIXES)}")
    if out.suffix == ".jsonl" and runs > 1:
        raise ValueError(f"--out {out}: a journal is of one search; leave --runs out, or write .json")
    if not out.parent.is_dir():
        raise ValueError(f"--out {out}: there is no folder {out.parent}")
    if out.exists() and not force:
        raise ValueError(f"--out {out} exists; --force replaces it")


def _write(out: Path, shown: str, first: "Fold", run: "Run", outcomes: "Sequence[Result]") -> None:
    """.svg: a picture of the first search. .txt: what is printed. .json: its capacity.json, of several a list of them.
    .jsonl: its journal."""
    import io

    from ..report.files import write_atomically
    from ..report.journal import JournalWriter
    from ..report.result import to_json
    from ..report.svg import svg

    match out.suffix:
        case ".svg":
            text = svg(outcomes[0])
        case ".json":
            text = to_json(outcomes[0]) if len(outcomes) == 1 else f"[{','.join(map(to_json, outcomes))}]\n"
        case ".jsonl":
            journal = io.StringIO()
            writer = JournalWriter(journal, first.header, fsync=lambda: None)
            for event, commands in run.log:
                writer.write(event, commands)
            text = journal.getvalue()
        case _:
            text = shown
    write_atomically(out, text)
