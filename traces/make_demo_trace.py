"""Record `demo.trace`: the demo's seeded workload, sent once to the real demo server on loopback.

Run it from the repository with `python traces/make_demo_trace.py [FILE]`; it takes about 20 seconds. The requests are
sent as fast as a few connections allow; their due times are the workload's, so the same code makes the same trace.
"""

from __future__ import annotations

import http.client
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from locust_adaptive.demo.process import DemoServer
from locust_adaptive.demo.workload import INFER_PATH, RankRequest, make_workload
from locust_adaptive.replay.record import Record
from locust_adaptive.replay.store import TraceWriter

CONNECTIONS = 8
HEADERS = (("Content-Type", "application/json"),)


def statuses(url: str, requests: list[RankRequest]) -> list[int]:
    """The status of each answer, the requests sent one after the other on one connection."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    answered = []
    for request in requests:
        connection.request("POST", INFER_PATH, request.body(), dict(HEADERS))
        response = connection.getresponse()
        response.read()
        answered.append(response.status)
    connection.close()
    return answered


def main(path: Path) -> None:
    """Send the workload and write the trace, replacing `path` only when everything was answered with 200."""
    workload = make_workload()
    with DemoServer() as server, ThreadPoolExecutor(CONNECTIONS) as pool:
        shares = [workload[i::CONNECTIONS] for i in range(CONNECTIONS)]
        answers = [status for share in pool.map(statuses, [server.url] * CONNECTIONS, shares) for status in share]
    bad = [status for status in answers if status != 200]
    if bad:
        sys.exit(f"{len(bad)} of {len(workload)} answers were not 200 (first: {bad[0]}); {path} is left as it was")
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    with TraceWriter(unfinished, origin="the demo server, traces/make_demo_trace.py") as writer:
        for request in workload:
            writer.append(
                Record(
                    due_ns=request.due_ns,
                    session=f"s{request.session}",
                    method="POST",
                    path=INFER_PATH,
                    headers=HEADERS,
                    body=request.body(),
                    name="rank",
                    expect=200,
                )
            )
    os.replace(unfinished, path)
    print(f"{path}: {len(workload)} requests, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("demo.trace"))
