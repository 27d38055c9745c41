"""Whatever clients and targets say to the proxy: no exception of its own, no hang, little memory, requests counted."""

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locust_adaptive.replay.recording.plan import Plan
from locust_adaptive.replay.recording.recorder import Recorder
from locust_adaptive.replay.recording.relay import Relay
from locust_adaptive.replay.verify import verify

MEMORY = 6e6  # bytes
PATIENCE_S = 10.0
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GET = b"GET /a HTTP/1.1\r\nHost: me\r\n\r\n"
CHUNKED = b"POST /b HTTP/1.1\r\nHost: me\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Stage:
    """A relay that records, before a server that does what `behave` says now. `faults`: what nobody caught."""

    def __init__(self, folder):
        self.faults = []
        self.runner = asyncio.Runner()
        self.runner.get_loop().set_exception_handler(lambda loop, context: self.faults.append(context))
        self.relay = self.behave = None
        self.recorder = Recorder(folder / "t.trace", Plan(redact_fields=("user",)), origin="test", salt=b"salt")
        self.runner.run(self._open())

    async def _open(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        # A client that left while its second request had to wait is not seen to be gone until the first is answered.
        self.relay = Relay(f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}", silence_s=2.0)
        self.relay.records_to(self.recorder)
        self.port = await self.relay.open("127.0.0.1", 0)

    async def _serve(self, reader, writer):
        try:
            await self.behave(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    def plays(self, behave, client):
        """One client's connection from its beginning to its end, which has to come."""
        self.behave = behave
        self.faults.clear()

        async def once():
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    return await client(reader, writer)
            finally:
                writer.transport.abort()

        found = self.runner.run(once())
        assert self.faults == []
        return found

    def close(self):
        """What was recorded, once all of it is written."""

        async def end():
            await self.relay.close(1.0)
            self._server.close()

        self.runner.run(end())
        self.recorder.stop()
        self.recorder.run()
        self.runner.close()
        return self.recorder.progress()


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    made = Stage(tmp_path_factory.mktemp("relay"))
    yield made
    ended = made.close()
    assert not ended.fault, ended.ended
    assert ended.arrivals == ended.written + sum(ended.lost.values()) > 0
    assert list(verify(made.recorder.path)) == []


def saying(pieces, ends=True):
    async def say(reader, writer):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if not ends:
            await reader.read()  # until the other leaves

    return say


def client(pieces):
    """Says these, waits a moment for answers, says that it is done, and reads to the end."""

    async def speak(reader, writer):
        try:
            await saying(pieces)(reader, writer)
            heard = await asyncio.wait_for(reader.read(65536), 0.01)
        except (TimeoutError, ConnectionError):
            heard = b""
        try:
            writer.write_eof()
            return heard + await reader.read()
        except (OSError, RuntimeError):
            return heard

    return speak


REQUESTS = [
    *(GET, CHUNKED, b"POST /a?token=x HTTP/1.1\r\nContent-Length: 9\r\n\r\n", b'{"user":1', b"\r\n", b"\n", b"}"),
    *(
        b"HEAD /h HTTP/1.0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"0\r\nX-Sum: 1\r\n\r\n",
        b"ffffffffffffffffff\r\n",
    ),
    *(b"GET http://x/a HTTP/1.1\r\n", b"Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\n", b"Host: \xff\r\n"),
    *(b"CONNECT x:1 HTTP/1.1\r\n\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"Expect: 100-continue\r\n", b"\x00"),
]
ANSWERS = [
    *(OK, CHUNKS, b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    *(b"2\r\nok\r\n", b"0\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
    *(b"HTTP/1.1 200 OK\r\n", b"Content-Length: 3\r\n", b"Content-Length: -3\r\n", b"\r\n", b"abc", b"\x00"),
]


@given(
    st.lists(st.sampled_from(REQUESTS) | st.binary(max_size=30), max_size=7),
    st.lists(st.sampled_from(ANSWERS) | st.binary(max_size=30), max_size=5),
    st.booleans(),
)
@settings(max_examples=120)
def test_any_words_in_any_order(stage, asked, answered, ends):
    stage.plays(saying(answered, ends), client(asked))
    # And the proxy goes on.
    assert stage.plays(saying([OK]), client([GET])).startswith(b"HTTP/1.1 200 OK")


def endless(begins, goes_on):
    async def say(reader, writer):
        writer.write(begins)
        while True:
            writer.write(goes_on)
            await writer.drain()

    return say


HEADER = b"X-Header: " + b"y" * 1000 + b"\r\n"
SHOUT = b"y" * 1000


@pytest.mark.parametrize(
    ("begins", "goes_on"),
    [
        (b"GET /", SHOUT),
        (b"GET / HTTP/1.1\r\n", HEADER),
        (b"GET / HTTP/1.1\r\nX: ", SHOUT),
        (CHUNKED + b"0\r\n", HEADER),
        (CHUNKED + b"0\r\nX: ", SHOUT),
        (CHUNKED + b"2;", SHOUT),
    ],
    ids=["path", "headers", "a header", "trailers", "a trailer", "extension"],
)
def test_a_client_without_end_is_refused(stage, begins, goes_on):
    async def speak(reader, writer):
        talking = asyncio.ensure_future(endless(begins, goes_on)(reader, writer))
        heard = await reader.read()
        talking.cancel()  # the proxy listens for two seconds more, so that the client sees what it said
        return heard

    tracemalloc.start()
    try:
        heard = stage.plays(saying([], ends=False), speak)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    assert heard.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    ("begins", "goes_on", "status"),
    [
        (b"HTTP/1.1 200 ", SHOUT, 502),
        (b"HTTP/1.1 200 OK\r\n", HEADER, 502),
        (b"HTTP/1.1 200 OK\r\nX: ", SHOUT, 502),
        (CHUNKS + b"0\r\n", HEADER, None),
        (CHUNKS + b"0\r\nX: ", SHOUT, None),
        (CHUNKS + b"2;", SHOUT, None),
    ],
    ids=["reason", "headers", "a header", "trailers", "a trailer", "extension"],
)
def test_a_target_without_end_is_cut_off(stage, begins, goes_on, status):
    """None: the answer has begun, and the client sees that it is not whole."""

    async def speak(reader, writer):
        writer.write(GET)
        try:
            return await reader.read()
        except ConnectionError:
            return b""

    tracemalloc.start()
    try:
        heard = stage.plays(endless(begins, goes_on), speak)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    assert heard.startswith(b"HTTP/1.1 502 ") if status else not heard.endswith(b"0\r\n\r\n")
