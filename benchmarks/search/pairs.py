"""What comparing two searches shows: every search with every other, by the rule of `locust_adaptive.report.compare`.

A regression of r is put in by dividing the later result by 1 / (1 - r): on the scale of logarithms, a shift of all that
is known of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from locust_adaptive.report.compare import FALSE_ALARMS, POWER, Comparison, Known

from .figures import SCENARIOS, Row

Matrix = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Pairs:
    """Each search of `base` with each of `new`; where these are the same list, with each other one.

    Matrices are [base, new], nan for a search with itself.
    """

    base: Sequence[Row]
    new: Sequence[Row]

    def __len__(self) -> int:
        return int((~np.isnan(self.margins)).sum())

    @cached_property
    def margins(self) -> Matrix:
        """By how much, in logarithms, the new one would have to be lower to be called regressed; inf where never."""
        return self._each(lambda c: c.margin)

    @cached_property
    def changes(self) -> Matrix:
        """In logarithms; inf where one has no value, which no one will take for a regression."""
        return self._each(_change)

    def called(self, regression: float = 0.0) -> tuple[float, float]:
        """Share of the pairs called regressed when the new capacity is lower by that ratio, and its standard error.

        Pairs with a search in common are not independent: the error is by a jackknife over searches (Arvesen, Annals of
        Mathematical Statistics 40 (1969) 2076).
        """
        counts = ~np.isnan(self.margins)
        hit = counts & (self.margins < -math.log1p(-regression))
        with_base, with_new = ((hit.sum(axis), counts.sum(axis)) for axis in (1, 0))
        groups = [with_base, with_new]
        if self.base is self.new:
            groups = [(with_base[0] + with_new[0], with_base[1] + with_new[1])]
        without = [(hit.sum() - k) / np.maximum(counts.sum() - n, 1) for k, n in groups]
        return float(hit.sum() / counts.sum()), math.sqrt(sum((len(x) - 1) * float(np.var(x)) for x in without))

    def shown(self, power: float = POWER) -> float:
        """The smallest regression that this share of the pairs is called for; 1 if none is."""
        return _ratio(_quantile(self.margins, power))

    def by_spread(self, power: float = POWER) -> float:
        """The same for a rule that knows how much searches of this server differ, and looks at the values alone: what
        is below all but FALSE_ALARMS of the changes of a server that is the same."""
        beyond = _quantile(self.changes, power)
        return 1.0 if beyond == math.inf else _ratio(beyond + _quantile(-self.changes, 1 - FALSE_ALARMS))

    def claimed(self, power: float = POWER) -> float:
        """The same as the intervals say, at the median; 1 where they say nothing."""

        def one(comparison: Comparison) -> float:
            found = comparison.detectable(power)
            return 1.0 if found is None else found

        return float(np.nanmedian(self._each(one)))

    @property
    def inflation(self) -> float:
        """The factor on the standard errors at which FALSE_ALARMS of the pairs are called regressed."""

        def one(comparison: Comparison) -> float:
            change = _change(comparison)
            if change == math.inf:
                return -math.inf
            return -change * comparison.inflation / (comparison.margin - change)

        return max(_quantile(self._each(one), 1 - FALSE_ALARMS), 0.0)

    @cached_property
    def _comparisons(self) -> list[list[Comparison | None]]:
        bases, news = ([known(row) for row in rows] for rows in (self.base, self.new))
        same = self.base is self.new
        return [
            [None if same and i == j else Comparison(base, new) for j, new in enumerate(news)]
            for i, base in enumerate(bases)
        ]

    def _each(self, of: Callable[[Comparison], float]) -> Matrix:
        return np.array([[math.nan if c is None else of(c) for c in row] for row in self._comparisons])


def known(row: Row) -> Known:
    """What a search found, from its line in the results."""
    unit = "users" if SCENARIOS[row["scenario"]].loop == "closed" else "rps"
    return Known(row["value"], row["low"], row["high"], unit=unit)  # type: ignore[arg-type]


def _change(comparison: Comparison) -> float:
    change = comparison.change
    return math.inf if change is None else math.log1p(change)


def _quantile(values: Matrix, share: float) -> float:
    """The smallest value that is not below this share of them."""
    ranked = np.sort(values[~np.isnan(values)])
    return float(ranked[max(math.ceil(share * len(ranked) - 1e-9), 1) - 1])


def _ratio(shift: float) -> float:
    """The regression that is so much in logarithms, at least 0."""
    return -math.expm1(-max(shift, 0.0))
