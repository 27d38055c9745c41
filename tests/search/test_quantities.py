import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.search import quantities as q


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (q.number, "1e3", 1000.0),
        (q.positive, "0.5", 0.5),
        (q.whole, "20", 20.0),
        (q.seed, "0", 0.0),
        (q.seed, "7", 7.0),
        (q.share, "7%", 0.07),
        (q.share, "2.5 %", 0.025),
        (q.share, "0.05", 0.05),
        (q.share, "0", 0.0),
        (q.ratio, "15%", 0.15),
        (q.seconds, "9ms", 0.009),
        (q.seconds, "30s", 30.0),
        (q.seconds, "30", 30.0),
        (q.seconds, "1.5m", 90.0),
        (q.seconds, "2 h", 7200.0),
    ],
)
def test_what_is_written_is_read(parse, text, value):
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "why"),
    [
        (q.number, "two", "is not a number"),
        (q.positive, "0", "above 0"),
        (q.positive, "inf", "above 0"),
        (q.positive, "nan", "above 0"),
        (q.whole, "1.5", "whole"),
        (q.seed, "-1", "above 0"),
        (q.share, "100%", "from 0 to below 100 %"),
        (q.share, "-1%", "from 0"),
        (q.share, "nan", "from 0"),
        (q.share, "x%", "is not a number"),
        (q.ratio, "0%", "above 0"),
        (q.seconds, "0s", "above 0"),
        (q.seconds, "-3s", "is not a time"),
        (q.seconds, "3 days", "is not a time"),
        (q.seconds, "1.2.3s", "is not a number"),
        (q.seconds, "9" * 400 + "s", "above 0"),
        (q.seconds, "", "is not a time"),
    ],
)
def test_what_cannot_be_read_says_why(parse, text, why):
    with pytest.raises(ValueError, match=why):
        parse(text)


@pytest.mark.parametrize(
    ("text", "value"), [("13ms", 0.013), ("60s", 60.0), ("1s", 1.0), ("1.5s", 1.5), ("0.25ms", 0.00025)]
)
def test_a_time_is_in_the_unit_that_suits_it(text, value):
    assert q.time_text(value) == text


FINITE = st.floats(1e-12, 1e12)


@given(FINITE)
def test_text_and_value_are_inverse(value):
    assert q.positive(q.number_text(value)) == value
    assert q.seconds(q.time_text(value)) == value


@given(st.floats(0, 1, exclude_max=True))
def test_a_share_and_its_text_are_inverse(value):
    assert q.share(q.share_text(value)) == value


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text):
    for parse in (q.number, q.positive, q.whole, q.seed, q.share, q.ratio, q.seconds):
        with suppress(ValueError):
            value = parse(text)
            assert isinstance(value, float)
            assert parse is q.number or math.isfinite(value)
