import pytest

from locust_adaptive.search.histogram import index_of
from locust_adaptive.search.slices import Cohort, Flow, NameCounts
from locust_adaptive.search.trial import Measurement, Purpose, Trial, Verdict
from locust_adaptive.search.warmup import SlowStart, slow_start, steady, windows
from tests.support.trials import BIN_S, trial


def at_latencies(latencies: list[float], per_slice: int = 10) -> Measurement:
    """One latency in seconds for each half second."""
    cohorts = tuple(
        Cohort(i, [[per_slice] + [0] * 8], {"/a": NameCounts(per_slice, 0, {}, {index_of(x): per_slice})})
        for i, x in enumerate(latencies)
    )
    return Measurement(BIN_S, tuple(Flow(i, arrivals={0: per_slice}) for i in range(len(latencies))), cohorts)


def probe_at(number: int, started: float, latencies: list[float], load: float = 20, reason: str = "") -> Trial:
    verdict = Verdict.FAIL if reason else Verdict.PASS
    return trial(number, load, at_latencies(latencies), verdict, Purpose.GATE, reason, started)


def test_windows_have_enough_answers_and_a_second() -> None:
    assert [end for end, _ in windows(at_latencies([0.01] * 6).cohorts, 10, 0.5)] == [1.0, 2.0, 3.0]
    assert [end for end, _ in windows(at_latencies([0.01] * 6).cohorts, 30, 0.5)] == [1.5, 3.0]
    assert windows(at_latencies([0.01] * 6).cohorts, 1000, 0.5) == []
    assert windows(at_latencies([0.01, 0.01]).cohorts, 5, 0.5)[0][1] == pytest.approx(0.01, rel=0.01)


def test_a_flat_latency_is_steady_after_six_windows_of_two_seconds() -> None:
    assert not steady(at_latencies([0.01] * 20))
    assert steady(at_latencies([0.01] * 24))


def test_a_falling_latency_is_not_steady_until_it_has_fallen() -> None:
    falling = [0.05 * 0.98**i for i in range(40)]
    assert not steady(at_latencies(falling))
    assert steady(at_latencies([*falling, *[0.02] * 24]))


def test_a_rising_latency_is_warm() -> None:
    assert steady(at_latencies([0.01 * 1.01**i for i in range(30)]))


def test_nothing_is_not_steady() -> None:
    assert not steady(at_latencies([]))


def cold_until(trials: list[Trial], light: float = 30) -> float | None:
    start = slow_start(trials, light)
    return start.end if start is not None and start.cold else None


def test_the_warm_up_ends_where_latency_has_come_down_for_good() -> None:
    slow, warm = [0.03] * 40, [0.01] * 40
    trials = [probe_at(1, 0.0, [*slow, *warm]), probe_at(2, 40.0, warm), probe_at(3, 60.0, warm)]
    assert cold_until(trials) == pytest.approx(20.0, abs=2.0)


def test_heavy_loads_may_hide_the_end_of_a_warm_up() -> None:
    """Then it lies between the last light load that was slow and the first that was not."""
    falling = [0.04, 0.04, 0.04, 0.04, 0.03, 0.03, 0.03, 0.03]
    heavy = probe_at(2, 4.0, [0.2] * 12, load=80)
    trials = [probe_at(1, 0.0, falling), heavy, probe_at(3, 10.0, [0.01] * 40)]
    assert cold_until(trials) == pytest.approx((4.0 + 11.0) / 2)


def test_a_heavy_load_that_is_not_slow_shows_a_warm_server() -> None:
    falling = [0.04, 0.04, 0.04, 0.04, 0.03, 0.03, 0.03, 0.03]
    heavy = probe_at(2, 4.0, [0.2] * 2 + [0.011] * 10, load=80)
    trials = [probe_at(1, 0.0, falling), heavy, probe_at(3, 10.0, [0.01] * 40)]
    assert cold_until(trials) == pytest.approx((4.0 + 6.0) / 2)


@pytest.mark.parametrize("latencies", [[0.01] * 80, [0.01] * 40 + [0.03] * 40, [0.011] * 20 + [0.01] * 60])
def test_no_slow_start_no_warm_up(latencies: list[float]) -> None:
    assert slow_start([probe_at(1, 0.0, latencies)], light=30) is None


SLOW_AT_5 = [probe_at(1, 0.0, [0.03] * 8, load=5), probe_at(2, 4.0, [0.01] * 40), probe_at(3, 24.0, [0.01] * 40)]


def test_a_load_that_is_slow_for_all_its_time_is_to_be_held_again() -> None:
    """A batch timer makes low loads slow, and a cold server the first ones."""
    assert slow_start(SLOW_AT_5, light=30) == SlowStart(pytest.approx(4.5), cold=False, recheck=5)


@pytest.mark.parametrize(("later", "end"), [(0.03, None), (0.024, None), (0.01, 4.5)])
def test_held_again_it_tells_a_cold_server_from_a_batch_timer(later: float, end: float | None) -> None:
    trials = [*SLOW_AT_5, probe_at(4, 50.0, [later] * 12, load=5)]
    start = slow_start(trials, light=30)
    assert start is not None
    assert start.recheck is None
    assert cold_until(trials) == (end and pytest.approx(end))


def test_of_the_loads_that_were_slow_the_slowest_is_held_again() -> None:
    first = [
        probe_at(1, 0.0, [0.03] * 6, load=2),
        probe_at(2, 3.0, [0.04] * 6, load=4),
        probe_at(3, 6.0, [0.02] * 6, 8),
    ]
    start = slow_start([*first, probe_at(4, 9.0, [0.01] * 40)], light=30)
    assert start is not None
    assert start.recheck == 4


def test_too_few_answers_cannot_be_compared() -> None:
    few = [trial(n, n, at_latencies([0.03] * 9, 1), Verdict.PASS, Purpose.RAMP, "", 4.5 * (n - 1)) for n in (1, 2)]
    start = slow_start([*few, probe_at(3, 9.0, [0.01] * 40)], light=30)
    assert start == SlowStart(pytest.approx((8.5 + 10) / 2), cold=False, recheck=None)


def test_loads_that_are_not_light_and_overloads_say_nothing_of_warmth() -> None:
    warm = probe_at(3, 40.0, [0.01] * 80)
    heavy = probe_at(1, 0.0, [0.03] * 40, load=80)
    broken = probe_at(2, 20.0, [0.03] * 40, reason="overload")
    assert slow_start([heavy, broken, warm], light=30) is None


def test_too_little_is_known_of_a_short_search() -> None:
    assert slow_start([probe_at(1, 0.0, [0.03] * 6)], light=30) is None
