"""Signals that end a search: the first one ends it with its report, the next one ends the process.

Locust alone would lose a headless search: it installs its handler for SIGTERM only when a run with a shape is over.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
from collections.abc import Callable
from typing import Any

import gevent
import psutil  # type: ignore[import-untyped]  # comes with Locust

from .guards import clock

ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
TWICE_S = 0.5
"""Signals this close together are one: `timeout`, and a shell that tells a whole process group, may send it twice."""


class SignalWatch:
    """While armed, the first signal calls `first(number)`, in a greenlet of its own; one that comes later ends the
    process at once, with the exit code of a process that the signal killed.

    A signal that this process was started to ignore stays ignored (`nohup`, a job in the background of a script).
    """

    def __init__(self, first: Callable[[int], None]) -> None:
        self.taken: int | None = None
        """The signal that came first, if one came."""
        self._first = first
        self._taken_at = 0.0
        self._watchers: list[tuple[signal.Signals, Any, Any]] = []
        self._terminal = _terminal()

    def arm(self) -> None:
        """Again does nothing."""
        if self._watchers:
            return
        for number in ENDING:
            if (before := signal.getsignal(number)) is not signal.SIG_IGN:
                self._watchers.append((number, gevent.signal_handler(number, self._take, int(number)), before))

    def disarm(self) -> None:
        """Leave signals to Locust again; not once one was taken, as another one then means at once."""
        while self._watchers and self.taken is None:
            number, watcher, before = self._watchers.pop()
            watcher.cancel()
            if number != signal.SIGTERM:  # Locust has a watcher of its own, which this would disable
                signal.signal(number, before)  # gevent leaves the default, which kills

    def pass_on(self) -> None:
        """Have Locust's own handler for SIGTERM end this process."""
        self._taken_at = clock()  # none of it is a second signal
        os.kill(os.getpid(), signal.SIGTERM)

    def _take(self, number: int) -> None:
        if self.taken is None:
            self.taken, self._taken_at = number, clock()
            self._first(number)
        elif clock() - self._taken_at > TWICE_S:
            self._end_at_once(number)

    def _end_at_once(self, number: int) -> None:
        # Each step of the journal was flushed when it was written; nothing else has to be saved.
        end_forks(signal.SIGKILL)
        if self._terminal is not None:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, self._terminal)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # a terminal that is gone
                stream.flush()
        os._exit(128 + number)


def interrupt_main() -> None:
    """Raise KeyboardInterrupt where the main greenlet waits, as Ctrl-C does."""
    throw_into_main(KeyboardInterrupt())


def throw_into_main(error: BaseException) -> None:
    """Raise this where the main greenlet waits."""
    hub = gevent.get_hub()
    hub.loop.run_callback(hub.parent.throw, error)


def end_forks(number: int = signal.SIGTERM) -> None:
    """End the workers that --processes forked: Locust forgets those that have not connected, for five minutes."""
    here = psutil.Process()
    for child in here.children():
        with contextlib.suppress(psutil.NoSuchProcess):  # ended by itself
            if child.cmdline() == here.cmdline():
                child.send_signal(number)


def _terminal() -> list[Any] | None:
    """How the terminal is set before Locust reads single keys from it; None without one."""
    try:
        return termios.tcgetattr(sys.stdin.fileno())
    except (OSError, ValueError, termios.error):  # no terminal, or no standard input at all
        return None
