import numpy as np
import pytest

from locust_adaptive.simulation.server import RunningServer, Server


def latencies(server: Server, rate: float, n: int, seed: int = 1) -> np.ndarray:
    """Latency in seconds of `n` Poisson arrivals, in the order of the answers."""
    rng = np.random.default_rng(seed)
    running = RunningServer(server, np.random.default_rng(seed + 1))
    sent = np.cumsum(rng.exponential(1 / rate, n))
    out: list[float] = []
    for i, t in enumerate(sent.tolist()):
        out += [at - sent[j] for at, j in running.advance(t)]
        assert running.submit(t, i)
    out += [at - sent[j] for at, j in running.advance(float("inf"))]
    assert len(out) == n
    return np.array(out)


def answers(server: Server, times: list[float], until: float = 1e6) -> list[float]:
    """When each request, sent at the given times, is answered."""
    running = RunningServer(server, np.random.default_rng(1))
    out: dict[int, float] = {}
    for i, t in enumerate(times):
        out |= {j: at for at, j in running.advance(t)}
        assert running.submit(t, i)
    out |= {j: at for at, j in running.advance(until)}
    return [out[i] for i in range(len(times))]


def test_one_worker_waits_as_pollaczek_and_khinchine_say() -> None:
    mean, sigma, rate = 0.010, 0.3, 70.0
    second_moment = mean**2 * np.exp(sigma**2)
    expected = mean + rate * second_moment / (2 * (1 - rate * mean))
    assert latencies(Server(1, mean, sigma=sigma), rate, 200_000).mean() == pytest.approx(expected, rel=0.03)


def test_four_workers_serve_four_times_as_much() -> None:
    assert latencies(Server(4, 0.02, sigma=0.3), 150, 30_000).mean() < 0.03


def test_a_batch_waits_for_its_delay_or_until_it_is_full() -> None:
    server = Server(1, base=0.01, per_request=0.001, batch=3, delay=0.1, sigma=0.0)
    assert answers(server, [0.0]) == pytest.approx([0.111])
    assert answers(server, [0.0, 0.05]) == pytest.approx([0.112, 0.112])
    assert answers(server, [0.0, 0.01, 0.02]) == pytest.approx([0.033] * 3)
    assert answers(server, [0.0, 0.0, 0.0, 0.0]) == pytest.approx([0.013] * 3 + [0.111])


def test_a_full_queue_refuses() -> None:
    running = RunningServer(Server(1, 0.1, sigma=0.0, queue=2), np.random.default_rng(1))
    taken = []
    for i, t in enumerate([0.0, 0.01, 0.02, 0.03]):
        running.advance(t)
        taken.append(running.submit(t, i))
    assert taken == [True, True, True, False]


def test_a_cold_server_is_slow_and_then_itself() -> None:
    server = Server(1, 0.01, sigma=0.0, cold=(3.0, 60.0))
    times = [0.0, 35.0, 48.0, 60.0, 100.0]
    took = [a - t for a, t in zip(answers(server, times), times, strict=True)]
    assert took == pytest.approx([0.03, 0.03, 0.02, 0.01, 0.01])


def test_a_drifting_server_gets_slower_for_good() -> None:
    server = Server(1, 0.01, sigma=0.0, drift=(0.5, 100.0))
    took = [a - t for a, t in zip(answers(server, [0.0, 100.0, 5000.0]), [0.0, 100.0, 5000.0], strict=True)]
    assert took == pytest.approx([0.01, 0.01 * (1 + 0.5 * (1 - np.exp(-1))), 0.015])


def test_a_beat_stops_the_server_on_time() -> None:
    server = Server(1, 0.01, sigma=0.0, beat=(1.0, 45.0))
    assert answers(server, [43.0, 43.995, 44.5, 45.0, 89.5]) == pytest.approx([43.01, 45.005, 45.015, 45.025, 90.01])


def test_pauses_are_as_long_and_as_far_apart_as_asked() -> None:
    times = np.arange(0, 6000, 0.05).tolist()
    took = np.array(answers(Server(2, 0.001, sigma=0.0, pauses=(0.1, 0.4, 15.0)), times)) - times
    stopped = took > 0.01
    longest = took[stopped].max()
    starts = (np.diff(stopped.astype(int)) == 1).sum()
    assert 0.35 < longest < 0.405
    assert starts == pytest.approx(6000 / 15.25, rel=0.15)


@pytest.mark.parametrize(
    "server",
    [
        Server(1, 0.01, pauses=(0.1, 0.4, 0.5)),
        Server(2, 0.01, 0.001, batch=4, delay=0.05),
        Server(1, 0.01, beat=(0.5, 1.0)),
    ],
)
def test_time_goes_on_from_event_to_event(server: Server) -> None:
    """A closed loop advances to `next_event` again and again: each must bring something to an end or a start."""
    running = RunningServer(server, np.random.default_rng(1))
    for i in range(5):
        running.submit(0.0, i)
    events = answered = 0
    while answered < 300:
        t = running.next_event()
        events += 1
        for at, j in running.advance(t):
            answered += 1
            running.submit(at, j)
        assert events < 3000


def test_the_same_seed_is_the_same_server() -> None:
    server = Server(2, 0.01, 0.001, 4, 0.01, 0.3, pauses=(0.1, 0.2, 3.0), tenant=(2.0, 1.0, 3.0))
    assert latencies(server, 100, 2000).tolist() == latencies(server, 100, 2000).tolist()
    assert latencies(server, 100, 2000).tolist() != latencies(server, 100, 2000, seed=9).tolist()


def test_a_leak_makes_it_slower_hour_by_hour() -> None:
    server = Server(1, 0.01, sigma=0.0, leak=0.5)
    took = [a - t for a, t in zip(answers(server, [0.0, 3600.0, 7200.0]), [0.0, 3600.0, 7200.0], strict=True)]
    assert took == pytest.approx([0.01, 0.015, 0.02])


def test_a_share_of_the_works_is_longer() -> None:
    times = np.arange(0, 1000, 0.1).tolist()
    took = np.array(answers(Server(1, 0.01, sigma=0.0, bimodal=(0.05, 8.0)), times)) - times
    assert sorted(set(np.round(took, 6))) == [0.01, 0.08]
    assert (took > 0.05).mean() == pytest.approx(0.05, abs=0.01)


def test_a_share_of_the_time_is_slow() -> None:
    times = np.arange(0, 20_000, 0.5).tolist()
    took = np.array(answers(Server(1, 0.01, sigma=0.0, modes=(1.5, 0.4, 20.0)), times)) - times
    slow = took > 0.012
    assert slow.mean() == pytest.approx(0.4, abs=0.05)
    # Two stretches in a row may be slow: on average 20 / (1 - 0.4) s.
    assert slow.sum() * 0.5 / (np.diff(slow.astype(int)) == 1).sum() == pytest.approx(20 / 0.6, rel=0.2)


def test_a_long_queue_slows_it_down_until_it_is_empty() -> None:
    server = Server(1, 0.01, sigma=0.0, queue=20, metastable=(0.5, 2.0))
    # Ten wait after the first has begun: all ten take twice as long, the next after them does not.
    assert answers(server, [0.0] * 1 + [0.001] * 9 + [1.0])[-2:] == pytest.approx([0.1, 1.01])
    assert answers(server, [0.0] * 1 + [0.001] * 10 + [1.0])[-2:] == pytest.approx([0.21, 1.01])


def test_an_autoscaler_adds_workers_while_they_are_busy() -> None:
    server = Server(1, 0.01, sigma=0.0, scale=(3, 0.8, 10.0))
    busy = np.arange(0, 35, 0.005).tolist()
    took = np.array(answers(server, busy)) - busy
    # Twice what one serves: 1000 wait after 10 s, still when there are two, and fewer and fewer when there are three.
    assert [took[busy.index(t)] for t in (10.0, 20.0)] == pytest.approx([1000 / 200, 1000 / 300], abs=0.05)
    assert took[-1] == pytest.approx(0.01)
    idle = np.arange(0, 100, 1.0).tolist()
    assert answers(server, [*idle, 100.0, 100.0])[-2:] == pytest.approx([100.01, 100.02])


def test_a_restart_loses_what_waits_and_is_cold() -> None:
    running = RunningServer(Server(1, 0.01, sigma=0.0, cold=(3.0, 20.0)), np.random.default_rng(1))
    for i in range(5):
        running.submit(50.0, i)
    assert running.advance(50.0) == []
    running.restart(60.0)
    assert running.advance(59.0) == []
    running.submit(60.0, 9)
    assert running.advance(1e6) == [(pytest.approx(60.03), 9)]
