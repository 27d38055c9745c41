"""A live HTTP server of known capacity: a first-come first-served queue in virtual time, and `Target` to start it.

The answer of a request leaves at an absolute time that the queue's formula gives at its arrival. A slow machine can
only delay answers; it never makes the server slower. `truth.py` computes the capacity from the same formula.

A `Mischief` makes it misbehave; its `gone` counts from the first request.

GET /stats answers at once with counts, so that a test can hold the server's requests against its own. A record of every
arrival, written when the server ends, is there even if it went away.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from heapq import heapify, heapreplace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from locust_adaptive.demo.http1 import CannotServe, Exchange, Listener, serve
from locust_adaptive.demo.process import ServerProcess
from locust_adaptive.simulation.mischief import Misbehaviour, Mischief


@dataclass(frozen=True, slots=True)
class Service:
    """What one request costs: log-normal with this mean in seconds and this sigma of the logarithm, on c workers."""

    workers: int
    mean_s: float
    sigma: float

    @property
    def log_mean(self) -> float:
        """Mean of the logarithm of the service time."""
        return math.log(self.mean_s) - self.sigma**2 / 2


@dataclass(frozen=True, slots=True)
class Trouble:
    """What disturbs the server, in seconds from its first request; zeros are none.

    Cold: service that starts in the first `cold_s` takes `cold_factor` times as long, flat for 60 % of that time, then
    falling linearly to 1. Pause: nothing is served for `pause_s` every `period_s`, first at `period_s`; the work of
    that time is delayed, not lost.
    """

    cold_s: float = 0.0
    cold_factor: float = 1.0
    pause_s: float = 0.0
    period_s: float = math.inf

    def slowdown(self, since_s: float) -> float:
        """How many times longer service takes that starts `since_s` after the first request."""
        flat = 0.6 * self.cold_s
        if since_s >= self.cold_s:
            return 1.0
        if since_s <= flat:
            return self.cold_factor
        return self.cold_factor - (self.cold_factor - 1.0) * (since_s - flat) / (self.cold_s - flat)

    def finish(self, start_s: float, work_s: float) -> float:
        """When `work_s` seconds of work that begin at `start_s` are done, the pauses left out."""
        if self.pause_s == 0.0:
            return start_s + work_s
        number = math.floor(start_s / self.period_s)
        if number >= 1:
            start_s = max(start_s, number * self.period_s + self.pause_s)
        while start_s + work_s > (number + 1) * self.period_s:
            number += 1
            work_s -= number * self.period_s - start_s
            start_s = number * self.period_s + self.pause_s
        return start_s + work_s


class VirtualQueue:
    """c workers, first come first served, as a pure formula: the arrival and the service time give the completion."""

    def __init__(self, workers: int, trouble: Trouble | None = None) -> None:
        self._free_at = [-math.inf] * workers
        heapify(self._free_at)
        self._trouble = trouble or Trouble()
        self._first: float | None = None

    def completion(self, arrival: float, service_s: float) -> float:
        """When a request that arrives now (arrivals must not go back) and needs `service_s` undisturbed is through."""
        if self._first is None:
            self._first = arrival
        start = max(arrival, self._free_at[0]) - self._first
        done = self._first + self._trouble.finish(start, service_s * self._trouble.slowdown(start))
        heapreplace(self._free_at, done)
        return done


class TargetServer:
    """Answers any path and method when the virtual queue says so, and counts."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        service: Service,
        seed: int,
        trouble: Trouble,
        max_open: float,
        mischief: Mischief,
    ) -> None:
        self.statuses: Counter[int] = Counter()
        self._delay_s, self._gone = mischief.delay, mischief.gone
        self._misbehaviour = Misbehaviour(replace(mischief, gone=None), random.Random(seed))
        self._began = asyncio.Event()
        self._last = -math.inf
        self._loop = loop
        self._service = service
        self._random = random.Random(seed)
        self._queue = VirtualQueue(service.workers, trouble)
        self._max_open_allowed = max_open
        self._first: float | None = None
        self._received = self._answered = self._rejected = self._open = self._max_open = 0
        self._per_second: list[int] = []
        self._ids: set[bytes] = set()
        self._arrivals: list[float] = []
        self._held: list[Exchange] = []
        self._at_once = 0

    def handle(self, exchange: Exchange) -> None:
        """Queue the request, refuse it with 503 when the queue is full, or answer with the counts."""
        if exchange.path == "/stats":
            exchange.answer(200, json.dumps(self._stats()).encode())
            return
        now = self._loop.time()
        self._count(exchange, now)
        if self._open >= self._max_open_allowed:
            self._rejected += 1
            exchange.answer(503, b'{"error":"the queue is full"}')
            return
        fate = self._misbehaviour.fate(now)
        if fate == "hang":
            return
        if fate == "reset":
            exchange.break_off()
            return
        if fate == "half":
            exchange.break_off(b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"ok"')
            return
        if fate is not None and fate.startswith("http "):
            exchange.answer(int(fate.removeprefix("http ")), b'{"error":"mischief"}')
            return
        self._open += 1
        self._max_open = max(self._max_open, self._open)
        late_s = self._delay_s if fate == "slow" else 0.0
        service_s = self._random.lognormvariate(self._service.log_mean, self._service.sigma)
        self._loop.call_at(self._queue.completion(now, service_s) + late_s, self._answer, exchange)

    async def attend(self, listener: Listener) -> None:
        """Go away and come back, as told."""
        if self._gone is None:
            return
        await self._began.wait()
        away, back = self._gone
        await asyncio.sleep(away)
        listener.close()
        if math.isfinite(back):
            await asyncio.sleep(back - away)
            await listener.open()

    def _answer(self, exchange: Exchange) -> None:
        self._open -= 1
        self._answered += 1
        exchange.answer(200, b'{"ok":true}')

    def _count(self, exchange: Exchange, now: float) -> None:
        if self._first is None:
            self._first = now
            self._began.set()
        self._last = now
        self._received += 1
        self._arrivals.append(now)
        self._held = [*(held for held in self._held if not _over(held)), exchange]
        self._at_once = max(self._at_once, len(self._held))
        second = int(now - self._first)
        self._per_second.extend([0] * (second + 1 - len(self._per_second)))
        self._per_second[second] += 1
        identity = exchange.headers.get(b"x-id")
        if identity is not None:
            self._ids.add(identity)

    def _stats(self) -> dict[str, Any]:
        return {
            "received": self._received,
            "answered": self._answered,
            "rejected": self._rejected,
            "open": self._open,
            "max_open": self._max_open,
            "distinct_ids": len(self._ids),
            "per_second": self._per_second,
            "silent_s": self._loop.time() - self._last if self._received else None,
        }

    def record(self) -> dict[str, Any]:
        """When each request came, in seconds of the Unix time, and how many were at most here at once."""
        since = time.time() - self._loop.time()
        return {"arrivals": [round(since + t, 3) for t in self._arrivals], "at_once": self._at_once}


def _over(exchange: Exchange) -> bool:
    """Is it answered, or its client gone?"""
    return exchange._reply is not None or exchange._connection._transport is None


class Target(ServerProcess):
    """The server as a process: `with Target(service) as target: ... target.url ... target.stats()`."""

    def __init__(
        self,
        service: Service,
        *,
        seed: int = 1,
        trouble: Trouble | None = None,
        max_open: int | None = None,
        mischief: Mischief | None = None,
        record: Path | None = None,
    ) -> None:
        """`max_open`: requests that may wait or be served at once; one more gets 503. None is no bound. `record`: the
        file that gets `TargetServer.record` as JSON when the server ends."""
        # -P: the files beside this one must not shadow modules.
        command = [sys.executable, "-P", str(Path(__file__).resolve()), "--port", "0", "--until-stdin-eof"]
        command += ["--workers", str(service.workers), "--mean", str(service.mean_s), "--sigma", str(service.sigma)]
        command += ["--seed", str(seed)]
        if trouble is not None and trouble.cold_s:
            command += ["--cold", f"{trouble.cold_s},{trouble.cold_factor}"]
        if trouble is not None and trouble.pause_s:
            command += ["--pause", f"{trouble.pause_s},{trouble.period_s}"]
        if max_open is not None:
            command += ["--queue", str(max_open)]
        if mischief is not None:
            command += ["--mischief", f"{mischief.mode},{mischief.above},{mischief.delay},{mischief.share}"]
            if mischief.gone is not None:
                command += ["--gone", f"{mischief.gone[0]},{mischief.gone[1]}"]
        if record is not None:
            command += ["--record", str(record)]
        super().__init__(command)

    def stats(self) -> dict[str, Any]:
        """The server's counts: received (without /stats), answered, rejected (503), open, max_open, distinct_ids
        (of X-Id headers), per_second (arrivals in each second from the first request) and silent_s (seconds since
        the last arrival; None before the first)."""
        with urlopen(f"{self.url}/stats", timeout=10) as response:
            counts: dict[str, Any] = json.load(response)
        return counts


def _pair(text: str) -> tuple[float, float]:
    first, second = text.split(",")
    return float(first), float(second)


async def _main(arguments: argparse.Namespace) -> None:
    trouble = Trouble(*(arguments.cold or (0.0, 1.0)), *(arguments.pause or (0.0, math.inf)))
    service = Service(arguments.workers, arguments.mean, arguments.sigma)
    mode, above, delay, share = arguments.mischief.split(",")
    mischief = Mischief(mode, float(above), float(delay), float(share), arguments.gone)
    server = TargetServer(asyncio.get_running_loop(), service, arguments.seed, trouble, arguments.queue, mischief)
    await serve(server.handle, server.statuses, arguments.port, arguments.until_stdin_eof, server.attend)
    if arguments.record is not None:
        arguments.record.write_text(json.dumps(server.record()))


def main() -> None:
    """Run the server in this process until it is told to stop."""
    parser = argparse.ArgumentParser(description="An HTTP server of known capacity, on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    parser.add_argument("--workers", type=int, default=1, metavar="C")
    parser.add_argument("--mean", type=float, default=0.0125, metavar="S", help="mean service time")
    parser.add_argument("--sigma", type=float, default=0.4, help="of the logarithm of the service time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cold", type=_pair, metavar="W,F", help="F times slower at first, gone after W seconds")
    parser.add_argument("--pause", type=_pair, metavar="LEN,PERIOD", help="no service for LEN s every PERIOD s")
    parser.add_argument("--queue", type=float, default=math.inf, metavar="N", help="open requests, one more gets 503")
    parser.add_argument(
        "--mischief", default="hang,inf,0,0", metavar="MODE,ABOVE,DELAY,SHARE", help="what it does wrong above a rate"
    )
    parser.add_argument("--gone", type=_pair, metavar="FROM,TO", help="nobody listens in that time")
    parser.add_argument("--record", type=Path, metavar="FILE", help="gets the time of every arrival, at the end")
    parser.add_argument("--until-stdin-eof", action="store_true", help="exit when standard input ends")
    try:
        asyncio.run(_main(parser.parse_args()))
    except CannotServe as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
