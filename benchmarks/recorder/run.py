"""What the recording proxy adds to a request: writes RESULTS.md beside this file.

    make bench-record                         60 s of load in 5 s blocks, about 70 s in all
    python -m benchmarks.recorder.run --rounds N --rate R --note TEXT

500 requests per second go, in interleaved blocks so that what else the machine does hits all alike, straight to the
demo server, through the proxy without its recording, and through the proxy that records. One paced connection each; the
server reads the body and answers at once (405), so that the latency is that of the wire and of the proxy.
"""

from __future__ import annotations

import argparse
import os
import platform
import socket
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from locust_adaptive.demo.process import DemoServer, ServerProcess
from locust_adaptive.demo.workload import MODEL, make_workload
from locust_adaptive.replay.store import Trace

HERE = Path(__file__).parent
BLOCK_S = 5.0
REACH_MS, REACH_CPU_US = 1.0, 400.0
SECRET = "CANARY-in-every-request"


@dataclass
class Way:
    """How requests reach the server, and what was measured there."""

    name: str
    process: ServerProcess
    latencies_s: list[float] = field(default_factory=list)
    cpu_s: float = 0.0

    def connect(self) -> None:
        host, port = self.process.url.removeprefix("http://").split(":")
        self.connection = socket.create_connection((host, int(port)), timeout=10)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes) -> None:
        """Send a request, in one piece, and read its answer."""
        sent = time.perf_counter()
        self.connection.sendall(request)
        answer = b""
        while not (end := answer.find(b"\r\n\r\n") + 4) > 3 or len(answer) < end + length(answer[:end]):
            answer += self.connection.recv(65536)
        self.latencies_s.append(time.perf_counter() - sent)
        assert answer.startswith(b"HTTP/1.1 405"), answer

    def milliseconds(self, share: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1e3

    @property
    def cpu_us(self) -> float:
        """CPU of its process for a request."""
        return self.cpu_s / len(self.latencies_s) * 1e6


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all its threads, in ticks of 10 ms."""
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def length(head: bytes) -> int:
    """The Content-Length of an answer."""
    return int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])


def wire(body: bytes) -> bytes:
    """A request as a client sends it."""
    head = (
        f"POST /v2/models/{MODEL} HTTP/1.1\r\nHost: model\r\nUser-Agent: bench\r\nAccept: */*\r\n"
        f"Accept-Encoding: gzip, deflate\r\nContent-Type: application/json\r\nAuthorization: Bearer {SECRET}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def block(way: Way, requests: list[bytes], rate: float) -> None:
    """One block of paced requests; one that is late is sent at once."""
    before, began = cpu_seconds(way.process.pid), time.perf_counter()
    for i in range(int(BLOCK_S * rate)):
        if (wait := began + i / rate - time.perf_counter()) > 0:
            time.sleep(wait)
        way.ask(requests[i % len(requests)])
    time.sleep(0.1)  # what the writer has still to do belongs to this block
    way.cpu_s += cpu_seconds(way.process.pid) - before


def proxy(target: str, *options: str) -> ServerProcess:
    command = [sys.executable, "-c", "from locust_adaptive.cli import main; main()", "trace", "record"]
    return ServerProcess([*command, "--target", target, "--listen", "127.0.0.1:0", *options])


def measure(rounds: int, rate: float) -> tuple[list[Way], int, int, bool]:
    """The three ways; how many requests the trace has, and says it lost; whether the secret is nowhere in it."""
    requests = [wire(request.body()) for request in make_workload()]
    with tempfile.TemporaryDirectory() as folder, DemoServer() as server:
        out = Path(folder) / "bench.trace"
        with (
            proxy(server.url, "--out", "-", "--no-recording") as relay,
            proxy(server.url, "--out", str(out)) as recorder,
        ):
            ways = [Way("direct", server), Way("relay", relay), Way("recorder", recorder)]
            for way in ways:
                way.connect()
            for number in range(rounds):
                for way in ways[number % 3 :] + ways[: number % 3]:
                    block(way, requests, rate)
                    print(f"block of {way.name}: p50 {way.milliseconds(0.5):.3f} ms so far", flush=True)
            for way in ways:
                way.connection.close()
        clean = SECRET.encode() not in out.read_bytes()
        with Trace.open(out) as trace:
            return ways, len(trace), sum(trace.info().dropped.values()), clean


def report(ways: list[Way], recorded: int, counted: int, clean: bool, rate: float, note: str) -> str:
    direct, relay, recorder = ways
    added = recorder.milliseconds(0.5) - relay.milliseconds(0.5)
    sent = len(recorder.latencies_s)

    def judged(value: bool) -> str:
        return "reached" if value else "NOT reached"

    lines = [
        "# What the recording proxy adds",
        "",
        f"`make bench-record`: {rate:g} requests/s in interleaved blocks of {BLOCK_S:g} s, {sent} requests each way, "
        f"bodies of {statistics.median(map(len, (r.body() for r in make_workload()))):.0f} bytes (median). "
        f"Python {platform.python_version()}, {os.cpu_count()} cores.",
        *(["", note] if note else []),
        "",
        "| way | p50 ms | p90 ms | p99 ms | CPU of the proxy, us a request |",
        "|---|---|---|---|---|",
        *(
            f"| {way.name} | {' | '.join(f'{way.milliseconds(share):.3f}' for share in (0.5, 0.9, 0.99))} | "
            f"{'-' if way is direct else f'{way.cpu_us:.0f}'} |"
            for way in ways
        ),
        "",
        f"- Recorder minus relay, medians: {added:.3f} ms (reach: {REACH_MS:g} ms): {judged(added <= REACH_MS)}.",
        f"- CPU of the recorder: {recorder.cpu_us:.0f} us a request (reach: {REACH_CPU_US:g} us): "
        f"{judged(recorder.cpu_us <= REACH_CPU_US)}; {recorder.cpu_us - relay.cpu_us:.0f} us are the recording.",
        f"- Sent {sent}, in the trace {recorded}, counted as lost {counted}, neither {sent - recorded - counted}.",
        f"- The secret that every request carries is {'not' if clean else 'STILL'} in the file.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4, help="of three blocks each (default 4)")
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--note", default="", help="what else the machine did, for RESULTS.md")
    arguments = parser.parse_args()
    ways, recorded, counted, clean = measure(arguments.rounds, arguments.rate)
    text = report(ways, recorded, counted, clean, arguments.rate, arguments.note)
    (HERE / "RESULTS.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
