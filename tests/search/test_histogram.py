import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.search.histogram import FIRST, GROWTH, Histogram, index_of, value_of

latencies = st.floats(1e-6, 1e5)
samples = st.lists(latencies, max_size=300)


def histogram_of(values: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


def merged(*parts: Histogram) -> Histogram:
    total = Histogram()
    for part in parts:
        total.merge(part)
    return total


@given(latencies)
def test_a_bucket_stands_for_its_latencies_within_one_percent(seconds: float) -> None:
    assert value_of(index_of(seconds)) == pytest.approx(seconds, rel=0.01)


@given(st.integers(0, 1500))
def test_a_bucket_holds_its_own_value(index: int) -> None:
    assert index_of(value_of(index)) == index


@given(latencies, latencies)
def test_longer_is_never_in_an_earlier_bucket(one: float, other: float) -> None:
    assert (index_of(one) <= index_of(other)) or one > other


@pytest.mark.parametrize("seconds", [0.0, -0.0, -1.0, 1e-9, FIRST, FIRST * math.sqrt(GROWTH)])
def test_the_first_bucket_takes_everything_shorter(seconds: float) -> None:
    assert index_of(seconds) == 0


def test_hours_have_a_bucket_and_nonsense_has_none() -> None:
    assert index_of(3600) == 1111
    with pytest.raises(ValueError, match="NaN"):
        index_of(math.nan)
    with pytest.raises(OverflowError):
        index_of(math.inf)


@given(samples, samples, samples)
def test_merge_is_counting_together_in_any_order(one: list[float], two: list[float], three: list[float]) -> None:
    a, b, c = map(histogram_of, (one, two, three))
    assert merged(a, b) == merged(b, a) == histogram_of(one + two)
    assert merged(merged(a, b), c) == merged(a, merged(b, c))
    assert merged(a, Histogram()) == a == histogram_of(one)
    assert merged(a, b, c).count == len(one) + len(two) + len(three)


@given(latencies, st.integers(1, 50))
def test_adding_n_is_adding_n_times(seconds: float, n: int) -> None:
    histogram = Histogram()
    histogram.add(seconds, n)
    assert histogram == histogram_of([seconds] * n)


@given(st.lists(latencies, min_size=1, max_size=300), st.integers(0, 1000))
def test_quantile_is_the_order_statistic_within_one_percent(values: list[float], permille: int) -> None:
    rank = max(1, -(-permille * len(values) // 1000))  # ceil in whole numbers
    assert histogram_of(values).quantile(permille / 1000) == pytest.approx(sorted(values)[rank - 1], rel=0.01)


@given(st.lists(latencies, min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_quantile_agrees_with_counting_misses(values: list[float], q: float) -> None:
    histogram = histogram_of(values)
    percent = round(100 * q)
    for limit in histogram.buckets:
        misses = sum(n for index, n in histogram.buckets.items() if index > limit)
        assert (histogram.quantile(q) <= value_of(limit)) == (100 * misses <= (100 - percent) * len(values))


def test_rank_is_free_of_rounding() -> None:
    histogram = histogram_of([float(value) for value in range(1, 101)])
    assert 0.07 * 100 > 7
    assert histogram.quantile(0.07) == value_of(index_of(7))


def test_quantile_of_nothing_is_nan_and_its_argument_is_a_share() -> None:
    assert math.isnan(Histogram().quantile(0.99))
    for q in (-0.1, 99, math.nan):
        with pytest.raises(ValueError, match=r"p99 is 0\.99"):
            Histogram().quantile(q)
