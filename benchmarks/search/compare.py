"""How small a regression two searches show: false alarms and power of a comparison, measured; writes COMPARE.md.

make bench-compare                                     the four best-behaved scenarios, thorough profile
python -m benchmarks.search.compare --runs 8 --profile standard
python -m benchmarks.search.compare --resume           go on with a run that was cut off
python -m benchmarks.search.compare --report           only write COMPARE.md again, from the searches on file

Searches of a server that stays the same give the false alarms. That a regression may be put in as a shift, as in
pairs.py, is checked by searches of a server whose work takes longer, under the same SLO, with a truth of its own. All
are lines of compare.jsonl. Other scenarios and profiles: by the lines of results.jsonl, where `make bench-search` has
been run.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from locust_adaptive.report.compare import FALSE_ALARMS, INFLATION, POWER
from locust_adaptive.search.profiles import PROFILES

from . import ours, parallel, report
from .figures import SCENARIOS, Row, by
from .pairs import Pairs
from .scenarios import Scenario
from .truth import find, truth

FILE, PAGE = "compare.jsonl", "COMPARE.md"
RUNS = 100
FIRST_SEED, FIRST_SLOWED = 50_000, 60_000
BEST = ("01 M/G/1 p95", "03 batches of 16", "04 4 x batches of 8, p99", "17 non-monotone")
"""The best-behaved: of the stationary ones that nothing disturbs, those whose searches differ least: by standard
deviations of 0.6, 0.5, 0.3 and 0.2 % over 16 searches each, with other seeds and the thorough profile; 16 has 0.7 %."""
REGRESSIONS = (0.02, 0.03, 0.05, 0.08, 0.10)
SLOWED = 0.05
"""The work of the slowed server takes 1 / (1 - SLOWED) as long."""
ENOUGH = 3
"""Searches of a scenario, to say anything of pairs of them."""

HOW = """\
How small a regression shows when two results are compared by `locust_adaptive/report/compare.py`, which has the
formulas and their sources. `python -m benchmarks.search.compare` wrote this, at commit {commit}.

*False alarms*: the share of pairs of searches of a server that stays the same, with other seeds, of which the second is
called regressed. The rule aims at {alarms}, one-sided; as many are called improved. *Power*: the same share when the
second capacity is lower by so much. The smallest regression is the one that is called so with a power of {power}:

- *shown*: by the rule, in these pairs
- *claimed*: what the intervals of the two results say, at the median: `Comparison.detectable`
- *by spread*: a rule that knows how much searches of this very server differ, from many runs of it, and looks at the
  values alone

The intervals are not taken at their word: *factor* is what their standard errors would have to be multiplied by for
false alarms of just {alarms}. The rule's own, `INFLATION`, was {inflation:g} here: where *factor* is larger, there are
more false alarms, and *claimed* is too small."""

SHIFT = """\
A regression was put in by shifting the second result. Here it is a server whose work takes {slowed} longer; its
capacity is known by long runs. *Seen*: the median change between the searches."""

ELSEWHERE = """\
All scenarios and profiles, by the searches of `make bench-search`. So few searches of each say little of {alarms}: the
figures are rough. `none`: more than {rest} of the pairs have a search without an answer, or one that no regression
shows in."""


# -- the searches ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """One search, of the server as it is or slowed; `capacity` by long runs."""

    scenario: str
    profile: str
    slowed: float
    seed: int
    capacity: float

    @property
    def key(self) -> tuple[str, str, float, int]:
        return self.scenario, self.profile, self.slowed, self.seed


def slower(scenario: Scenario, share: float) -> Scenario:
    """Its work takes 1 / (1 - share) as long. Batch timers, the queue and the SLO stay."""
    server = scenario.server
    base, per_request = server.base / (1 - share), server.per_request / (1 - share)
    return replace(scenario, server=replace(server, base=base, per_request=per_request))


def search(job: Job) -> Row:
    """A line of compare.jsonl. The range of loads is that of the server as it was: who looks for a regression does not
    know of it."""
    scenario, began = SCENARIOS[job.scenario], time.process_time()
    low, high = scenario.loads(truth(scenario), job.seed)
    found = ours.search(slower(scenario, job.slowed), low, high, scenario.seed(job.seed), **PROFILES[job.profile])
    return {
        "scenario": job.scenario,
        "profile": job.profile,
        "slowed": job.slowed,
        "seed": job.seed,
        "truth": job.capacity,
        **{name: found[name] for name in ("value", "low", "high", "verdict", "reason", "seconds")},
        "cpu_s": round(time.process_time() - began, 2),
    }


def missing(profile: str, runs: int, done: Sequence[Row]) -> list[Job]:
    """The searches that are not done. The truth of a slowed server is found anew (a minute) unless a row has it."""
    capacities = {(row["scenario"], row["slowed"]): row["truth"] for row in done}
    for name in BEST:
        capacities[name, 0.0] = truth(SCENARIOS[name])
        if (name, SLOWED) not in capacities:
            capacities[name, SLOWED] = float(f"{find(slower(SCENARIOS[name], SLOWED))[0]:.6g}")
    there = {(row["scenario"], row["profile"], row["slowed"], row["seed"]) for row in done}
    wanted = [
        Job(name, profile, slowed, first + i, capacities[name, slowed])
        for i in range(runs)
        for name in BEST
        for slowed, first in ((0.0, FIRST_SEED), (SLOWED, FIRST_SLOWED))
    ]
    return [job for job in wanted if job.key not in there]


def read(file: Path) -> list[Row]:
    """The lines of a file, none if there is no such file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


# -- COMPARE.md --------------------------------------------------------------------------------------------------------


def page(searches: Sequence[Row], suite: Sequence[Row]) -> str:
    """The text of COMPARE.md, from the lines of compare.jsonl and of results.jsonl."""
    alarms, power = _percent(FALSE_ALARMS), _percent(POWER)
    parts = [
        "# Comparing two results",
        HOW.format(commit=report.commit(), alarms=alarms, power=power, inflation=INFLATION),
    ]
    for profile, figures in by("profile", searches).items():
        unchanged = by("scenario", sorted((r for r in figures.rows if not r["slowed"]), key=_name))
        slowed = by("scenario", [r for r in figures.rows if r["slowed"]])
        pairs = {name: Pairs(f.rows, f.rows) for name, f in unchanged.items() if len(f.rows) >= ENOUGH}
        parts += [f"## The best-behaved scenarios, {profile} profile", best(pairs)]
        both = {name: Pairs(p.base, slowed[name].rows) for name, p in pairs.items() if name in slowed}
        parts += [SHIFT.format(slowed=_percent(1 / (1 - SLOWED) - 1)), validated(pairs, both)]
    tools = {
        tool: by("scenario", sorted(f.rows, key=_name)) for tool, f in by("tool", suite).items() if tool in ours.OURS
    }
    if tools:
        parts += ["## Elsewhere", ELSEWHERE.format(alarms=alarms, rest=_percent(1 - POWER))]
    for tool, scenarios in tools.items():
        rows = {name: f.rows for name, f in scenarios.items() if len(f.rows) >= ENOUGH}
        parts += [f"{tool}:", smallest({name: Pairs(r, r) for name, r in rows.items()})]
    return "\n\n".join(parts) + "\n"


def best(pairs: Mapping[str, Pairs]) -> str:
    """False alarms and power at each of REGRESSIONS, with standard errors."""
    head = ["scenario", "searches", "pairs", "false alarms", *(f"power at {_percent(r)}" for r in REGRESSIONS)]
    lines = [
        [name, str(len(p.base)), str(len(p)), *(_share(*p.called(r)) for r in (0.0, *REGRESSIONS))]
        for name, p in pairs.items()
    ]
    every = [[p.called(r) for p in pairs.values()] for r in (0.0, *REGRESSIONS)]
    whole = [_share(float(np.mean([s for s, _ in x])), math.hypot(*(e for _, e in x)) / len(x)) for x in every if x]
    counts = [str(sum(n)) for n in ([len(p.base) for p in pairs.values()], [len(p) for p in pairs.values()])]
    factor = max([1.0, *(p.inflation for p in pairs.values())])
    return "\n\n".join(
        [
            report.markdown([head, *lines, ["all, on average", *counts, *whole]]),
            smallest(pairs),
            f"With `INFLATION = {factor:.2f}`, the largest *factor* and at least 1, none would have more false alarms.",
        ]
    )


def smallest(pairs: Mapping[str, Pairs]) -> str:
    """The smallest regression of each scenario, in three ways."""
    head = ["scenario", "searches", "false alarms", "shown", "claimed", "by spread", "factor"]
    lines = [
        [
            name,
            str(len(p.base)),
            _percent(p.called()[0]),
            *("none" if r == 1 else _percent(r) for r in (p.shown(), p.claimed(), p.by_spread())),
            f"{p.inflation:.2f}" if p.inflation else "none",
        ]
        for name, p in pairs.items()
    ]
    return report.markdown([head, *lines])


def validated(pairs: Mapping[str, Pairs], slowed: Mapping[str, Pairs]) -> str:
    """Searches of a slowed server beside a shift by as much."""
    head = ["scenario", "searches", "true regression", "seen", "power", "by a shift"]
    lines = []
    for name, p in slowed.items():
        regression = 1 - p.new[0]["truth"] / p.base[0]["truth"]
        seen = -float(np.expm1(np.median(p.changes)))
        lines.append(
            [
                name,
                f"{len(p.base)}, {len(p.new)}",
                *(_percent(r) for r in (regression, seen)),
                *(_share(*x) for x in (p.called(), pairs[name].called(regression))),
            ]
        )
    return report.markdown([head, *lines])


def _name(row: Row) -> str:
    return str(row["scenario"])


def _share(share: float, error: float) -> str:
    return f"{100 * share:.1f} ± {100 * error:.1f} %"


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.2g} %" if ratio < 0.995 else "100 %"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS, help="searches of each scenario, and of each slowed server")
    parser.add_argument("--profile", choices=PROFILES, default="thorough")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--resume", action="store_true", help="keep the searches that are on file")
    parser.add_argument("--report", action="store_true", help="search nothing, write the page")
    parser.add_argument("--out", type=Path, default=report.HERE, help="the folder of compare.jsonl and COMPARE.md")
    options = parser.parse_args(arguments)
    file = options.out / FILE
    if not options.report:
        if not options.resume:
            file.write_text("")
        parallel.lines(missing(options.profile, options.runs, read(file)), search, file, options.jobs)
    (options.out / PAGE).write_text(page(read(file), read(report.HERE / report.RESULTS)))
    print(f"Written: {options.out / PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
