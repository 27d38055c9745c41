import dataclasses
import json
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.replay.derive import redact
from locust_adaptive.replay.record import CREDENTIALS, Record, TraceError
from locust_adaptive.replay.redact import SIGNATURES, Redactor
from locust_adaptive.replay.store import Trace, TraceWriter
from locust_adaptive.replay.verify import verify

JSON = (("Content-Type", "application/json"),)


def post(body, *headers, path="/v1", **changes):
    return dataclasses.replace(Record(0, "s", "POST", path, headers, body), **changes)


def redacted(record, **names):
    redactor = Redactor(**names)
    return redactor.redact(record), redactor


@pytest.mark.parametrize(
    ("field", "body", "wanted"),
    [
        ("a", b'{"a": "secret"}', b'{"a": "xxxxxx"}'),
        ("a", b'{"a": "s\\"\\u00e9\xc3\xa9", "b": "a"}', b'{"a": "xxxxxxxxxxx", "b": "a"}'),
        ("a", b'{"a":-12.5e3}', b'{"a":1111111}'),
        ("a", b'{"a":true,"b":false}', b'{"a":null,"b":false}'),
        ("a", b'{"a":false}', b'{"a":null }'),
        ("a", b'{"a":null,"a":"twice"}', b'{"a":null,"a":"xxxxx"}'),
        ("a", b'{"a":["b",{"c":1}]}', b'{"a":["x",{"c":1}]}'),
        ("a.b", b'{"a":{"b":"s","c":"k"},"b":"k"}', b'{"a":{"b":"x","c":"k"},"b":"k"}'),
        ("a.b", b'{"a":[{"b":"s"},{"b":"t","c":[]}, 3]}', b'{"a":[{"b":"x"},{"b":"x","c":[]}, 3]}'),
        ("a.b", b'[[{"a":{"b":"s"}}]]', b'[[{"a":{"b":"x"}}]]'),
        ("a.b", b'{"a":"k"}', b'{"a":"k"}'),
        ("\xe9", '{"é":"é"}'.encode(), '{"é":"xx"}'.encode()),
        ("\xe9", b'{"\\u00e9":"s"}', b'{"\\u00e9":"x"}'),
        ("\u20ac", '{"€":"s"}'.encode(), '{"€":"x"}'.encode()),
        ("a", b' { "a" : "s" , "b" : [ ] }\r\n', b' { "a" : "x" , "b" : [ ] }\r\n'),
        ("a", b'{"a":"s"}\n{"a":"t"}\n', b'{"a":"x"}\n{"a":"x"}\n'),
        ("a", b"{}", b"{}"),
        ("a", b"[]", b"[]"),
        ("a", b'"a"', b'"a"'),
    ],
)
def test_a_field_is_blanked_and_nothing_else_changes(field, body, wanted):
    got, redactor = redacted(post(body, *JSON), fields=[field])
    assert got == post(wanted, *JSON)
    assert (redactor.counts[f"field {field}"] > 0) == (body != wanted or b"null" in body)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcdé"), inner, max_size=4),
    max_leaves=12,
)


def blanked(value, keys):
    """The value with each scalar at `keys` (None: nowhere) made the same: what is not there must not have changed."""
    if isinstance(value, list):
        return [blanked(part, keys) for part in value]
    if isinstance(value, dict):
        below = {key: keys if not keys else keys[1:] if keys[0] == key else None for key in value}
        return {key: blanked(part, below[key]) for key, part in value.items()}
    return "blank" if keys == () else value


@given(VALUES, st.sampled_from(["a", "a.b", "b.a.c", "é"]), st.booleans(), st.sampled_from([None, 2]))
def test_it_stays_json_of_the_same_length_and_only_the_field_differs(value, field, ascii, indent):
    body = json.dumps(value, ensure_ascii=ascii, indent=indent).encode()
    got, _ = redacted(post(body, *JSON), fields=[field])
    assert len(got.body) == len(body)
    keys = tuple(field.split("."))
    assert blanked(json.loads(got.body), keys) == blanked(value, keys)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": "secret"',
        b'{"a": "secret"} x',
        b'[1,{"a":"secret",}]',
        b"[" * 100_000,
        b'{"a" "secret"}',
        b"\x1f\x8b\x08",
    ],
)
def test_json_that_cannot_be_read_is_taken_out_and_its_size_kept(body):
    got, redactor = redacted(post(body, *JSON), fields=["a"])
    assert (got.body, got.size) == (b"", len(body))
    assert redactor.counts == {"body that cannot be read": 1}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_json_in_another_encoding_is_taken_out_whatever_it_is_called(encoding):
    body = '{"a":"secret"}'.encode(encoding)
    got, _ = redacted(post(body, ("Content-Type", "text/plain")), fields=["a"])
    assert (got.body, got.size) == (b"", len(body))


def test_other_bodies_are_left_and_counted():
    got, redactor = redacted(post(b"a=secret"), fields=["a"])
    assert (got.body, redactor.unsearched) == (b"a=secret", 1)
    assert redacted(post(b"\x00a"))[1].unsearched == 0  # no field was asked for


def test_raw_tensors_behind_the_json_stay():
    head = b'{"a":"s"}'
    headers = (("Inference-Header-Content-Length", str(len(head))),)
    got, _ = redacted(post(head + b'{"a":\xff', *headers), fields=["a"])
    assert got.body == b'{"a":"x"}{"a":\xff'


def test_headers_go_and_query_parameters_are_blanked():
    record = post(
        b"", ("X-User", "u"), ("Accept", "*/*"), ("COOKIE", "c"), path="/v1?Token=abc&k=1&user%5Fid=77&user_id="
    )
    got, redactor = redacted(record, headers=["x-user"], query=["USER_id"])
    assert (got.path, got.headers) == ("/v1?Token=xxx&k=1&user%5Fid=xx&user_id=", (("Accept", "*/*"),))
    assert redactor.counts == {"header x-user": 1, "header cookie": 1, "query token": 1, "query user_id": 1}


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/v1?a=1?token=abc", "/v1?a=1?token=xxx"),
        ("/v1?a?sig=abc&b=2", "/v1?a?sig=xxx&b=2"),
        ("/v1??key=abc", "/v1??key=xxx"),
        ("/v1?next=/b?c=d?e&key=abc;f=g", "/v1?next=/b?c=d?e&key=xxx;f=g"),
        ("/v1?token=a?sig=b&c=d", "/v1?token=xxxxxxx&c=d"),
        ("/v1?token=?a", "/v1?token=xx"),
        ("/v1?token=a=b;sig=", "/v1?token=xxx;sig="),
        ("/v1?a=key=b", "/v1?a=key=b"),
        ("/v1;key=b", "/v1;key=b"),
        ("/v1?" + "a" * 100_000, "/v1?" + "a" * 100_000),
        ("/v1" + "?a=1" * 50_000 + "?key=abc", "/v1" + "?a=1" * 50_000 + "?key=xxx"),
    ],
    ids=range(11),
)
def test_a_second_question_mark_hides_no_secret(path, wanted):
    assert redacted(post(b"", path=path))[0].path == wanted


@pytest.mark.parametrize("name", ["Ocp-Apim-Subscription-Key", "x-functions-key", "X-JWT-Assertion", "AWSAccessKeyId"])
def test_names_of_secrets_are_known(name):
    got, _ = redacted(post(b"", (name, "CANARY"), path=f"/v1?{name}=CANARY"))
    assert (got.headers, got.path) == ((), f"/v1?{name}=xxxxxx")


def test_a_url_in_a_header_keeps_no_secret():
    headers = (("Referer", "https://app/a?b=1&token=abc"), ("X-Original-URI", "/v1?key=abc"), ("X-Mobile", "?0"))
    got, redactor = redacted(post(b"", *headers, path="/v1?key=abc"))
    assert got.headers == (("Referer", "https://app/a?b=1&token=xxx"), ("X-Original-URI", "/v1?key=xxx"), headers[2])
    assert redactor.counts == {"query token": 1, "query key": 2}


def test_a_name_that_holds_the_query_is_redacted_too():
    assert redacted(post(b"", path="/v1?sig=abc", name="/v1?sig=abc"))[0].name == "/v1?sig=xxx"
    assert redacted(post(b"", path="/v1?sig=abc", name="rank"))[0].name == "rank"


@pytest.mark.parametrize("names", [{"headers": [""]}, {"query": [""]}, {"fields": [""]}, {"fields": ["a..b"]}])
def test_an_empty_name_is_refused(names):
    with pytest.raises(TraceError, match="an empty name"):
        Redactor(**names)


def test_no_byte_of_the_new_file_holds_a_secret(tmp_path):
    """Every place at once, in many requests, so that also pages which SQLite moved or freed would show them."""
    found, path, out = [], tmp_path / "t.trace", tmp_path / "out.trace"

    def secret():
        found.append(secrets.token_hex(8))
        return found[-1]

    with TraceWriter(path, origin="test") as writer:
        for i in range(300):
            headers = [(name, secret()) for name in [*sorted(CREDENTIALS), "X-User"]]
            query = "&".join(f"{name}={secret()}" for name in [*sorted(SIGNATURES), "mine"])
            body = json.dumps({"user": {"email": secret(), "tags": [secret(), {"x": secret()}]}, "k": i}).encode()
            writer.append(Record(i, f"s{i}", "POST", f"/v1?{query}", (*headers, *JSON), body))
    old = path.read_bytes()
    assert all(text.encode() in old for text in found)
    redactor = Redactor(headers=["x-user"], query=["mine"], fields=["user"])
    assert redact(path, out, redactor) == 300
    new = out.read_bytes()
    assert [text for text in found if text.encode() in new] == []
    assert list(verify(out)) == []
    with Trace.open(path) as before, Trace.open(out) as after:
        told = after.info()
        assert before.index().size.tolist() == after.index().size.tolist()
        assert before.index().due_ns.tolist() == after.index().due_ns.tolist()
        assert after.record(0).headers == JSON
    assert told.redactions == dict(redactor.counts)
    assert (told.redactions["header cookie"], told.redactions["query mine"], told.redactions["field user"]) == (
        300,
        300,
        900,
    )
