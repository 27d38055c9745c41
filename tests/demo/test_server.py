"""The embedded model server: its schedule on a clock of ours, and its routes over a real connection."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import count
from urllib.parse import urlsplit

import numpy as np
import pytest

from locust_adaptive.demo.accelerator import Device
from locust_adaptive.demo.capacity import simulate
from locust_adaptive.demo.http1 import Exchange
from locust_adaptive.demo.process import DemoServer
from locust_adaptive.demo.server import ModelServer
from locust_adaptive.demo.workload import INFER_PATH, RankRequest, candidate_counts, make_workload


class SlowClock:
    """Virtual time whose timers fire `lag_s` late."""

    def __init__(self, lag_s: float = 0.0) -> None:
        self.now = 0.0
        self._lag_s = lag_s
        self._order = count()
        self._timers: list[tuple[float, int, Event]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object]) -> Event:
        event = Event(callback)
        heappush(self._timers, (when + self._lag_s, next(self._order), event))
        return event

    def run_until(self, end: float) -> None:
        while self._timers and self._timers[0][0] <= end:
            when, _, event = heappop(self._timers)
            self.now = max(self.now, when)
            if event.callback is not None:
                event.callback()
        self.now = end


class Event:
    """A timer; cancelled when it has no callback."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Caller:
    """Stands for a connection: notes when each exchange was answered and with what."""

    def __init__(self, clock: SlowClock, server: ModelServer) -> None:
        self._clock = clock
        self._server = server
        self.answers: list[tuple[float, int] | None] = []

    def send(self, body: bytes) -> None:
        place = len(self.answers)
        self.answers.append(None)

        class Reply:
            def answered(_, status: int) -> None:
                self.answers[place] = (self._clock.now, status)

        exchange = Exchange(Reply(), "POST", INFER_PATH, {}, close=False)  # type: ignore[arg-type]  # all it calls
        exchange.body = body
        self._server.handle(exchange)


def latencies(requests: list[RankRequest], arrivals: list[float], lag_s: float) -> list[float]:
    clock = SlowClock(lag_s)
    caller = Caller(clock, ModelServer(clock, max_queue=10_000))
    for request, arrival in zip(requests, arrivals, strict=True):
        clock.run_until(arrival)
        caller.send(request.body())
    clock.run_until(arrivals[-1] + 60)
    answers = [answer for answer in caller.answers if answer is not None]
    assert [status for _, status in answers] == [200] * len(requests)
    return [done - arrival for (done, _), arrival in zip(answers, arrivals, strict=True)]


@pytest.mark.parametrize("lag_s", [0.0, 0.03])
def test_answers_leave_on_the_schedule_of_the_formula_however_late_the_timers_are(lag_s: float) -> None:
    requests = make_workload(400)
    # Above capacity: a device that lost time to the lag would fall further and further behind.
    arrivals = np.cumsum(np.random.default_rng(2).exponential(1 / 150, len(requests)))
    expected = simulate(Device(), arrivals[None, :], candidate_counts(requests)[None, :])[0]
    measured = np.array(latencies(requests, arrivals.tolist(), lag_s))
    late = measured - expected
    assert late.min() >= -1e-9
    # A launch may be seen late and its answers released late: two timers.
    assert late.max() <= 2 * lag_s + 1e-9


def test_a_full_queue_answers_503() -> None:
    clock = SlowClock()
    caller = Caller(clock, ModelServer(clock, max_queue=4))
    for request in make_workload(6):
        caller.send(request.body())
    assert [answer and answer[1] for answer in caller.answers] == [None] * 4 + [503] * 2
    clock.run_until(10)
    assert [answer and answer[1] for answer in caller.answers] == [200] * 4 + [503] * 2


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with DemoServer() as server:
        yield server.url


def call(url: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_health_and_metadata(url: str) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/ranker/ready"):
        assert call(url, "GET", path) == (200, b"")
    status, body = call(url, "GET", "/v2/models/ranker")
    assert status == 200
    assert json.loads(body)["outputs"] == [{"name": "scores", "datatype": "FP32", "shape": [-1]}]


def test_an_inference(url: str) -> None:
    request = make_workload(1)[0]
    status, body = call(url, "POST", INFER_PATH, request.body())
    assert status == 200
    (scores,) = json.loads(body)["outputs"]
    assert len(scores["data"]) == len(request.candidates)
    assert call(url, "POST", INFER_PATH, request.body()) == (status, body)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", INFER_PATH, b"{", 400, "not JSON"),
        ("GET", INFER_PATH, None, 405, "takes POST"),
        ("GET", "/v2/models/other", None, 404, "there is no /v2/models/other here"),
    ],
)
def test_bad_requests_are_explained(
    url: str, method: str, path: str, body: bytes | None, status: int, message: str
) -> None:
    answered, text = call(url, method, path, body)
    assert answered == status
    assert message in json.loads(text)["error"]


def test_metrics_count_what_was_done() -> None:
    with DemoServer() as server:
        for request in make_workload(3):
            call(server.url, "POST", INFER_PATH, request.body())
        call(server.url, "POST", INFER_PATH, b"")
        status, text = call(server.url, "GET", "/metrics")
    assert status == 200
    samples = dict(line.rsplit(" ", 1) for line in text.decode().splitlines() if not line.startswith("#"))
    assert samples['demo_http_responses_total{status="200"}'] == "3"
    assert samples['demo_http_responses_total{status="400"}'] == "1"
    assert samples["demo_queue_depth"] == "0"
    assert samples["demo_batches_total"] == "3"
    assert samples["demo_inference_seconds_count"] == samples['demo_inference_seconds_bucket{le="+Inf"}'] == "3"
    device = Device()
    busy = sum(device.busy_s(float(len(request.candidates))) for request in make_workload(3))
    assert float(samples["demo_accelerator_busy_seconds_total"]) == pytest.approx(busy, abs=1e-5)
    assert float(samples["demo_inference_seconds_sum"]) == pytest.approx(busy + 3 * device.max_delay_s, abs=1e-5)
