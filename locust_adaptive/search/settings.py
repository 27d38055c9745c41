"""What a search is asked for: the SLO, the loads it may offer, and how sure it must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, Self

from .grid import Grid
from .slices import bin_width
from .slo import Objective, Slo

Loop = Literal["open", "closed"]


@dataclass(frozen=True)
class Settings:
    """The question.

    `start` is the first load. `budget_s` bounds the search in seconds. `precision` is the half width, as a ratio, that
    the 95 % interval of the capacity must reach, by so many `dwells` at least. `soak_s` seconds without a breach verify
    a load. `spike_tolerance` is the share of the time that stalls of the target may take and be forgiven. `patience`
    stands in for a latency limit where the SLO has none, in seconds. `prior` is a capacity found before: the ramp to it
    is left out.
    """

    slo: Slo
    loop: Loop
    grid: Grid
    start: float
    budget_s: float = 1200.0
    precision: float = 0.07
    dwells: int = 6
    soak_s: float = 30.0
    spike_tolerance: float = 0.03
    patience: float = 10.0
    prior: float | None = None

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives that workers count, in the order of the counts."""
        return self.slo.counted

    @cached_property
    def constraints(self) -> tuple[int, ...]:
        """Places, among `objectives`, of those that can fail a probe."""
        return tuple(i for i, o in enumerate(self.objectives) if o.role == "constraint")

    @cached_property
    def limit(self) -> float:
        """The longest latency limit in seconds, `patience` if there is none: what a request is given to answer."""
        return self.slo.horizon(self.patience)

    @cached_property
    def bin_s(self) -> float:
        """Width of the arrival and completion bins in seconds."""
        limits = [o.limit for o in self.objectives if o.signal == "latency"]
        return bin_width(min(limits, default=self.patience))

    def to_plain(self) -> dict[str, Any]:
        """Texts and numbers from which `from_plain` makes the same settings; for the journal."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**plain, "slo": str(self.slo), "grid": [self.grid.kind, self.grid.minimum, self.grid.maximum]}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        return cls(**{**plain, "slo": Slo.parse(plain["slo"]), "grid": Grid(*plain["grid"])})
