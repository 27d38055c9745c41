"""Reading replies: the grammar is the parser's; what is ours is where a reply ends and what may follow it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.replay.reply import MAX_HEAD, ReplyError, ReplyReader

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
UNTIL_END = b"HTTP/1.1 200 OK\r\n\r\nok"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nContent-Length: 7\r\n\r\n"


def read(data: bytes, cuts: list[int] = [], method: str = "POST", eof: bool = False) -> ReplyReader | str:  # noqa: B006
    """The reader after these bytes, cut in pieces; the kind of error if it raised one."""
    reader = ReplyReader()
    reader.begin(method, keep=True)
    places = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    try:
        for start, end in itertools.pairwise(places):
            if start < end:
                reader.feed(data[start:end])
        if eof:
            reader.eof()
    except ReplyError as error:
        return error.kind
    return reader


def outcome(reader: ReplyReader | str) -> object:
    if isinstance(reader, str):
        return reader
    return reader.whole and (reader.status, reader.length, reader.body, reader.head), reader.reusable


@pytest.mark.parametrize(
    ("data", "status", "body", "reusable"),
    [
        (OK, 200, b"ok", True),
        (CHUNKED, 200, b"ok", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + INTERIM.replace(b"7", b"0") + OK, 200, b"ok", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 304, b"", True),
        (OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), 200, b"ok", False),
        (OK.replace(b"1.1", b"1.0"), 200, b"ok", False),
        (OK + OK, 200, b"ok", False),
        (OK + b"x", 200, b"ok", False),
    ],
)
def test_a_whole_reply(data: bytes, status: int, body: bytes, reusable: bool) -> None:
    reader = read(data)
    assert isinstance(reader, ReplyReader)
    assert (reader.whole, reader.status, reader.body, reader.length) == (True, status, body, len(body))
    assert reader.reusable is reusable
    assert reader.head.startswith(b"HTTP/1.")
    assert b"\r\n\r\n" not in reader.head


@given(
    st.sampled_from([OK, CHUNKED, UNTIL_END, OK + b"x", b"HTTP/1.1 103 E\r\n\r\n" + OK]), st.lists(st.integers(0, 99))
)
def test_how_the_bytes_come_does_not_matter(data: bytes, cuts: list[int]) -> None:
    assert outcome(read(data, cuts, eof=True)) == outcome(read(data, eof=True))


@pytest.mark.parametrize("data", [OK, CHUNKED, b"HTTP/1.1 100 Continue\r\n\r\n" + OK])
def test_every_beginning_of_a_reply_is_half_of_one(data: bytes) -> None:
    for end in range(len(data)):
        reader = read(data[:end])
        assert isinstance(reader, ReplyReader)
        assert not reader.whole
        assert read(data[:end], eof=True) == "reset"


def test_the_end_of_the_connection_may_end_the_body() -> None:
    reader = read(UNTIL_END)
    assert isinstance(reader, ReplyReader)
    assert not reader.whole
    reader.eof()
    assert (reader.whole, reader.body, reader.reusable) == (True, b"ok", False)
    # What looks like a length in the body is none.
    body = b"\ncontent-length: 9\r\n\r\ncontent-length: 9"
    assert outcome(read(b"HTTP/1.1 200 OK\r\n\r\n" + body, eof=True))[0][2] == body  # type: ignore[index]


def test_a_reply_to_head_is_whole_with_its_head() -> None:
    reader = read(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", method="HEAD")
    assert isinstance(reader, ReplyReader)
    assert (reader.whole, reader.length, reader.reusable) == (True, 0, False)


@pytest.mark.parametrize(
    "data",
    [
        b"rubbish\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (MAX_HEAD // 3) + b"\r\n",
    ],
)
def test_what_is_no_reply(data: bytes) -> None:
    assert read(data, list(range(0, len(data), 1000))) == "connection"


@given(st.lists(st.binary(max_size=300), max_size=8), st.sampled_from(["GET", "HEAD"]), st.booleans())
def test_any_bytes_are_a_reply_or_an_error(pieces: list[bytes], method: str, after_a_head: bool) -> None:
    reader = ReplyReader()
    reader.begin(method, keep=True)
    try:
        if after_a_head:
            reader.feed(b"HTTP/1.1 200 OK\r\n")
        for piece in pieces:
            reader.feed(piece)
            assert reader.length <= sum(map(len, pieces))
        reader.eof()
    except ReplyError:
        return
    assert reader.whole
    assert not reader.reusable
    assert 200 <= reader.status <= 999


@given(st.lists(st.sampled_from([OK, CHUNKED, b"HTTP/1.1 204 No Content\r\n\r\n"]), min_size=1, max_size=5))
def test_one_reader_reads_the_replies_of_a_connection(replies: list[bytes]) -> None:
    reader = ReplyReader()
    for reply in replies:
        reader.begin("POST", keep=True)
        assert not reader.started
        reader.feed(reply)
        assert outcome(reader) == outcome(read(reply))
