"""Searches, in real time, that replay a trace against real model servers: writes RESULTS.md beside this file.

    make bench-cases                                    Triton and FastAPI, 3 runs each
    python -m benchmarks.cases.live triton --runs 1

The server has the last core to itself, the generator the others. What is right is not known of a real server: that the
search resolves, and that its answers agree, is what is seen here. One that ends as `measurement_invalid` says that the
machine was too busy: it is run again, and counted.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.support.searches import Search, search

from . import traces
from .targets import TARGETS, Served, elsewhere

HERE = Path(__file__).resolve().parent
CASES = ("triton", "fastapi")
PACKAGES = ("nvidia-pytriton", "fastapi", "uvicorn", "onnxruntime", "lightgbm", "xllamacpp")
TIMEOUT_S = 1500.0
TRIES = 3
COLUMNS = (
    *("target", "seed", "capacity, req/s", "95 % interval", "limit", "verdict", "time"),
    *("probes, invalid", "generator CPU", "unfit before", "notes"),
)


def find(target: str, folder: Path, *arguments: str) -> Search:
    """One search against a fresh server; what it leaves is in `folder`, with the server's log."""
    traces.made(target)
    locustfile = HERE / "locustfiles" / f"against_{target}.py"
    cores = os.sched_getaffinity(0)
    core = max(cores) if len(cores) > 1 else None
    with Served(target, core=core, log=folder / "server.log") as server, elsewhere(core):
        return search(folder, locustfile, ["-H", server.url, *arguments], timeout=TIMEOUT_S)


def measured(target: str, seed: int, keep: Path | None) -> tuple[Search, int]:
    """A search, run until the machine lets it be measured, or TRIES are over; how many were unfit before. What each
    leaves is kept below the folder `keep`, if there is one."""
    for unfit in range(TRIES):
        with tempfile.TemporaryDirectory() as scratch:
            folder = keep / f"{target}-{seed}-{unfit}" if keep else Path(scratch)
            found = find(target, folder.absolute(), "--adaptive-seed", str(seed))
        if found.outcome["reason"] != "measurement_invalid":
            return found, unfit
    return found, TRIES


def row(target: str, seed: int, found: Search, unfit: int) -> str:
    outcome, capacity = found.outcome, found.outcome["capacity"]
    value = "none" if capacity["value"] is None else f"{capacity['value']:.4g}"
    ends = " .. ".join("?" if end is None else f"{end:.4g}" for end in (capacity["low"], capacity["high"]))
    generator = outcome["generator"]
    columns = (
        target,
        str(seed),
        value,
        ends,
        str(outcome["limit"]["objective"]),
        f"{outcome['verdict']}, {outcome['reason']}",
        f"{outcome['elapsed_s']:.0f} s",
        f"{len(outcome['trials'])}, {generator['invalid_probes']}",
        f"{100 * generator['cpu_max']:.0f} %",
        str(unfit),
        ", ".join(outcome["notes"]) or "-",
    )
    return f"| {' | '.join(columns)} |"


def report(rows: Iterable[str]) -> str:
    return "\n".join(
        (
            "# Searches against real model servers",
            "",
            f"Made by `make bench-cases` on {os.cpu_count()} cores ({platform.machine()}, Python "
            f"{platform.python_version()}): the server on one, the generator on the other. {', '.join(_versions())}.",
            "",
            f"| {' | '.join(COLUMNS)} |",
            "|---" * len(COLUMNS) + "|",
            *rows,
            "",
        )
    )


def _versions() -> Iterable[str]:
    for package in PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="?", choices=TARGETS, help=f"only this one; {' and '.join(CASES)} without")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="a folder for what each search leaves: journal, result, logs")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rows, resolved = [], True
    for seed in range(1, options.runs + 1):
        for target in [options.target] if options.target else CASES:
            found, unfit = measured(target, seed, options.keep)
            resolved &= found.outcome["verdict"] == "resolved"
            rows.append(row(target, seed, found, unfit))
            print(rows[-1], flush=True)
    if not options.target:
        (HERE / "RESULTS.md").write_text(report(sorted(rows)))
    return 0 if resolved else 1


if __name__ == "__main__":
    sys.exit(main())
