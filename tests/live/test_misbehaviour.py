"""The live test server misbehaves as it is told, seen from a socket."""

from __future__ import annotations

import http.client
import math
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from locust_adaptive.simulation.mischief import Mischief
from tests.support.target import Target
from tests.support.truth import SMALL
from tests.support.wait import wait_until


@contextmanager
def connection(target: Target, timeout: float = 5.0) -> Iterator[HTTPConnection]:
    one = HTTPConnection(urlsplit(target.url).netloc, timeout=timeout)
    try:
        yield one
    finally:
        one.close()


def ask(target: Target, timeout: float = 5.0) -> int:
    """The status of one request on a connection of its own."""
    with connection(target, timeout) as one:
        one.request("GET", "/")
        answer = one.getresponse()
        answer.read()
        return answer.status


@pytest.mark.parametrize(
    ("mode", "error"),
    [("reset", ConnectionResetError), ("half", http.client.IncompleteRead), ("hang", TimeoutError)],
)
def test_above_its_rate_it_fails_as_told(mode: str, error: type[Exception]) -> None:
    with Target(SMALL.service, mischief=Mischief(mode, above=0)) as target:
        with pytest.raises(error):
            ask(target, timeout=0.3)
        assert target.stats()["received"] == 1


def test_it_sheds_above_its_rate_and_is_slow_when_told() -> None:
    with Target(SMALL.service, mischief=Mischief("http 503", above=2)) as target:
        assert [ask(target) for _ in range(4)] == [200, 200, 503, 503]
    with Target(SMALL.service, mischief=Mischief("slow", above=0, delay=0.4)) as target:
        with pytest.raises(TimeoutError):
            ask(target, timeout=0.3)
        assert ask(target) == 200


def test_it_goes_away_and_comes_back_on_the_same_port() -> None:
    with Target(SMALL.service, mischief=Mischief(gone=(0.2, 0.8))) as target, connection(target) as kept:
        kept.request("GET", "/")
        kept.getresponse().read()

        def refused() -> bool:
            try:
                return ask(target) != 200
            except ConnectionRefusedError:
                return True
            except ConnectionResetError:
                return False

        wait_until(refused, "nobody listens")
        with pytest.raises(ConnectionResetError):
            kept.sock.recv(1)
        wait_until(lambda: not refused(), "somebody listens again")
        assert target.stats()["silent_s"] < 5


def test_before_the_first_request_there_is_no_silence() -> None:
    with Target(SMALL.service, mischief=Mischief(gone=(0.0, math.inf))) as target:
        assert target.stats()["silent_s"] is None
