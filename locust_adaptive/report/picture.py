"""A search as a picture in text: load against time, each probe with its verdict. Made from the result alone.

Each load that was tried has a row of its own, so that the probes close to the capacity are apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .block import UNITS, WIDTH
from .numbers import clock, number, three
from .result import Result, TrialPart

ROWS = 24
MARKS = {"PASS": "●", "FAIL": "✗", "UNDECIDED": "?", "INVALID": "!"}
LEGEND = ("● pass", "✗ FAIL", "? undecided", "! invalid", "┃ within the 95% interval")
_PLAIN = str.maketrans("●✗─│┃└┴┄▲", "ox-|#++.^")
_STEPS = (10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_TICKS = 8
"""On the axis of time, at most."""


def plain(text: str) -> str:
    """The same in ASCII."""
    return text.translate(_PLAIN)


def picture(outcome: Result, width: int = WIDTH, rows: int = ROWS) -> str:
    """The picture, each line ended; of at most `rows` loads. Nothing if there was no probe."""
    return _Picture(outcome, width, rows).text() if outcome["trials"] else ""


class _Picture:
    def __init__(self, outcome: Result, width: int, rows: int) -> None:
        self.outcome = outcome
        self.unit = UNITS[outcome["capacity"]["unit"]]
        value = outcome["capacity"]["value"]
        self.levels = levels([t["load"] for t in outcome["trials"]], rows, value)
        self.labels = [_label(level) for level in self.levels]
        self.answer = None if value is None else number(value) if self.unit == "users" else three(value)
        self.margin = max(len(label) for label in [*self.labels, self.answer or "", self.unit])
        self.width = width - self.margin - 3
        self.end = max(outcome["elapsed_s"], *(t["started_s"] + t["seconds"] for t in outcome["trials"]), 1.0)

    def text(self) -> str:
        lines = [(level[-1], self._row(level, label)) for level, label in zip(self.levels, self.labels, strict=True)]
        if (value := self.outcome["capacity"]["value"]) is not None:
            # Above a row of the same load.
            place = sum(load > value for load, _ in lines)
            lines.insert(place, (value, self._line(self.answer or "", "│", "┄" * (self.width - 9) + " capacity")))
        head = f" {self.unit:>{self.margin}}"
        return "".join(
            f"{line.rstrip()}\n" for line in [head, *(line for _, line in lines), *self._axis(), *self._legend()]
        )

    def _row(self, level: Sequence[float], label: str) -> str:
        cells = [" "] * self.width
        spans = [self._span(t) for t in self.outcome["trials"] if t["load"] in level]
        for first, last, _ in spans:
            cells[first:last] = "─" * (last - first)
        for _, last, mark in spans:  # now that no line covers one
            cells[last] = mark
        return self._line(label, "┃" if self._within(level) else "│", "".join(cells))

    def _span(self, trial: TrialPart) -> tuple[int, int, str]:
        """First and last column of a probe, and its mark."""
        start = trial["started_s"]
        return self._column(start), self._column(start + trial["seconds"]), MARKS[trial["verdict"]]

    def _within(self, level: Sequence[float]) -> bool:
        low, high = self.outcome["capacity"]["low"], self.outcome["capacity"]["high"]
        return self.answer is not None and low is not None and high is not None and low <= level[-1] <= level[0] <= high

    def _column(self, t: float) -> int:
        return min(int(t / self.end * self.width), self.width - 1)

    def _line(self, label: str, edge: str, cells: str) -> str:
        return f" {label:>{self.margin}} {edge}{cells}"

    def _axis(self) -> list[str]:
        step = next((s for s in _STEPS if self.end / s <= _TICKS), _STEPS[-1])
        axis, times = ["─"] * self.width, [" "] * self.width
        t = 0
        while t <= self.end and self._column(t) < self.width - 1:
            column = self._column(t)
            axis[column] = "┴"
            if column + len(clock(t)) <= self.width:
                times[column : column + len(clock(t))] = clock(t)
            t += step
        lines = [self._line("", "└", "".join(axis)), self._line("", " ", "".join(times))]
        if stalls := self.outcome["stalls"]:
            cells = [" "] * self.width
            for stall in stalls:
                cells[self._column(stall["at_s"])] = "▲"
            lines.append(self._line("", " ", "".join(cells)))
        return lines

    def _legend(self) -> list[str]:
        parts = [*LEGEND, *(["▲ stall"] if self.outcome["stalls"] else [])]
        lines = [""]
        for part in parts:
            if len(lines[-1]) + len(part) > self.width:
                lines.append("")
            lines[-1] += part + "   "
        return [self._line("", " ", line) for line in lines]


def levels(loads: Sequence[float], most: int, answer: float | None = None) -> list[list[float]]:
    """Loads that share a row, highest first, in at most so many rows: the closest ones are put together, and those far
    from the answer first."""
    groups = [[load] for load in sorted(set(loads), reverse=True)]

    def matters(i: int) -> float:
        """How much it does that a group and the next are apart."""
        high, low = groups[i][0], groups[i + 1][-1]
        far = 1.0 if answer is None else 0.05 + abs(math.log(math.sqrt(high * low) / answer))
        return math.log(high / low) / far

    while len(groups) > most:
        i = min(range(len(groups) - 1), key=matters)
        groups[i : i + 2] = [groups[i] + groups[i + 1]]
    return groups


def _label(level: Sequence[float]) -> str:
    return number(level[0]) if len(level) == 1 else f"{number(level[-1])}-{number(level[0])}"
