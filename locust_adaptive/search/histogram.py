"""The latency histogram: buckets that grow by 2 %, so that workers merge by adding and a quantile is off by under 1 %.

Bucket i holds (FIRST * GROWTH**i, FIRST * GROWTH**(i + 1)] and stands for its geometric midpoint, so a latency from
1 us up is represented within sqrt(GROWTH) - 1 = 0.995 %. Anything shorter, zero and negative included, is in bucket 0.
There is no last bucket: an hour is in bucket 1111.
"""

import math
from dataclasses import dataclass, field
from typing import Self

FIRST = 1e-6
"""The lower edge of bucket 0, in seconds."""
GROWTH = 1.02

_SCALE = 1 / math.log(GROWTH)
_OFFSET = -math.log(FIRST) * _SCALE


def index_of(seconds: float) -> int:
    """The bucket of a finite latency; ValueError for nan, OverflowError for infinity."""
    return 0 if seconds <= FIRST else int(math.log(seconds) * _SCALE + _OFFSET)


def value_of(index: int) -> float:
    """The latency, in seconds, that a bucket stands for."""
    return FIRST * math.exp((index + 0.5) / _SCALE)


@dataclass(slots=True)
class Histogram:
    """Counts of latencies by bucket; only buckets that hold something are in `buckets` (index -> count, at least 1)."""

    buckets: dict[int, int] = field(default_factory=dict)

    def add(self, seconds: float, n: int = 1) -> None:
        """Count a latency n >= 1 times."""
        index = index_of(seconds)
        self.buckets[index] = self.buckets.get(index, 0) + n

    def merge(self, other: Self) -> None:
        """Add the counts of another histogram to this one: the same in any order and grouping."""
        for index, n in other.buckets.items():
            self.buckets[index] = self.buckets.get(index, 0) + n

    @property
    def count(self) -> int:
        return sum(self.buckets.values())

    @property
    def mean(self) -> float:
        """In seconds; nan if there is none."""
        total = sum(value_of(index) * n for index, n in self.buckets.items())
        return total / self.count if self.buckets else math.nan

    def quantile(self, q: float) -> float:
        """The order statistic of rank ceil(q * count), at least 1, in seconds and within 1 %; nan if there is none.

        This is the inverse of the empirical distribution (Hyndman & Fan 1996, definition 1). It agrees with counting
        misses: the quantile is within a limit exactly when at most a share 1 - q lies beyond it.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile is between 0 and 1, not {q}; p99 is 0.99")
        # q * count may be a rounding error above a whole number: 0.07 * 100 is 7.000000000000001.
        rank = max(1, math.ceil(q * self.count * (1 - 1e-12)))
        for index in sorted(self.buckets):
            rank -= self.buckets[index]
            if rank <= 0:
                return value_of(index)
        return math.nan
