"""The demo's traffic is seeded, heavy-tailed, in sessions and uneven in time."""

import json

import numpy as np

from locust_adaptive.demo.workload import DURATION_S, ITEMS, MAX_CANDIDATES, candidate_counts, make_workload


def test_same_seed_same_requests_other_seed_others() -> None:
    assert make_workload(200) == make_workload(200)
    assert make_workload(200) != make_workload(200, seed=1)


def test_candidate_counts_are_heavy_tailed() -> None:
    counts = candidate_counts(make_workload())
    assert counts.min() >= 1
    assert counts.max() <= MAX_CANDIDATES
    assert counts.mean() > 1.3 * np.median(counts)
    assert np.quantile(counts, 0.99) > 6 * np.median(counts)


def test_sessions_have_several_requests_of_one_user_in_order() -> None:
    workload = make_workload()
    due = [request.due_ns for request in workload]
    assert due == sorted(due)
    assert due[0] == 0
    assert due[-1] < DURATION_S * 1e9
    users: dict[int, set[int]] = {}
    for request in workload:
        users.setdefault(request.session, set()).add(request.user)
    assert all(len(of_session) == 1 for of_session in users.values())
    assert 3 < len(workload) / len(users) < 7


def test_arrivals_are_burstier_than_poisson_sessions_alone() -> None:
    seconds = [request.due_ns // 10_000_000_000 for request in make_workload()]
    per_ten_seconds = np.bincount(seconds)
    assert per_ten_seconds.max() > 1.5 * np.median(per_ten_seconds)


def test_bodies_are_valid_v2_json() -> None:
    for request in make_workload(50):
        user, candidates = json.loads(request.body())["inputs"]
        assert user["data"] == [request.user]
        assert candidates["shape"] == [len(candidates["data"])]
        assert len(set(candidates["data"])) == len(candidates["data"])
        assert all(0 <= item < ITEMS for item in candidates["data"])
