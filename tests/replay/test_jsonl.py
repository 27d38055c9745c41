import json

import pytest

from locust_adaptive.replay.importers import import_trace
from locust_adaptive.replay.importers.jsonl import read
from locust_adaptive.replay.importers.notes import Notes
from locust_adaptive.replay.record import Record, TraceError
from locust_adaptive.replay.store import Trace


def records(tmp_path, *lines):
    source = tmp_path / "x.jsonl"
    source.write_bytes(
        b"\n".join(x if isinstance(x, bytes) else json.dumps({"path": "/v1", **x}).encode() for x in lines)
    )
    notes, got = Notes(), []
    for record in read(source, notes):
        got.append(record)
        notes.requests += 1
    return got, notes


JSON = ("Content-Type", "application/json")


@pytest.mark.parametrize(
    ("line", "record"),
    [
        ({}, Record(0, "line 1", "POST", "/v1")),
        (
            {"session": 7, "method": "GET", "name": "n", "expect": 404},
            Record(0, "7", "GET", "/v1", name="n", expect=404),
        ),
        ({"body": {"a": [1, 2.5, "é"]}}, Record(0, "line 1", "POST", "/v1", (JSON,), '{"a":[1,2.5,"é"]}'.encode())),
        ({"body": "é\n"}, Record(0, "line 1", "POST", "/v1", (), "é\n".encode())),
        ({"body": None, "session": None}, Record(0, "line 1", "POST", "/v1")),
        (
            {"body": [], "headers": {"content-type": "x"}},
            Record(0, "line 1", "POST", "/v1", (("content-type", "x"),), b"[]"),
        ),
        ({"body_b64": "AP8="}, Record(0, "line 1", "POST", "/v1", (), b"\x00\xff")),
        ({"body_bytes": 7}, Record(0, "line 1", "POST", "/v1", omitted=7)),
        ({"headers": [["A", "1"], ["A", 2]]}, Record(0, "line 1", "POST", "/v1", (("A", "1"), ("A", "2")))),
    ],
)
def test_a_line_becomes_a_record(tmp_path, line, record):
    assert records(tmp_path, line)[0] == [record]


@pytest.mark.parametrize(
    ("fields", "due_ns"),
    [
        ({"timestamp": 1.5}, 1_500_000_000),
        ({"timestamp": 1763806500.123456}, 1763806500_123456_000),
        ({"timestamp_ms": 27482}, 27_482_000_000),
        ({"timestamp_ms": 0.25}, 250_000),
        ({"timestamp_ns": 1763806500_123456789}, 1763806500_123456789),
        ({"timestamp_ns": -5}, -5),
        ({"timestamp": "1970-01-01T00:00:02.5Z"}, 2_500_000_000),
        ({"timestamp": "1970-01-01T01:00:02+01:00"}, 2_000_000_000),
        ({"timestamp": "1970-01-01 00:00:02"}, 2_000_000_000),
    ],
)
def test_times_are_exact_to_the_microsecond_or_as_given_in_nanoseconds(tmp_path, fields, due_ns):
    got, notes = records(tmp_path, fields)
    assert got[0].due_ns == due_ns
    assert notes.time_quality is None


def test_without_times_requests_are_a_millisecond_apart_and_that_is_said(tmp_path):
    got, notes = records(tmp_path, {}, b"", {}, b"  \r", {})
    assert [record.due_ns for record in got] == [0, 1_000_000, 2_000_000]
    assert notes.time_quality == "none"


def test_what_is_left_out_is_counted(tmp_path):
    got, notes = records(tmp_path, {"model": "m", "headers": {"Host": "h", "Cookie": "c", "A": "a"}}, {"model": "m"})
    assert got[0].headers == (("A", "a"),)
    assert notes.dropped == {"field model": 2, "header host": 1, "header cookie": 1}


def test_a_byte_order_mark_is_no_fault(tmp_path):
    assert len(records(tmp_path, b'\xef\xbb\xbf{"path": "/"}')[0]) == 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{'a': 1}", "not JSON at column 2"),
        (b'[{"path": "/"}]', "a JSON list, not an object"),
        (b'"x"', "a JSON str, not an object"),
        (b'{"path": "\xff"}', "byte 11 is not UTF-8"),
        (b'{"path": "/", "body": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "body_b64"),
        (b'{"path": "/", "body": ' + b"1" * 5000 + b"}", "body_b64"),
        (b'{"path": "/", "body": "\\ud800"}', "surrogate"),
        (b'{"url": "/v1", "body": 1}', "no path; add one .the line has url, body."),
        ({"path": 1}, "path is 1; write a string"),
        ({"path": "http://h/v1"}, "starts with /"),
        ({"method": ""}, "no HTTP method"),
        ({"session": {}}, "session is {}; write a string"),
        ({"session": True}, "session is true"),
        ({"headers": "A: b"}, "headers must be"),
        ({"headers": {"A": None}}, "headers must be"),
        ({"headers": [["A"]]}, "headers must be"),
        ({"headers": {"A": True}}, "headers must be"),
        ({"body": 1, "body_b64": "AA=="}, "both body and body_b64"),
        ({"body": "x", "body_bytes": 1}, "both body and body_bytes"),
        ({"body_bytes": "7"}, "body_bytes is .7.; write a whole number of bytes"),
        ({"body_bytes": -7}, "omit a body as a whole"),
        ({"timestamp_ns": 1.5}, "timestamp_ns is 1.5; write a whole number of nanoseconds"),
        ({"body_b64": "A"}, "not base64"),
        ({"body_b64": "é"}, "not base64"),
        ({"body_b64": 1}, "body_b64 is 1; write a string"),
        ({"expect": "200"}, 'expect is "200"'),
        ({"expect": True}, "expect is true"),
        ({"expect": 1000}, "between 100 and 599"),
        ({"timestamp": True}, "timestamp is true; write a number or ISO 8601"),
        ({"timestamp": [1]}, "write a number or ISO 8601"),
        ({"timestamp_ms": "5"}, 'timestamp_ms is "5"; write a number$'),
        ({"timestamp": float("nan")}, "write a number"),
        ({"timestamp": "noon"}, "'noon' is not ISO 8601"),
        ({"timestamp": 1763806500123}, "year 2106.*timestamp_ms"),
        ({"timestamp_ms": 10**400}, "year 2106"),
        ({"timestamp": 1, "timestamp_ms": 1}, "both timestamp and timestamp_ms"),
    ],
)
def test_a_fault_names_file_line_and_remedy(tmp_path, line, says):
    with pytest.raises(TraceError, match=says) as caught:
        records(tmp_path, b'{"path": "/"}', b"", line)
    assert str(caught.value).startswith(f"{tmp_path / 'x.jsonl'}:3: ")


@pytest.mark.parametrize(
    ("lines", "says"), [(({}, {"timestamp": 1}), "has a time"), (({"timestamp": 1}, {}), "has no time")]
)
def test_times_are_all_or_nothing(tmp_path, lines, says):
    with pytest.raises(TraceError, match=rf":2: this line {says}"):
        records(tmp_path, *lines)


def test_a_time_beyond_all_clocks_is_refused(tmp_path):
    with pytest.raises(TraceError, match="146 years"):
        records(tmp_path, {"timestamp_ns": 2**62})


def test_lines_need_not_be_in_order_of_time(tmp_path):
    source, out = tmp_path / "x.jsonl", tmp_path / "x.trace"
    source.write_text("".join(f'{{"path": "/{k}", "timestamp_ms": {1700000000000 + 1000 * k}}}\n' for k in (2, 0, 1)))
    import_trace(source, out)
    with Trace.open(out) as trace:
        assert [(trace.record(i).path, trace.record(i).due_ns) for i in range(3)] == [
            ("/0", 0),
            ("/1", 10**9),
            ("/2", 2 * 10**9),
        ]
        assert trace.info().start_ns == 1_700_000_000 * 10**9
        assert trace.info().origin == "jsonl x.jsonl"
