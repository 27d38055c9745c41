"""Every tool on every scenario, in virtual time: results.jsonl, one search a line, then RESULTS.md and its plots.

make bench-search                                    18 scenarios, 20 seeds, all tools, all cores
python -m benchmarks.search.run --tools ours --scenarios 03 17 --seeds 5
python -m benchmarks.search.run --held-out           the scenarios kept for the end
python -m benchmarks.search.run --resume             go on with a run that was cut off
python -m benchmarks.search.run --subset             3 minutes on 2 cores: ours, 6 seeds; judged against bounds
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import ours, report
from .bench import Bench, BudgetSpent
from .parallel import lines
from .peers import PEERS
from .scenarios import HELD_OUT, SUITE, Scenario
from .truth import truth, truths

FIRST_SEED, SUBSET_SEEDS = 20_000, 6


@dataclass(frozen=True)
class Job:
    """One search."""

    tool: str
    scenario: Scenario
    seed: int

    @property
    def key(self) -> tuple[str, str, int]:
        return self.tool, self.scenario.name, self.seed


def search(job: Job) -> dict[str, Any]:
    """Its line in the results: what was found, how far from the truth (a ratio), and what it took."""
    scenario, began = job.scenario, time.process_time()
    low, high = scenario.loads(truth(scenario), job.seed)
    seed = scenario.seed(job.seed)
    if job.tool in ours.OURS:
        found = ours.search(scenario, low, high, seed, **ours.OURS[job.tool])
    else:
        found = _peer(job.tool, scenario, low, high, seed)
    capacity, value = truth(scenario, found["seconds"]), found["value"]
    return {
        "tool": job.tool,
        "scenario": scenario.name,
        "seed": job.seed,
        "truth": round(capacity, 4),
        "error": -1.0 if value is None else round(value / capacity - 1, 6),
        "commit": report.commit(),
        **found,
        "cpu_s": round(time.process_time() - began, 2),
    }


def _peer(tool: str, scenario: Scenario, low: float, high: float, seed: int) -> dict[str, Any]:
    bench = Bench(
        scenario.server,
        limit_s=scenario.limit_s,
        quantile=scenario.quantile,
        low=low,
        high=high,
        seed=seed,
        mischief=scenario.mischief,
        bursts=scenario.bursts,
    )
    try:
        value = PEERS[tool](bench)
    except BudgetSpent:
        value = None
    return {"value": None if value is None else float(f"{value:.6g}"), "seconds": round(bench.now, 1)}


def run(
    jobs: Sequence[Job], file: Path | None, processes: int, of: Callable[[Job], dict[str, Any]] = search
) -> list[dict[str, Any]]:
    """All of them, over so many processes. Each line is in the file as soon as its search is over."""
    # Before the fork: a commit made in the meantime is not the code that runs.
    report.commit()
    if any(job.tool in PEERS for job in jobs):
        # Compiled before the fork, so that it is done once.
        _peer("ramp", SUITE[0], 1.0, 2.0, 1)
    return lines(jobs, of, file, processes)


def missing(jobs: Sequence[Job], rows: Sequence[dict[str, Any]]) -> list[Job]:
    """Those that have no line yet."""
    done = {(r["tool"], r["scenario"], r["seed"]) for r in rows}
    return [job for job in jobs if job.key not in done]


def chosen(arguments: argparse.Namespace) -> list[Job]:
    scenarios = HELD_OUT if arguments.held_out else SUITE
    if arguments.scenarios:
        scenarios = tuple(s for s in scenarios if s.name.startswith(tuple(arguments.scenarios)))
    if missing := [s.name for s in scenarios if s.name not in truths()]:
        raise SystemExit(f"No truth is on file for {', '.join(missing)}: run python -m benchmarks.search.truth first")
    tools = arguments.tools or [*ours.OURS, *PEERS]
    if unknown := set(tools) - {*ours.OURS, *PEERS}:
        raise SystemExit(f"There is no tool {', '.join(unknown)}; there are {', '.join([*ours.OURS, *PEERS])}")
    # A peer varies a rate: none is made for users.
    return [
        Job(tool, scenario, seed)
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds)
        for scenario in scenarios
        for tool in tools
        if tool in ours.OURS or scenario.loop == "open"
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="searches of each scenario by each tool")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--tools", nargs="+", help="names of rows")
    parser.add_argument("--scenarios", nargs="+", help="how their names begin")
    parser.add_argument("--held-out", action="store_true", help="the scenarios held out from tuning instead")
    parser.add_argument("--subset", action="store_true", help="3 minutes of ours, judged against bounds")
    parser.add_argument("--resume", action="store_true", help="keep the searches that are in the file")
    parser.add_argument("--out", type=Path, help="the file; results.jsonl beside this one, or held-out.jsonl")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    options = parser.parse_args(arguments)
    if options.subset:
        options.tools, options.seeds = ["ours"], SUBSET_SEEDS
        rows = run(chosen(options), None, options.jobs)
        print(report.table(rows))
        broken = report.broken(rows)
        print("\n".join(broken) or "All bounds hold.")
        return 1 if broken else 0
    file = options.out or report.HERE / (report.HELD_OUT if options.held_out else report.RESULTS)
    jobs = chosen(options)
    if options.resume and file.exists():
        jobs = missing(jobs, report.read(file))
    else:
        file.write_text("")
    run(jobs, file, options.jobs)
    if options.out is None:
        report.write()
    else:
        print(report.table(report.read(file)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
