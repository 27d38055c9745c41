"""Searches without a part beside the full ones of the same scenarios and seeds: what changes, and how firmly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .figures import OVER, Row, bounded

BLOCKS = (70_000, 80_000, 90_000)
"""The first seed of each block: none is a seed of the results, since parts stay or go by what is found here."""
LEVEL, DRAWS = 0.99, 2000
"""Of the bootstrap. So many measures are looked at that 95 % would call one of them firm by luck now and then."""
ENOUGH = 5
"""Fewer pairs of a scenario than this say nothing: their draws are all alike."""
NOMINAL, EXCESS = 0.95, 1.25 + 1e-9

Array = np.ndarray[Any, np.dtype[np.float64]]


def block(seed: int) -> int:
    """The first seed of its block."""
    return max(first for first in BLOCKS if first <= seed)


@dataclass(frozen=True)
class Measure:
    """Of some searches: `column` is a number of each, `figure` is of many, along the last axis. Less is better."""

    column: Callable[[Row], float]
    figure: Callable[[Array], Array]
    unit: str = "%"

    def of(self, rows: Sequence[Row]) -> Array:
        return np.array([self.column(row) for row in rows])

    def text(self, change: float) -> str:
        return f"{change:+.0f} s" if self.unit == "s" else f"{100 * change:+.3g} %"


def _error(row: Row) -> float:
    return float(abs(row["error"]))


def _seconds(row: Row) -> float:
    return float(row["seconds"])


def _covers(row: Row) -> float:
    return float(row["low"] <= row["truth"] <= row["high"]) if bounded(row) else np.nan


def _mean(values: Array) -> Array:
    return np.asarray(np.mean(values, axis=-1))


def _median(values: Array) -> Array:
    return np.asarray(np.median(values, axis=-1))


def _p90(values: Array) -> Array:
    return np.asarray(np.quantile(values, 0.9, axis=-1))


def _shortfall(values: Array) -> Array:
    known = ~np.isnan(values)
    covered = np.where(known, values, 0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
    return np.maximum(NOMINAL - covered, 0)


MEASURES: Mapping[str, Measure] = {
    "median error": Measure(_error, _median),
    "mean error": Measure(_error, _mean),
    "p90 of the error": Measure(_error, _p90),
    "over-estimates": Measure(lambda row: float(row["error"] > OVER), _mean),
    "coverage missing to 95 %": Measure(_covers, _shortfall),
    "searches beyond 1.25 x the best pass": Measure(lambda row: float(row["excess"] > EXCESS), _mean),
    "median time": Measure(_seconds, _median, "s"),
    "p90 of the time": Measure(_seconds, _p90, "s"),
}


@dataclass(frozen=True)
class Change:
    """Of a measure, where a part is taken away: `value`, its bootstrap interval, and the value in each block. More is
    worse."""

    value: float
    low: float
    high: float
    blocks: tuple[float, ...]

    @property
    def firm(self) -> int:
        """1: plainly worse without the part, over all and in every block; -1: plainly better; 0: neither."""
        if self.low > 0 and min(self.blocks) > 0:
            return 1
        return -1 if self.high < 0 and max(self.blocks) < 0 else 0


@dataclass(frozen=True)
class Paired:
    """Searches without a part, and full ones of the same scenarios and seeds, in the same order, scenario by
    scenario."""

    without: Sequence[Row]
    full: Sequence[Row]

    @classmethod
    def of(cls, without: Sequence[Row], full: Sequence[Row]) -> Paired:
        """The pairs among them."""
        theirs = {(r["scenario"], r["seed"]): r for r in full}
        paired = sorted((r["scenario"], r["seed"]) for r in without if (r["scenario"], r["seed"]) in theirs)
        mine = {(r["scenario"], r["seed"]): r for r in without}
        return cls([mine[key] for key in paired], [theirs[key] for key in paired])

    @cached_property
    def changes(self) -> dict[str, Change]:
        """Of every measure."""
        return {name: self._change(measure) for name, measure in MEASURES.items()}

    @property
    def verdict(self) -> str:
        if min(Counter(row["scenario"] for row in self.full).values()) < ENOUGH:
            return "too few searches"
        firm = [change.firm for change in self.changes.values()]
        return "pays" if 1 in firm else "costs" if -1 in firm else "does not show"

    @cached_property
    def _draws(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Places of pairs, [draw, pair]: each scenario keeps its number of seeds. Scenarios do not share their luck, so
        that each draws its own."""
        rng, places = np.random.default_rng(1), np.arange(len(self.full))
        names = np.array([row["scenario"] for row in self.full])
        groups = [places[names == name] for name in dict.fromkeys(names.tolist())]
        return np.hstack([rng.choice(group, (DRAWS, len(group))) for group in groups])

    def _change(self, measure: Measure) -> Change:
        without, full = measure.of(self.without), measure.of(self.full)

        def change(places: np.ndarray[Any, Any]) -> Array:
            return measure.figure(without[places]) - measure.figure(full[places])

        low, high = np.quantile(change(self._draws), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        blocks = np.array([block(row["seed"]) for row in self.full])
        each = tuple(float(change(np.flatnonzero(blocks == b))) for b in dict.fromkeys(blocks.tolist()))
        return Change(float(change(np.arange(len(full)))), float(low), float(high), each)
