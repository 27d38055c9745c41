"""The live test server: its formula, its truth, and that the real process keeps to both."""

import math
import random
import socket
import threading
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.target import Service, Target, Trouble, VirtualQueue
from tests.support.truth import (
    CLOSED,
    LARGE,
    LIMIT_S,
    QUANTILE,
    SMALL,
    Setting,
    closed_loop_capacity,
    closed_loop_misses,
    open_loop_capacity,
    simulate,
)


@given(st.integers(1, 4), st.lists(st.tuples(st.floats(0, 0.1), st.floats(0.001, 0.2)), min_size=1, max_size=40))
def test_the_simulation_is_the_servers_queue(workers: int, requests: list[tuple[float, float]]) -> None:
    arrivals = np.cumsum([gap for gap, _ in requests])
    services = np.array([service for _, service in requests])
    queue = VirtualQueue(workers)
    expected = [queue.completion(a, s) - a for a, s in zip(arrivals.tolist(), services.tolist(), strict=True)]
    assert simulate(workers, arrivals[:, None], services[:, None])[:, 0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("since", "factor"), [(0, 3.0), (12, 3.0), (16, 2.0), (20, 1.0), (100, 1.0)])
def test_cold_is_flat_then_falls_to_one(since: float, factor: float) -> None:
    assert Trouble(cold_s=20, cold_factor=3).slowdown(since) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("start", "work", "done"),
    [
        (0.0, 0.5, 0.5),  # no pause at the start
        (9.9, 0.1, 10.0),  # done as the pause begins
        (9.9, 0.3, 11.2),  # a pause in the middle
        (10.4, 0.1, 11.1),  # starts in the pause
        (11.0, 0.1, 11.1),
        (9.0, 11.5, 22.5),  # two pauses
    ],
)
def test_a_pause_delays_work_and_loses_none(start: float, work: float, done: float) -> None:
    assert Trouble(pause_s=1, period_s=10).finish(start, work) == pytest.approx(done)


@pytest.mark.parametrize("setting", [SMALL, LARGE])
def test_open_loop_truth(setting: Setting) -> None:
    found = open_loop_capacity(setting.service, runs=96, requests=8_000, seed=77)
    assert found.value == pytest.approx(setting.capacity, rel=0.015)


def test_closed_loop_truth_is_decisive() -> None:
    assert closed_loop_capacity(CLOSED.service, requests=40_000, seed=77) == CLOSED.capacity
    users = int(CLOSED.capacity)
    assert closed_loop_misses(CLOSED.service, users, LIMIT_S, 40_000) < 0.75 * (1 - QUANTILE)
    assert closed_loop_misses(CLOSED.service, users + 1, LIMIT_S, 40_000) > 2 * (1 - QUANTILE)


def test_closed_loop_of_one_user_a_worker_never_waits() -> None:
    service = Service(workers=3, mean_s=0.1, sigma=0.4)
    draws = np.random.default_rng(1).lognormal(service.log_mean, service.sigma, 200_000)
    share = float(np.mean(draws > 0.2))
    assert closed_loop_misses(service, 3, 0.2, 100_000) == pytest.approx(share, rel=0.1)


def test_it_ends_with_its_standard_input() -> None:
    with Target(SMALL.service) as target:
        child = target._child
        assert child is not None
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(5) == 0


def test_a_full_queue_answers_503_and_any_path_and_method_is_served() -> None:
    with Target(Service(workers=1, mean_s=0.3, sigma=0.0), max_open=2) as target:
        connections = [HTTPConnection(urlsplit(target.url).netloc, timeout=10) for _ in range(3)]
        for connection, method in zip(connections, ("PUT", "POST", "GET"), strict=True):
            connection.request(method, f"/any/{method}", b"body", {"X-Id": method})
            # Its arrival is seen in the counts before the next is sent, so the order is certain.
            while target.stats()["received"] <= connections.index(connection):
                pass
        assert [connection.getresponse().status for connection in connections] == [200, 200, 503]
        for connection in connections:
            connection.close()
        stats = target.stats()
    assert (stats["received"], stats["answered"], stats["rejected"], stats["open"]) == (3, 2, 1, 0)
    assert (stats["max_open"], stats["distinct_ids"], sum(stats["per_second"])) == (2, 3, 3)


def drive(url: str, arrivals: list[float]) -> tuple[list[float], list[float]]:
    """Send at these times, pipelined on one connection (one worker answers in order); times of sends and answers."""
    address = urlsplit(url)
    sent: list[float] = []
    answered: list[float] = []
    with socket.create_connection((str(address.hostname), int(address.port or 0))) as connection:

        def read() -> None:
            left = b""
            while len(answered) < len(arrivals):
                received = connection.recv(65536)
                now = time.monotonic()
                *whole, left = (left + received).split(b'{"ok":true}')
                answered.extend(now for _ in whole)
                if not received:
                    return

        reader = threading.Thread(target=read)
        reader.start()
        start = time.monotonic()
        for number, arrival in enumerate(arrivals):
            time.sleep(max(0.0, start + arrival - time.monotonic()))
            sent.append(time.monotonic())
            connection.sendall(b"GET / HTTP/1.1\r\nX-Id: %d\r\n\r\n" % number)
        reader.join(30)
    return sent, answered


@pytest.mark.live
@pytest.mark.parametrize("trouble", [Trouble(), Trouble(cold_s=2, cold_factor=2, pause_s=0.3, period_s=1.5)])
def test_every_latency_is_the_formulas(trouble: Trouble) -> None:
    seed = 5
    arrivals = np.cumsum(np.random.default_rng(3).exponential(1 / 40, 160)).tolist()
    with Target(SMALL.service, seed=seed, trouble=trouble) as target:
        sent, answered = drive(target.url, arrivals)
        stats = target.stats()
    # The server's own draws, and a queue fed with the moments at which we sent.
    draws = random.Random(seed)
    queue = VirtualQueue(SMALL.service.workers, trouble)
    expected = [
        queue.completion(moment, draws.lognormvariate(SMALL.service.log_mean, SMALL.service.sigma)) for moment in sent
    ]
    late = np.array(answered) - np.array(expected)
    assert late.min() > -0.001
    assert np.median(late) < 0.005
    assert (stats["received"], stats["answered"], stats["distinct_ids"], stats["open"]) == (160, 160, 160, 0)
    assert stats["per_second"][0] == sum(moment - sent[0] < 1 for moment in sent)
    assert math.isclose(len(stats["per_second"]), sent[-1] - sent[0], abs_tol=1)
