import pytest

from locust_adaptive.report.exitcode import exit_code, gates
from locust_adaptive.report.words import EXIT_CODES


def capacity(value, low, high, rps_low=None):
    return {"value": value, "low": low, "high": high, "rps_low": low if rps_low is None else rps_low}


RESOLVED = {
    "verdict": "resolved",
    "reason": "converged",
    "slo": "p99<250ms",
    "capacity": capacity(60, 57, 63),
    "strict": capacity(60, 57, 63),
    "strict_reason": None,
    "stalls": [],
}
CEILING = {
    **RESOLVED,
    "verdict": "unresolved",
    "reason": "ceiling_reached",
    "capacity": capacity(None, 100, None),
    "strict": capacity(None, 100, None),
}
LESS_STRICT = {**RESOLVED, "strict": capacity(40, 38, 42), "stalls": [{"excised": True}]}
NO_STRICT = {**RESOLVED, "strict": None, "strict_reason": "no load meets it", "stalls": [{"excised": True}]}
NOT_ESTIMATED = {**CEILING, "strict": None, "stalls": [{"excised": True}]}
SPENT = {**RESOLVED, "verdict": "unresolved", "reason": "budget_spent"}
ONLY_PASSED = {**SPENT, "capacity": capacity(None, 57, 80), "strict": capacity(None, 57, 80)}
BELOW = {**SPENT, "reason": "below_minimum", "capacity": capacity(None, None, 1), "strict": capacity(None, None, 1)}
SICK = {**SPENT, "reason": "target_does_not_recover"}
FLOOR = {**RESOLVED, "slo": "p99<250ms & rps>=50"}
NOT_A_GATE = {**RESOLVED, "slo": "p99<250ms & rps>=5000 (report)"}


@pytest.mark.parametrize(
    ("outcome", "minimum", "tolerant", "met", "code"),
    [
        (RESOLVED, None, False, [], 0),
        (RESOLVED, 57, False, [True], 0),
        (RESOLVED, 57.1, False, [False], 1),
        (NOT_A_GATE, None, False, [], 0),
        (FLOOR, None, False, [True], 0),
        ({**FLOOR, "slo": "p99<250ms & rps>=58"}, None, False, [False], 1),
        ({**FLOOR, "slo": "p99<250ms & rps>=57"}, None, False, [True], 0),
        ({**FLOOR, "slo": "p99<250ms & rps>57"}, None, False, [False], 1),
        (FLOOR, 58, False, [False, True], 1),
        # requests/s, not users, stand against rps
        ({**FLOOR, "strict": capacity(60, 57, 63, rps_low=20)}, 50, False, [True, False], 1),
        ({**FLOOR, "strict": {**capacity(60, 57, 63), "rps_low": None}}, 50, False, [True, None], 3),
        # the strict capacity counts unless told otherwise
        (LESS_STRICT, 50, False, [False], 1),
        (LESS_STRICT, 38, False, [True], 0),
        (LESS_STRICT, 50, True, [True], 0),
        (NO_STRICT, 1, False, [False], 1),
        (NO_STRICT, 57, True, [True], 0),
        (NO_STRICT, None, False, [], 0),
        # a met gate is enough at the ceiling, and for an interval that is only wider than asked
        (CEILING, None, False, [], 3),
        (CEILING, 100, False, [True], 0),
        (CEILING, 101, False, [None], 3),
        (NOT_ESTIMATED, 100, False, [None], 3),
        (NOT_ESTIMATED, 100, True, [True], 0),
        (SPENT, None, False, [], 3),
        (SPENT, 57, False, [True], 0),
        (SPENT, 60, False, [None], 3),
        (SPENT, 64, False, [False], 1),
        (ONLY_PASSED, 40, False, [None], 3),
        (ONLY_PASSED, 90, False, [None], 3),
        (BELOW, 0.5, False, [None], 3),
        (BELOW, 2, False, [False], 1),
        (SICK, 10, False, [None], 3),
        ({**RESOLVED, "verdict": "invalid"}, 10, False, [None], 3),
        ({**RESOLVED, "verdict": "aborted"}, 90, False, [None], 3),
        ({**RESOLVED, "verdict": "aborted"}, None, False, [], 3),
    ],
)
def test_gates_and_exit_codes(outcome, minimum, tolerant, met, code):
    found = gates(outcome, minimum, tolerant)
    assert [gate.met for gate in found] == met
    assert exit_code(outcome, found) == code
    assert code in EXIT_CODES


@pytest.mark.parametrize(("signal", "code"), [(2, 130), (15, 143)])
def test_a_signal_makes_the_exit_code_whatever_was_found(signal, code):
    assert exit_code(RESOLVED, gates(RESOLVED, 90), signal) == code
    assert code in EXIT_CODES


def test_a_gate_says_what_was_compared():
    assert gates(LESS_STRICT, 50)[0].text == "capacity >= 50: the lower end is 38, stalls counted"
    assert gates(LESS_STRICT, 50, tolerant=True)[0].text == "capacity >= 50: the lower end is 57"
    assert gates(NO_STRICT, 50)[0].text == "capacity >= 50: the lower end is not known (no load meets it)"
    assert gates(FLOOR)[0].text == "rps>=50: the lower end is 57"
