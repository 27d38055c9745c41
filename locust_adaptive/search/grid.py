"""The load grid: the loads that a search may offer. Rates have three significant digits, users are whole."""

import math
from dataclasses import dataclass
from typing import Literal, Self


@dataclass(frozen=True)
class Grid:
    """The loads from `minimum` to `maximum`, both always among them. Made by `Grid.rate` or `Grid.users`.

    A rate is arrivals/s, the float nearest to its decimal (65.5); users are ints.
    """

    kind: Literal["rate", "users"]
    minimum: float
    maximum: float

    @classmethod
    def rate(cls, minimum: float, maximum: float) -> Self:
        """Rates with three significant digits; ValueError unless 0 < minimum <= maximum < infinity."""
        return cls("rate", minimum, maximum)

    @classmethod
    def users(cls, minimum: int, maximum: int) -> Self:
        """Whole users; ValueError unless 0 < minimum <= maximum and both are whole."""
        return cls("users", minimum, maximum)

    def __post_init__(self) -> None:
        if not 0 < self.minimum <= self.maximum < math.inf:
            raise ValueError(f"a load grid needs 0 < minimum <= maximum, not {self.minimum} and {self.maximum}")
        if self.kind == "users" and not (self.minimum == int(self.minimum) and self.maximum == int(self.maximum)):
            raise ValueError(f"users are whole: {self.minimum} and {self.maximum} are no range of users")

    def snap(self, load: float) -> float:
        """The grid point nearest to a load; the end for a load at or beyond it."""
        if not self.minimum < load < self.maximum:
            return self._clamp(load)
        return self._clamp(round(load) if self.kind == "users" else float(f"{load:.2e}"))

    def at_most(self, load: float) -> float:
        """The highest grid point not above a load, or the minimum."""
        snapped = self.snap(load)
        return snapped if snapped <= load else self.below(load)

    def below(self, load: float) -> float:
        """The highest grid point below a load, or the minimum."""
        if not self.minimum < load <= self.maximum:
            return self._clamp(load)
        return self._clamp(math.ceil(load) - 1 if self.kind == "users" else _neighbour(load, -1))

    def above(self, load: float) -> float:
        """The lowest grid point above a load, or the maximum."""
        if not self.minimum <= load < self.maximum:
            return self._clamp(load)
        return self._clamp(math.floor(load) + 1 if self.kind == "users" else _neighbour(load, +1))

    def _clamp(self, load: float) -> float:
        return min(max(load, self.minimum), self.maximum)


def _neighbour(load: float, side: Literal[-1, 1]) -> float:
    """The next float with three significant digits on one side of a positive load."""
    mantissa, exponent = f"{load:.2e}".split("e")
    nearest, digits, power = float(f"{load:.2e}"), int(mantissa.replace(".", "")), int(exponent) - 2
    if (nearest - load) * side > 0:
        return nearest
    if digits == 100 and side < 0:  # the step below a power of ten is ten times finer
        digits, power = 1000, power - 1
    return float(f"{digits + side}e{power}")
