"""The lease of a process that makes load: until when it may, as its master has heard of it not long ago.

In open loop what falls due later is skipped; in closed loop a user waits for it before its next task.
"""

from __future__ import annotations

import math
from typing import Any

from gevent.event import Event

from .guards import clock

ATTRIBUTE = "_adaptive_lease"
"""The name under which an environment holds its lease."""


class Lease:
    """`until`: its end, by the plug-in's clock. Without a search it has none."""

    def __init__(self) -> None:
        self.until = math.inf
        self._missed = False
        self._moved = Event()

    def move(self, until: float) -> None:
        """It ends then; `-math.inf`: now."""
        self.until = until
        self._moved.set()

    def wait(self) -> None:
        """Return while it is valid."""
        self._missed = True
        while clock() > self.until:
            self._moved.clear()
            self._moved.wait()

    def missed(self) -> bool:
        """Is it over, or did anybody wait for it since this was last asked?"""
        missed, self._missed = self._missed or clock() > self.until, False
        return missed


def lease_of(environment: Any) -> Lease:
    """The one lease of this environment, made when first asked for."""
    lease: Lease | None = getattr(environment, ATTRIBUTE, None)
    if lease is None:
        lease = Lease()
        setattr(environment, ATTRIBUTE, lease)
    return lease
