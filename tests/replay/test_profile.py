import dataclasses

import numpy as np
import pytest

from locust_adaptive.replay.index import Index
from locust_adaptive.replay.profile import dispersion, profile, rescaled


def index(due_ns, size=None, name=None):
    due_ns = np.asarray(due_ns, dtype=np.int64)
    n = len(due_ns)
    size = np.zeros(n) if size is None else np.asarray(size)
    name = np.zeros(n) if name is None else np.asarray(name)
    hashes = np.zeros(n, dtype=np.uint64)
    return Index(due_ns, np.arange(n, dtype=np.int32), name.astype(np.int32), size.astype(np.int32), hashes, ("a", "b"))


def test_the_figures_of_a_small_trace():
    got = profile(index([0, 10**9, 4 * 10**9, 4 * 10**9], [10, 40, 30, 20], [0, 1, 1, 1]))
    assert (got.requests, got.sessions, got.duration_s, got.rate) == (4, 4, 4.0, 0.75)
    assert list(got.endpoints.items()) == [("b", 3), ("a", 1)]
    assert (got.size_p50, got.size_p90, got.size_max) == (20, 40, 40)
    assert got.dispersion_1s is None


def test_what_can_be_played_is_set_beside_what_arrived():
    got = profile(dataclasses.replace(index([0, 1, 2, 3], [10, 40, 30, 20]), bodyless=np.array([1], dtype=np.int32)))
    assert (got.requests, got.playable_requests, got.sessions, got.playable_sessions) == (4, 3, 4, 3)
    assert (got.size_mean, got.playable_size_mean) == (25, 20)
    assert (got.borrowed_requests, got.sent_size_mean, got.unsent_requests) == (1, 22.5, 0)
    nothing = dataclasses.replace(index([0]), bodyless=np.array([0], dtype=np.int32))
    assert profile(nothing).playable_size_mean is None
    assert (profile(nothing).sent_size_mean, profile(nothing).unsent_requests) == (None, 1)


def test_what_nobody_can_lend_to_is_counted():
    mixed = dataclasses.replace(
        index([0, 1, 2, 3], [10, 40, 30, 20], [0, 0, 0, 1]), bodyless=np.array([1, 3], dtype=np.int32)
    )
    got = profile(mixed)
    assert (got.borrowed_requests, got.unsent_requests) == (1, 1)
    assert got.sent_size_mean == pytest.approx((10 + 30 + 30) / 3)


def test_a_trace_without_times_has_no_times():
    got = profile(index(np.arange(10**5) * 10**6), timed=False)
    assert (got.duration_s, got.rate, got.dispersion_1s, got.dispersion_10s) == (None, None, None, None)
    assert (got.dispersion_100ms, got.dispersion_60s) == (None, None)


def test_one_request_has_no_rate():
    assert profile(index([0])).rate is None


def test_dispersion_is_that_of_the_counts_in_whole_windows():
    rng = np.random.default_rng(1)
    due = np.concatenate([[0], np.cumsum(rng.exponential(0.02e9, 50_000))]).astype(np.int64)
    windows = int(due[-1]) // 10**9
    counts = np.bincount(due // 10**9)[:windows]
    assert dispersion(due, 10**9) == pytest.approx(np.var(counts, ddof=1) / np.mean(counts))
    assert dispersion(due, 10**9) == pytest.approx(1, abs=5 * (2 / windows) ** 0.5)


def test_even_arrivals_have_none_and_clumps_have_much():
    assert dispersion(np.arange(20_000) * 10**7, 10**9) == pytest.approx(0, abs=1e-9)
    assert dispersion(np.repeat(np.arange(0, 400, 2), 50) * 10**9, 10**9) == pytest.approx(25, rel=0.02)


def test_a_gap_of_years_costs_nothing():
    assert dispersion(np.array([0, 1, 2, 10**18]), 10**9) > 0


def test_the_error_of_the_mean_body_counts_sessions():
    """Ten requests with the body of their session say as much as one."""
    rng = np.random.default_rng(1)
    size = rng.integers(100, 900, 400)
    single = profile(index(np.arange(400) * 10**9, size))
    assert single.size_mean == pytest.approx(size.mean())
    assert single.size_error == pytest.approx(1.96 * size.std() / 20 / size.mean())
    plain = index(np.arange(4000) * 10**9, np.repeat(size, 10))
    session = np.repeat(np.arange(400, dtype=np.int32), 10)
    tenfold = profile(Index(plain.due_ns, session, plain.name, plain.size, plain.session_hash[:400], ("a", "b")))
    assert tenfold.size_error == pytest.approx(single.size_error)


def test_at_another_rate_the_windows_are_counted_anew():
    rng = np.random.default_rng(1)
    due = np.sort(rng.integers(0, 3000 * 10**9, 6000))
    trace = index(due - due[0])
    recorded = profile(trace).dispersion_60s
    for rate in (0.5, 2.0, 30.0):
        got = rescaled(trace, rate)
        assert got.multiple == pytest.approx(rate / 2, rel=0.01)
        assert got.dispersion_1s == pytest.approx(1, abs=0.1)
        assert got.dispersion_60s == pytest.approx(1 + min(got.multiple, 1) * (recorded - 1), abs=0.35)
        assert got.stretch_s == pytest.approx(3000, rel=0.01)


def test_at_a_very_high_rate_a_shorter_stretch_is_looked_at():
    trace = index(np.arange(20_000) * 10**8)
    got = rescaled(trace, 5000.0)
    assert 300 < got.stretch_s < 500
    assert got.dispersion_60s is None


@pytest.mark.parametrize("rate", [0.0, -1.0, 1e9, np.nan, np.inf])
def test_a_rate_that_makes_no_sense_is_refused(rate):
    with pytest.raises(ValueError, match="ask for a rate above 0 and of at most"):
        rescaled(index(np.arange(100) * 10**9), rate)
