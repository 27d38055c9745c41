"""The figures of a set of searches: how far from the truth, how long, and how that compares with what can be had."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .scenarios import HELD_OUT, SUITE, Scenario
from .truth import truths

Row = dict[str, Any]
"""A line of the results: see `run.search`."""
OVER = 0.05
"""An over-estimate by more than this ratio is a dangerous one."""

SCENARIOS: dict[str, Scenario] = {s.name: s for s in (*SUITE, *HELD_OUT)}


def stationary(scenario: str) -> bool:
    """Is the server the same all the time, short disturbances aside?"""
    found = SCENARIOS[scenario]
    server = found.server
    return found.truth_of == "settled" and not (server.drift or server.scale)


@dataclass(frozen=True)
class Figures:
    """Of some searches. Errors are ratios of the capacity; a search without an answer is off by 1."""

    rows: Sequence[Row]

    @cached_property
    def errors(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([r["error"] for r in self.rows])

    @property
    def median(self) -> float:
        return float(np.median(np.abs(self.errors)))

    @property
    def p90(self) -> float:
        return float(np.quantile(np.abs(self.errors), 0.9))

    @property
    def bias(self) -> float:
        return float(np.median(self.errors))

    @property
    def over(self) -> float:
        """Share of over-estimates by more than OVER."""
        return float(np.mean(self.errors > OVER))

    @property
    def unanswered(self) -> float:
        return float(np.mean([r["value"] is None for r in self.rows]))

    @property
    def seconds(self) -> float:
        """Median."""
        return float(np.median([r["seconds"] for r in self.rows]))

    @property
    def seconds_p90(self) -> float:
        return float(np.quantile([r["seconds"] for r in self.rows], 0.9))

    @property
    def cpu_s(self) -> float:
        """Of the machine that simulates, on average."""
        return float(np.mean([r["cpu_s"] for r in self.rows]))

    @property
    def covered(self) -> float | None:
        """Share of the intervals that hold the truth; None where the tool gives none."""
        inside = [r["low"] <= r["truth"] <= r["high"] for r in self.rows if bounded(r)]
        return float(np.mean(inside)) if inside else None

    @property
    def excess(self) -> float:
        """From the first overload on, the largest ratio of a probe's load to the best pass before it."""
        return max((r["excess"] for r in self.rows if "excess" in r), default=0.0)

    @property
    def in_budget(self) -> bool:
        return all(r.get("in_budget", True) for r in self.rows)

    @property
    def limit(self) -> float:
        """The median error of searches that count misses, perfectly, for as long as each of these took, at capacity.

        Each error is then normal around 0 with the standard error of `Truth.limit`.
        """
        errors = np.array([truths()[r["scenario"]].counting_limit(max(r["seconds"], 1.0)) for r in self.rows])
        low, high = 0.0, 5 * float(errors.max())
        for _ in range(50):
            middle = (low + high) / 2
            share = np.mean([math.erf(middle / (math.sqrt(2) * e)) for e in errors])
            low, high = (middle, high) if share < 0.5 else (low, middle)
        return middle

    @property
    def ratio(self) -> float:
        """The median error over that of the limit of counting, at equal time."""
        return self.median / self.limit

    def better_than(self, other: Figures) -> bool:
        """Both faster (median time) and more accurate (median and p90)?"""
        return self.seconds < other.seconds and self.median < other.median and self.p90 < other.p90


def bounded(row: Row) -> bool:
    return row.get("low") is not None and row.get("high") is not None


def by(key: str, rows: Iterable[Row]) -> dict[str, Figures]:
    """The figures of the rows with each value of `key`, in the order in which they come."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return {name: Figures(group) for name, group in groups.items()}


def worst(figures: dict[str, Figures], of: Callable[[Figures], float]) -> str:
    """The name of the group with the highest figure."""
    return max(figures, key=lambda name: of(figures[name]))
