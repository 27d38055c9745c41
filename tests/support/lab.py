"""A Locust run in the test's process: a small HTTP server that counts, a local runner, the scheduler, a meter."""

from collections import Counter
from types import TracebackType
from typing import Any, Self

import gevent
from gevent.server import StreamServer
from locust.env import Environment

from locust_adaptive.plugin import inflight
from locust_adaptive.plugin.guards import clock
from locust_adaptive.plugin.scheduler import Scheduler, scheduler_of
from locust_adaptive.search.meter import Meter
from locust_adaptive.search.slices import NameCounts
from locust_adaptive.search.slo import Slo

from .wait import wait_until


class Backend:
    """HTTP/1.1 on loopback. `/status/503` answers with that status, `/sleep/0.1` later, `/hang` never, `/reset` closes,
    `/moved` redirects to `/`; all else answers 200 at once. `paths` counts the requests received."""

    def __init__(self) -> None:
        self.paths: Counter[str] = Counter()
        self.connections = 0
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def received(self) -> int:
        return sum(self.paths.values())

    def close(self) -> None:
        self._server.stop(timeout=0.1)

    def _serve(self, sock: Any, _address: Any) -> None:
        self.connections += 1
        pending = b""
        while True:
            while b"\r\n\r\n" not in pending:
                chunk = sock.recv(65536)
                if not chunk:
                    return
                pending += chunk
            head, pending = pending.split(b"\r\n\r\n", 1)
            path = head.split(b" ", 2)[1].decode()
            self.paths[path] += 1
            status, extra = 200, ""
            if path.startswith("/status/"):
                status = int(path.rsplit("/", 1)[1])
            elif path.startswith("/sleep/"):
                gevent.sleep(float(path.rsplit("/", 1)[1]))
            elif path == "/hang":
                gevent.sleep(60)
            elif path == "/reset":
                sock.close()
                return
            elif path == "/moved":
                status, extra = 302, "Location: /\r\n"
            sock.sendall(f"HTTP/1.1 {status} X\r\n{extra}Content-Length: 2\r\n\r\nok".encode())


class Lab:
    """`with Lab(UserClass) as lab: lab.users(10); ...`, and at the end `lab.results()` after `lab.drain()`."""

    def __init__(self, *classes: Any, slo: str = "p99<250ms & errors<1%") -> None:
        self.backend = Backend()
        self.environment = Environment(user_classes=list(classes), host=self.backend.url)
        self.runner = self.environment.create_local_runner()
        self.scheduler: Scheduler = scheduler_of(self.environment)
        now = clock()
        self.meter = Meter(Slo.parse(slo), 0.005, now)
        self.meter.open_probe(1, now)
        inflight.instruments.meter = self.meter
        inflight.instruments.untracked.clear()
        self.user_errors = 0
        self.environment.events.user_error.add_listener(self._on_user_error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        inflight.instruments.meter = None
        self.runner.quit()
        self.scheduler.close()
        self.backend.close()

    def _on_user_error(self, **_: Any) -> None:
        self.user_errors += 1

    def users(self, n: int) -> None:
        """Have Locust run `n` users, and wait until they are there."""
        self.runner.start(n, spawn_rate=max(n, 100))
        wait_until(lambda: self.runner.user_count == n, f"{n} users")

    def arrivals(self, n: int) -> None:
        """Wait until `n` arrivals were made in all."""
        wait_until(lambda: self.scheduler.arrivals >= n, f"{n} arrivals", 20)

    def drain(self) -> None:
        """No more arrivals; wait until nothing is in flight."""
        self.scheduler.set_rate(0)
        wait_until(lambda: self.scheduler.in_flight == 0 and self.meter.in_flight == 0, "the end of all work", 10)

    @property
    def stats(self) -> int:
        """Requests in Locust's own statistics."""
        return int(self.environment.stats.total.num_requests)

    def results(self) -> dict[str, NameCounts]:
        """Everything the meter counted, by request name, as if every limit had passed."""
        total: dict[str, NameCounts] = {}
        for shipment in self.meter.collect(clock() + 100):
            for cohort in shipment.cohorts:
                for name, counts in cohort.names.items():
                    total.setdefault(name, NameCounts()).merge(counts)
        return total


def sent(results: dict[str, NameCounts]) -> int:
    """Requests sent, of all names."""
    return sum(counts.sent for counts in results.values())
