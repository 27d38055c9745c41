import pytest

from locust_adaptive.report import numbers


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (numbers.number, 65.5, "65.5"),
        (numbers.number, 60.0, "60"),
        (numbers.number, 1234.0, "1230"),
        (numbers.number, 9999.0, "10 000"),
        (numbers.number, 1234567.0, "1 230 000"),
        (numbers.number, 0.0000123456, "0.0000123"),
        (numbers.number, 0.0, "0"),
        (numbers.three, 59.0, "59.0"),
        (numbers.three, 0.5, "0.500"),
        (numbers.three, 250.0, "250"),
        (numbers.three, 1900.0, "1900"),
        (numbers.three, 19000.0, "19 000"),
        (numbers.count, 1900, "1900"),
        (numbers.count, 11870, "11 870"),
        (numbers.percent, 0.0041, "0.41 %"),
        (numbers.percent, 1.0, "100 %"),
        (numbers.seconds, 21.4, "21 s"),
        (numbers.seconds, 59.6, "1 m 00 s"),
        (numbers.seconds, 192.0, "3 m 12 s"),
        (numbers.seconds, 3900.0, "1 h 05 m"),
        (numbers.clock, 45.9, "0:45"),
        (numbers.clock, 723.0, "12:03"),
    ],
)
def test_numbers_read_as_a_person_writes_them(function, value, text):
    assert function(value) == text


@pytest.mark.parametrize(("n", "text"), [(0, "0 probes"), (1, "1 probe"), (11870, "11 870 probes")])
def test_things_are_counted_in_words(n, text):
    assert numbers.things(n, "probe") == text


@pytest.mark.parametrize(("n", "text"), [(1, "one"), (12, "twelve"), (13, "13"), (12000, "12 000")])
def test_small_numbers_are_spelled(n, text):
    assert numbers.spelled(n) == text
