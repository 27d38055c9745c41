"""What each kind of evidence adds to counting misses: EVIDENCE.md and its plot.

make bench-evidence                                  every server, all cores (under 10 minutes on 2)
python -m benchmarks.search.evidence --servers "PS 05" "LIFO" --runs 4 --seeds 0 --print
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from . import report
from .searches import Found, search
from .stretches import Cell, cells, observe, whereabouts

FOLDER = Path(__file__).parent.parent
SEARCHED = ("01", "05", "06", "07", "11")
"""Servers that are searched, under each discipline."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", nargs="+", default=[""], help="how their names begin")
    parser.add_argument("--runs", type=int, default=8, help="runs of 80 minutes at each load")
    parser.add_argument("--seeds", type=int, default=10, help="whole searches of each server")
    parser.add_argument("--print", action="store_true", help="print the page, write nothing")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    options = parser.parse_args(arguments)
    chosen = [c for c in cells() if c.name.startswith(tuple(options.servers))]
    # Compiled before the fork, so that it is done once.
    for discipline in {c.discipline: c for c in chosen}.values():
        observe(discipline, 1, 5.0)
    with ProcessPoolExecutor(options.jobs, get_context("fork")) as pool:
        rows = list(tqdm(pool.map(_row, chosen, [options.runs] * len(chosen)), total=len(chosen), unit="server"))
        jobs = [
            (row.cell, row.capacity, number)
            for row in rows
            if row.cell.scenario.name.startswith(SEARCHED)
            for number in range(1, options.seeds + 1)
        ]
        results = list(tqdm(pool.map(_search, jobs), total=len(jobs), unit="search"))
    found: dict[str, list[Found]] = {}
    for (cell, _, _), result in zip(jobs, results, strict=True):
        found.setdefault(cell.name, []).append(result)
    page = report.page(rows, found)
    if options.print:
        print(page)
    else:
        (FOLDER / "EVIDENCE.md").write_text(page)
        report.plot(rows, FOLDER / "evidence.svg")
    return 0


def _row(cell: Cell, runs: int) -> report.Row:
    return report.Row.of(cell, whereabouts(cell)[0], observe(cell, runs))


def _search(job: tuple[Cell, float, int]) -> Found:
    return search(*job)


if __name__ == "__main__":
    sys.exit(main())
