"""What is read off the answers of the last moments: nobody there, gone, most of it failing, back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.search.answers import FIRST_ANSWERS, Answers, back, blames_request, gone, latest, missed, surging
from locust_adaptive.search.meter import Meter
from locust_adaptive.search.slices import SLICE_S, Flow
from locust_adaptive.search.slo import Slo


def flows(*slices: tuple[int, dict[str, int]]) -> list[Flow]:
    """Flows of `(good answers, failed ones by kind)`."""
    return [
        Flow(i, completions={0: good + sum(errors.values())} if good or errors else {}, errors=dict(errors))
        for i, (good, errors) in enumerate(slices)
    ]


def refused(n: int) -> tuple[int, dict[str, int]]:
    return 0, {"refused": n}


def test_a_flow_knows_its_failures_at_once() -> None:
    meter = Meter(Slo.parse("p99<10s"), 0.01, 0.0)
    meter.open_probe(1, 0.0)
    requests = [meter.begin(0.1, 0.1, "/a") for _ in range(3)]
    meter.finish(requests[0], 0.2)
    meter.finish(requests[1], 0.3, "http 503")
    (shipment,) = meter.collect(SLICE_S)
    (flow,) = shipment.flows
    assert not shipment.cohorts
    assert (flow.done, flow.failed, flow.errors) == (2, 1, {"http 503": 1})
    assert Flow.from_plain(flow.to_plain()) == flow


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("http 404", True),
        ("http 401", True),
        ("http 422", True),
        ("check", True),
        ("exception", True),
        ("http 408", False),
        ("http 425", False),
        ("http 429", False),
        ("http 500", False),
        ("http 503", False),
        ("timeout", False),
        ("reset", False),
        ("refused", False),
    ],
)
def test_which_failures_blame_the_request(kind: str, wrong: bool) -> None:
    assert blames_request(kind) is wrong


def test_what_says_nothing_of_the_target_is_left_out() -> None:
    (flow,) = flows((2, {"http 500": 1, "aborted": 4, "no ports": 5}))
    seen = Answers.of([flow])
    assert (seen.good, seen.failed) == (2, 1)


def test_the_latest_answers_go_back_as_far_as_asked() -> None:
    some = flows((9, {}), (1, {}), refused(1), refused(1))
    assert latest(some, 1.0, 1) == Answers.of(some[2:])
    assert latest(some, 1.0, 3) == Answers.of(some[1:])
    assert latest(some, 2.5, 1) is None
    assert latest(some, 1.0, FIRST_ANSWERS + 20) is None


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ([(20, {}), refused(20), refused(20)], True),
        ([(20, {}), (3, {"refused": 10, "reset": 7}), refused(20)], False),  # half a second is no second
        ([(20, {}), (0, {"refused": 10, "reset": 7}), refused(20)], True),
        ([(20, {}), refused(20), (1, {"refused": 19})], False),  # somebody is there
        ([(20, {}), (0, {"reset": 20}), (0, {"reset": 20})], False),  # somebody resets
        ([(1, {}), refused(1), refused(1)], False),  # too few to say
        ([(1, {}), refused(1), refused(1), refused(1)], True),
        ([(20, {}), (0, {"dns": 20}), (0, {"unreachable": 20})], True),
        ([], False),
    ],
)
def test_gone(slices: list[tuple[int, dict[str, int]]], expected: bool) -> None:
    assert gone(flows(*slices)) is expected


def test_before_it_is_gone_it_is_missed() -> None:
    assert missed(flows((20, {}), refused(1)))
    assert missed(flows((20, {}), refused(1), (0, {})))
    assert not missed(flows(refused(5), (1, {})))
    assert not missed(flows((0, {"http 503": 5})))


@pytest.mark.parametrize(
    ("slices", "tolerated", "expected"),
    [
        ([(9, {"http 503": 11})] * 4, 0.01, True),
        ([(11, {"http 503": 9})] * 4, 0.01, False),
        ([(9, {"http 503": 11})] * 4, 0.9, False),  # the SLO allows more
        ([(0, {"http 503": 30})], 0.01, False),  # half a second
        ([(0, {"http 503": 10})] * 2, 0.01, True),
        ([(0, {"http 503": 4})] * 4, 0.01, False),  # too few
        ([(0, {"http 503": 4})] * 5, 0.01, True),  # at a low load the last twenty
        ([(50, {})] * 4 + [(0, {"http 503": 50})] * 2, 0.01, False),
        ([(50, {})] * 4 + [(0, {"http 503": 50})] * 3, 0.01, True),
        ([(0, {"no ports": 30})] * 4, 0.01, False),  # ours
    ],
)
def test_the_breaker(slices: list[tuple[int, dict[str, int]]], tolerated: float, expected: bool) -> None:
    assert surging(flows(*slices), tolerated) is expected


@given(st.lists(st.integers(0, 50), max_size=20))
def test_a_server_that_never_fails_is_neither_gone_nor_surging(answers: list[int]) -> None:
    calm = flows(*((n, {}) for n in answers))
    assert not gone(calm)
    assert not missed(calm)
    assert not surging(calm, 0.01)
    assert back(calm) == (sum(answers) >= 3)


def test_back_is_three_good_answers_in_a_row() -> None:
    assert not back(flows(refused(2), (2, {})))
    assert back(flows(refused(2), (2, {}), (0, {}), (1, {})))
    assert not back(flows((9, {}), (0, {"http 503": 1})))
