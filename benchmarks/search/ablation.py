"""What each part of our search is worth: it is taken away, one part at a time; ablation.jsonl, then ABLATION.md.

make bench-ablation                                     every part, 18 scenarios, 3 blocks of 5 seeds, all cores
python -m benchmarks.search.ablation --parts damping canaries --scenarios 03 17 --seeds 2
python -m benchmarks.search.ablation --resume           go on with a run that was cut off
python -m benchmarks.search.ablation --report           only write ABLATION.md again, from the searches on file

A line is one search; its `tool` is the part that was taken away. The same seed gives the full search and the one
without the part the same server, arrivals and range of loads: they are compared in pairs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from . import report
from .compare import read
from .figures import Figures, Row, by
from .paired import BLOCKS, DRAWS, LEVEL, MEASURES, Paired, block
from .parts import FULL, PARTS
from .run import Job, missing, run
from .run import search as searched
from .scenarios import SUITE

FILE, PAGE = "ablation.jsonl", "ABLATION.md"
SEEDS = 5
KEPT = [
    *("scenario", "seed", "truth", "error", "value", "low", "high", "seconds"),
    *("verdict", "reason", "notes", "excess", "in_budget", "cpu_s"),
]
"""Of the line of a search. Its probes are what its seed and the commit give."""


# -- the searches ------------------------------------------------------------------------------------------------------


def search(job: Job) -> Row:
    """A search without the part that is the job's tool, in whatever process that is."""
    part = nullcontext() if job.tool == FULL else PARTS[job.tool].taken_away()
    with part:
        row = searched(replace(job, tool=report.OURS))
    return {"tool": job.tool, **{name: row[name] for name in KEPT}}


def wanted(parts: Sequence[str], scenarios: Sequence[str], seeds: int) -> list[Job]:
    """The full search and each without one of the parts. Blocks are mixed, so that a run cut off has some of each."""
    if unknown := set(parts) - set(PARTS):
        raise SystemExit(f"There is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return [
        Job(tool, scenario, first + i)
        for i in range(seeds)
        for first in BLOCKS
        for scenario in SUITE
        if scenario.name.startswith(tuple(scenarios))
        for tool in (FULL, *parts)
    ]


# -- ABLATION.md -------------------------------------------------------------------------------------------------------

HOW = """\
`make bench-ablation` wrote this: {n} searches in virtual time, at commit {commit}. One part at a time is taken away
from our search, on {blocks} blocks of seeds that no other page uses, and each search is compared with the full one of
the same scenario and seed. Errors are relative to the truth; a search without an answer is off by 100 %.

A change is what the figure becomes without the part, less what it is with it: **above 0 the part is worth something.**
Intervals hold {level} of {draws} bootstrap draws of the pairs, scenario by scenario. A change is *firm* when its
interval excludes 0 and all blocks agree on its side. The verdict looks at {measures}. *Pays*: one of them is firmly
worse without the part. *Costs*: none is, and one is firmly better. *Does not show*: neither; on these scenarios."""


def page(rows: Sequence[Row]) -> str:
    """The text of ABLATION.md, from the lines of ablation.jsonl; ValueError without a full search among them."""
    order = (FULL, *PARTS)
    rows = sorted(
        (r for r in rows if r["tool"] in order), key=lambda r: (order.index(r["tool"]), r["scenario"], r["seed"])
    )
    tools = by("tool", rows)
    if FULL not in tools:
        raise ValueError("There is no full search to compare with: run python -m benchmarks.search.ablation first")
    full = tools[FULL].rows
    parts = {name: Paired.of(f.rows, full) for name, f in tools.items() if name != FULL}
    parts = {name: pairs for name, pairs in parts.items() if pairs.full}
    blocks = len({block(r["seed"]) for r in rows})
    how = HOW.format(
        n=len(rows),
        commit=report.commit(),
        blocks=blocks,
        level=f"{100 * LEVEL:g} %",
        draws=DRAWS,
        measures=report._list(MEASURES),
    )
    taken = "\n".join(f"- {name}: {PARTS[name].without}" for name in parts)
    return (
        "\n\n".join(
            [
                "# What each part of the search is worth",
                how,
                "Without a part:\n\n" + taken,
                "## Each part",
                _summary(tools[FULL], parts),
                "## What changes firmly",
                _firm(parts),
                "## Block by block",
                "Median and p90 of the error without the part, and the change of the median:",
                _blocks(tools[FULL], parts),
                "## Scenario by scenario",
                "Median error, %:",
                report._matrix(rows, lambda f: f"{100 * f.median:.1f}"),
                "Median time, s:",
                report._matrix(rows, lambda f: f"{f.seconds:.0f}"),
            ]
        )
        + "\n"
    )


def _summary(full: Figures, parts: Mapping[str, Paired]) -> str:
    head = ["without", "n", "median", "p90", ">5 % over", "covered", "s", "s p90", "change of the median", "verdict"]

    def figures(f: Figures) -> list[str]:
        shown = [report._percent(x) for x in (f.median, f.p90, f.over)]
        return [str(len(f.rows)), *shown, report._covered(f), *report._times(f)]

    lines = [[FULL, *figures(full), "", ""]]
    for name, pairs in parts.items():
        change = pairs.changes["median error"]
        interval = f"{_points(change.value)} ({_points(change.low)} to {_points(change.high)}) %"
        lines.append([name, *figures(Figures(pairs.without)), interval, f"**{pairs.verdict}**"])
    return report.markdown([head, *lines])


def _firm(parts: Mapping[str, Paired]) -> str:
    lines = []
    for name, pairs in parts.items():
        for side, word in ((1, "worse"), (-1, "better")):
            found = {m: c for m, c in pairs.changes.items() if c.firm == side}
            if found:
                said = (f"{m} {MEASURES[m].text(c.value)}" for m, c in found.items())
                lines.append(f"- without {name}, {word}: {report._list(said)}")
    return "\n".join(lines) or "Nothing."


def _blocks(full: Figures, parts: Mapping[str, Paired]) -> str:
    firsts = sorted({block(row["seed"]) for row in full.rows})

    def cells(rows: Sequence[Row]) -> list[str]:
        found = {first: [r for r in rows if block(r["seed"]) == first] for first in firsts}
        shown = {first: Figures(some) for first, some in found.items() if some}
        return [
            f"{report._percent(shown[b].median)}, {report._percent(shown[b].p90)}" if b in shown else "" for b in firsts
        ]

    lines = [[FULL, *cells(full.rows), ""]]
    for name, pairs in parts.items():
        each = ", ".join(_points(change) for change in pairs.changes["median error"].blocks)
        lines.append([name, *cells(pairs.without), f"{each} %"])
    return report.markdown([["without", *(f"from {first}" for first in firsts), "change"], *lines])


def _points(change: float) -> str:
    return f"{100 * change:+.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="searches of each scenario, in each block")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), help="names of the parts to take away")
    parser.add_argument("--scenarios", nargs="+", default=[""], help="how their names begin")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--resume", action="store_true", help="keep the searches that are on file")
    parser.add_argument("--report", action="store_true", help="search nothing, write the page")
    parser.add_argument("--out", type=Path, default=report.HERE, help="the folder of ablation.jsonl and ABLATION.md")
    options = parser.parse_args(arguments)
    file = options.out / FILE
    if not options.report:
        jobs = wanted(options.parts, options.scenarios, options.seeds)
        if not options.resume:
            file.write_text("")
        run(missing(jobs, read(file)), file, options.jobs, search)
    (options.out / PAGE).write_text(page(read(file)))
    print(f"Written: {options.out / PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
