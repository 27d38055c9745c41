"""Requests as they go over the connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.replay.record import HOP_BY_HOP, Record, TraceError
from locust_adaptive.replay.wire import Encoder, Server

HERE = Server.parse("http://127.0.0.1:8000")
TOKEN = st.text("abcXYZ019-_.!", min_size=1, max_size=12)
VALUE = st.text(st.characters(codec="latin-1", exclude_characters="\0\r\n"), max_size=20)


def parsed(head: bytes) -> tuple[str, list[tuple[str, str]]]:
    assert head.endswith(b"\r\n\r\n")
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    return first, [(name, value) for name, _, value in (line.partition(": ") for line in lines)]


@given(
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "QUERY"]),
    st.lists(st.tuples(TOKEN.filter(lambda name: name.lower() not in HOP_BY_HOP), VALUE), max_size=5),
    st.binary(max_size=50),
)
def test_what_was_recorded_goes_out_and_its_framing(method: str, headers: list[tuple[str, str]], body: bytes) -> None:
    outgoing = Encoder(HERE).encode(Record(0, "s", method, "/a?b=c", tuple(headers), body))
    first, sent = parsed(outgoing.head)
    assert first == f"{method} /a?b=c HTTP/1.1"
    assert outgoing.body == body
    length = [("Content-Length", str(len(body)))] if body or method in ("POST", "PUT", "PATCH") else []
    assert sent == [("Host", "127.0.0.1:8000"), *headers, *length]


def test_our_headers_stand_over_recorded_ones_and_framing_is_made_anew() -> None:
    recorded = (("X-Key", "a"), ("x-key", "b"), ("Content-Length", "99"), ("Connection", "close"), ("Expect", "100"))
    recorded += (("Transfer-Encoding", "chunked"), ("Host", "recorded"), ("X-Other", "c"))
    outgoing = Encoder(HERE, {"x-KEY": "mine"}).encode(Record(0, "s", "POST", "/", recorded, b"1"))
    assert parsed(outgoing.head)[1] == [
        ("Host", "127.0.0.1:8000"),
        ("x-KEY", "mine"),
        ("X-Other", "c"),
        ("Content-Length", "1"),
    ]
    assert parsed(Encoder(HERE, {"host": "other"}).encode(Record(0, "s", "GET", "/")).head)[1] == [("host", "other")]


@pytest.mark.parametrize(
    ("url", "server", "authority"),
    [
        ("http://model", Server("http", "model", 80), "model"),
        ("http://model:8000/", Server("http", "model", 8000), "model:8000"),
        ("https://Gateway/models/", Server("https", "gateway", 443, "/models"), "gateway"),
        ("https://gateway:80", Server("https", "gateway", 80), "gateway:80"),
        ("http://[::1]:81", Server("http", "::1", 81), "[::1]:81"),
        ("http://gateway/@scope/models", Server("http", "gateway", 80, "/@scope/models"), "gateway"),
        ("http://b\xfccher.example", Server("http", "b\xfccher.example", 80), "xn--bcher-kva.example"),
    ],
)
def test_where_requests_go(url: str, server: Server, authority: str) -> None:
    assert Server.parse(url) == server
    assert server.authority == authority
    assert Encoder(server).encode(Record(0, "s", "GET", "/a")).head.startswith(f"GET {server.prefix}/a HTTP".encode())


NOWHERE = ["", "model:8000", "ftp://model", "http://", "http://model:port", "http://model:99999", "http://a:b@model"]
NOWHERE += ["http://model?x=1", "http://model#x", "http://[::1", "http://a..b", f"http://{'a' * 64}"]


@pytest.mark.parametrize("url", NOWHERE)
def test_where_requests_cannot_go(url: str) -> None:
    with pytest.raises(TraceError, match="host"):
        Server.parse(url)


@pytest.mark.parametrize("scheme", ["http://", "https://", "ftp://", "//", ""])
@pytest.mark.parametrize("password", ["CANARY", "CAN/ARY", "CAN?ARY", "CAN#ARY", "CAN[ARY", "CAN:ARY", "CAN@ARY", ""])
@pytest.mark.parametrize("server", ["model", "model:port", "model:99999", "[::1", "a..b", "", "model?x=1"])
def test_a_password_in_the_host_is_refused_and_not_shown(scheme: str, password: str, server: str) -> None:
    with pytest.raises(TraceError, match=r"holds an @.* Authorization = 'env:NAME'") as refused:
        Server.parse(f"{scheme}user:{password}@{server}")
    assert "CAN" not in str(refused.value)
    assert "ARY" not in str(refused.value)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Content-Length": "1"}, "Content-Length belongs to the connection"),
        ({"a b": "1"}, "header name 'a b'"),
        ({"a": "1\r\nb: 2"}, "remove line breaks"),
    ],
)
def test_headers_that_cannot_be_ours(headers: dict[str, str], said: str) -> None:
    with pytest.raises(TraceError, match=said):
        Encoder(HERE, headers)


def test_a_secret_that_cannot_be_sent_is_not_shown() -> None:
    with pytest.raises(TraceError, match="header Authorization") as refused:
        Encoder(HERE, {"Authorization": "Bearer CANARY\n"})
    assert "CANARY" not in str(refused.value)


def test_a_hook_cannot_smuggle_a_header_in() -> None:
    with pytest.raises(TraceError, match="line breaks"):
        Encoder(HERE).encode(Record(0, "s", "GET", "/", (("a", "b\r\nc: d"),)))
    with pytest.raises(TraceError, match="cannot be sent"):
        Encoder(HERE).encode(Record(0, "s", "GET", "/ HTTP/1.1\r\na: b"))
