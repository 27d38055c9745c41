import base64
import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locust_adaptive.replay.export import line_of, start_of
from locust_adaptive.replay.importers import import_trace
from locust_adaptive.replay.record import Record, TraceError
from locust_adaptive.replay.store import Trace, TraceWriter

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
BODIES = st.binary(max_size=20) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20).map(str.encode)
RECORDS = st.builds(
    Record,
    due_ns=st.integers(-(2**61), 2**61),
    session=TEXT,
    method=st.sampled_from(["GET", "POST"]),
    path=st.sampled_from(["/", "/a", "/a?b=c"]),
    headers=st.lists(
        st.tuples(st.sampled_from(["A", "content-type"]), st.sampled_from(["", "é", '"', "\x1b"])), max_size=3
    ).map(tuple),
    body=BODIES,
    name=TEXT,
    expect=st.sampled_from([None, 200, 404]),
) | st.builds(Record, st.integers(0, 100), TEXT, st.just("PUT"), st.just("/b"), omitted=st.integers(1, 10**9 - 4096))


def read(path):
    with Trace.open(path) as trace:
        return [trace.record(i) for i in range(len(trace))], trace.info(), trace.index()


@given(st.lists(RECORDS, min_size=1, max_size=20), st.sampled_from([None, "none"]))
@settings(max_examples=50, deadline=None)
def test_an_import_of_an_export_is_the_same_trace(tmp_path_factory, records, quality):
    folder = tmp_path_factory.mktemp("t")
    with TraceWriter(folder / "a.trace", origin="test") as writer:
        for i, record in enumerate(records):
            writer.append(dataclasses.replace(record, due_ns=i * 10**6) if quality else record)
        writer.time_quality = quality
    with Trace.open(folder / "a.trace") as trace:
        line = line_of("jsonl", start_of(trace.info()), None)
        lines = [line(trace.record(i)) for i in range(len(trace))]
    (folder / "a.jsonl").write_text("\n".join(lines), "utf-8")
    import_trace(folder / "a.jsonl", folder / "b.trace")
    (before, told, index), (after, again, index_again) = read(folder / "a.trace"), read(folder / "b.trace")
    assert after == before
    assert (again.time_quality, again.start_ns, again.sessions) == (told.time_quality, told.start_ns, told.sessions)
    assert index_again.bodyless.tolist() == index.bodyless.tolist()


def test_vegeta_gets_a_line_a_request():
    """https://github.com/tsenart/vegeta: method and url required, body in base64, header a list a name; no more."""
    line = line_of("vegeta", 0, "http://127.0.0.1:8000/")
    record = Record(5, "s", "POST", "/v1?k=1", (("A", "1"), ("B", "é"), ("A", "2")), b"\xff", "n", 200)
    assert json.loads(line(record)) == {
        "method": "POST",
        "url": "http://127.0.0.1:8000/v1?k=1",
        "body": base64.b64encode(b"\xff").decode(),
        "header": {"A": ["1", "2"], "B": ["é"]},
    }
    assert json.loads(line(Record(0, "s", "GET", "/"))) == {"method": "GET", "url": "http://127.0.0.1:8000/"}
    assert line(Record(0, "s", "POST", "/", omitted=3)) is None


@pytest.mark.parametrize("target", [None, "127.0.0.1:8000", "ftp://h"])
def test_vegeta_needs_to_know_where_to(target):
    with pytest.raises(TraceError, match="--target http://"):
        line_of("vegeta", 0, target)


def test_an_unknown_format_names_the_known():
    with pytest.raises(TraceError, match="known are jsonl, vegeta"):
        line_of("har", 0, None)
