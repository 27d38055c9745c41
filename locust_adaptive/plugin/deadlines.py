"""Deadlines of requests in flight: all are looked at now and then, which costs a request far less than a timer of its
own."""

from __future__ import annotations

from typing import Protocol

import gevent

from .guards import clock

SWEEP_S = 0.05
"""A deadline is noticed at most so late."""


class Expires(Protocol):
    """`expire` is called in the hub, once the clock is past the `deadline`, and again until it is discarded."""

    deadline: float

    def expire(self) -> None: ...


class Deadlines:
    """What is added expires when its time comes, unless it is discarded before."""

    def __init__(self) -> None:
        self._pending: set[Expires] = set()
        self._timer = gevent.get_hub().loop.timer(SWEEP_S, SWEEP_S)

    def add(self, one: Expires) -> None:
        self._pending.add(one)
        if not self._timer.active:
            self._timer.again(self._sweep)

    def discard(self, one: Expires) -> None:
        self._pending.discard(one)

    def _sweep(self) -> None:
        now = clock()
        for one in [one for one in self._pending if one.deadline <= now]:
            one.expire()
        if not self._pending:
            self._timer.stop()
