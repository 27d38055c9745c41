"""What a request costs, of CPU time, with each client: writes results.json and RESULTS.md beside this file.

    make bench-generator                        every case, 5 rounds (about 8 minutes)
    python -m benchmarks.generator.run --rounds 2 --seconds 2 --cases 2KB

In each round every client of a case is run once, one after the other, in a process of its own, against the same
server: what else the machine does falls on all of them. Medians of the rounds; ratios within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from .drive import Job

HERE = Path(__file__).resolve().parent
PEER = "fast"
NAMES = {"replay": "ReplayUser", "fast": "FastHttpUser", "http": "HttpUser", "wrk": "wrk"}
REACH = {"saturated": 4.0, "open loop": 3.0}

Result = dict[str, float]


@dataclass(frozen=True)
class Case:
    name: str
    body_bytes: int
    reply_bytes: int
    rate: float
    clients: tuple[str, ...]

    @property
    def kind(self) -> str:
        return "open loop" if self.rate else "saturated"


ALL = ("replay", "fast", "http", "wrk")
CASES = (
    Case("2KB saturated", 2_000, 11, 0, ALL),
    Case("100KB saturated", 100_000, 11, 0, ALL),
    Case("20KB replies saturated", 2_000, 20_000, 0, ALL),
    Case("2KB at 500/s", 2_000, 11, 500, ("replay", "fast", "http")),
    Case("2KB at 2000/s", 2_000, 11, 2000, ("replay", "fast")),
    Case("100KB at 2000/s", 100_000, 11, 2000, ("replay", "fast")),
)


@contextmanager
def sink(reply_bytes: int) -> Iterator[str]:
    command = [sys.executable, str(HERE / "sink.py"), str(reply_bytes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def one(client: str, case: Case, url: str, seconds: float) -> Result:
    if client == "wrk":
        return wrk(case, url, seconds)
    job = Job(client, url, case.body_bytes, case.rate, seconds)
    command = [sys.executable, "-m", "benchmarks.generator.drive", json.dumps(asdict(job))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parents[1], timeout=120, check=False)
    if done.returncode:
        raise SystemExit(f"{case.name}, {client}: exit {done.returncode}\n{done.stderr}")
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


def wrk(case: Case, url: str, seconds: float) -> Result:
    """The ceiling: a client in C that measures nothing but its own latency."""
    script = f'wrk.method = "POST"\nwrk.body = string.rep("x", {case.body_bytes})\n'
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = ["wrk", "-t1", "-c50", f"-d{seconds:g}s", "-s", file.name, f"{url}/v1/rank"]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    requests = int(next(line for line in said.splitlines() if "requests in" in line).split()[0])
    return {"requests": requests, "failures": 0, "cpu_us": 1e6 * cpu / requests, "busy": cpu / seconds}


def measure(cases: Sequence[Case], rounds: int, seconds: float) -> dict[str, dict[str, list[Result]]]:
    found: dict[str, dict[str, list[Result]]] = {}
    for case in cases:
        clients = [c for c in case.clients if c != "wrk" or shutil.which("wrk")]
        rows = found[case.name] = {client: [] for client in clients}
        with sink(case.reply_bytes) as url:
            for number in range(rounds):
                for client in clients:
                    rows[client].append(one(client, case, url, seconds))
                    print(f"{case.name}, round {number + 1}, {client}: {rows[client][-1]['cpu_us']:.1f} us", flush=True)
    return found


# -- RESULTS.md --------------------------------------------------------------------------------------------------------


def page(found: dict[str, dict[str, list[Result]]], about: dict[str, str]) -> str:
    lines = [
        "# What a request costs the generator",
        "",
        f"`make bench-generator` wrote this, at commit {about['commit']}: {about['python']}, {about['machine']},",
        f"{about['rounds']} rounds of {about['seconds']} s. CPU time of the process by request, with Locust's events",
        "and statistics and our measurement for all of Locust's clients; medians of the rounds. The ratio is",
        "FastHttpUser's cost over the client's, within each round: requests per CPU second against FastHttpUser's.",
        "",
        "| case | client | CPU us | ratio (least - most) | reach | core busy | send lag p50; p99, ms | failures |",
        "|---|---|---|---|---|---|---|---|",
    ]
    cases = {case.name: case for case in CASES}
    for name, rows in found.items():
        for client, results in rows.items():
            ratios = [peer["cpu_us"] / mine["cpu_us"] for peer, mine in zip(rows[PEER], results, strict=True)]
            reach = f"{REACH[cases[name].kind]:g}" if client == "replay" and "at 500" not in name else ""
            lag = [f"{_median(results, key):.2f}" for key in ("lag_p50_ms", "lag_p99_ms") if key in results[0]]
            cells = [
                name,
                NAMES[client],
                f"{_median(results, 'cpu_us'):.1f}",
                f"{statistics.median(ratios):.1f} ({min(ratios):.1f} - {max(ratios):.1f})",
                reach,
                f"{100 * _median(results, 'busy'):.0f} %",
                "; ".join(lag),
                f"{sum(r['failures'] for r in results):.0f}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    if not any("wrk" in rows for rows in found.values()):
        lines += ["", "wrk was not installed."]
    return "\n".join(lines) + "\n"


def _median(results: Sequence[Result], key: str) -> float:
    return statistics.median(r[key] for r in results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=[""], help="how their names begin")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--out", type=Path, default=HERE, help="the folder of results.json and RESULTS.md")
    options = parser.parse_args()
    cases = [case for case in CASES if case.name.startswith(tuple(options.cases))]
    found = measure(cases, options.rounds, options.seconds)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    about = {
        "commit": commit.stdout.strip() or "unknown",
        "python": f"Python {platform.python_version()}",
        "machine": f"{os.cpu_count()} cores, {platform.system()}",
        "rounds": str(options.rounds),
        "seconds": f"{options.seconds:g}",
    }
    (options.out / "results.json").write_text(json.dumps({"about": about, "cases": found}, indent=1) + "\n")
    (options.out / "RESULTS.md").write_text(page(found, about))
    print(f"Written: {options.out / 'RESULTS.md'}")


if __name__ == "__main__":
    main()
