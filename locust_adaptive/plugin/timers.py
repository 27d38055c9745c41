"""A one-shot timer on gevent's hub, as exact as the system allows.

libev's own timers have a granularity of 1 ms; a timerfd watched by the loop wakes within some 20 us.
"""

import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol


class Timer(Protocol):
    """Calls back once, in the hub, after the delay it was last armed with."""

    def arm(self, delay: float) -> None:
        """Fire `delay` seconds from now, instead of when armed before. Not positive is at once."""
        ...

    def disarm(self) -> None:
        """Do not fire."""
        ...

    def close(self) -> None:
        """Give the system's resources back."""
        ...


def make_timer(loop: Any, callback: Callable[[], None]) -> Timer:
    """The best timer that this system has."""
    try:
        return TimerFd(loop, callback)
    except (OSError, AttributeError):  # not Linux, or no descriptor left
        return LoopTimer(loop, callback)


class LoopTimer:
    """The loop's own timer, for systems without timerfd."""

    def __init__(self, loop: Any, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._watcher: Any = None

    def arm(self, delay: float) -> None:
        self.disarm()
        self._watcher = self._loop.timer(max(delay, 0.0))
        self._watcher.start(self._callback, update=True)

    def disarm(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None

    def close(self) -> None:
        self.disarm()


class TimerFd:
    """Linux's timerfd. It is never read: setting it anew makes it unreadable again."""

    def __init__(self, loop: Any, callback: Callable[[], None]) -> None:
        """Raises `OSError` or `AttributeError` where there is none."""
        self._fd, self._set = _timerfd()
        self._callback = callback
        self._watcher = loop.io(self._fd, 1)

    def arm(self, delay: float) -> None:
        self._set(max(delay, 1e-9))
        if not self._watcher.active:
            self._watcher.start(self._callback)

    def disarm(self) -> None:
        self._set(0.0)
        self._watcher.stop()

    def close(self) -> None:
        self._watcher.stop()
        self._watcher.close()
        os.close(self._fd)


class _Timespec(ctypes.Structure):
    _fields_ = (("s", ctypes.c_long), ("ns", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


def _timerfd() -> tuple[int, Callable[[float], None]]:
    """A new descriptor, and the function that sets its delay in seconds (0: never)."""
    if sys.version_info >= (3, 13):
        fd = os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)
        return fd, lambda delay: (os.timerfd_settime(fd, initial=delay), None)[1]
    libc = ctypes.CDLL(None, use_errno=True)
    create = libc.timerfd_create
    settime = ctypes.PyDLL(None).timerfd_settime  # it does not wait: no need to let another thread run
    fd = create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)  # TFD_* are these flags
    if fd < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create failed")
    spec = _Itimerspec()
    value, where = spec.value, ctypes.byref(spec)

    def set_delay(delay: float) -> None:
        seconds = int(delay)
        value.s, value.ns = seconds, int((delay - seconds) * 1e9)
        settime(fd, 0, where, None)

    return fd, set_delay
