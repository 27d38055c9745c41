"""The embedded model server: KServe V2 over HTTP/1.1 in front of the emulated accelerator, with Prometheus metrics.

Inference is real; what it costs is emulated: an answer leaves at the time that the accelerator's formula gives, on an
absolute schedule. A slow machine can make answers late, it cannot make the device slower.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from locust_adaptive.demo import kserve
from locust_adaptive.demo.accelerator import Accelerator, Batch, Device
from locust_adaptive.demo.http1 import CannotServe, Exchange, serve
from locust_adaptive.demo.model import Ranker
from locust_adaptive.demo.workload import INFER_PATH, MODEL

MAX_QUEUE = 256
LATENCY_BUCKETS_S = (0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 1.0, 2.5)


class Timer(Protocol):
    """What `Clock.call_at` returns."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """The part of an asyncio loop that the server needs."""

    def time(self) -> float: ...

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer: ...


class ModelServer:
    """Routes, queue and answers. Give `handle` to `http1.serve`; it must be called on the thread of `clock`."""

    def __init__(self, clock: Clock, device: Device | None = None, max_queue: int = MAX_QUEUE) -> None:
        self.statuses: Counter[int] = Counter()
        self._clock = clock
        self._accelerator = Accelerator(device or Device(), max_queue)
        self._ranker = Ranker()
        self._waiting: dict[int, tuple[Exchange, float, str | None, int, NDArray[np.int64]]] = {}
        self._timer: Timer | None = None
        self._buckets = [0] * (len(LATENCY_BUCKETS_S) + 1)
        self._latency_sum_s = 0.0

    def handle(self, exchange: Exchange) -> None:
        """Answer a request now, or, an inference, when the accelerator is through with it."""
        known = {
            "/v2/health/live": ("GET", self._healthy),
            "/v2/health/ready": ("GET", self._healthy),
            f"/v2/models/{MODEL}": ("GET", self._describe),
            f"/v2/models/{MODEL}/ready": ("GET", self._healthy),
            INFER_PATH: ("POST", self._infer),
            "/metrics": ("GET", self._metrics),
        }.get(exchange.path)
        if known is None:
            _refuse(exchange, 404, f"there is no {exchange.path[:200]} here; the model is at /v2/models/{MODEL}")
        elif exchange.method != known[0]:
            _refuse(exchange, 405, f"{exchange.path} takes {known[0]}, not {exchange.method}")
        else:
            known[1](exchange)

    def _healthy(self, exchange: Exchange) -> None:
        exchange.answer(200)

    def _describe(self, exchange: Exchange) -> None:
        exchange.answer(200, json.dumps(kserve.METADATA).encode())

    def _infer(self, exchange: Exchange) -> None:
        arrived = self._clock.time()
        try:
            identity, user, candidates = kserve.decode_request(exchange.body)
        except kserve.BadRequest as error:
            _refuse(exchange, 400, str(error))
            return
        self._launch(arrived)
        ticket = self._accelerator.offer(arrived, len(candidates))
        if ticket is None:
            _refuse(exchange, 503, f"the queue is full: {self._accelerator.max_queue} requests wait already")
        else:
            self._waiting[ticket] = (exchange, arrived, identity, user, candidates)
            self._launch(arrived)

    def _launch(self, now: float) -> None:
        """Start the batches that are due by `now`, and wake up for the next."""
        for batch in self._accelerator.advance(now):
            self._run(batch)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._accelerator.launch_at()
        if due < np.inf:
            self._timer = self._clock.call_at(due, lambda: self._launch(max(due, self._clock.time())))

    def _run(self, batch: Batch) -> None:
        """Compute the batch's answers now and hold them until its end."""
        answers: list[tuple[Exchange, bytes]] = []
        for ticket in batch.tickets:
            exchange, arrived, identity, user, candidates = self._waiting.pop(ticket)
            # One request a call, so that scores do not depend on the company in the batch.
            answers.append((exchange, kserve.encode_answer(identity, self._ranker.score(user, candidates))))
            self._buckets[bisect_left(LATENCY_BUCKETS_S, batch.end - arrived)] += 1
            self._latency_sum_s += batch.end - arrived
        self._clock.call_at(batch.end, lambda: _release(answers))

    def _metrics(self, exchange: Exchange) -> None:
        now = self._clock.time()
        self._launch(now)
        cumulative = np.cumsum(self._buckets).tolist()
        name = "demo_inference_seconds"
        lines = [
            "# HELP demo_http_responses_total Answers by status, every path.",
            "# TYPE demo_http_responses_total counter",
            *(f'demo_http_responses_total{{status="{status}"}} {n}' for status, n in sorted(self.statuses.items())),
            "# HELP demo_queue_depth Requests that wait for the accelerator.",
            "# TYPE demo_queue_depth gauge",
            f"demo_queue_depth {self._accelerator.queue_depth}",
            "# HELP demo_batches_total Batches launched on the emulated accelerator.",
            "# TYPE demo_batches_total counter",
            f"demo_batches_total {self._accelerator.batches}",
            "# HELP demo_accelerator_busy_seconds_total Seconds that the emulated accelerator was busy.",
            "# TYPE demo_accelerator_busy_seconds_total counter",
            f"demo_accelerator_busy_seconds_total {self._accelerator.busy_seconds(now):.6f}",
            f"# HELP {name} Arrival to answer of the inferences launched so far, by the accelerator's schedule.",
            f"# TYPE {name} histogram",
            *(
                f'{name}_bucket{{le="{le}"}} {n}'
                for le, n in zip((*LATENCY_BUCKETS_S, "+Inf"), cumulative, strict=True)
            ),
            f"{name}_sum {self._latency_sum_s:.6f}",
            f"{name}_count {cumulative[-1]}",
        ]
        exchange.answer(200, ("\n".join(lines) + "\n").encode(), "text/plain; version=0.0.4")


def _release(answers: list[tuple[Exchange, bytes]]) -> None:
    for exchange, body in answers:
        exchange.answer(200, body)


def _refuse(exchange: Exchange, status: int, message: str) -> None:
    exchange.answer(status, json.dumps({"error": message}).encode())


async def _main(port: int, until_stdin_eof: bool) -> None:
    server = ModelServer(asyncio.get_running_loop())
    await serve(server.handle, server.statuses, port, until_stdin_eof)


def main() -> None:
    """Run the demo server in this process until it is told to stop."""
    parser = argparse.ArgumentParser(description="The demo's model server, on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default 8000)")
    parser.add_argument("--until-stdin-eof", action="store_true", help="exit when standard input ends")
    arguments = parser.parse_args()
    try:
        asyncio.run(_main(arguments.port, arguments.until_stdin_eof))
    except CannotServe as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
