"""From the results to what is read: tables, the bounds of the subset, and RESULTS.md."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

from . import ours, plots
from .figures import Figures, Row, by, stationary, worst
from .peers import ASSUMPTIONS, PEERS
from .truth import truths

T = TypeVar("T")

HERE = Path(__file__).parent
RESULTS, HELD_OUT = "results.jsonl", "held-out.jsonl"
OURS = "ours"
HOW = """\
`make bench-search` wrote this: {n} searches, seeds {first} to {last}, at {commits}. Time is virtual: a second of
a search is a second of the simulated server.

The truth is the load at which runs of millions of requests just meet the SLO (`truth.py`; standard error at most
{se:.2%}). Each tool is told the SLO and a range of loads: from 1.5 to 4 times the capacity, by the seed, down to a
64th of that. An error is relative to the truth; a search without an answer is off by 100 %. The peers may take an hour,
ours the 20 minutes of its default. *Covered*: the 95 % interval holds the truth."""

HELD_OUT_DEFINED = "831d08b"
ONCE = """\
`python -m benchmarks.search.run --held-out` wrote this: {n} searches, at {commits}. These servers, and what is asked of
them, were committed as {defined} before the search was tuned on the suite (`git diff {defined} --
benchmarks/search/scenarios.py`), and were searched {times}, when that was done."""

BOUNDS: dict[str, tuple[Callable[[Figures], float], float]] = {
    "median error": (lambda f: f.median, 0.018),
    "p90 of the error": (lambda f: f.p90, 0.07),
    "over-estimates by more than 5 %": (lambda f: f.over, 0.12),
    "searches without an answer": (lambda f: f.unanswered, 0.0),
    "median seconds": (lambda f: f.seconds, 280.0),
    "intervals without the truth": (lambda f: 1 - (f.covered or 0.0), 0.16),
    "load of a probe over the best pass, after an overload": (lambda f: f.excess, 1.25 + 1e-9),
}
"""Of the subset, for our own search: what a regression would break, with room for the luck of its few seeds."""


def read(file: Path) -> list[Row]:
    """The searches on file, ours first and then in the order of the peers."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    order = [*ours.OURS, *PEERS]
    return sorted(rows, key=lambda r: (order.index(r["tool"]), r["scenario"], r["seed"]))


def broken(rows: Sequence[Row]) -> list[str]:
    """What is beyond BOUNDS, in words."""
    mine = by("tool", rows)[OURS]
    out = [f"{name}: {of(mine):.4g}, more than {most:g}" for name, (of, most) in BOUNDS.items() if of(mine) > most]
    return out if mine.in_budget else [*out, "a search took longer than its budget"]


def table(rows: Sequence[Row]) -> str:
    """Every tool on every scenario, as a Markdown table for a terminal."""
    lines = [
        [tool, scenario, str(len(f.rows)), *_errors(f), _percent(f.over), *_times(f), _covered(f), f"{f.cpu_s:.2f}"]
        for tool, figures in _by_tool(rows).items()
        for scenario, f in figures.items()
    ]
    head = ["tool", "scenario", "n", "median", "p90", "bias", ">5 % over", "s", "s p90", "covered", "CPU s"]
    return _aligned([head, *sorted(lines)])


# -- RESULTS.md ------------------------------------------------------------------------------------------------------


def write(folder: Path = HERE) -> None:
    """RESULTS.md and its plots in the folder, from the results there; ValueError if there are none."""
    rows = read(folder / RESULTS)
    if not rows:
        raise ValueError(f"{folder / RESULTS} is empty: run the suite first")
    tools = by("tool", rows)
    parts = [
        "# Searches in virtual time",
        _how(rows),
        "## Each tool",
        _tools(tools),
        "![error against time](error-time.svg)",
    ]
    if OURS in tools:
        parts += ["## Against the numbers of the design", _design(tools[OURS])]
        parts += ["## Ours, scenario by scenario", _scenarios(tools[OURS]), "![ours](ours.svg)"]
    parts += ["## Each tool on each scenario", "![error and time by scenario](scenarios.svg)"]
    parts += ["Median error, %:", _matrix(rows, lambda f: f"{100 * f.median:.1f}")]
    parts += ["Median time, s:", _matrix(rows, lambda f: f"{f.seconds:.0f}")]
    if OURS in tools and len(tools) > 1:
        parts += ["## Wins", _wins(rows), "## Losses", _losses(rows)]
    if (folder / HELD_OUT).exists():
        parts += ["## The held-out scenarios, run once", _held_out(read(folder / HELD_OUT))]
    parts += ["## What was assumed of the tools", _assumptions()]
    (folder / "RESULTS.md").write_text("\n\n".join(parts) + "\n")
    plots.write(rows, folder)


def _how(rows: Sequence[Row]) -> str:
    seeds, se = sorted({r["seed"] for r in rows}), max(t.se / t.capacity[0] for t in truths().values())
    return HOW.format(n=len(rows), first=seeds[0], last=seeds[-1], commits=_commits(rows), se=se)


def _commits(rows: Sequence[Row]) -> str:
    found = sorted({r["commit"] for r in rows})
    return f"commit{'s' * (len(found) > 1)} {_list(found)}"


def _tools(tools: dict[str, Figures]) -> str:
    head = ["tool", "median", "p90", "bias", ">5 % over", "no answer", "s median", "s p90", "covered", "x limit"]
    order = sorted(tools, key=lambda t: (not t.startswith(OURS), tools[t].median))
    lines = [
        [t, *_errors(f), _percent(f.over), _percent(f.unanswered), *_times(f), _covered(f), f"{f.ratio:.1f}"]
        for t in order
        for f in (tools[t],)
    ]
    note = (
        "*x limit*: the median error over that of a search that does nothing but count misses at the capacity, without "
        "finding its way there, for the same time."
    )
    return markdown([head, *lines]) + "\n\n" + note


def _design(mine: Figures) -> str:
    scenarios = by("scenario", mine.rows)
    steady = {s: f for s, f in scenarios.items() if stationary(s)}
    moving = {s: f for s, f in scenarios.items() if not stationary(s)}
    lines = [["what", "measured", "reach", "stretch"]]
    lines += [
        ["median error; p90", f"{_percent(mine.median)}; {_percent(mine.p90)}", "1.2 %; 6 %", "0.8 %; 4 %"],
        ["against the limit of counting at equal time", f"{mine.ratio:.2f} x", "1.3 x", "0.9 x"],
        *_worst("worst median, stationary", steady, lambda f: f.median, "5 %", "2.5 %"),
        *_worst("worst median, drift and slow phases", moving, lambda f: f.median, "named as such", "5 %"),
        ["over-estimates by more than 5 %", _percent(mine.over), "8 %", "3 %"],
        ["interval covers the truth", _covered(mine), "90-98 %", "93-97 %"],
    ]
    if steady:
        least = worst(steady, lambda f: -(f.covered or 0.0))
        lines.append(["the least, stationary", f"{_covered(steady[least])} ({least})", "80 %", "90 %"])
    times = f"{mine.seconds:.0f} s; {mine.seconds_p90:.0f} s"
    lines += [
        ["median time; p90", times, "240 s; 900 s", "200 s; 600 s"],
        ["highest load of a probe over the best pass, after the first overload", f"{mine.excess:.3f}", "1.25", ""],
        ["every search ends in its budget", "yes" if mine.in_budget else "**no**", "yes", ""],
    ]
    return markdown(lines)


def _worst(
    name: str, figures: dict[str, Figures], of: Callable[[Figures], float], reach: str, stretch: str
) -> list[list[str]]:
    if not figures:
        return []
    found = worst(figures, of)
    return [[name, f"{_percent(of(figures[found]))} ({found})", reach, stretch]]


def _scenarios(mine: Figures) -> str:
    head = ["scenario", "truth", "median", "p90", "bias", ">5 % over", "covered", "s", "s p90", "x limit", "resolved"]
    lines = []
    for scenario, f in sorted(by("scenario", mine.rows).items()):
        resolved = sum(r["verdict"] == "resolved" for r in f.rows) / len(f.rows)
        shown = [*_errors(f), _percent(f.over), _covered(f), *_times(f), f"{f.ratio:.1f}", _percent(resolved)]
        lines.append([scenario, f"{truths()[scenario].capacity[0]:.4g}", *shown])
    return markdown([head, *lines])


def _matrix(rows: Sequence[Row], figure: Callable[[Figures], str]) -> str:
    tools = _by_tool(rows)
    lines = [
        [scenario, *(figure(f[scenario]) if scenario in f else "" for f in tools.values())]
        for scenario in sorted(by("scenario", rows))
    ]
    return markdown([["scenario", *tools], *lines])


def _wins(rows: Sequence[Row]) -> str:
    tools = _by_tool(rows)
    each, peers = tools.pop(OURS), _peers(tools)
    whole, mine = _peers(by("tool", rows)), by("tool", rows)[OURS]
    lines = []
    if beaten := [t for t, f in whole.items() if mine.better_than(f)]:
        lines.append(f"- Over the suite faster (median time) and more accurate (median and p90) than {_list(beaten)}.")
    if beaten := [t for t, f in whole.items() if mine.median < f.median and mine.p90 < f.p90 and t not in beaten]:
        lines.append(f"- Over the suite more accurate (median and p90), if not faster, than {_list(beaten)}.")
    best = [s for s, f in each.items() if all(f.median <= p[s].median for p in peers.values() if s in p)]
    lines.append(f"- The smallest median error of all in {len(best)} of {len(each)} scenarios: {_list(best)}.")
    return "\n".join(lines)


def _losses(rows: Sequence[Row]) -> str:
    tools = _by_tool(rows)
    each, peers = tools.pop(OURS), _peers(tools)
    mine, lines = by("tool", rows)[OURS], []
    if ahead := [t for t, f in _peers(by("tool", rows)).items() if f.better_than(mine)]:
        lines.append(f"- **Over the suite faster and more accurate than ours: {_list(ahead)}.**")
    for s, f in sorted(each.items()):
        closer = {t: p[s] for t, p in peers.items() if s in p and p[s].median < f.median}
        if not closer:
            continue
        said = [
            f"{t} {_percent(p.median)} in {p.seconds:.0f} s"
            for t, p in sorted(closer.items(), key=lambda item: item[1].median)
        ]
        lines.append(f"- {s}: ours {_percent(f.median)} in {f.seconds:.0f} s, {_list(said)}.")
    return "\n".join(lines) or "None."


def _held_out(rows: Sequence[Row]) -> str:
    tools, times = by("tool", rows), "once" if len({r["commit"] for r in rows}) == 1 else "at each of these commits"
    parts = [ONCE.format(n=len(rows), commits=_commits(rows), defined=HELD_OUT_DEFINED, times=times), _tools(tools)]
    if OURS in tools:
        parts.append(_scenarios(tools[OURS]))
    return "\n\n".join([*parts, "Median error, %:", _matrix(rows, lambda f: f"{100 * f.median:.1f}")])


def _assumptions() -> str:
    return "\n".join(f"- {tool}: {' '.join(said)}" for tool, said in ASSUMPTIONS.items())


# -- texts -----------------------------------------------------------------------------------------------------------


def _by_tool(rows: Sequence[Row]) -> dict[str, dict[str, Figures]]:
    return {tool: by("scenario", f.rows) for tool, f in by("tool", rows).items()}


def _peers(tools: dict[str, T]) -> dict[str, T]:
    return {tool: x for tool, x in tools.items() if not tool.startswith(OURS)}


def _errors(f: Figures) -> list[str]:
    return [_percent(f.median), _percent(f.p90), f"{100 * f.bias:+.1f} %"]


def _times(f: Figures) -> list[str]:
    return [f"{f.seconds:.0f}", f"{f.seconds_p90:.0f}"]


def _covered(f: Figures) -> str:
    return "" if f.covered is None else f"{100 * f.covered:.0f} %"


def _percent(x: float) -> str:
    return f"{100 * x:.1f} %" if x < 0.0995 else f"{100 * x:.0f} %"


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def markdown(lines: Sequence[Sequence[str]]) -> str:
    head, *rest = ("| " + " | ".join(line) + " |" for line in lines)
    return "\n".join([head, "|" + "---|" * len(lines[0]), *rest])


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines)


@cache
def commit() -> str:
    """Of the code that runs, as short as git makes it; marked where the tree has other code."""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], cwd=HERE.parents[1], capture_output=True, text=True)

    name = git("rev-parse", "--short", "HEAD").stdout.strip()
    changed = git("diff", "--quiet", "HEAD", "--", "*.py").returncode
    return (f"{name}, changed" if changed else name) or "unknown"
