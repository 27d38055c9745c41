"""What another rate does to the bursts of an 8 h trace: superposition keeps them, thinning follows the law.

The rates are low to be quick; `benchmarks/arrivals` has the same at more arrivals, and other ways beside it.
"""

import numpy as np
import pytest

from benchmarks.arrivals import run
from benchmarks.arrivals.synthetic import KINDS, rate_driven_dispersion, session_driven_dispersion
from locust_adaptive.replay.profile import dispersion

HOURS, SEEDS, SCALE = 8, 20, 0.2


def traces(kind):
    return [KINDS[kind](3600 * HOURS, np.random.default_rng(seed), SCALE) for seed in range(SEEDS)]


def dispersions(each):
    return np.array([[dispersion(due, window) for window in run.WINDOWS.values()] for due in each])


def played(index, multiple, seed):
    return run.superposed(index, multiple, seed)


@pytest.fixture(scope="module", params=["rate-driven", "session-driven"])
def recordings(request):
    made = traces(request.param)
    return request.param, made, dispersions([index.due_ns for index in made])


def test_the_synthetic_traces_have_the_dispersion_that_theory_gives_them(recordings):
    kind, _, before = recordings
    if kind == "rate-driven":
        assert before.mean(axis=0) == pytest.approx([rate_driven_dispersion(w, SCALE) for w in (1, 10, 60)], rel=0.08)
    else:
        assert before.mean(axis=0)[2] == pytest.approx(session_driven_dispersion(), rel=0.08)


@pytest.mark.parametrize("multiple", [2.0, 3.5, 10.0])
def test_superposition_keeps_the_bursts(recordings, multiple):
    """Within 5 % at 1 and 10 s; but where it is the rate of sessions that bursts, the half of a copy in 3.5 follows the
    law of thinning, as it must if sessions are left out at random."""
    kind, made, before = recordings
    after = dispersions([played(index, multiple, seed) for seed, index in enumerate(made)])
    ratio = (after / before).mean(axis=0)
    law = [run.expected(kind, multiple, value) for value in before.mean(axis=0)]
    assert ratio[:2] == pytest.approx(law[:2], abs=0.05)
    if kind == "session-driven" or multiple != 3.5:
        assert ratio[:2] == pytest.approx([1, 1], abs=0.05)
    assert ratio[2] == pytest.approx(law[2], abs=0.15), "480 windows of 60 s say little"


@pytest.mark.parametrize("part", [0.5, 0.2])
def test_thinning_by_sessions_follows_its_law(recordings, part):
    kind, made, before = recordings
    after = dispersions([played(index, part, seed) for seed, index in enumerate(made)])
    if kind == "rate-driven":
        assert after[:, :2].mean(axis=0) == pytest.approx(1 + part * (before[:, :2].mean(axis=0) - 1), rel=0.05)
    else:
        assert after[:, :2].mean(axis=0) == pytest.approx(before[:, :2].mean(axis=0), rel=0.05)


def test_other_ways_would_not_pass():
    index = traces("rate-driven")[0]
    before = dispersions([index.due_ns])[0]
    assert dispersions([run.compressed(index, 2.0, 0)])[0][0] > 1.3 * before[0]
    assert dispersions([run.scattered(index, 2.0, 0)])[0][1] < 0.3 * before[1]
