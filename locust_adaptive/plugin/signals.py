"""Ctrl-C and SIGTERM in the middle of a headless search: it ends with its report, and the exit code of the signal.

Locust alone would lose it: it installs its handler for SIGTERM only when a headless run with a shape is over.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import gevent

ENDING = (signal.SIGINT, signal.SIGTERM)


class SignalWatch:
    """While armed, `on_signal(number)` is called in a greenlet of its own; then Locust ends as it does at Ctrl-C."""

    def __init__(self, on_signal: Callable[[int], None]) -> None:
        self._on_signal = on_signal
        self._watchers: list[Any] = []

    def arm(self) -> None:
        self._watchers = [gevent.signal_handler(number, self._take, int(number)) for number in ENDING]

    def disarm(self) -> None:
        """Again does nothing."""
        while self._watchers:
            self._watchers.pop().cancel()

    def _take(self, number: int) -> None:
        try:
            self._on_signal(number)
        finally:
            hub = gevent.get_hub()
            hub.loop.run_callback(hub.parent.throw, KeyboardInterrupt)
