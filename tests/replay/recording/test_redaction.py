import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.replay.record import CREDENTIALS
from locust_adaptive.replay.recording.redaction import ADDRESSES, OF_ONE_REQUEST, Redaction, Unreadable

JSON = (("Content-Type", "application/json"),)


@pytest.mark.parametrize(
    "name",
    [*sorted(CREDENTIALS | ADDRESSES), "X-Auth-Key", "X_Api_Key", "My-Token", "X-Secret-Thing", "X-Hub-Signature-256"],
)
def test_headers_that_are_secrets_are_left_out_and_counted(name):
    redaction = Redaction.of()
    assert redaction.keep(((name.title(), "CANARY"), ("Accept", "*/*"))) == (("Accept", "*/*"),)
    assert sum(redaction.counts.values()) == 1
    assert "CANARY" not in str(redaction.counts)


def test_headers_of_one_hop_or_one_request_are_left_out_without_a_word():
    redaction = Redaction.of()
    assert redaction.keep([(name, "1") for name in (*OF_ONE_REQUEST, "Host", "Content-Length", "Upgrade")]) == ()
    assert redaction.counts == {}


def test_headers_of_the_persons_own():
    redaction = Redaction.of(headers=["X-Customer"])
    assert redaction.keep((("x-customer", "CANARY"), ("X-B", "1"), ("x-b", "2"))) == (("X-B", "1"), ("x-b", "2"))
    assert redaction.counts == {"header x-customer": 1}


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("/a?k=1&api_key=abc&b=2", "/a?k=1&api_key=xxx&b=2"),
        ("/a?TOKEN=abc", "/a?TOKEN=xxx"),
        ("/a?a%70i-key=abc", "/a?a%70i-key=xxx"),
        ("/a?access_token=a%20b=c&d", "/a?access_token=xxxxxxx&d"),
        ("/a?X-Amz-Signature=abc;sig=d", "/a?X-Amz-Signature=xxx;sig=x"),
        ("/a?key=abc&key=&customer=me", "/a?key=xxx&key=&customer=xx"),
        ("/a?keyboard=abc&sign=1", "/a?keyboard=abc&sign=1"),
        ("/api_key=abc", "/api_key=abc"),
        ("/a?b?token=x?y", "/a?b?token=xxx"),
        ("/a?+token+=abc", "/a?+token+=xxx"),
    ],
)
def test_query_parameters_are_overwritten(target, kept):
    assert Redaction.of(parameters=["Customer"]).target(target) == kept


@given(st.text("ab=&;?%+tokensig/", max_size=40))
def test_targets_keep_their_length_and_their_names(tail):
    before, after = f"/{tail}", Redaction.of().target(f"/{tail}")
    assert len(after) == len(before)
    assert [c for c in after if c in "=&;?"] <= [c for c in before if c in "=&;?"]


def test_fields_of_json_bodies():
    redaction = Redaction.of(fields=["user.email"])
    assert redaction.body(b'{"user": {"email": "me@x"}}', JSON) == b'{"user": {"email": "xxxx"}}'
    assert redaction.body(b' {"user": {"email": "me@x"}}', ()) == b' {"user": {"email": "xxxx"}}'
    assert redaction.counts == {"field": 2}


def test_json_before_tensors():
    body = b'{"user": {"email": "me@x"}}' + b'\x00\xff{"user": {"email": "raw"'
    headers = (("Inference-Header-Content-Length", "27"),)
    assert Redaction.of(fields=["user.email"]).body(body, headers) == body.replace(b"me@x", b"xxxx")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"\x1f\x8b", (*JSON, ("Content-Encoding", "gzip"))),
        (b"user email me", JSON),
        (b'{"user": {"email": "me', ()),
        ('{"user": {"email": "me"}}'.encode("utf-16-le"), ()),
    ],
)
def test_bodies_in_which_the_fields_cannot_be_found_are_refused(body, headers):
    with pytest.raises(Unreadable):
        Redaction.of(fields=["user.email"]).body(body, headers)
    assert Redaction.of().body(body, headers) == body


def test_other_bodies_are_left_alone():
    redaction = Redaction.of(fields=["user.email"])
    for body in (b"", b"\x89PNG\r\n", b"user=1"):
        assert redaction.body(body, (("Content-Type", "image/png"),)) == body


def test_forms_are_queries():
    headers = (("content-type", "application/x-www-form-urlencoded; charset=x"),)
    assert Redaction.of().body(b"grant=a&client_secret=\xffbc", headers) == b"grant=a&client_secret=xxx"
