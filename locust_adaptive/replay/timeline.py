"""The timeline of a trace at any rate: whole copies of it superposed, and a part of its sessions for the rest.

The trace is closed to a circle, its seam one mean gap long, and a *copy* goes round it without end, from an offset of
its own: bursts that sessions share stay whole, and other copies' bursts fall elsewhere. A multiple of 3.4 is three
copies and 40 % of the sessions of a fourth; 0.4 is 40 % of one. A session is whole or absent in a lap of a copy, and
its requests keep their distances; where a copy comes to the end it begins again, one mean gap later. Where bodies are
those of a sample all sessions come all the same, with requests that are borrowed (`loans`). All randomness
comes from seeds, and nothing depends on the shard but which sessions are played: the workers' parts join to what one
would play, to the nanosecond.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .index import Index
from .loans import borrow
from .population import Play, Population, playing
from .record import TraceError
from .sharding import Shard

Nanoseconds = NDArray[np.int64]
LONGEST_NS = 2**60
"""So that sums of a few periods are 64-bit integers."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Where the copies begin: each anywhere on the circle, by `seed`; `in_order`, the first where the trace does."""

    seed: tuple[int, ...]
    in_order: bool = False

    def phases(self, count: int) -> NDArray[np.float64]:
        """(count,) parts of the circle, the first of them the same for any count."""
        found = np.random.default_rng((*self.seed, 2)).random(count)
        if self.in_order:
            found[:1] = 0.0
        return found

    @property
    def arc(self) -> int:
        """Where on the circle of `Population.ranks` the sessions begin that play where a copy is no whole one."""
        return int(np.random.default_rng((*self.seed, 3)).integers(2**32))


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Arrivals in order of time, in columns: `due_ns` since the start, row of the trace, lap and copy, each from 0."""

    due_ns: Nanoseconds
    row: NDArray[np.int32]
    lap: NDArray[np.int64]
    copy: NDArray[np.int64]
    stop_ns: int
    """Where it ends; arrivals at this moment are not in it."""
    looked: int
    """Arrivals among which these were found: more than they are where sessions are left out."""


class Timeline:
    """The arrivals of a trace, or of one worker's shard of it, at any multiple of its rate.

    `rate`: arrivals per second of the whole trace, of the sessions that can be played. `requests`: how many are of this
    shard. The memory is 4 bytes a session, where not all are played 12 bytes for each request that is, and where some
    are borrowed 8 bytes a request. Raises `ValueError` for a trace without a duration, or where no session is to be
    played.
    """

    def __init__(self, index: Index, seed: int, shard: Shard | None = None) -> None:
        length = int(index.due_ns[-1]) - int(index.due_ns[0])
        if length <= 0:
            raise TraceError("all requests of the trace are due at once: recorded arrivals need times that differ")
        if length > LONGEST_NS:
            raise TraceError(
                f"the trace lasts {length / 31_556_952e9:.3g} years; recorded arrivals can be those of 36 at most: "
                "check the unit of its times"
            )
        self.period_ns = round(length * len(index) / (len(index) - 1))
        self._loans = borrow(index, seed)
        if self._loans is not None:
            index = replace(index, bodyless=self._loans.unmet)
        self.rate = 1e9 * int(playing(index, None)[index.session].sum()) / self.period_ns
        self._session = index.session
        self._rank = Population(index, seed).ranks()
        self._rows: NDArray[np.int32] | None = None
        self._due = index.due_ns
        mine = playing(index, shard)
        if not mine.all():
            self._rows = np.flatnonzero(mine[index.session]).astype(np.int32)
            self._due = index.due_ns[self._rows]
        self.requests = len(self._due)

    def stretch(self, draw: Draw, multiple: float, start_ns: int, stop_ns: int, most: int | None = None) -> Stretch:
        """The arrivals from `start_ns` (included) to `stop_ns` (excluded) at `multiple` times the trace's own rate.

        It ends earlier where it would have to look at more than `most` arrivals, unless they are due in one nanosecond.
        """
        count, whole = math.ceil(multiple), math.floor(multiple)
        offsets = (draw.phases(count) * self.period_ns).astype(np.int64)
        first, last = self._before(offsets + start_ns), self._before(offsets + stop_ns)
        while most is not None and int((last - first).sum()) > most and stop_ns - start_ns > 1:
            stop_ns = (start_ns + stop_ns) // 2
            last = self._before(offsets + stop_ns)
        lengths = last - first
        looked = int(lengths.sum())
        copy = np.repeat(np.arange(count), lengths)
        lap, place = np.divmod(np.arange(looked) + np.repeat(last - np.cumsum(lengths), lengths), self.requests)
        due = lap * self.period_ns + self._due[place] - offsets[copy]
        row = place.astype(np.int32) if self._rows is None else self._rows[place]
        if count > whole:
            # Each lap goes on along the circle where the one before ended, so that all sessions have their turn.
            arc = round((multiple - whole) * 2**32)
            begin = (draw.arc + lap * arc).astype(np.uint32)
            kept = np.flatnonzero((copy < whole) | (self._rank[self._session[row]] - begin < arc))
            due, row, lap, copy = due[kept], row[kept], lap[kept], copy[kept]
        order = np.argsort(due, kind="stable")
        return Stretch(due[order], row[order], lap[order], copy[order], stop_ns, looked)

    def due_times(self, draw: Draw, multiple: float, stop_ns: int) -> Nanoseconds:
        """When all arrivals from the start until `stop_ns` are due, in order."""
        parts, at = [], 0
        while at < stop_ns:
            part = self.stretch(draw, multiple, at, stop_ns, 2**18)
            parts.append(part.due_ns)
            at = part.stop_ns
        return np.concatenate(parts)

    def plays(self, found: Stretch, of: NDArray[np.bool_]) -> Iterator[Play]:
        """What those of these arrivals send."""
        row, loan = found.row[of], np.zeros(int(of.sum()), dtype=np.int32)
        session = self._session[row]
        if self._loans is not None:
            row, loan = self._loans.row[row], self._loans.number[row]
        columns = (row, session, found.lap[of], found.copy[of], loan)
        return map(Play._make, zip(*(column.tolist() for column in columns), strict=True))

    def _before(self, moments: Nanoseconds) -> Nanoseconds:
        """How many arrivals of one endless copy that begins at the start of the trace are due before each moment."""
        lap, rest = np.divmod(moments, self.period_ns)
        found: Nanoseconds = lap * self.requests + np.searchsorted(self._due, rest)
        return found
