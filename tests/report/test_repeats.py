import pytest

from locust_adaptive.report.repeats import against, quantile, repeats, unknown


def outcome(value, low=None, high=None, elapsed=100.0, verdict="resolved", reason="converged", requests=1000):
    capacity = {"value": value, "low": low, "high": high, "unit": "rps"}
    return {"capacity": capacity, "elapsed_s": elapsed, "verdict": verdict, "reason": reason, "requests": requests}


def test_several_searches_are_summed_up():
    outcomes = [
        outcome(99.0, 95.0, 103.0),
        outcome(101.0, 98.0, 104.0, elapsed=130.0, requests=20_000),
        outcome(110.0, 105.0, 115.0, elapsed=200.0),
        outcome(None, 40.0, None, elapsed=1200.0, verdict="unresolved", reason="budget_spent"),
    ]
    assert repeats(outcomes, [100.0] * 4) == (
        " SEARCHES  4:  3 resolved, 1 unresolved (budget_spent)\n"
        " capacity  median 101 req/s;  from 99.0 to 110\n"
        " time      median 2 m 45 s;  9 of 10 within 20 m 00 s;  longest 20 m 00 s\n"
        " requests  median 1000;  most 20 000\n"
        " errors    median 1.0 %, 9 of 10 within 10.0 %;  "
        "1 of 3 more than 5 % too high;  2 of 3 intervals hold the truth\n"
    )


def test_without_an_answer_or_a_truth_nothing_is_said_of_them():
    nothing = outcome(None, verdict="unresolved", reason="budget_spent")
    assert "capacity" not in repeats([nothing, nothing], [100.0, 100.0])
    assert "errors" not in repeats([nothing, nothing], [100.0, 100.0])
    assert "errors" not in repeats([outcome(1.0), outcome(2.0)])


@pytest.mark.parametrize(
    ("value", "low", "high", "error"),
    [
        (102.0, 99.0, 105.0, "2.0 % too high;  the interval holds the truth"),
        (90.0, 88.0, 92.0, "10.0 % too low;  the interval DOES NOT HOLD the truth"),
        (102.0, None, 105.0, "2.0 % too high;  the interval DOES NOT HOLD the truth"),
    ],
)
def test_an_answer_stands_beside_the_truth(value, low, high, error):
    assert against(outcome(value, low, high), 100.0, 0.512, " as a whole") == (
        " truth     100 req/s as a whole (standard error 0.51), by long simulated runs\n" + f" error     {error}\n"
    )


def test_no_answer_and_no_truth_are_said():
    assert "error" not in against(outcome(None), 100.0, 0.5).splitlines()[-1].split()[0]
    assert unknown("it leaks") == " truth     not known: it leaks\n"


@pytest.mark.parametrize(("q", "value"), [(0.0, 1), (0.1, 1), (0.9, 9), (0.91, 10), (1.0, 10)])
def test_a_quantile_is_one_of_the_values(q, value):
    assert quantile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], q) == value
