import pytest

from locust_adaptive.replay.record import Record, TraceError, portable


def test_the_name_defaults_to_the_path_without_its_query():
    assert Record(0, "s", "GET", "/v1/rank?user=7").name == "/v1/rank"
    assert Record(0, "s", "GET", "/v1/rank?user=7", name="rank").name == "rank"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"method": "PO ST"}, "no HTTP method"),
        ({"path": "http://host/v1"}, "starts with /"),
        ({"path": "/a b"}, "percent-encoded"),
        ({"path": "/a\r\nHost: evil"}, "percent-encoded"),
        ({"path": "/straße"}, "percent-encoded"),
        ({"headers": (("X Y", "1"),)}, "header name 'X Y'"),
        ({"headers": (("X", "1\r\nY: 2"),)}, "remove line breaks"),
        ({"headers": (("X", "€"),)}, "Latin-1"),
        ({"session": "\ud800"}, "surrogate"),
        ({"expect": 99}, "between 100 and 599"),
        ({"due_ns": 2**62}, "146 years"),
        ({"omitted": -1}, "omit a body as a whole"),
        ({"omitted": 5, "body": b"x"}, "omit a body as a whole"),
        ({"omitted": 10**9}, "too large"),
    ],
)
def test_what_cannot_be_sent_or_stored_is_refused(change, says):
    fields = {"due_ns": 0, "session": "s", "method": "POST", "path": "/v1", **change}
    with pytest.raises(TraceError, match=says):
        Record(**fields).check()


def test_what_can_be_sent_passes():
    Record(-5, "größe", "M-SEARCH", "/%20?q=[1]&r=~", (("Accept", "é"),), b"\0", "n", 599).check()


def test_connection_headers_and_credentials_stay_out_of_a_trace():
    kept, dropped = portable(
        [("Host", "a"), ("Accept", "*/*"), ("AUTHORIZATION", "Bearer x"), ("Accept", "b"), ("TE", "")]
    )
    assert kept == (("Accept", "*/*"), ("Accept", "b"))
    assert dropped == ["host", "authorization", "te"]
