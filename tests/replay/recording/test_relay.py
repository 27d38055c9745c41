"""The proxy between a bare client and a scripted server: what passes, when, and what happens when one of them fails."""

import asyncio
import socket
import ssl
import struct
import threading
from contextlib import contextmanager

import pytest
import trustme

from locust_adaptive.replay.recording.relay import Relay
from tests.support.origin import Origin, Wire, proxy

GET = b"GET /a?b=c HTTP/1.1\r\nHost: me\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def origin():
    with Origin() as origin:
        yield origin


@pytest.fixture(scope="module")
def through(origin):
    with proxy(origin.url, "--timeout", "1s") as running:
        yield running.url


@pytest.fixture
def talk(origin, through):
    """`with talk(behave) as client`: a connection through the proxy to a server that behaves so."""

    @contextmanager
    def talk(behave):
        origin.behave = behave
        origin.faults.clear()
        with Wire.to(through) as client:
            yield client
        assert origin.faults == []

    return talk


def replying(answer, seen=None):
    def behave(wire):
        while True:
            head = wire.head()
            if seen is not None:
                seen.append(head)
            wire.send(answer)

    return behave


def cut_off(client, size):
    """Whether the connection ends before so many bytes have come."""
    try:
        client.exactly(size)
    except (ConnectionError, EOFError):
        return True
    return False


def test_the_request_arrives_as_it_was_sent_but_for_this_hop(talk, origin):
    seen = []
    with talk(replying(OK, seen)) as client:
        client.send(
            b"GET /a%2Fb?x=%20&x=1 HTTP/1.1\r\nHost: me\r\nX-A: 1\r\nx-a: \xe9\xff\r\nAccept-Encoding: br\r\n"
            b"Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nX-A: 2\r\n\r\n"
        )
        client.answer()
    host = origin.url.removeprefix("http://").encode()
    assert seen == [
        b"GET /a%2Fb?x=%20&x=1 HTTP/1.1\r\nHost: " + host + b"\r\nX-A: 1\r\nx-a: \xe9\xff\r\nAccept-Encoding: br\r\n"
        b"X-A: 2\r\n\r\n"
    ]


def test_the_answer_arrives_as_it_was_sent_but_for_this_hop(talk):
    answer = (
        b"HTTP/1.1 404 Never Heard Of\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Encoding: gzip\r\nX: \xe9\r\n"
        b"Content-Length: 3\r\n"
    )
    with talk(replying(answer + b"Connection: X-Hop\r\nX-Hop: 1\r\n\r\n\x1f\x8b\x00")) as client:
        for _ in range(2):
            client.send(GET)
            assert client.answer() == (answer + b"\r\n", b"\x1f\x8b\x00")


def test_a_connection_of_the_client_is_one_to_the_target(talk, origin):
    before = origin.connections
    with talk(replying(OK)) as client:
        for _ in range(5):
            assert client.send(GET).answer()[1] == b"ok"
    assert origin.connections == before + 1


def test_a_request_body_streams(talk):
    """The server answers each piece before the next is sent."""

    def behave(wire):
        wire.head()
        for piece in (b"one", b"two"):
            assert wire.exactly(8) == b"3\r\n" + piece + b"\r\n"
            wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: " + piece + b"\r\n\r\n")
        assert wire.head() == b"0\r\nSum: 6\r\n\r\n"
        wire.send(OK)

    with talk(behave) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: me\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n")
        for piece in (b"one", b"two"):
            client.send(b"3\r\n" + piece + b"\r\n")
            assert client.head() == b"HTTP/1.1 103 Early Hints\r\nLink: " + piece + b"\r\n\r\n"
        assert client.send(b"0\r\nSum: 6\r\n\r\n").answer()[1] == b"ok"


def test_an_answer_streams(talk):
    """Each event is read before the server sends the next."""
    taken = threading.Semaphore(0)

    def behave(wire):
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            wire.send(b"9\r\ndata: 1\n\n\r\n")
            assert taken.acquire(timeout=5)
        wire.send(b"0\r\nT: 1\r\n\r\n")
        wire.head()

    with talk(behave) as client:
        assert b"Transfer-Encoding: chunked" in client.send(GET).head()
        for _ in range(3):
            assert client.exactly(14) == b"9\r\ndata: 1\n\n\r\n"
            taken.release()
        assert client.head() == b"0\r\nT: 1\r\n\r\n"


def test_expect_continue_is_the_targets_to_answer(talk):
    def behave(wire):
        assert b"Expect: 100-continue" in wire.head()
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert wire.exactly(4) == b"body"
        wire.send(OK)
        assert b"Expect" in wire.head()
        wire.send(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    head = b"POST / HTTP/1.1\r\nHost: me\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    with talk(behave) as client:
        assert client.send(head).head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert client.send(b"body").answer()[1] == b"ok"
        assert client.send(head).head().startswith(b"HTTP/1.1 417 No")


@pytest.mark.parametrize(
    ("request_", "answer", "passed"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", None),
        (b"GET", b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", None),
    ],
)
def test_answers_without_a_body_keep_the_connection(talk, request_, answer, passed):
    with talk(replying(answer)) as client:
        for _ in range(3):
            assert client.send(request_ + b" / HTTP/1.1\r\nHost: me\r\n\r\n").head() == (passed or answer)


def test_a_body_until_the_connection_closes(talk):
    def behave(wire):
        wire.head()
        wire.send(b"HTTP/1.0 200 OK\r\n\r\nall of ").send(b"it")

    with talk(behave) as client:
        assert client.send(GET).rest() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it"


def test_old_clients(talk):
    seen = []
    with talk(replying(OK, seen)) as client:
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert b"Connection: keep-alive" in client.answer()[0]
        assert client.send(b"GET / HTTP/1.0\r\n\r\n").rest().endswith(b"Connection: close\r\n\r\nok")
    assert [head.split(b"\r\n")[0] for head in seen] == [b"GET / HTTP/1.0"] * 2
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    with talk(replying(chunked)) as client:
        assert client.send(b"GET / HTTP/1.0\r\n\r\n").rest() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"


def test_requests_in_one_packet_are_answered_in_order(talk):
    def behave(wire):
        while True:
            number = wire.head().split(b" ")[1].removeprefix(b"/")
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(number), number))

    with talk(behave) as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: me\r\n\r\n" % i for i in range(100)))
        assert [client.answer()[1] for _ in range(100)] == [b"%d" % i for i in range(100)]


def test_an_offer_of_http2_is_ignored_and_a_body_behind_it_is_read(talk):
    def behave(wire):
        head = wire.head()
        assert b"pgrade" not in head
        assert b"HTTP2-Settings" not in head
        assert wire.exactly(4) == b"body"
        wire.send(OK)
        wire.send(OK * wire.head().startswith(b"GET"))

    with talk(behave) as client:
        client.send(
            b"POST / HTTP/1.1\r\nHost: me\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAM\r\nContent-Length: 4\r\n\r\nbody" + GET
        )
        assert [client.answer()[1] for _ in range(2)] == [b"ok", b"ok"]


def test_an_early_refusal_of_a_large_body_is_seen(talk):
    """The server answers, and closes with bytes unread, so that its system resets the connection."""

    def behave(wire):
        wire.head()
        wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")

    with talk(behave) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: me\r\nContent-Length: 100000000\r\n\r\n")

        def pour():
            try:
                for _ in range(1000):
                    client.send(b"x" * 100_000)
            except OSError:
                pass

        pouring = threading.Thread(target=pour, daemon=True)
        pouring.start()
        head, body = client.answer()
        assert (head.split(b"\r\n")[0], body) == (b"HTTP/1.1 413 Too Large", b"big")
        client.close()
        pouring.join(5)


def poured(wire, data):
    """How many bytes can be sent, of 100 MB, until none has gone for a second."""
    wire.socket.settimeout(1)
    sent = 0
    try:
        while sent < 100_000_000:
            wire.socket.sendall(data)
            sent += len(data)
    except TimeoutError:
        pass
    return sent


def test_a_client_that_does_not_read_holds_the_server_up(talk):
    """Backpressure: of an endless answer only what buffers take is sent."""
    sent = []

    def behave(wire):
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent.append(poured(wire, b"186a0\r\n" + b"x" * 100_000 + b"\r\n"))
        done.set()

    done = threading.Event()
    with talk(behave) as client:
        client.send(GET)
        assert done.wait(10)
    assert 0 < sent[0] < 30_000_000


def test_a_server_that_does_not_read_holds_the_client_up(talk):
    done = threading.Event()

    def behave(wire):
        wire.head()
        done.wait(10)

    with talk(behave) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: me\r\nContent-Length: 100000000\r\n\r\n")
        sent = poured(client, b"x" * 100_000)
        done.set()
    assert 0 < sent < 30_000_000


def test_a_client_that_goes_ends_the_request_at_the_server(talk):
    reached, gone = threading.Event(), threading.Event()

    def behave(wire):
        wire.head()
        reached.set()
        try:
            wire.exactly(1)
        finally:
            gone.set()

    with talk(behave) as client:
        client.send(GET)
        assert reached.wait(5)
    assert gone.wait(5)


def reset(wire):
    wire.head()
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    ("behave", "status", "says"),
    [
        (lambda wire: wire.head(), b"502 Bad Gateway", b"closed the connection before its answer"),
        (reset, b"502 Bad Gateway", b"reset"),
        (lambda wire: (wire.head(), wire.send(b"garbage\r\n\r\n"), wire.head()), b"502 Bad Gateway", b"not HTTP/1.1"),
        (lambda wire: (wire.head(), wire.send(b"HTTP/1.1 101 S\r\n\r\n"), wire.head()), b"502 Bad Gateway", b"not"),
        (lambda wire: (wire.head(), wire.head()), b"504 Gateway Timeout", b"sent nothing for 1 s"),
    ],
)
def test_a_server_that_gives_no_answer(talk, behave, status, says):
    with talk(behave) as client:
        head, body = client.send(GET).answer()
        assert head.startswith(b"HTTP/1.1 " + status)
        assert says in body
        assert client.rest() == b""


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with proxy(url) as running, Wire.to(running.url) as client:
        head, body = client.send(GET).answer()
    assert head.startswith(b"HTTP/1.1 502 Bad Gateway")
    assert f"no connection to the target {url}".encode() in body


@pytest.mark.parametrize(
    "begun",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
)
def test_an_answer_that_is_cut_off_stays_cut_off(talk, begun):
    with talk(lambda wire: (wire.head(), wire.send(begun))) as client:
        assert cut_off(client.send(GET), len(begun) + 30)


def test_an_idle_connection_that_the_target_closes_is_closed(talk):
    with talk(lambda wire: (wire.head(), wire.send(OK))) as client:
        assert client.send(GET).answer()[1] == b"ok"
        assert client.rest() == b""


def test_a_connection_that_was_kept_too_long_is_broken_off_as_the_target_does(talk):
    """No 502 for the race of an idle close: a client knows what to do when a reused connection closes."""
    with talk(lambda wire: (wire.head(), wire.send(OK), wire.head())) as client:
        assert client.send(GET).answer()[1] == b"ok"
        assert cut_off(client.send(GET), 1)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"garbage\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", b"501"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", b"501"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", b"501"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, b"431"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
    ],
)
def test_what_is_not_relayed_is_refused_in_words(talk, origin, sent, status):
    before = origin.connections
    with talk(replying(OK)) as client:
        head, body = client.send(sent).answer()
        assert head.startswith(b"HTTP/1.1 " + status)
        assert body.startswith(b"locust-adaptive trace record: ")
        assert client.rest() == b""
    assert origin.connections == before


def test_a_fault_behind_a_good_request_does_not_cost_its_answer(talk):
    with talk(replying(OK)) as client:
        assert client.send(GET + b"garbage\r\n\r\n").answer()[1] == b"ok"
        assert client.rest() == b""


def test_the_absolute_form_and_the_clients_host(origin):
    seen = []
    origin.behave = replying(OK, seen)
    with proxy(origin.url, "--keep-host") as running, Wire.to(running.url) as client:
        client.send(b"GET http://me/a?b HTTP/1.1\r\nHost: me\r\n\r\n").answer()
        client.send(b"GET http://me HTTP/1.1\r\nHost: me\r\n\r\n").answer()
    assert [head.split(b"\r\n")[:2] for head in seen] == [
        [b"GET /a?b HTTP/1.1", b"Host: me"],
        [b"GET / HTTP/1.1", b"Host: me"],
    ]


def test_a_target_with_tls_is_verified(monkeypatch, tmp_path):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def behave(wire):
        try:
            secure = Wire(context.wrap_socket(wire.socket, server_side=True))
        except ssl.SSLError:
            return  # who does not trust us goes
        for _ in range(2):
            assert secure.head().endswith(b"\r\n\r\n")
            secure.send(OK)

    with Origin(behave) as origin:
        target = origin.url.replace("http://", "https://")
        with proxy(target) as running, Wire.to(running.url) as client:
            head, body = client.send(GET).answer()
            assert head.startswith(b"HTTP/1.1 502")
            assert b"certificate verify failed" in body
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        with proxy(target) as running, Wire.to(running.url) as client:
            assert [client.send(GET).answer()[1] for _ in range(2)] == [b"ok", b"ok"]
        assert origin.faults == []


def test_a_client_that_leaves_an_answer_without_a_length_is_no_fault_of_ours():
    faults = []

    async def target(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nendless")
        await reader.read()
        writer.close()
        left.set()

    async def play():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        async with await asyncio.start_server(target, "127.0.0.1", 0) as server:
            relay = Relay(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            reader, writer = await asyncio.open_connection("127.0.0.1", await relay.open("127.0.0.1", 0))
            writer.write(GET)
            assert (await reader.readuntil(b"endless")).startswith(b"HTTP/1.1 200")
            writer.transport.abort()
            await asyncio.wait_for(left.wait(), 5)
            await relay.close(1.0)

    left = asyncio.Event()
    asyncio.run(play())
    assert faults == []
