"""One client at work, in a process of its own: `python -m benchmarks.generator.drive '{"client": "replay", ...}'`.

It prints one line of JSON: what a request cost of CPU time, with Locust's statistics and our measurement, as in a
search; and in open loop how late requests went out.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from locust import FastHttpUser, HttpUser, constant, task  # noqa: E402
from locust.env import Environment  # noqa: E402

from locust_adaptive import OpenLoop, ReplayUser  # noqa: E402
from locust_adaptive.plugin import inflight  # noqa: E402
from locust_adaptive.plugin.guards import Collector, clock, protect  # noqa: E402
from locust_adaptive.plugin.scheduler import scheduler_of  # noqa: E402
from locust_adaptive.replay.record import Record  # noqa: E402
from locust_adaptive.replay.store import TraceWriter  # noqa: E402
from locust_adaptive.search.histogram import Histogram  # noqa: E402
from locust_adaptive.search.meter import Meter  # noqa: E402
from locust_adaptive.search.slo import Slo  # noqa: E402

WARM_S = 1.5
SETTLE_S = 0.2
USERS = 50
BODIES = 500
HEADERS = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True)
class Job:
    """`rate`: arrivals a second in open loop; 0: `USERS` users, each as fast as it can."""

    client: str
    url: str
    body_bytes: int
    rate: float
    seconds: float


def bodies(size: int) -> list[bytes]:
    return [os.urandom(size) for _ in range(max(BODIES * 2000 // max(size, 2000), 10))]


def user_class(job: Job, folder: Path) -> Any:
    load = {"host": job.url, "load": "open" if job.rate else "closed", "wait_time": constant(0)}
    sent = bodies(job.body_bytes)
    if job.client == "replay":
        trace = folder / "bodies.trace"
        with TraceWriter(trace, origin="benchmarks/generator") as writer:
            for i, body in enumerate(sent):
                writer.append(Record(i, f"s{i}", "POST", "/v1/rank", tuple(HEADERS.items()), body, expect=200))
        return type("Replay", (ReplayUser,), {"trace": str(trace), **load})

    def post(self: Any) -> None:
        turn = self.turn = (getattr(self, "turn", -1) + 1) % len(sent)
        self.client.post("/v1/rank", data=sent[turn], headers=HEADERS)

    base = {"fast": FastHttpUser, "http": HttpUser}[job.client]
    return type("Posting", (OpenLoop, base), {"tasks": [task(post)], **load})


def drive(job: Job, folder: Path) -> dict[str, float]:
    cls = user_class(job, folder)
    protect()
    environment = Environment(user_classes=[cls], host=job.url)
    runner = environment.create_local_runner()
    inflight.install(environment)
    meter = Meter(Slo.parse("p99<250ms & errors<1%"), 0.005, clock())
    inflight.instruments.meter = meter
    if job.rate:
        scheduler_of(environment).set_rate(job.rate)
    runner.start(10 if job.rate else USERS, 1000)
    collector = Collector()
    gevent.sleep(WARM_S)
    collector.freeze()
    gevent.sleep(SETTLE_S)  # what fell due meanwhile goes out late; a worker freezes while it sends nothing
    meter.open_probe(1, clock())
    before, cpu, wall = environment.stats.total.num_requests, time.process_time(), clock()
    lag = Histogram()

    def ship() -> None:
        """As a worker does, twice a second."""
        while True:
            for shipment in meter.collect(clock()):
                for flow in shipment.flows:
                    lag.merge(Histogram(flow.lag))
            gevent.sleep(0.5)

    gevent.spawn(ship)
    gevent.sleep(job.seconds)
    done = environment.stats.total.num_requests - before
    cpu, wall = time.process_time() - cpu, clock() - wall
    result = {
        "requests": done,
        "failures": environment.stats.total.num_failures,
        "cpu_us": 1e6 * cpu / done,
        "busy": cpu / wall,
        "rate": done / wall,
    }
    if job.rate:
        result |= {"lag_p50_ms": 1000 * lag.quantile(0.5), "lag_p99_ms": 1000 * lag.quantile(0.99)}
    return result


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(drive(Job(**json.loads(sys.argv[1])), Path(folder))), flush=True)
    os._exit(0)
