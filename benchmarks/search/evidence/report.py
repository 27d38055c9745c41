"""EVIDENCE.md and its plot, from the errors of every estimator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import estimators as e
from .estimators import Figure, Stretches
from .searches import Found
from .stretches import BLOCK_S, OFFSETS, Blocks, Cell

FINDINGS = Path(__file__).with_name("findings.md")
"""What the tables say, in words."""
TIMES = (60, 120, 200)
MAIN, MIDDLE = 120, OFFSETS.index(0)
"""The tables are of stretches of so many seconds, at about the capacity."""
TOLD = (e.BEST, e.CONTROLS, e.LADDERED, e.LATENCY, e.BACKLOG, e.LADDER_QUEUE, e.LATENCY_QUEUE, e.ALL)
UNTOLD = (e.RATE, e.QUEUE, e.FITTED, e.OFF, e.GUESS, e.STRATA, e.SHIPPED, e.TAILED, e.TAIL_QUEUE, e.STRAIN, e.LINE)
BIASED = (e.COUNTING, *UNTOLD[1:])

HOW = """\
# What each kind of evidence adds to counting misses

`make bench-evidence` wrote this. Open loop at three fixed loads, one at the capacity, the others 3 % off or, where that
is less, where the share of misses changes twofold; servers in steady state, {hours:.0f} hours of each, cut into
stretches of 60, 120 and 200 s, and the capacity estimated from each stretch alone. FIFO: the servers of the suite as
they are once settled. PS: the same service times under processor sharing, as in a server that runs all of its
requests side by side. LIFO: the last to come is served first. The capacity of each is where the share of misses in all
its runs crosses the budget.

An error is in % of the capacity. *Counting* knows the slope of the misses and nothing else; the virtual queue is
`search.queue`, fed with the arrivals really sent, at the service rate of the saturated server. A star (*) marks what no
search can have: it is told the long-run means and the best weights for that very server, and shows how much the
evidence holds at most.

{meanings}
"""


@dataclass(frozen=True)
class Row:
    """A server: its errors by time, load and estimator."""

    cell: Cell
    reference: float
    capacity: float
    slope: float
    utilisation: float
    coefficient: float
    correlation: float
    virtual_share: float
    hours: float
    """Of running at the three loads together."""
    figures: Mapping[int, Sequence[Mapping[str, Figure]]]

    @classmethod
    def of(cls, cell: Cell, reference: float, seen: Sequence[Blocks], times: Sequence[int] = TIMES) -> Row:
        by_time = {seconds: Stretches(cell, seen, seconds) for seconds in times}
        main = by_time[MAIN if MAIN in by_time else times[0]]
        return cls(
            cell,
            reference,
            main.capacity,
            main.slope(MIDDLE),
            main.capacity / cell.server_rate,
            *main.coefficient(MIDDLE),
            main.virtual_share(MIDDLE),
            sum(b.counts.shape[0] * b.counts.shape[1] for b in seen) * BLOCK_S / 3600,
            {t: [s.figures(place) for place in range(len(OFFSETS))] for t, s in by_time.items()},
        )

    def at(self, name: str, seconds: int = MAIN, place: int = MIDDLE) -> Figure:
        return self.figures[seconds][place][name]

    def ratio(self, name: str, seconds: int = MAIN, place: int = MIDDLE) -> float:
        """Root mean square error over counting's: bias counts."""
        return self.at(name, seconds, place).rmse / self.at(e.COUNTING, seconds, place).rmse


def page(rows: Sequence[Row], found: Mapping[str, Sequence[Found]]) -> str:
    """EVIDENCE.md."""
    hours = np.mean([r.hours for r in rows])
    meanings = "\n".join(f"- **{name}**: {meaning}" for name, meaning in e.MEANING.items())
    parts = [HOW.format(hours=hours, meanings=meanings), FINDINGS.read_text()]
    parts += [
        "## From one stretch\n",
        "Root mean square error over that of counting, 120 s at the capacity. *SE*: standard error of counting, % of\n"
        "the capacity. *b*, *r*: best coefficient of the virtual queue's misses, and their correlation with the\n"
        "server's (both of logarithms).\n",
        _table(
            ["server", "C/mu", "slope", "SE", "b", "r", *UNTOLD],
            [
                [r.cell.name, f"{r.utilisation:.2f}", f"{r.slope:.0f}", f"{100 * r.at(e.COUNTING).se:.2f}"]
                + [f"{r.coefficient:.2f}", f"{r.correlation:.2f}"]
                + [f"{r.ratio(name):.2f}" for name in UNTOLD]
                for r in rows
            ],
        ),
        "## Bias\n",
        "% of the capacity, 120 s at the capacity: mean over the stretches; positive: the capacity is over-estimated.\n"
        "*Low*, *high*: of *solved*, at the lower and the higher load. *Virtual*: arrivals beyond the virtual queue's\n"
        "threshold over their budget, in the long run; 1 if the formula for its tail is right.\n",
        _table(
            ["server", "virtual", *BIASED, "low", "high"],
            [
                [r.cell.name, f"{r.virtual_share:.2f}"]
                + [f"{100 * r.at(name).bias:+.1f}" for name in BIASED]
                + [f"{100 * r.at(e.SHIPPED, place=k).bias:+.1f}" for k in (0, len(OFFSETS) - 1)]
                for r in rows
            ],
        ),
        "## What the evidence holds at most\n",
        "As in the first table, for what no search can have.\n",
        _table(
            ["server", "SE", *TOLD],
            [
                [r.cell.name, f"{100 * r.at(e.COUNTING).se:.2f}"] + [f"{r.ratio(name):.2f}" for name in TOLD]
                for r in rows
            ],
        ),
        "## Shorter and longer, below and above\n",
        "Median over the servers of a discipline of the root mean square error over that of counting.\n",
        _table(["discipline", "s", "load", *e.MEANING], list(_medians(rows))),
    ]
    if found:
        parts += [
            "## Whole searches\n",
            "The shipped search (*answer*), and what other estimates make of its trials: counts alone (`by_counts`);\n"
            "the virtual queue told the service rate of the server (`by_queue`); and the same with the trust *b*\n"
            "and the steepness *s* of the virtual queue learnt from the trials (`tempered.py`), with their medians.\n"
            "Errors in % of the capacity:\n"
            "median; median and p90 of the size. *mu*: the service rate that the search took over the server's, and\n"
            "in how many searches it had one.\n",
            _table(
                [
                    "server",
                    "n",
                    "answer",
                    "covered",
                    "time, s",
                    "mu",
                    "counts",
                    "mu told",
                    "mu told, b and s learnt",
                    "b",
                    "s",
                ],
                [_searched(name, results) for name, results in found.items()],
            ),
        ]
    return "\n".join(parts)


def _medians(rows: Sequence[Row]) -> Iterable[list[str]]:
    for discipline in dict.fromkeys(r.cell.discipline for r in rows):
        mine = [r for r in rows if r.cell.discipline == discipline]
        for seconds in mine[0].figures:
            for place, load in enumerate(("low", "C", "high")):
                ratios = [float(np.median([r.ratio(name, seconds, place) for r in mine])) for name in e.MEANING]
                yield [discipline, str(seconds), load, *(f"{x:.2f}" for x in ratios)]


def _searched(name: str, results: Sequence[Found]) -> list[str]:
    rates = [f.rate for f in results if f.rate is not None]
    return [
        name,
        str(len(results)),
        _errors([f.error for f in results]),
        f"{100 * np.mean([f.covered for f in results]):.0f} %",
        f"{np.median([f.seconds for f in results]):.0f}",
        f"{np.median(rates):.2f} ({len(rates)})" if rates else "- (0)",
        *(_errors(errors) for errors in zip(*((f.counted, f.told, f.learnt) for f in results), strict=True)),
        *(_median(values) for values in zip(*((f.trust, f.steepness) for f in results), strict=True)),
    ]


def _median(values: Sequence[float | None]) -> str:
    known = [x for x in values if x is not None]
    return f"{np.median(known):.2f}" if known else "-"


def _errors(errors: Sequence[float | None]) -> str:
    known = np.array([100 * x for x in errors if x is not None])
    if not len(known):
        return "-"
    return f"{np.median(known):+.1f}; {np.median(np.abs(known)):.1f}; {np.quantile(np.abs(known), 0.9):.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def plot(rows: Sequence[Row], file: Path) -> None:
    """Each server a line of points: the error of a few estimators over that of counting."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    shown = {
        e.QUEUE: "#1f6fb4",
        e.SHIPPED: "#7fb2dd",
        e.TAILED: "#c0392b",
        e.LINE: "#e59866",
        e.LADDERED: "#8a8a8a",
        e.ALL: "#222222",
    }
    with plt.rc_context({"svg.hashsalt": "evidence", "svg.fonttype": "none", "font.size": 8}):
        figure, axis = plt.subplots(figsize=(8, 0.25 * len(rows) + 1.2))
        places = range(len(rows), 0, -1)
        for name, colour in shown.items():
            ratios = [min(max(r.ratio(name), 0.1), 5.0) for r in rows]
            axis.scatter(ratios, places, s=22, color=colour, label=name, alpha=0.85, linewidths=0)
        axis.axvline(1, color="#c0c0c0", linewidth=0.8)
        axis.set(xscale="log", yticks=list(places), yticklabels=[r.cell.name for r in rows])
        axis.set(xlabel="root mean square error over that of counting, 120 s at the capacity (0.1 and 5: or beyond)")
        axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
        figure.savefig(file, metadata={"Date": None}, bbox_inches="tight")
        plt.close(figure)
