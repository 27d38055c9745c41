"""The statistics of two results: has the capacity changed, and how small a regression would have been seen?

All on the logarithm of the capacity, since errors of a search are ratios. With z(q) the q quantile of the normal
distribution, and for each result its value and 95 % interval:

    standard error   s = max(ln(high / value), ln(value / low)) / z(0.975)
                     Cochrane Handbook for Systematic Reviews 6.3.2 (ratios); the longer half where they differ
    change           d = ln(new / base);  S = INFLATION * sqrt(s_base^2 + s_new^2)
                     Altman & Bland, Interaction revisited, BMJ 326 (2003) 219; the factor is Birge's ratio,
                     Phys. Rev. 40 (1932) 207
    regressed        d + z(1 - a) S < 0      one-sided, a = FALSE_ALARMS
    improved         d - z(1 - a) S > 0      one-sided as well, so that of two equal servers up to 2 a are told apart
    interval of d    d -+ z(1 - a) S         of confidence 1 - 2 a: without 0 exactly where there is one of the two
                     verdicts (inverted test: Casella & Berger, Statistical Inference, 9.2.1)
    smallest regression seen with power p    1 - exp(-(z(1 - a) + z(p)) S)
                     NIST/SEMATECH e-Handbook of Statistical Methods 7.2.2.2, one-sided

*No difference shown* is not "the same": what was too small to be seen may be there, up to `Comparison.detectable`.
Compare what was asked in the same way (SLO, arrivals, requests): nothing here can know that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property
from statistics import NormalDist
from typing import Literal, NamedTuple, Self

from ..search.settings import Settings
from .result import CONFIDENCE, CapacityPart, Unit

FALSE_ALARMS, POWER = 0.02, 0.9

INFLATION = 1.0
"""Standard errors are multiplied by this, since whether intervals are as wide as searches differ is a matter of
measurement: `make bench-compare` takes it, and benchmarks/search/COMPARE.md has the false alarms that come of it. It is
the least factor, and at least 1, with which there are no more than FALSE_ALARMS on each of four servers that stay the
same (the thorough profile). On servers that are slow now and then, or drift, searches differ by more than their
intervals say, and there are more: who has runs of an unchanged server of his own takes the factor from those."""

BOUND_SD = Settings.precision / NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
"""Standard error given to a bound (a load that passed, or failed): that of the widest interval that resolves by
default."""

Change = Literal["regressed", "improved", "no difference shown"]


class CompareError(ValueError):
    """Two results that cannot be compared, or one that is no result."""


class Point(NamedTuple):
    """Of a logarithm: what is known of it, and its standard error."""

    x: float
    sd: float

    def minus(self, other: Point) -> Point:
        return Point(self.x - other.x, math.hypot(self.sd, other.sd))


@dataclass(frozen=True)
class Known:
    """What a result knows of a capacity: `value` within `low` and `high`, as in capacity.json.

    Without a `value` they are bounds: `low` passed, `high` failed; at the ceiling there is no `high`, below the minimum
    no `low`, and neither where nothing is known. CompareError if that is not so.
    """

    value: float | None
    low: float | None
    high: float | None
    confidence: float = CONFIDENCE
    unit: Unit = "rps"

    def __post_init__(self) -> None:
        known = [x for x in (self.low, self.value, self.high) if x is not None]
        if any(not 0 < x < math.inf for x in known):
            raise CompareError(f"a capacity is above 0 and finite: {self._said}")
        if known != sorted(known):
            raise CompareError(f"low, value and high are not in this order: {self._said}")
        if not 0 < self.confidence < 1:
            raise CompareError(f"the confidence of an interval is between 0 and 1, not {self.confidence:g}")
        if self.value is not None and not (len(known) == 3 and self.sd):
            raise CompareError(
                f"a value without an interval around it: {self._said}. Nothing says how exact it is: compare results "
                "of searches, or ask for a fixed capacity with --adaptive-min-capacity"
            )

    @classmethod
    def of(cls, part: CapacityPart) -> Self:
        """`capacity`, or `strict`, of a result."""
        return cls(part["value"], part["low"], part["high"], part["confidence"], part["unit"])

    @cached_property
    def sd(self) -> float | None:
        """Standard error of the logarithm, by the interval; None without a value.

        Users are whole: where the misses cross the budget between two numbers of users, either may be found. So the
        interval is taken to be one user longer on each side.
        """
        if self.value is None or self.low is None or self.high is None:
            return None
        low, high = self.low, self.high
        if self.unit == "users":
            low, high = max(low - 1, low / 2), high + 1
        half = max(math.log(high / self.value), math.log(self.value / low))
        return half / _z((1 + self.confidence) / 2)

    @property
    def least(self) -> Point | None:
        """The logarithm of the capacity is this, or more; None if it may be any that is less."""
        return self._point(self.low)

    @property
    def most(self) -> Point | None:
        """It is this, or less; None if it may be any that is more."""
        return self._point(self.high)

    def _point(self, bound: float | None) -> Point | None:
        if self.value is not None and self.sd is not None:
            return Point(math.log(self.value), self.sd)
        return None if bound is None else Point(math.log(bound), BOUND_SD)

    @property
    def _said(self) -> str:
        return f"value {self.value}, low {self.low}, high {self.high}"


@dataclass(frozen=True)
class Comparison:
    """Of the capacity `new` with `base`; CompareError if they are of different units.

    `false_alarms`: of servers that did not change, the share that may be called regressed; as many may be called
    improved. `inflation`: see INFLATION.
    """

    base: Known
    new: Known
    false_alarms: float = FALSE_ALARMS
    inflation: float = INFLATION

    def __post_init__(self) -> None:
        if self.base.unit != self.new.unit:
            raise CompareError(f"{self.base.unit} and {self.new.unit} cannot be compared: search both in the same way")
        if not 0 < self.false_alarms < 0.5:
            raise CompareError(f"a share of false alarms is above 0 and below 0.5, not {self.false_alarms:g}")
        if not 0 < self.inflation < math.inf:
            raise CompareError(f"standard errors are inflated by a factor above 0, not {self.inflation:g}")

    @property
    def change(self) -> float | None:
        """As a ratio: -0.05 is a capacity 5 % lower. None unless both have a value."""
        return None if self.base.value is None or self.new.value is None else self.new.value / self.base.value - 1

    @property
    def confidence(self) -> float:
        """Of the interval from `low` to `high`."""
        return 1 - 2 * self.false_alarms

    @property
    def low(self) -> float | None:
        """The change is this or more; None if it may be any that is less."""
        rise = self._rise
        return None if rise is None else math.expm1(rise.x - self._critical * rise.sd)

    @property
    def high(self) -> float | None:
        """The change is this or less; None if it may be any that is more."""
        return None if self.margin == math.inf else math.expm1(self.margin)

    @property
    def p_regressed(self) -> float:
        """One-sided p-value of "it did not regress". 1 where nothing can be said."""
        return 1.0 if self._drop is None else NormalDist().cdf(self._drop.x / self._drop.sd)

    @property
    def p_improved(self) -> float:
        """One-sided p-value of "it did not improve". 1 where nothing can be said."""
        return 1.0 if self._rise is None else NormalDist().cdf(-self._rise.x / self._rise.sd)

    @property
    def verdict(self) -> Change:
        if self.margin < 0:
            return "regressed"
        return "improved" if self.low is not None and self.low > 0 else "no difference shown"

    @property
    def margin(self) -> float:
        """By how much, in logarithms, the new capacity would have to be lower to be called regressed: the upper end of
        the interval. Infinite where that could never be."""
        return math.inf if self._drop is None else self._drop.x + self._critical * self._drop.sd

    def detectable(self, power: float = POWER) -> float | None:
        """The smallest regression, as a ratio, that two results as exact as these show with this probability; of whole
        users where the load is users. None unless both have a value."""
        if self.base.value is None or self.base.sd is None or self.new.sd is None:
            return None
        found = detectable(self.base.sd, self.new.sd, self.false_alarms, power, self.inflation)
        if self.base.unit != "users":
            return found
        return min(math.ceil(found * self.base.value - 1e-9) / self.base.value, 1.0)

    @cached_property
    def _drop(self) -> Point | None:
        """The change in logarithms, at most."""
        return self._between(self.new.most, self.base.least)

    @cached_property
    def _rise(self) -> Point | None:
        """The change in logarithms, at least."""
        return self._between(self.new.least, self.base.most)

    def _between(self, new: Point | None, base: Point | None) -> Point | None:
        if new is None or base is None:
            return None
        change = new.minus(base)
        return Point(change.x, self.inflation * change.sd)

    @property
    def _critical(self) -> float:
        return _z(1 - self.false_alarms)


def detectable(
    base_sd: float,
    new_sd: float,
    false_alarms: float = FALSE_ALARMS,
    power: float = POWER,
    inflation: float = INFLATION,
) -> float:
    """The smallest regression, as a ratio, that a comparison of results with these standard errors of the logarithm
    shows with probability `power`; CompareError unless false_alarms < power < 1."""
    if not false_alarms < power < 1:
        raise CompareError(f"a power is above the share of false alarms and below 1, not {power:g}")
    return -math.expm1(-(_z(1 - false_alarms) + _z(power)) * inflation * math.hypot(base_sd, new_sd))


@cache
def _z(probability: float) -> float:
    return NormalDist().inv_cdf(probability)
