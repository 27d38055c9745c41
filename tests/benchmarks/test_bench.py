"""The bench that peers search on: the compiled server is the simulated one, and a window is what its docstring says."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("numba")

from benchmarks.search import scenarios
from benchmarks.search.bench import Bench, BudgetSpent, Window
from benchmarks.search.engine import Machine, State, open_loop
from locust_adaptive.simulation.arrivals import Arrivals, Bursts
from locust_adaptive.simulation.mischief import Misbehaviour, Mischief
from locust_adaptive.simulation.server import RunningServer, Server

EVEN = Server(1, 0.01, sigma=0.0, queue=100)
SEEDS = 6


def bench(server: Server = EVEN, **more: object) -> Bench:
    asked = {"limit_s": 0.1, "quantile": 0.95, "low": 1.0, "high": 200.0, "seed": 1}
    return Bench(server, **{**asked, **more})


def traffic(rate: float, seconds: float, seed: int) -> np.ndarray:
    return Arrivals(np.random.default_rng(seed)).times(0.0, seconds, rate)


def interpreted(server: Server, sent: np.ndarray, seed: int) -> np.ndarray:
    """Latencies by the pure server; inf where refused."""
    running, out = RunningServer(server, np.random.default_rng(seed)), np.full(len(sent), math.inf)
    for i, t in enumerate(sent.tolist()):
        for at, j in running.advance(t):
            out[j] = at - sent[j]
        running.submit(t, i)
    for at, j in running.advance(math.inf):
        out[j] = at - sent[j]
    return out


def compiled(server: Server, sent: np.ndarray, seed: int) -> np.ndarray:
    machine = Machine.of(server)
    finish, _ = open_loop(machine, State.new(machine, np.random.default_rng(seed)), sent, math.inf)
    return finish - sent


COLD = replace(scenarios.ONE, cold=(3.0, 20.0), drift=(0.3, 40.0), leak=0.5)
ALIKE = {
    "one worker": (scenarios.ONE, 75.0, 200.0),
    "batches": (scenarios.BATCHES, 225.0, 100.0),
    "heavy tail": (Server(8, 0.060, sigma=1.0), 115.0, 150.0),
    "bimodal": (Server(4, 0.020, sigma=0.2, bimodal=(0.05, 8.0)), 120.0, 150.0),
    "cold, drifting, leaking": (COLD, 50.0, 80.0),
    "pauses": (replace(scenarios.FOUR, pauses=(0.1, 0.4, 15.0)), 150.0, 150.0),
    "beat": (replace(scenarios.FOUR, beat=(0.5, 10.0)), 150.0, 100.0),
    "co-tenant": (replace(scenarios.FOUR, tenant=(1.3, 3.0, 7.0)), 140.0, 200.0),
    "slow phases": (replace(scenarios.ONE, modes=(1.15, 0.4, 5.0)), 72.0, 200.0),
    "metastable": (Server(1, 0.010, sigma=0.3, queue=40, metastable=(0.3, 1.6)), 75.0, 200.0),
    "autoscaler": (Server(2, 0.020, sigma=0.3, scale=(3, 0.8, 20.0)), 95.0, 100.0),
    "a short queue": (Server(1, 0.010, sigma=0.3, queue=8), 80.0, 150.0),
}


@pytest.mark.parametrize("name", ALIKE)
def test_the_compiled_server_is_the_simulated_one(name: str) -> None:
    """The means over a few seeds differ by no more than chance: of the latency, of its upper tail, of the refusals."""
    server, rate, seconds = ALIKE[name]
    pairs = []
    for run in (interpreted, compiled):
        answers = [run(server, traffic(rate, seconds, s), 100 + s) for s in range(SEEDS)]
        served = [x[np.isfinite(x)] for x in answers]
        refused = [np.isinf(x).mean() for x in answers]
        pairs.append(([x.mean() for x in served], [np.quantile(x, 0.9) for x in served], refused))
    for one, other in zip(*pairs, strict=True):
        spread = math.sqrt((np.var(one, ddof=1) + np.var(other, ddof=1)) / SEEDS)
        assert abs(np.mean(one) - np.mean(other)) <= 4 * spread + 1e-9


def test_even_arrivals_at_an_even_server_take_the_same_time() -> None:
    window = bench().run(50, 10, settle_s=2, arrivals="constant")
    assert (window.rate, window.seconds, window.sent, window.done, window.rejected) == (50, 10, 500, 500, 0)
    assert window.latencies == pytest.approx(np.full(500, 0.01))


def test_time_passes_with_settling_the_window_and_the_drain() -> None:
    one = bench()
    one.run(50, 10, settle_s=2, drain=False)
    assert one.now == 12
    one.wait(3)
    assert one.now == 15
    # 5 s at twice what it serves leave 500 waiting, of which the queue takes 100.
    one.run(200, 5, drain=True)
    assert one.now == pytest.approx(21, abs=0.05)


def test_what_waits_at_the_end_of_a_window_is_served_in_the_next() -> None:
    one = bench(replace(EVEN, queue=10_000))
    over = one.run(200, 5, arrivals="constant", drain=False)
    assert (over.sent, over.done) == (1000, 500)
    under = one.run(50, 10, arrivals="constant", drain=False)
    # 500 of before and 500 of its own: the queue is empty just at the end.
    assert under.done == pytest.approx(1000, abs=1)
    assert under.latencies.max() == pytest.approx(5, abs=0.02)


def test_without_a_drain_the_open_requests_count_once_they_are_late() -> None:
    window = bench(replace(EVEN, queue=10_000)).run(200, 5, arrivals="constant", drain=False)
    # 500 are answered; of the 500 that are open, 20 are younger than the limit.
    assert len(window.latencies) == pytest.approx(980, abs=2)
    assert np.isinf(window.latencies).sum() == pytest.approx(480, abs=2)
    assert window.rejected == 0


def test_a_full_queue_refuses() -> None:
    window = bench(replace(EVEN, queue=10)).run(200, 5, arrivals="constant")
    assert window.rejected == pytest.approx(490, abs=12)
    assert np.isinf(window.latencies).sum() == window.rejected


def test_so_many_requests() -> None:
    window = bench().run_requests(50, 200, settle_s=3)
    assert window.sent == len(window.latencies) == 200
    assert window.seconds == pytest.approx(4, rel=0.3)


def test_users_send_again_when_they_are_answered() -> None:
    one = bench()
    window = one.run_users(10, 20, settle_s=1, drain=False)
    assert window.done == pytest.approx(2000, abs=2)
    assert window.quantile(0.5) == pytest.approx(0.1)
    # Those who are too many go with their answers, and new ones come.
    assert one.run_users(4, 20, settle_s=1).quantile(0.5) == pytest.approx(0.04)
    assert one.run_users(8, 20, settle_s=1).quantile(0.5) == pytest.approx(0.08)


def test_users_who_are_refused_come_again() -> None:
    window = bench(replace(EVEN, queue=4)).run_users(10, 10, drain=False)
    assert window.rejected == pytest.approx(5 * 10, abs=10)
    assert window.done > 400


def test_a_server_that_restarts_loses_what_it_has_and_is_cold_again() -> None:
    cold = replace(EVEN, cold=(3.0, 20.0), queue=1000)
    one = bench(cold, mischief=Mischief("http 429", gone=(60.0, 65.0)))
    assert one.run(20, 11, arrivals="constant").quantile(0.1) == pytest.approx(0.03)
    assert one.run(20, 40, arrivals="constant").quantile(0.5) == pytest.approx(0.01)
    away = one.run(200, 15, arrivals="constant", drain=False)
    assert one.now > 60
    assert away.rejected > 600
    one.wait(70 - one.now)
    assert one.run(20, 5, arrivals="constant").quantile(0.5) == pytest.approx(0.03)


def test_a_limiter_refuses_what_is_above_its_rate() -> None:
    limited, sent = bench(mischief=Mischief("http 429", above=40)), 100 * 60
    window = limited.run(60, 100)
    assert window.rejected / sent == pytest.approx(1 / 3, abs=0.03)
    twin = Misbehaviour(Mischief("http 429", above=40), random.Random(1))
    fates = [twin.fate(t) for t in traffic(60, 100, 1).tolist()]
    assert window.rejected == pytest.approx(len(fates) - fates.count(None), rel=0.1)


def test_bursts_come_with_the_load_as_their_mean() -> None:
    one = bench(replace(EVEN, queue=10_000), bursts=Bursts(4.0, 0.5, 1.5))
    window = one.run(60, 2000)
    assert window.sent == pytest.approx(2000 * 60, rel=0.05)
    assert window.quantile(0.95) > 5 * bench(replace(EVEN, queue=10_000)).run(60, 2000).quantile(0.95)


@pytest.mark.parametrize(
    "ask",
    [
        lambda b: b.run(10, 61),
        lambda b: b.run(10, 30, settle_s=31),
        lambda b: b.run_requests(1, 100),
        lambda b: b.run_users(3, 61),
        lambda b: b.wait(61),
        lambda b: b.run(200, 59.5, drain=True),
    ],
)
def test_the_budget_is_the_end(ask: object) -> None:
    one = bench(replace(EVEN, queue=10_000), budget_s=60.0)
    with pytest.raises(BudgetSpent):
        ask(one)
    assert one.now == 60


def test_the_same_seed_is_the_same_bench() -> None:
    def windows(seed: int) -> Iterator[float]:
        one = bench(scenarios.SUITE[17].server, seed=seed)
        for rate in (50, 200, 300):
            yield from one.run(rate, 10, drain=False).latencies

    assert list(windows(3)) == list(windows(3))
    assert list(windows(3)) != list(windows(4))


def window(*latencies: float) -> Window:
    return Window(1.0, 1.0, len(latencies), len(latencies), np.array(latencies), 0)


def test_a_quantile_is_the_nearest_rank_and_never_nan() -> None:
    hundred = window(*range(1, 101))
    assert [hundred.quantile(q) for q in (0.0, 0.01, 0.5, 0.95, 0.99, 1.0)] == [1, 1, 50, 95, 99, 100]
    assert window(1.0, math.inf, math.inf).quantile(0.5) == math.inf
    assert window().quantile(0.5) == math.inf


def test_the_miss_ratio_counts_what_is_above_the_limit() -> None:
    assert window(0.1, 0.2, math.inf, 0.05).miss_ratio(0.1) == 0.5
    assert window().miss_ratio(0.1) == 1.0
