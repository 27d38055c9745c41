"""When arrivals are due: arrival processes, and the pacer that plays one at a changing rate. Time is an argument.
(Recorded arrivals, whose time and request belong together, have a pacer of their own in `recorded`.)

The idea is vegeta's Pacer; the state is kept in *work units* (expected arrivals) instead of seconds, so that a change
of rate needs no new draw and no approximation: a process of unit rate, run through the integral of the rate.
"""

import math
import random
from collections import deque
from typing import NamedTuple, Protocol

from .population import Play


class Arrival(NamedTuple):
    """When an arrival is due, in seconds; and what it is to send, where that is part of the arrival process."""

    due: float
    play: Play | None = None


class Pacing(Protocol):
    """Arrivals one after another, under a rate that changes, also through 0. Times are seconds on any one clock."""

    def set_rate(self, now: float, rate: float) -> None:
        """From `now` on, `rate` arrivals per second; arrivals due before stay due when they were.

        Where later arrivals have been popped ahead of time, the new rate begins at the last of them.
        Raises `ValueError` for a rate or time that is not finite, or a negative rate.
        """
        ...

    def next_due(self) -> float:
        """When the next arrival is due, in seconds; infinite where none will be at this rate."""
        ...

    def pop(self) -> Arrival:
        """The next arrival, which is then taken; `ValueError` when none is due. Due times never decrease."""
        ...


def check_rate(now: float, rate: float) -> None:
    """Raise `ValueError` unless both are finite and the rate is not negative."""
    if not (math.isfinite(rate) and rate >= 0 and math.isfinite(now)):
        raise ValueError(f"rate {rate}/s at time {now} s: both must be finite and the rate not negative")


class Arrivals(Protocol):
    """A process of unit rate."""

    def gap(self) -> float:
        """Work units from one arrival to the next, 1 on average, never negative."""
        ...


class Poisson:
    """Independent arrivals: exponential gaps."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def gap(self) -> float:
        return self._rng.expovariate(1.0)


class Constant:
    """Evenly spaced arrivals. `phase`, in [0, 1], is the first gap: workers of different phase do not beat together."""

    def __init__(self, phase: float = 1.0) -> None:
        if not 0 <= phase <= 1:
            raise ValueError(f"phase is a part of one gap, between 0 and 1, not {phase}")
        self._first = phase

    def gap(self) -> float:
        gap, self._first = self._first, 1.0
        return gap


class Pacer:
    """The arrivals of a process of unit rate, as a `Pacing`.

    Exact: over rates r(t), arrivals are those of the unit process at the integral of r; with `Constant`, the k-th
    arrival after a change is rounded once, not k times.
    """

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._rate = 0.0
        self._since = -math.inf  # when this rate began
        self._units = arrivals.gap()  # from then to the next arrival
        self._last = -math.inf
        self._overdue: deque[float] = deque()  # due under earlier rates, not yet popped

    def set_rate(self, now: float, rate: float) -> None:
        check_rate(now, rate)
        now = max(now, self._since, self._last)
        if self._rate:
            while (due := self._since + self._units / self._rate) <= now:
                self._overdue.append(due)
                self._units += self._arrivals.gap()
            self._units -= (now - self._since) * self._rate
            self._units = max(self._units, 0.0)  # rounding
        self._since, self._rate = now, rate

    def next_due(self) -> float:
        if self._overdue:
            return self._overdue[0]
        return self._since + self._units / self._rate if self._rate else math.inf

    def pop(self) -> Arrival:
        due = self.next_due()
        if due == math.inf:
            raise ValueError("no arrival is due at rate 0; ask next_due() first")
        if self._overdue:
            self._overdue.popleft()
        else:
            self._units += self._arrivals.gap()
        self._last = due
        return Arrival(due)
