"""The plots beside RESULTS.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("svg")

import matplotlib.pyplot as plt

from .figures import Row, by

OURS = "ours"
MOST_RATIO = 5.0
BLUE, GREY, RED = "#1f6fb4", "#8a8a8a", "#c0392b"
STYLE = {
    "svg.hashsalt": "search",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def write(rows: Sequence[Row], folder: Path) -> None:
    """error-time.svg, scenarios.svg, and ours.svg if ours is among them."""
    with plt.rc_context(STYLE):
        _save(error_time(rows), folder / "error-time.svg")
        _save(by_scenario(rows), folder / "scenarios.svg")
        if ours := [r for r in rows if r["tool"] == OURS]:
            _save(of_ours(ours), folder / "ours.svg")


def _save(figure: Any, file: Path) -> None:
    figure.savefig(file, metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)


def error_time(rows: Sequence[Row]) -> Any:
    """Each tool's median and p90 error against its median time, and the limit of counting."""
    tools = by("tool", rows)
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharex=True)
    for axis, name in zip(axes, ("median", "p90"), strict=True):
        _points(axis, {t: (f.seconds, 100 * getattr(f, name)) for t, f in tools.items()})
        axis.set(xscale="log", yscale="log", xlabel="median time of a search, s", ylabel=f"{name} error, %")
        axis.grid(alpha=0.3, which="both", linewidth=0.4)
    seconds = np.geomspace(60, 2000, 20)
    some = next(iter(tools.values()))
    axes[0].plot(seconds, [_limit(some.rows, s) for s in seconds], color=RED, linewidth=1)
    axes[0].set_title("red: the limit of counting misses", fontsize=8, loc="left", color=RED)
    _legend(figure, list(tools))
    return figure


def by_scenario(rows: Sequence[Row]) -> Any:
    """The median error of each tool against its median time, a panel a scenario."""
    scenarios = dict(sorted(by("scenario", rows).items()))
    width = min(len(scenarios), 6)
    height = -(-len(scenarios) // width)
    figure, axes = plt.subplots(
        height, width, figsize=(2.1 * width, 1.9 * height), sharex=True, sharey=True, squeeze=False
    )
    for axis in axes.flat[len(scenarios) :]:
        axis.set_axis_off()
    for axis, (name, found) in zip(axes.flat, scenarios.items(), strict=False):
        tools = by("tool", found.rows)
        # Not below what a truth is good for.
        _points(axis, {t: (f.seconds, max(100 * f.median, 0.1)) for t, f in tools.items()})
        axis.set(xscale="log", yscale="log", ylim=(0.08, 150))
        axis.set_title(name, fontsize=7, loc="left")
        axis.minorticks_off()
        axis.grid(alpha=0.3, linewidth=0.4)
    figure.supxlabel("median time, s", fontsize=8)
    figure.supylabel("median error, %", fontsize=8)
    _legend(figure, list(by("tool", rows)))
    return figure


def _points(axis: Any, places: Mapping[str, tuple[float, float]]) -> None:
    """A number a tool, ours on blue."""
    mine = [place for tool, place in places.items() if tool.startswith(OURS)]
    axis.scatter(*zip(*places.values(), strict=True), s=0)
    axis.scatter([x for x, _ in mine], [y for _, y in mine], s=90, color=BLUE, linewidths=0)
    for number, (tool, (x, y)) in enumerate(places.items()):
        colour = "white" if tool.startswith(OURS) else "black"
        axis.text(x, y, str(number), fontsize=7, color=colour, ha="center", va="center")


def _legend(figure: Any, tools: Sequence[str]) -> None:
    figure.text(0.92, 0.5, "\n".join(f"{i}  {t}" for i, t in enumerate(tools)), fontsize=8, va="center")


def _limit(rows: Sequence[Row], seconds: float) -> float:
    names = {r["scenario"] for r in rows}
    [found] = by("tool", [{"tool": "", "scenario": n, "seconds": seconds} for n in sorted(names)]).values()
    return 100 * found.limit


def of_ours(rows: Sequence[Row]) -> Any:
    """By scenario: every error with its interval's coverage, the time, and the ratio to the limit."""
    scenarios = dict(sorted(by("scenario", rows).items(), reverse=True))
    figure, axes = plt.subplots(1, 4, figsize=(13, 0.32 * len(scenarios) + 1.2), sharey=True)
    for y, f in enumerate(scenarios.values()):
        errors, seconds = np.clip(100 * f.errors, -30, 30), [r["seconds"] for r in f.rows]
        axes[0].scatter(errors, np.full(len(errors), y), s=8, color=BLUE, alpha=0.5, linewidths=0)
        axes[0].scatter([np.median(errors)], [y], marker="|", s=80, color=RED)
        axes[1].scatter(seconds, np.full(len(seconds), y), s=8, color=BLUE, alpha=0.5, linewidths=0)
        axes[2].barh(y, 100 * (f.covered or 0.0), color=BLUE, height=0.6)
        axes[3].barh(y, f.ratio, color=BLUE, height=0.6)
        if f.ratio > MOST_RATIO:
            axes[3].text(MOST_RATIO, y, f"{f.ratio:.0f}", fontsize=7, va="center", ha="right", color="white")
    axes[0].axvline(0, color=GREY, linewidth=0.6)
    axes[2].axvline(95, color=RED, linewidth=0.8)
    axes[3].axvline(1, color=RED, linewidth=0.8)
    axes[0].set(yticks=range(len(scenarios)), yticklabels=list(scenarios), xlabel="error, % (at 30: or more)")
    axes[1].set(xlabel="time, s", xlim=(0, None))
    axes[2].set(xlabel="intervals with the truth, %", xlim=(0, 100))
    axes[3].set(xlabel="median error / limit of counting", xlim=(0, MOST_RATIO))
    return figure
