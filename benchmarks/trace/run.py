"""What a long trace costs a worker: time to open it, memory to play it. Results go to benchmarks/trace/RESULTS.md.

    python benchmarks/trace/run.py [--requests 1000000] [--folder FOLDER]

The trace is made in FOLDER (1 million requests: about 2 minutes, 0.7 GB) and kept there for the next time. Each figure
is of a fresh process, the median of five.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from locust_adaptive.replay.record import Record
from locust_adaptive.replay.store import Trace, TraceWriter

RUNS = 5
PLAYED = 50_000
PROBE = """
import json, sys, time
import locust, gevent  # what a worker has without us

def memory(kind):
    with open('/proc/self/status') as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(kind))

path, played = sys.argv[1], int(sys.argv[2])
found = {'memory': -memory('RssAnon')}
from locust_adaptive import ReplayUser
from locust_adaptive.replay.population import Population
from locust_adaptive.replay.store import Trace
found['trace'] = -memory('RssAnon')

def step(name, act):
    began = time.perf_counter()
    result = act()
    found[name] = 1e3 * (time.perf_counter() - began)
    return result

trace = step('open', lambda: Trace.open(path))
index = step('index', trace.index)
population = step('population', lambda: Population(index, 1))
plays = population.plays(1)
step('play', lambda: [len(trace.record(next(plays).row).body) for _ in range(played)])
for kind in ('memory', 'trace'):
    found[kind] += memory('RssAnon')
found['peak'] = memory('VmHWM') - memory('VmRSS')
print(json.dumps(found))
"""


def make(path: Path, requests: int) -> float:
    """A trace of sessions of 5, 20 endpoints, bodies of 100 to 1000 bytes, all different; seconds it took."""
    began = time.perf_counter()
    filler = "x" * 1000
    with TraceWriter(path, origin="benchmarks/trace/run.py", batch=4096) as writer:
        for i in range(requests):
            body = f'{{"id":{i},"text":"{filler[: 100 + i * 7919 % 900]}"}}'.encode()
            headers = (("Content-Type", "application/json"),)
            writer.append(Record(i * 1_003_009, f"s{i // 40 * 8 + i % 8}", "POST", f"/v1/m{i % 20}", headers, body))
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    asked = parser.parse_args()
    path = asked.folder / f"synthetic-{asked.requests}.trace"
    if not path.exists():
        print(f"{path}: made in {make(path, asked.requests):.0f} s")
    with Trace.open(path) as trace:
        sessions = trace.info().sessions
    command = [sys.executable, "-W", "ignore", "-c", PROBE, str(path), str(PLAYED)]
    runs = [json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(RUNS)]
    found = {key: median(run[key] for run in runs) for key in runs[0]}
    text = f"""# What a long trace costs a worker

`python benchmarks/trace/run.py --requests {asked.requests}`: {asked.requests} requests in {sessions} sessions,
{path.stat().st_size / 1e6:.0f} MB. Python {platform.python_version()}, medians of {RUNS} processes.

| what | figure |
|---|---|
| open | {found["open"]:.1f} ms |
| read the index | {found["index"]:.0f} ms |
| make the population | {found["population"]:.0f} ms |
| fetch one request, in the order of a probe | {1e3 * found["play"] / PLAYED:.1f} us |
| memory that grew by the trace, after {PLAYED} requests | {found["trace"]:.0f} MB |
| memory above Locust's own (this, our code and NumPy) | {found["memory"]:.0f} MB |
| above that, while the index was read | {found["peak"]:.0f} MB |
"""
    Path(__file__).with_name("RESULTS.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
