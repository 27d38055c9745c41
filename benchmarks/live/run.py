"""Searches, in real time, against servers whose capacity is known: writes results.json and RESULTS.md beside this file.

    make bench-live                       every case, 5 runs each (about 45 minutes on 2 cores)
    benchmarks/live/run.py small closed   the cases whose name begins so; --runs N, --jobs N, --only-report
    benchmarks/live/run.py --only-unfit   those of the last run in which the machine was too busy to measure

The servers queue in virtual time (tests/support/target.py): a slow machine delays answers and never lowers capacity.
The truths are the event simulations of tests/support/truth.py. Runs go side by side, `--jobs` at a time. A search that
ends as `measurement_invalid` says nothing of the search but that it is honest: it is run again, and counted as such.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from locust_adaptive.report.again import decide_again  # noqa: E402  the repository is no installed package
from locust_adaptive.report.fold import fold  # noqa: E402
from locust_adaptive.report.result import result, to_json  # noqa: E402
from tests.support import searches, truth  # noqa: E402
from tests.support.target import Target, Trouble  # noqa: E402

COLD_S, COLD_FACTOR, PAUSE_S, PERIOD_S = 20.0, 3.0, 1.0, 45.0
NONE = Trouble()
COLD = Trouble(cold_s=COLD_S, cold_factor=COLD_FACTOR)
PAUSES = Trouble(pause_s=PAUSE_S, period_s=PERIOD_S)
TIME_LIMIT_S = 420.0
CONDITIONS = HERE / "conditions.md"
"""What else the reader has to know of the last run, written by hand; part of RESULTS.md."""
LOG = HERE / "last-run.jsonl"
"""Each search as it ends, so that a run that is cut off loses nothing."""


@dataclass(frozen=True)
class Case:
    """A server, what troubles it, and how it is searched."""

    name: str
    setting: truth.Setting
    trouble: Trouble
    users: str


CASES = (
    Case("small", truth.SMALL, NONE, searches.OPEN),
    Case("small, cold start", truth.SMALL, COLD, searches.OPEN),
    Case("small, pauses", truth.SMALL, PAUSES, searches.OPEN),
    Case("large", truth.LARGE, NONE, searches.OPEN),
    Case("large, cold start", truth.LARGE, COLD, searches.OPEN),
    Case("large, pauses", truth.LARGE, PAUSES, searches.OPEN),
    Case("closed loop", truth.CLOSED, NONE, searches.CLOSED),
)


def run(case: Case, seed: int) -> dict[str, Any]:
    """One search; the figures that are judged."""
    with tempfile.TemporaryDirectory() as name, Target(case.setting.service, seed=seed, trouble=case.trouble) as target:
        folder = Path(name)
        locustfile = folder / "locustfile.py"
        locustfile.write_text(searches.HEADER + searches.CAPACITY + case.users)
        arguments = ["-H", target.url, "--adaptive-seed", str(seed)]
        search = searches.search(folder, locustfile, arguments, timeout=1500)
        received = target.stats()["received"]
    outcome, capacity = search.outcome, search.outcome["capacity"]
    truth_value = case.setting.capacity
    value, low, high = capacity["value"], capacity["low"], capacity["high"]
    figures = {
        "case": case.name,
        "seed": seed,
        "truth": truth_value,
        "verdict": outcome["verdict"],
        "reason": outcome["reason"],
        "value": value,
        "low": low,
        "high": high,
        "verified": capacity["verified"],
        "error": None if value is None else value / truth_value - 1,
        "covers": low is not None and high is not None and low <= truth_value <= high,
        "elapsed_s": outcome["elapsed_s"],
        "wall_s": round(search.ended.seconds, 1),
        "exit": search.ended.code,
        "unfit_before": 0,
        "warmup_s": outcome["warmup_s"],
        "stalls": [[s["at_s"], s["length_s"]] for s in outcome["stalls"]],
        "loaded": [[t["started_s"], t["seconds"]] for t in outcome["trials"]],
        "strict": outcome["strict"] and outcome["strict"]["value"],
        "strict_reason": outcome["strict_reason"],
        "probes": len(outcome["trials"]),
        "invalid": sum(t["verdict"] == "INVALID" for t in outcome["trials"]),
        "notes": outcome["notes"],
        "lost": received - search.counted,
        "folds": to_json(result(fold(search.journal))) == search.text,
        "decides_the_same": decide_again(search.journal) is None,
        "send_lag_p99_ms": outcome["generator"]["send_lag_p99_ms"],
        "late_s": outcome["generator"]["late_s"],
    }
    shown = "none" if value is None else f"{value:g} ({low:g} .. {high:g})"
    error = "" if value is None else f" {100 * figures['error']:+.1f} %"
    print(
        f"{case.name:20} seed {seed}: {shown}, truth {truth_value:g}{error}, {outcome['elapsed_s']:.0f} s", flush=True
    )
    with LOG.open("a") as log:
        log.write(json.dumps(figures) + "\n")
    return figures


UNFIT = "measurement_invalid"
TRIES = 3


def measured(case: Case, seed: int, unfit: int = 0) -> dict[str, Any]:
    """A search that was `unfit` so many times already: run until the machine lets it be measured, or TRIES are over."""
    figures = run(case, seed)
    while figures["reason"] == UNFIT and unfit + 1 < TRIES:
        unfit += 1
        figures = run(case, seed)
    return {**figures, "unfit_before": unfit}


def missed_pauses(figures: dict[str, Any]) -> tuple[int, int]:
    """Scheduled pauses, while the search ran, that no listed stall stands for: under load, and while no load was on the
    target (in a drain), where a pause shows in nothing."""
    due = [PERIOD_S * n for n in range(1, int((figures["elapsed_s"] - 2) / PERIOD_S) + 1)]
    found = {pause: at for pause in due for at, _ in figures["stalls"] if abs(at - pause) < 2.5}
    # The target's clock and the search's differ by the time that the first request took to come.
    offset = statistics.median(at - pause for pause, at in found.items()) if found else 0.0
    missed = [pause + offset for pause in due if pause not in found]
    unloaded = sum(
        not any(start < at + PAUSE_S and at < start + seconds for start, seconds in figures["loaded"]) for at in missed
    )
    return len(missed) - unloaded, unloaded


def judge(case: Case, runs: list[dict[str, Any]]) -> list[tuple[str, bool, str]]:
    """`(demand, met, measured)` of a case, by the project's numbers (design, section 13)."""
    values = [r["value"] for r in runs]
    errors = [abs(r["error"]) if r["error"] is not None else 1.0 for r in runs]
    shown = ", ".join("none" if e == 1.0 else f"{100 * e:.1f}" for e in errors) + " %"
    checks = []
    if case.users == searches.CLOSED:
        off = [abs(v - case.setting.capacity) if v is not None else 99 for v in values]
        checks.append(("within one user", max(off) <= 1, f"off by {', '.join(f'{x:g}' for x in off)}"))
    else:
        checks.append(("each within 8 %", max(errors) <= 0.08, shown))
        answers = [v for v in values if v is not None]
        middle = abs(statistics.median(answers) / case.setting.capacity - 1) if len(answers) == len(values) else 1.0
        bound = 0.05 if case.trouble is PAUSES else 0.04
        checks.append((f"median within {100 * bound:.0f} %", middle <= bound, f"{100 * middle:.1f} %"))
    covered = sum(r["covers"] for r in runs)
    checks.append(("interval covers, 4 of 5", covered >= 0.8 * len(runs), f"{covered} of {len(runs)}"))
    slowest = max(r["elapsed_s"] for r in runs)
    checks.append(("each at most 7 min", slowest <= TIME_LIMIT_S, f"slowest {slowest:.0f} s"))
    if case.trouble is COLD:
        warm = [r["warmup_s"] for r in runs]
        met = all(w is not None and abs(w - COLD_S) <= 5 for w in warm)
        checks.append(("warm-up within 5 s of 20 s", met, ", ".join(str(w) for w in warm) + " s"))
    if case.trouble is PAUSES:
        missed, unloaded = (sum(each) for each in zip(*map(missed_pauses, runs), strict=True))
        listed = sum(len(r["stalls"]) for r in runs)
        without = f", {unloaded} while no load was on the target" if unloaded else ""
        checks.append(("each pause listed", not missed, f"{listed} listed, {missed} missed{without}"))
        met = all(r["strict"] is None and r["strict_reason"] for r in runs)
        checks.append(("strict null, with its reason", met, runs[0]["strict_reason"] or "none"))
    same = all(r["folds"] and r["decides_the_same"] for r in runs)
    checks.append(("journals fold and decide the same", same, "yes" if same else "no"))
    # Arrivals in flight when a search ends are ended with it, and are in no statistics of Locust's.
    lost = [r["lost"] for r in runs]
    at_end = case.setting.capacity / 2 + 10
    met = all(0 <= n <= at_end for n in lost)
    checks.append(("only what was in flight at the end is uncounted", met, ", ".join(map(str, lost)) + " requests"))
    return checks


def report(figures: list[dict[str, Any]]) -> tuple[str, bool]:
    """RESULTS.md, and whether every demand is met."""
    unfit = sum(f.get("unfit_before", 0) for f in figures)
    lines = [
        "# Live searches against servers of known capacity",
        "",
        f"Made by `make bench-live` on {os.cpu_count()} cores ({platform.machine()}, Python "
        f"{platform.python_version()}), "
        "runs side by side. Each line of the second table is one search; nothing is left out.",
        *([f"{unfit} more ended as `{UNFIT}`, as the machine was too busy, and were run again."] if unfit else []),
        *([CONDITIONS.read_text().strip()] if CONDITIONS.exists() else []),
        "",
        "| case | demand | met | measured |",
        "|---|---|---|---|",
    ]
    all_met = True
    for case in CASES:
        runs = [f for f in figures if f["case"] == case.name]
        for demand, met, measured in judge(case, runs) if runs else ():
            all_met &= met
            lines.append(f"| {case.name} | {demand} | {'yes' if met else '**no**'} | {measured} |")
    lines += [
        "",
        "| case | seed | truth | answer (95 % interval) | error | verdict | time | probes, invalid | late s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for f in figures:
        answer = "none" if f["value"] is None else f"{f['value']:g} ({f['low']:g} .. {f['high']:g})"
        error = "" if f["error"] is None else f"{100 * f['error']:+.1f} %"
        lines.append(
            f"| {f['case']} | {f['seed']} | {f['truth']:g} | {answer} | {error} | {f['verdict']}, {f['reason']} "
            f"| {f['elapsed_s']:.0f} s | {f['probes']}, {f['invalid']} | {f['late_s']:.0f} |"
        )
    return "\n".join(lines) + "\n", all_met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help="beginnings of case names; all without")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=max(2, 2 * (os.cpu_count() or 1)))
    parser.add_argument("--only-unfit", action="store_true", help="run again what the machine was too busy for")
    parser.add_argument("--only-report", action="store_true", help="write RESULTS.md anew from results.json")
    options = parser.parse_args()
    stored = HERE / "results.json"
    figures: list[dict[str, Any]] = json.loads(stored.read_text()) if stored.exists() else []
    if not options.only_report:
        chosen = [c for c in CASES if not options.cases or any(c.name.startswith(o) for o in options.cases)]
        LOG.unlink(missing_ok=True)
        # The names in turn, so that a busy moment of the machine is shared by all cases.
        todo = [(case, seed, 0) for seed in range(1, options.runs + 1) for case in chosen]
        if options.only_unfit:
            unfit = {(f["case"], f["seed"]): f.get("unfit_before", 0) + 1 for f in figures if f["reason"] == UNFIT}
            todo = [(c, s, unfit[c.name, s]) for c, s, _ in todo if (c.name, s) in unfit]
        with ThreadPoolExecutor(options.jobs) as pool:
            fresh = list(pool.map(lambda each: measured(*each), todo))
        names, again = {c.name for c in chosen}, {(case.name, seed) for case, seed, _ in todo}
        stays = [f for f in figures if f["case"] not in names or options.only_unfit]
        figures = [f for f in stays if (f["case"], f["seed"]) not in again] + fresh
        order = [c.name for c in CASES]
        figures.sort(key=lambda f: (order.index(f["case"]), f["seed"]))
        stored.write_text(json.dumps(figures, indent=1) + "\n")
    text, all_met = report(figures)
    (HERE / "RESULTS.md").write_text(text)
    print(text)
    return 0 if all_met else 1


if __name__ == "__main__":
    sys.exit(main())
