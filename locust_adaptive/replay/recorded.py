"""Recorded arrivals as they come due, at a rate that changes. Time is an argument."""

import math
from collections import deque
from collections.abc import Iterator
from itertools import takewhile

from .arrivals import Arrival, check_rate
from .timeline import Draw, Timeline

CHUNK = 1024
"""Arrivals looked at in one go: some 0.2 ms of work."""
LOOK_AHEAD_NS = 86_400 * 10**9
"""Where a whole day of the timeline holds no arrival, none is due."""
SLACK_NS = 10_000
"""More than rounding takes from a due time in seconds, on a clock that reads less than a year."""


class Recorded:
    """The arrivals of a timeline, each with what it sends: a `Pacing`.

    A rate given is one of `parts` equal shares of the whole, of which this timeline's shard is one worker's. The
    timeline begins with the first rate above 0, and anew with the next one after `begin`. Any other change of rate
    takes it on where it is: copies and sessions are added or left out from that moment, so that the rate holds at once,
    and sessions may begin or end in their middle, as they do at the start. `speed` compresses time: 2 plays all of the
    trace in half the time, with shorter bursts and half the think times.
    """

    def __init__(self, timeline: Timeline, draw: Draw, parts: int = 1, speed: float = 1.0) -> None:
        self._timeline, self._draw = timeline, draw
        self._parts, self._ns = parts, 1e9 * speed
        self._next_draw: Draw | None = draw
        self._multiple = 0.0
        self._origin = 0.0  # when the timeline began
        self._since = self._last = -math.inf  # when this rate began; when the last one popped was due
        self._after = -math.inf  # what is due until then is not of this rate
        self._horizon_ns, self._span_ns = 0, 10**9
        self._ready: deque[Arrival] = deque()
        self._coming: Iterator[Arrival] = iter(())  # the rest up to the horizon, not made yet

    def begin(self, draw: Draw) -> None:
        """The next rate above 0 begins the timeline anew, with this draw."""
        self._next_draw = draw

    def set_rate(self, now: float, rate: float) -> None:
        check_rate(now, rate)
        now = max(now, self._since, self._last)
        overdue: list[Arrival] = []
        while True:
            overdue += takewhile(lambda arrival: arrival.due <= now, (*self._ready, *self._coming))
            self._ready.clear()
            if not self._multiple or self._origin + (self._horizon_ns - SLACK_NS) / self._ns > now:
                break
            self._look_on()
        self._ready.extend(overdue)
        self._coming = iter(())
        self._since = self._after = now
        if self._next_draw is not None and rate:
            self._draw, self._next_draw = self._next_draw, None
            self._origin, self._after = now, -math.inf
        # Rounded, so that a whole load is the same whatever number of parts it was divided by.
        self._multiple = round(rate * self._parts / (self._timeline.rate * self._ns / 1e9), 9)
        self._horizon_ns = max(int((now - self._origin) * self._ns) - SLACK_NS, 0)

    def next_due(self) -> float:
        begun = self._horizon_ns
        while not self._ready:
            if (arrival := next(self._coming, None)) is not None:
                self._ready.append(arrival)
            elif self._multiple and self._horizon_ns - begun < LOOK_AHEAD_NS:
                self._look_on()
            else:
                return math.inf
        return self._ready[0].due

    def pop(self) -> Arrival:
        if self.next_due() == math.inf:
            raise ValueError("no arrival is due; ask next_due() first")
        arrival = self._ready.popleft()
        self._last = arrival.due
        return arrival

    def _look_on(self) -> None:
        """Find the next arrivals."""
        start = self._horizon_ns
        found = self._timeline.stretch(self._draw, self._multiple, start, start + self._span_ns, CHUNK)
        self._horizon_ns = found.stop_ns
        self._span_ns = (found.stop_ns - start) * (2 if found.looked < CHUNK // 2 else 1)
        due = self._origin + found.due_ns / self._ns
        fresh = due > self._after
        self._coming = map(Arrival, due[fresh].tolist(), self._timeline.plays(found, fresh))
