"""From what a stretch shows to the capacity: every kind of evidence as an estimator, and how far each is off.

Seen a share p of misses at load x, the error in the logarithm of the capacity is -log(p / m) / b, where m is the share
in the long run and b its slope there, d log m / d log x: that of any search that knows the slope. A *told* estimator is
told besides what all its signals are in the long run, and the weights that are best on other seeds of the same server
(w = S^-1 m', S the covariance of the logs, m' their slopes: the optimal estimating function, Godambe 1960): how much
the evidence holds, not what a search can get of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from locust_adaptive.search.queue import tail, threshold
from locust_adaptive.search.slices import LADDER

from ..engine import Floats
from .stretches import (
    ANSWERED,
    BINNED,
    BLOCK_S,
    DEPTH,
    GUESSED,
    HERE,
    LIMIT,
    PRODUCTS,
    RATIO,
    RUNGS,
    SENT,
    SPAN,
    SQUARES,
    STEPS,
    TIME,
    VIRTUAL,
    WRONGED,
    Blocks,
    Cell,
    virtual_steps,
)

TAIL = np.array([0.5, 0.7, 0.85, 1.0, 1.2])
"""Rungs through which the exponential tail is laid."""
ON_TAIL = [LADDER.index(r) for r in TAIL]
SIGNALS = [LADDER.index(r) for r in (0.5, 0.7, 0.85, 1.2, 1.5)]
"""Rungs that join the limit's in the ladder."""
MOST = 0.15
"""An error is cut here: a search would not believe more from one stretch."""

# Names of the estimators, in the order of the report.
COUNTING, RATE, SHIPPED = "counting", "+ rate sent", "solved"
QUEUE, BEST, FITTED = "+ queue", "+ queue, best b*", "+ queue, b fitted"
OFF, GUESS, STRATA = "+ queue, mu 5 % off", "+ queue, mu guessed", "by depth"
TAILED, TAIL_QUEUE = "tail", "tail + queue"
STRAIN, LINE = "strain", "latency on depth"
CONTROLS, LADDERED, LATENCY, BACKLOG = "+ queue's ladder*", "+ ladder*", "latency*", "backlog*"
LADDER_QUEUE, LATENCY_QUEUE, ALL = "+ queue + ladder*", "+ queue + latency*", "+ all*"
MEANING = {
    COUNTING: "misses of the limit over requests",
    RATE: "the number of requests really sent as a control variate, best coefficient",
    QUEUE: "over the virtual queue's misses of its own threshold, times their budget: coefficient 1",
    FITTED: "the same to the power of b, from a regression over the stretch's own blocks of 5 s, between 0 and 1",
    OFF: "coefficient 1, and a service rate believed 5 % too high",
    GUESS: "coefficient 1, and no service rate at all: the load is taken for 85 % of it",
    STRATA: "the share of misses at each depth of the virtual queue, weighted by how often that depth is met in the "
    "long run (post-stratification)",
    SHIPPED: "the capacity whose threshold the virtual queue exceeds as often as the server misses: the slope, too, is "
    "the virtual queue's; what `by_queue` does, without its prior",
    TAILED: "misses of the limit by a straight line through the log counts at 0.5 to 1.2 x the limit",
    TAIL_QUEUE: "the same, over the virtual queue's tail laid in the same way",
    STRAIN: "mean latency against the limit, as `verdict.strain` has it; the capacity is where it is 1",
    LINE: "a line of latency on virtual depth; the capacity is where the depth at which the line crosses the limit is "
    "exceeded by the budget",
    BEST: "misses, with the virtual queue's as a control variate, best coefficient",
    CONTROLS: "the same with the virtual queue's whole ladder, its mean depth and the rate sent",
    LADDERED: "misses at 0.5 to 1.5 x the limit",
    LATENCY: "mean latency alone",
    BACKLOG: "mean number of requests open, alone",
    LADDER_QUEUE: "the ladder, with the virtual queue's ladder as control variates",
    LATENCY_QUEUE: "misses and mean latency, with the virtual queue's misses and mean depth as control variates",
    ALL: "misses, ladder and latency, with everything of the virtual queue and the rate sent",
}


@dataclass(frozen=True)
class Figure:
    """Errors of the logarithm of the capacity over many stretches: mean and standard deviation."""

    bias: float
    se: float

    @classmethod
    def of(cls, errors: Floats) -> Figure:
        cut = np.clip(errors, -MOST, MOST)
        return cls(float(cut.mean()), float(cut.std(ddof=1)))

    @property
    def rmse(self) -> float:
        return math.hypot(self.bias, self.se)


class Stretches:
    """Pieces of a given length of the blocks of one cell at its three loads."""

    def __init__(self, cell: Cell, seen: Sequence[Blocks], seconds: float) -> None:
        self.cell, self.seconds, self.seen = cell, seconds, seen
        each = round(seconds / BLOCK_S)
        self.pieces = []
        for blocks in seen:
            length, columns = blocks.counts.shape[1:]
            self.pieces.append(blocks.counts[:, : length // each * each].reshape(-1, each, columns))
        self.totals = [piece.sum(axis=1) for piece in self.pieces]
        self.loads = np.array([b.load for b in seen])

    def mean(self, place: int, column: int) -> float:
        """Of a column, a request, at a load, in the long run."""
        total = self.totals[place]
        return float(total[:, column].sum() / total[:, SENT].sum())

    def _shares(self) -> Floats:
        """The parabola of the log share of misses, over the budget, in the log of the load."""
        logs = [math.log(self.mean(k, LIMIT) / self.cell.budget) for k in range(len(self.loads))]
        parabola: Floats = np.polyfit(self._at, logs, 2)
        return parabola

    @property
    def _at(self) -> Floats:
        return np.log(self.loads / self.loads[1])

    @property
    def capacity(self) -> float:
        """Where the long-run share of misses crosses the budget."""
        c, b, a = self._shares()
        bend = 4 * a * c / b**2
        return float(self.loads[1] * math.exp(b * (math.sqrt(1 - bend) - 1) / (2 * c) if abs(bend) > 1e-9 else -a / b))

    def slope(self, place: int) -> float:
        """Of the log share of misses, by the log of the load."""
        c, b, _ = self._shares()
        return float(b + 2 * c * self._at[place])

    def figures(self, place: int) -> dict[str, Figure]:
        """Every estimator at the load of that place."""
        return {name: Figure.of(errors) for name, errors in self.errors(place).items()}

    def errors(self, place: int) -> dict[str, Floats]:
        """Of the log of the capacity, a stretch each."""
        budget, load, total = self.cell.budget, float(self.loads[place]), self.totals[place]
        sent = total[:, SENT]
        slope, long_run = self.slope(place), math.log(self.mean(place, LIMIT))
        # These are statements on the capacity, right or wrong.
        away = math.log(load / self.capacity)

        def log(column: int) -> Floats:
            out: Floats = np.log((total[:, column] + 0.5) / (sent + 0.5))
            return out

        def off(log_share: Floats) -> Floats:
            return -(log_share - long_run) / slope

        misses, virtual = log(LIMIT), log(HERE) - math.log(budget)
        line, virtual_line = _line(total[:, RUNGS] / sent[:, None]), _line(total[:, STEPS] / sent[:, None])
        steps, depths = [RUNGS.start + i for i in SIGNALS], [STEPS.start + i for i in SIGNALS]
        return {
            COUNTING: off(misses),
            RATE: self._told(place, [LIMIT], ["rate"]),
            QUEUE: off(misses - virtual),
            FITTED: off(misses - _elasticity(self.pieces[place]) * virtual),
            OFF: off(misses - log(WRONGED) + math.log(budget)),
            GUESS: off(misses - log(GUESSED) + math.log(budget)),
            STRATA: off(np.log(self._by_depth(place))),
            SHIPPED: away + _solve(total, self._spans(place)),
            TAILED: off(line),
            TAIL_QUEUE: off(line - virtual_line + math.log(budget)),
            STRAIN: away - self._strain(place),
            LINE: away + self._regressed(place),
            BEST: self._told(place, [LIMIT], [HERE]),
            CONTROLS: self._told(place, [LIMIT], [HERE, *depths, DEPTH, "rate"]),
            LADDERED: self._told(place, [LIMIT, *steps], []),
            LATENCY: self._told(place, [TIME], []),
            BACKLOG: self._told(place, ["open"], []),
            LADDER_QUEUE: self._told(place, [LIMIT, *steps], [HERE, *depths]),
            LATENCY_QUEUE: self._told(place, [LIMIT, TIME], [HERE, DEPTH]),
            ALL: self._told(place, [LIMIT, *steps, TIME], [HERE, *depths, DEPTH, "rate"]),
        }

    def coefficient(self, place: int) -> tuple[float, float]:
        """Best b, and the correlation of the log misses with the virtual queue's."""
        seen = np.cov(self._signal(place, LIMIT), self._signal(place, HERE))
        return float(seen[0, 1] / seen[1, 1]), float(seen[0, 1] / math.sqrt(seen[0, 0] * seen[1, 1]))

    def virtual_share(self, place: int) -> float:
        """Of arrivals above the virtual queue's threshold for the load, over the budget: 1 if the formula for its tail
        holds."""
        return self.mean(place, HERE) / self.cell.budget

    # -- estimators that are told the means --------------------------------------------------------------------------

    def _signal(self, place: int, name: int | str) -> Floats:
        """The logarithm of a signal in each stretch."""
        total = self.totals[place]
        if name == "rate":
            return np.log(np.maximum(total[:, SENT], 0.5) / self.seconds)
        if name == "open":
            return np.log(np.maximum(total[:, TIME], 1e-9) / self.seconds)
        assert isinstance(name, int)
        few = 1e-9 if name in (TIME, DEPTH) else 0.5
        return np.log((total[:, name] + few) / (total[:, SENT] + 0.5))

    def _told(self, place: int, signals: Sequence[int | str], controls: Sequence[int | str]) -> Floats:
        """Each half of the stretches by the weights that are best in the other. A control depends on the schedule
        alone: the capacity does not move it."""
        rows = np.stack([self._signal(place, name) for name in (*signals, *controls)])
        rows = rows - rows.mean(axis=1, keepdims=True)
        slopes = np.zeros(len(rows))
        for i, name in enumerate(signals):
            # A faster server leaves fewer open as it answers sooner; that a higher load opens more is known.
            means = [self._signal(k, TIME if name == "open" else name).mean() for k in range(len(self.loads))]
            c, b, _ = np.polyfit(self._at, means, 2)
            slopes[i] = b + 2 * c * self._at[place]
        scale = rows.std(axis=1)
        scale[scale == 0] = 1.0
        rows, slopes = rows / scale[:, None], slopes / scale
        out = np.empty(rows.shape[1])
        half = np.arange(rows.shape[1]) * 2 // rows.shape[1]
        for mine in (0, 1):
            spread = np.atleast_2d(np.cov(rows[:, half != mine])) + 1e-4 * np.eye(len(rows))
            weights = np.linalg.solve(spread, slopes)
            out[half == mine] = -(weights @ rows[:, half == mine]) / (weights @ slopes)
        return out

    # -- estimators with a model -------------------------------------------------------------------------------------

    def _by_depth(self, place: int) -> Floats:
        """Long-run share of misses of each stretch: at each depth of the virtual queue, times how often it is met. A
        depth that was not met is like the one above which it is."""
        total, load, mu = self.totals[place], self.loads[place], self.seen[place].rate
        here = float(threshold(np.array([load / mu]), self.cell.budget)[0])
        beyond = np.concatenate([[1.0], tail(load / mu, virtual_steps(here)), [0.0]])
        met = -np.diff(total[:, [SENT, *range(STEPS.start, STEPS.stop)]], axis=1, append=0.0)
        missed = total[:, BINNED]
        out, last = np.zeros(len(total)), np.zeros(len(total))
        for k, weight in enumerate(-np.diff(beyond)):
            last = np.where(met[:, k] > 0, missed[:, k] / np.maximum(met[:, k], 1), last)
            out += weight * last
        return np.maximum(out, 0.5 / total[:, SENT])

    def _strain(self, place: int) -> Floats:
        """Log of the load over the capacity, by a strain whose slope is known."""
        logs = []
        for seen, total in zip(self.seen, self.totals, strict=True):
            mean = total[:, TIME] / np.maximum(total[:, ANSWERED], 1)
            room = max(self.cell.scenario.limit_s - seen.fastest, 1e-9)
            logs.append(np.log(np.maximum(mean - seen.fastest, 1e-9) * math.log(1 / self.cell.budget) / room))
        c, b, _ = np.polyfit(self._at, [x.mean() for x in logs], 2)
        return logs[place] / (b + 2 * c * self._at[place])

    def _regressed(self, place: int) -> Floats:
        """Log of the capacity over the load, by a line of latency on depth."""
        total = self.totals[place]
        n = np.maximum(total[:, ANSWERED], 2)
        depth, time = total[:, DEPTH] / n, total[:, TIME] / n
        slope = (total[:, PRODUCTS] / n - depth * time) / np.maximum(total[:, SQUARES] / n - depth**2, 1e-9)
        crosses = depth + (self.cell.scenario.limit_s - time) / np.maximum(slope, 1e-9)
        spans = self._spans(place)
        ratios = np.exp(spans) * self.loads[place] / self.seen[place].rate
        return np.interp(crosses, threshold(ratios, self.cell.budget), spans)

    def _spans(self, place: int) -> Floats:
        """SPAN, as far as the service rate allows: as in the blocks."""
        return np.minimum(SPAN, math.log(RATIO * self.seen[place].rate / self.loads[place]))


def _elasticity(piece: Floats) -> Floats:
    """Of each stretch: by what share its blocks' misses change with the virtual queue's."""
    real, virtual = piece[..., LIMIT], piece[..., HERE]
    means = [x.mean(axis=1, keepdims=True) for x in (real, virtual)]
    products = ((real - means[0]) * (virtual - means[1])).sum(axis=1) * means[1][:, 0]
    squares = ((virtual - means[1]) ** 2).sum(axis=1) * means[0][:, 0]
    return np.clip(products / np.maximum(squares, 1e-9), 0, 1)


def _solve(total: Floats, spans: Floats) -> Floats:
    """Log of the capacity over the load, from the misses and the virtual queue's for each capacity of `spans`."""
    out = np.empty(len(total))
    for i, row in enumerate(total):
        # The higher the capacity, the fewer.
        log_misses = np.log(row[VIRTUAL] + 0.5)[::-1]
        out[i] = np.interp(math.log(row[LIMIT] + 0.5), log_misses, spans[::-1])
    return out


def _line(shares: Floats) -> Floats:
    """Log of the share above the limit, by a straight line through the log shares at TAIL, each weighted by its count;
    of each stretch."""
    some = np.maximum(shares[:, ON_TAIL], 1e-6)
    logs, weights = np.log(some), some / some.sum(axis=1, keepdims=True)
    centre = (weights * TAIL).sum(axis=1)
    x = TAIL - centre[:, None]
    slope = (weights * x * logs).sum(axis=1) / (weights * x * x).sum(axis=1)
    line: Floats = (weights * logs).sum(axis=1) + slope * (1.0 - centre)
    return line
