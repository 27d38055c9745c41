"""Replaying users: what goes over the wire is what was recorded, and each answer is judged by the recorded status."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gevent.server import StreamServer
from locust.env import Environment

from locust_adaptive import ReplayUser
from locust_adaptive.plugin import inflight, playlist
from locust_adaptive.plugin.guards import clock
from locust_adaptive.plugin.inflight import error_kind
from locust_adaptive.plugin.options import ConfigError
from locust_adaptive.plugin.replayuser import prepare
from locust_adaptive.replay.record import Record
from locust_adaptive.replay.store import TraceWriter
from locust_adaptive.search.meter import Meter
from locust_adaptive.search.slo import Slo
from tests.support.wait import wait_until

Sent = tuple[str, str, list[tuple[str, str]], bytes]
MADE_BY_THE_CLIENT = {"host", "content-length"}


class Capture:
    """An HTTP server that keeps each request as it came: method, target, headers, body. `/status/404` answers so."""

    def __init__(self) -> None:
        self.requests: list[Sent] = []
        self.connections = 0
        """That are open."""
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.stop(timeout=0.1)

    def _serve(self, sock: Any, _address: Any) -> None:
        self.connections += 1
        try:
            self._answer(sock)
        finally:
            self.connections -= 1

    def _answer(self, sock: Any) -> None:
        stream = sock.makefile("rb")
        while line := stream.readline():
            method, target, _ = line.decode("latin-1").split(" ", 2)
            headers = []
            while (header := stream.readline()) != b"\r\n":
                name, value = header.decode("latin-1").rstrip("\r\n").split(": ", 1)
                headers.append((name, value))
            length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
            self.requests.append((method, target, headers, stream.read(length)))
            status = int(target.rsplit("/", 1)[1]) if target.startswith("/status/") else 200
            more = "Location: /elsewhere\r\n" if status == 302 else ""
            more += "Set-Cookie: seen=1\r\n"
            sock.sendall(f"HTTP/1.1 {status} X\r\n{more}Content-Length: 2\r\n\r\nok".encode())


@pytest.fixture
def capture() -> Iterator[Capture]:
    server = Capture()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def no_playlists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playlist, "_playlists", {})
    monkeypatch.setattr(playlist, "_shard", None)


@pytest.fixture
def replaying(tmp_path: Path, capture: Capture) -> Callable[..., Any]:
    """A user of a fresh class with these records and class attributes, ready to send."""

    def make(*records: Record, **attributes: Any) -> Any:
        path = tmp_path / "day.trace"
        with TraceWriter(path, origin="test") as writer:
            for record in records:
                writer.append(record)
        user_class: Any = type("Replaying", (ReplayUser,), {"trace": str(path), "host": capture.url, **attributes})
        return user_class.real(Environment(user_classes=[user_class], host=capture.url))

    return make


RECORDS = [
    Record(0, "s", "POST", "/v1/rank?a=b&c=%2F+x", (("Content-Type", "application/json"),), b'{"a": 1}'),
    Record(1, "s", "PUT", "/raw;v=1/%00/a//b", (("X-Trace", "\xe9"), ("content-type", "x/y")), bytes(range(256)) * 40),
    Record(2, "s", "GET", "/empty", (("Accept", "text/html;q=0.9"), ("Accept-Encoding", "br"))),
    Record(3, "s", "DELETE", "/it", ()),
    Record(4, "s", "POST", "/nothing", (("Content-Type", "text/plain"),), b""),
    Record(5, "s", "PATCH", "/odd", (("X-A", "1"), ("x-b", "2")), b"\r\n\r\nGET / HTTP/1.1\r\n"),
]


def test_what_was_recorded_is_what_is_sent(replaying, capture: Capture) -> None:
    user = replaying(*RECORDS)
    for _ in RECORDS:
        user.replay()
    assert len(capture.requests) == len(RECORDS)
    for record, (method, target, headers, body) in zip(RECORDS, capture.requests, strict=True):
        assert (method, target, body) == (record.method, record.path, record.body)
        recorded = {name.lower() for name, _ in record.headers}
        ours = [(name, value) for name, value in headers if name.lower() in recorded]
        assert ours == list(record.headers)
        assert {name.lower() for name, _ in headers} - recorded <= MADE_BY_THE_CLIENT, "nothing is invented"


def test_a_header_that_came_twice_goes_out_twice(replaying, capture: Capture) -> None:
    replaying(Record(0, "s", "GET", "/", (("X-Tag", "a"), ("x-tag", "b")))).replay()
    assert capture.requests[0][2][1:] == [("X-Tag", "a"), ("x-tag", "b")]


def test_cookies_of_an_answer_are_not_sent_with_the_next(replaying, capture: Capture) -> None:
    user = replaying(Record(0, "s", "GET", "/a"), Record(1, "s", "GET", "/b"))
    user.replay()
    user.replay()
    assert not any(name.lower() == "cookie" for name, _ in capture.requests[1][2])


@pytest.mark.parametrize(
    ("status", "expected", "failed"),
    [
        (200, None, None),
        (200, 200, None),
        (200, 201, "http 200, 201 was recorded"),
        (404, None, "404"),
        (404, 404, None),
        (404, 200, "http 404, 200 was recorded"),
        (503, 503, None),
        (302, 302, None),
        (302, 200, "http 302, 200 was recorded"),
    ],
)
def test_an_answer_is_good_when_it_is_the_recorded_one(replaying, capture, status, expected, failed) -> None:
    user = replaying(Record(0, "s", "GET", f"/status/{status}", name="it", expect=expected))
    seen: list[Any] = []
    user.environment.events.request.add_listener(lambda **event: seen.append(event))
    user.replay()
    assert [event["name"] for event in seen] == ["it"]
    assert len(capture.requests) == 1, "a redirect is not followed"
    if failed is None:
        assert seen[0]["exception"] is None
    else:
        assert failed in str(seen[0]["exception"])


def test_no_answer_fails_whatever_was_recorded(replaying, capture: Capture) -> None:
    user = replaying(Record(0, "s", "GET", "/", expect=200))
    capture.close()
    seen: list[Any] = []
    user.environment.events.request.add_listener(lambda **event: seen.append(event))
    user.replay()
    assert seen[0]["exception"] is not None


def test_credentials_come_from_the_environment(replaying, capture: Capture, monkeypatch) -> None:
    monkeypatch.setenv("TOKEN", "Bearer secret")
    extra = {"Authorization": "env:TOKEN", "x-model": "b"}
    replaying(Record(0, "s", "GET", "/", (("X-Model", "a"),)), headers=extra).replay()
    sent = capture.requests[0][2]
    assert ("Authorization", "Bearer secret") in sent
    assert [value for name, value in sent if name.lower() == "x-model"] == ["b"], "it stands over the recorded one"


def test_on_request_may_change_what_is_sent(replaying, capture: Capture) -> None:
    def on_request(self: Any, record: Record, lap: int) -> Record:
        return Record(record.due_ns, record.session, "POST", f"{record.path}?lap={lap}", body=b"new")

    user = replaying(Record(0, "s", "GET", "/a"), on_request=on_request)
    for _ in range(3):
        user.replay()
    assert [(m, t, b) for m, t, _, b in capture.requests] == [("POST", f"/a?lap={n}", b"new") for n in range(3)]


def test_on_reply_may_judge_what_it_says(replaying, capture: Capture) -> None:
    def on_reply(record: Record, reply: Any) -> str | None:
        return f"{record.path}: {reply.content.decode()}" if record.path == "/bad" else None

    user = replaying(
        Record(0, "s", "GET", "/bad"), Record(1, "s", "GET", "/good"), Record(2, "s", "GET", "/status/503"),
        on_reply=staticmethod(on_reply),
    )  # fmt: skip
    seen: list[Any] = []
    user.environment.events.request.add_listener(lambda **event: seen.append(event["exception"]))
    for _ in range(3):
        user.replay()
    assert [(str(e), error_kind(e)) if e else None for e in seen] == [
        ("/bad: ok", "check"),
        None,
        ("http 503", "http 503"),
    ]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_counts_are_the_same_whether_somebody_listens(replaying, monkeypatch, place: int) -> None:
    records = [Record(i, f"s{i}", "GET", f"/status/{s}", expect=200) for i, s in enumerate((200, 200, 404))]
    user_class = type(replaying(*records))
    counts: list[Any] = []
    heard: list[str] = []
    for listens in (False, True):
        environment = Environment(user_classes=[user_class], host=user_class.host)
        environment.create_local_runner()
        inflight.install(environment)
        if listens:
            environment.events.request._handlers.insert(place, lambda **event: heard.append(event["name"]))
        assert inflight.only_counted(environment) is not listens
        meter = Meter(Slo.parse("p99<1s"), 0.005, clock())
        monkeypatch.setattr(inflight.instruments, "meter", meter)
        meter.open_probe(1, clock())
        user = user_class.real(environment)
        for _ in records:
            user.replay()
        meter.open_probe(2, clock())
        flows = [flow for shipment in meter.collect(clock()) for flow in shipment.flows]
        stats = environment.stats
        counts.append(
            (
                [(name, e.num_requests, e.num_failures, e.total_content_length) for name, e in stats.entries.items()],
                (stats.total.num_requests, stats.total.num_failures, sum(stats.total.response_times.values())),
                [(error.name, error.occurrences) for error in stats.errors.values()],
                sum(sum(flow.completions.values()) for flow in flows),
                [flow.errors for flow in flows if flow.errors],
            )
        )
        assert meter.in_flight == 0
    without, with_listener = ([sorted(count[0]), *count[1:]] for count in counts)
    assert without == with_listener
    assert without[1] == (3, 1, 3)
    assert without[3] == 3
    assert sorted(heard) == ["/status/200", "/status/200", "/status/404"]


def test_a_reply_that_on_reply_cannot_judge_has_failed(replaying, capture: Capture) -> None:
    def on_reply(record: Record, reply: Any) -> str | None:
        return json.loads(reply.content)["error"]

    user = replaying(Record(0, "s", "GET", "/"), on_reply=staticmethod(on_reply))
    seen: list[Any] = []
    user.environment.events.request.add_listener(lambda **event: seen.append(event["exception"]))
    user.replay()
    assert isinstance(seen[0], json.JSONDecodeError)
    assert error_kind(seen[0]) == "exception"


def test_what_was_sent_again_is_said_once(replaying, capture: Capture, caplog: pytest.LogCaptureFixture) -> None:
    user = replaying(Record(0, "s", "PUT", "/a"))
    user.replay()
    user._replay_client._connections.repeated = 3
    for _ in range(2):
        user.environment.events.test_stop.fire(environment=user.environment)
    assert [r.message for r in caplog.records if "sent again" in r.message] == [
        "Replaying: 3 requests were sent again, as the server ended a kept connection without a byte of the reply"
    ]


def test_idle_connections_end_with_the_run_and_a_next_run_opens_its_own(replaying, capture: Capture) -> None:
    user = replaying(Record(0, "s", "PUT", "/a"))
    for number in (1, 2):
        user.replay()
        assert capture.connections == 1, "kept for the next request"
        user.environment.events.test_stop.fire(environment=user.environment)
        wait_until(lambda: not capture.connections, "the end of the connection")
        assert len(capture.requests) == number
        assert user._replay_client._connections.opened == number


# -- before any load -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({}, "Bad names no trace: set trace"),
        ({"trace": "none.trace"}, "Bad: there is no trace 'none.trace' here nor beside the locustfile"),
        ({"trace": "{here}"}, "Bad: "),
        ({"trace": "{bodyless}"}, "Bad: none of the 1 sessions of the trace has all its bodies"),
        ({"trace": "{good}", "headers": {"X": "env:NO_SUCH"}}, "Bad: the header X is to come from .* NO_SUCH"),
        ({"trace": "{good}", "host": "model:8000"}, "Bad: the host 'model:8000' is not where requests can go"),
        ({"trace": "{good}", "host": "http://a", "headers": {"Expect": "x"}}, "Bad: the header Expect belongs to"),
        ({"trace": "{good}", "repeat": "once"}, "Bad: repeat is 'once'; known are idempotent, always, never"),
        ({"trace": "{good}", "timeout": 0}, "Bad: timeout is 0; it is a positive number of seconds"),
        ({"trace": "{good}", "on_reply": lambda self, record, reply: None}, "Bad: on_reply belongs to no user"),
        (
            {"trace": "{good}", "host": "https://a", "verify": "/no/such.pem"},
            "Bad: verify: cannot read the CAs in /no/such.pem: No such file",
        ),
    ],
)
def test_what_is_missing_is_said_with_the_class(attributes, said: str, tmp_path: Path) -> None:
    good = tmp_path / "good.trace"
    with TraceWriter(good, origin="test") as writer:
        writer.append(RECORDS[0])
    bodyless = tmp_path / "bodyless.trace"
    with TraceWriter(bodyless, origin="test") as writer:
        writer.append(Record(0, "s", "POST", "/", omitted=9))
    text = tmp_path / "text.trace"
    text.write_text("no trace at all")
    attributes = dict(attributes)
    if "trace" in attributes:
        attributes["trace"] = attributes["trace"].format(here=text, good=good, bodyless=bodyless)
    bad = type("Bad", (ReplayUser,), attributes)
    with pytest.raises(ConfigError, match=said):
        prepare([bad], None)


def test_a_trace_is_found_beside_the_locustfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with TraceWriter(tmp_path / "day.trace", origin="test") as writer:
        writer.append(RECORDS[0])
    user_class: Any = type("Beside", (ReplayUser,), {"trace": "day.trace"})
    module = type("Module", (), {"__file__": str(tmp_path / "locustfile.py")})
    monkeypatch.setitem(__import__("sys").modules, "beside", module)  # type: ignore[arg-type]
    user_class.__module__ = "beside"
    assert user_class.trace_path() == (tmp_path / "day.trace").resolve()


def test_closed_loop_replays_with_ordinary_users() -> None:
    from locust_adaptive.plugin.openloop import is_open_loop

    assert is_open_loop(type("Open", (ReplayUser,), {}))
    assert not is_open_loop(type("Closed", (ReplayUser,), {"load": "closed"}))
