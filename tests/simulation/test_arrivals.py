"""When requests arrive: the same process whether it is asked for one arrival or for all of a stretch."""

from __future__ import annotations

import numpy as np
import pytest

from locust_adaptive.simulation.arrivals import Arrivals, Bursts

BURSTS = Bursts(factor=4.0, length=0.5, gap=1.5)
SECONDS, LOAD = 4000.0, 25.0


def one_by_one(bursts: Bursts | None, seed: int) -> np.ndarray:
    arrivals, out = Arrivals(np.random.default_rng(seed), bursts), [0.0]
    while out[-1] < SECONDS:
        out.append(arrivals.after(out[-1], LOAD))
    return np.array(out[1:-1])


def at_once(bursts: Bursts | None, seed: int) -> np.ndarray:
    return Arrivals(np.random.default_rng(seed), bursts).times(0.0, SECONDS, LOAD)


@pytest.mark.parametrize("make", [one_by_one, at_once])
@pytest.mark.parametrize("bursts", [None, BURSTS], ids=["poisson", "bursts"])
def test_the_mean_is_the_load(make, bursts) -> None:
    times = make(bursts, 1)
    assert (np.diff(times) > 0).all()
    assert len(times) / SECONDS == pytest.approx(LOAD, rel=0.05)


@pytest.mark.parametrize("make", [one_by_one, at_once])
def test_counts_vary_as_those_of_the_process_do(make) -> None:
    """The variance of the count in a second over its mean: 1 for Poisson, and for two states (rates r1, r2, shares p,
    1 - p of the time, relaxation at rate s = 1/length + 1/gap) 1 + 2 p (1-p) (r1-r2)^2 (1 - (1 - e^-s)/s) / (s load).
    """
    s, p = 1 / BURSTS.length + 1 / BURSTS.gap, BURSTS.length / (BURSTS.length + BURSTS.gap)
    apart = BURSTS.rate(LOAD, True) - BURSTS.rate(LOAD, False)
    expected = 1 + 2 * p * (1 - p) * apart**2 * (1 - (1 - np.exp(-s)) / s) / (s * LOAD)
    for bursts, ratio in ((None, 1.0), (BURSTS, expected)):
        counts = np.bincount(make(bursts, 2).astype(int))
        assert counts.var() / counts.mean() == pytest.approx(ratio, rel=0.1)


def test_asked_in_pieces_it_goes_on() -> None:
    """Stretches of time are no new beginnings: bursts last from one to the next."""
    arrivals = Arrivals(np.random.default_rng(3), BURSTS)
    pieces = np.concatenate([arrivals.times(t, t + 0.25, LOAD) for t in np.arange(0, SECONDS, 0.25)])
    counts, whole = (np.bincount(x.astype(int)) for x in (pieces, at_once(BURSTS, 3)))
    assert counts.var() / counts.mean() == pytest.approx(whole.var() / whole.mean(), rel=0.1)
