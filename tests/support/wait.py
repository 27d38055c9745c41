"""Waiting for a condition in a test, with a deadline instead of a fixed sleep."""

import time
from collections.abc import Callable

import gevent


def wait_until(condition: Callable[[], object], what: str, timeout: float = 5.0) -> None:
    """Return as soon as `condition()` is true; fail with `what` was awaited when that takes longer than `timeout` s."""
    deadline = time.perf_counter() + timeout
    while not condition():
        assert time.perf_counter() < deadline, f"{what}: not within {timeout:g} s"
        gevent.sleep(0.002)
