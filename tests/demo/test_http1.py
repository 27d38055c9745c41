"""The HTTP/1.1 connection, driven without a socket."""

import asyncio
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.demo.http1 import MAX_BODY_BYTES, MAX_HEAD_BYTES, MAX_PIPELINED, Connection, Exchange


class Wire(asyncio.Transport):
    """Keeps what is written, and whether the server reads and has closed."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.sent += bytes(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Client:
    """A connection with its wire; `answer_at_once` or keep the exchanges for later."""

    def __init__(self, answer_at_once: bool = True) -> None:
        self.exchanges: list[Exchange] = []
        self.statuses: Counter[int] = Counter()
        self.wire = Wire()
        self._at_once = answer_at_once
        self.connection = Connection(self._handle, self.statuses)
        self.connection.connection_made(self.wire)

    def _handle(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        if self._at_once:
            exchange.answer(200, exchange.body)

    def send(self, data: bytes) -> bytes:
        self.connection.data_received(data)
        return self.wire.sent


POST = b"POST /a?q=1 HTTP/1.1\r\nHost: x\r\nContent-LENGTH: 5\r\nX-Id:  7 \r\n\r\nhello"


def test_a_request_and_its_answer() -> None:
    client = Client()
    sent = client.send(POST)
    (exchange,) = client.exchanges
    assert (exchange.method, exchange.path, exchange.body) == ("POST", "/a", b"hello")
    assert exchange.headers == {b"host": b"x", b"content-length": b"5", b"x-id": b"7"}
    head, _, body = sent.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 5" in head
    assert body == b"hello"
    assert not client.wire.closed


@given(st.lists(st.integers(0, 4 * len(POST)), max_size=12))
def test_any_split_of_the_bytes_gives_the_same(cuts: list[int]) -> None:
    stream = POST * 3 + b"\r\nGET / HTTP/1.1\r\n\r\n"
    whole, split = Client(), Client()
    whole.send(stream)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, stop in pairwise(places):
        split.send(stream[start:stop])
    assert split.wire.sent == whole.wire.sent
    assert len(split.exchanges) == 4


def test_pipelined_answers_leave_in_the_order_of_the_requests() -> None:
    client = Client(answer_at_once=False)
    client.send(POST * 3)
    first, second, third = client.exchanges
    third.answer(200, b"3")
    second.answer(200, b"2")
    assert client.wire.sent == b""
    first.answer(200, b"1")
    assert [part[:1] for part in client.wire.sent.split(b"\r\n\r\n")[1:]] == [b"1", b"2", b"3"]


def test_a_client_that_pipelines_too_much_is_read_no_further_until_answered() -> None:
    client = Client(answer_at_once=False)
    client.send(POST * (MAX_PIPELINED + 2))
    assert len(client.exchanges) == MAX_PIPELINED
    assert not client.wire.reading
    client.exchanges[0].answer(200)
    assert len(client.exchanges) == MAX_PIPELINED + 1
    for exchange in client.exchanges[1:]:
        exchange.answer(200)
    assert client.wire.reading
    client.exchanges[-1].answer(200)
    assert client.statuses[200] == MAX_PIPELINED + 2


def test_a_client_that_does_not_read_is_not_read() -> None:
    client = Client()
    client.connection.pause_writing()
    assert not client.wire.reading
    client.send(POST)
    assert client.exchanges == []
    client.connection.resume_writing()
    assert client.wire.reading
    assert len(client.exchanges) == 1


@pytest.mark.parametrize(
    ("request_head", "closes"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", False),
    ],
)
def test_keep_alive(request_head: bytes, closes: bool) -> None:
    client = Client()
    client.send(request_head + b"GET /second HTTP/1.1\r\n\r\n")
    assert client.wire.closed is closes
    assert len(client.exchanges) == (1 if closes else 2)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET  HTTP/1.1\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400),
        (b"G\x00T / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nName : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n folded: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), 413),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 9000 + b"\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * MAX_HEAD_BYTES, 431),
    ],
)
def test_what_cannot_be_read_is_refused_and_the_connection_ends(sent: bytes, status: int) -> None:
    client = Client()
    answer = client.send(sent)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert client.wire.closed
    assert client.statuses == {status: 1}
    assert client.exchanges == []
    assert client.send(POST) == answer


def test_a_refusal_waits_for_the_answers_before_it() -> None:
    client = Client(answer_at_once=False)
    client.send(POST + b"nonsense\r\n\r\n")
    assert client.wire.sent == b""
    client.exchanges[0].answer(200)
    assert client.wire.sent.index(b" 200 ") < client.wire.sent.index(b" 400 ")
    assert client.wire.closed


def test_a_head_request_gets_no_body() -> None:
    client = Client(answer_at_once=False)
    client.send(b"HEAD / HTTP/1.1\r\n\r\n")
    client.exchanges[0].answer(200, b"four")
    assert client.wire.sent.endswith(b"\r\n\r\n")
    assert b"Content-Length: 4" in client.wire.sent


def test_expect_continue_is_met() -> None:
    client = Client()
    assert client.send(POST[:-5].replace(b"Host: x", b"Expect: 100-Continue")) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b" 200 OK" in client.send(b"hello")


def test_an_answer_to_a_client_that_left_is_lost_and_counted() -> None:
    client = Client(answer_at_once=False)
    client.send(POST)
    client.connection.connection_lost(None)
    client.exchanges[0].answer(200, b"late")
    assert client.wire.sent == b""
    assert client.statuses == {200: 1}


def test_a_second_answer_is_an_error() -> None:
    client = Client()
    client.send(POST)
    with pytest.raises(RuntimeError, match="already answered"):
        client.exchanges[0].answer(200)
