"""The plots beside RESULTS.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("svg")

import matplotlib.pyplot as plt

from .figures import Row, by

OURS = "ours"
BLUE, GREY, RED = "#1f6fb4", "#8a8a8a", "#c0392b"
STYLE = {"svg.hashsalt": "search", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def write(rows: Sequence[Row], folder: Path) -> None:
    """error-time.svg, and ours.svg if ours is among them."""
    with plt.rc_context(STYLE):
        _save(error_time(rows), folder / "error-time.svg")
        ours = [r for r in rows if r["tool"] == OURS]
        if ours:
            _save(of_ours(ours), folder / "ours.svg")


def _save(figure: Any, file: Path) -> None:
    figure.savefig(file, metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)


def error_time(rows: Sequence[Row]) -> Any:
    """Each tool's median and p90 error against its median time, and the limit of counting."""
    tools = by("tool", rows)
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), sharex=True)
    for axis, name in zip(axes, ("median", "p90"), strict=True):
        for tool, f in tools.items():
            mine = tool.startswith(OURS)
            y = 100 * getattr(f, name)
            axis.scatter(f.seconds, y, color=BLUE if mine else GREY, s=45 if mine else 25, zorder=3)
            axis.annotate(tool, (f.seconds, y), xytext=(4, 3), textcoords="offset points", fontsize=7)
        axis.set(xscale="log", yscale="log", xlabel="median time of a search, s", ylabel=f"{name} error, %")
        axis.grid(alpha=0.3, which="both", linewidth=0.4)
    seconds = np.geomspace(60, 2000, 20)
    some = next(iter(tools.values()))
    limits = [_limit(some.rows, s) for s in seconds]
    axes[0].plot(seconds, limits, color=RED, linewidth=1, label="limit of counting misses")
    axes[0].legend(frameon=False, fontsize=7)
    return figure


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
    axes[0].axvline(0, color=GREY, linewidth=0.6)
    axes[2].axvline(95, color=RED, linewidth=0.8)
    axes[3].axvline(1, color=RED, linewidth=0.8)
    axes[0].set(yticks=range(len(scenarios)), yticklabels=list(scenarios), xlabel="error, % (at 30: or more)")
    axes[1].set(xlabel="time, s", xlim=(0, None))
    axes[2].set(xlabel="intervals with the truth, %", xlim=(0, 100))
    axes[3].set(xlabel="median error / limit of counting")
    return figure
