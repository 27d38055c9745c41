"""A search as an SVG file: load against time, each probe with its verdict. Made from the result alone.

Two panels share the axis of time: all loads, and those close to the answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from .block import UNITS
from .numbers import clock, number, three
from .result import Result, TrialPart

WIDTH, LEFT, RIGHT = 860, 70, 20
CLOSE = 1.3
"""The second panel shows the loads from the answer over this to the answer times this."""
COLOURS = {"PASS": "#1b7837", "FAIL": "#c0392b", "UNDECIDED": "#737373", "INVALID": "#b8860b"}
WORDS = {"PASS": "pass", "FAIL": "FAIL", "UNDECIDED": "undecided", "INVALID": "invalid"}
BLUE = "#2166ac"
_STEPS = (10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400)


def svg(outcome: Result) -> str:
    """The picture as the text of an SVG file."""
    return _Svg(outcome).text()


@dataclass(frozen=True)
class _Panel:
    """Where loads from `low` to `high` are drawn, on a logarithmic scale. All heights in pixels from the top."""

    top: float
    height: float
    low: float
    high: float

    def y(self, load: float) -> float:
        share = math.log(load / self.low) / math.log(self.high / self.low)
        return self.top + self.height * (1 - min(max(share, 0.0), 1.0))

    def holds(self, load: float) -> bool:
        return self.low <= load <= self.high

    def ticks(self) -> list[float]:
        """1, 2, 5, 10, ... over a wide range, else even steps."""
        if self.high / self.low > 4:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            found = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
        else:
            power = 10.0 ** math.floor(math.log10((self.high - self.low) / 3))
            step = next(d * power for d in (1, 2, 5, 10) if (self.high - self.low) / (d * power) <= 8)
            found = [i * step for i in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        return [tick for tick in found if self.holds(tick)]


class _Svg:
    def __init__(self, outcome: Result) -> None:
        self.outcome = outcome
        self.capacity = outcome["capacity"]
        self.unit = UNITS[self.capacity["unit"]]
        self.end = max([outcome["elapsed_s"], *(t["started_s"] + t["seconds"] for t in outcome["trials"]), 1.0])
        loads = [t["load"] for t in outcome["trials"]] or [1.0]
        self.panels = [_Panel(50, 220, min(loads) / 1.2, max(loads) * 1.2)]
        if (value := self.capacity["value"]) is not None:
            low, high = self.capacity["low"] or value, self.capacity["high"] or value
            self.panels.append(_Panel(300, 220, min(value / CLOSE, low / 1.05), max(value * CLOSE, high * 1.05)))
        self.height = self.panels[-1].top + self.panels[-1].height + 60

    def text(self) -> str:
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{self.height:g}" '
            f'viewBox="0 0 {WIDTH} {self.height:g}" font-family="sans-serif" font-size="12">',
            f"<title>{escape(self._title())}</title>",
            f'<rect width="{WIDTH}" height="{self.height:g}" fill="white"/>',
            _text(LEFT, 24, self._title(), size=14),
            *(line for panel in self.panels for line in self._panel(panel)),
            *self._times(),
            *self._legend(),
            "</svg>",
        ]
        return "\n".join(lines) + "\n"

    def _title(self) -> str:
        c = self.capacity
        slo = f"{self.outcome['slo']}: {self.outcome['verdict']}"
        if c["value"] is None:
            return f"Capacity not known, {slo} ({self.outcome['reason']})"
        ends = " .. ".join("?" if end is None else three(end) for end in (c["low"], c["high"]))
        return f"Capacity {three(c['value'])} {self.unit} (95% CI {ends}), {slo}"

    def _panel(self, panel: _Panel) -> Iterator[str]:
        right, bottom = WIDTH - RIGHT, panel.top + panel.height
        c = self.capacity
        if c["value"] is not None:
            if c["low"] is not None and c["high"] is not None:
                top, low = panel.y(c["high"]), panel.y(c["low"])
                yield (
                    f'<rect x="{LEFT}" y="{top:.1f}" width="{right - LEFT}" height="{low - top:.1f}" '
                    f'fill="{BLUE}" fill-opacity="0.15"/>'
                )
            yield _line(LEFT, panel.y(c["value"]), right, panel.y(c["value"]), BLUE, 1.2)
        for tick in panel.ticks():
            yield _line(LEFT, panel.y(tick), right, panel.y(tick), "#dddddd", 0.5)
            yield _text(LEFT - 6, panel.y(tick) + 4, number(tick), anchor="end")
        yield _line(LEFT, panel.top, LEFT, bottom, "#444444", 1)
        yield _line(LEFT, bottom, right, bottom, "#444444", 1)
        yield _text(LEFT, panel.top - 6, self.unit if panel is self.panels[0] else f"{self.unit}, close to the answer")
        for stall in self.outcome["stalls"]:
            yield _line(self._x(stall["at_s"]), panel.top, self._x(stall["at_s"]), bottom, "#b8860b", 0.8, dashed=True)
        for trial in self.outcome["trials"]:
            if panel.holds(trial["load"]):
                yield from self._probe(panel, trial)

    def _probe(self, panel: _Panel, trial: TrialPart) -> Iterator[str]:
        end = trial["started_s"] + trial["seconds"]
        y, colour = panel.y(trial["load"]), COLOURS[trial["verdict"]]
        said = f"probe {trial['number']}: {number(trial['load'])} {self.unit}, {trial['purpose']}, " + " ".join(
            [WORDS[trial["verdict"]], trial["reason"]]
        )
        yield f"<g><title>{escape(said.strip())}, until {clock(end)}</title>"
        yield _line(self._x(trial["started_s"]), y, self._x(end), y, colour, 3)
        yield f"{_mark(self._x(end), y, trial['verdict'])}</g>"

    def _times(self) -> Iterator[str]:
        bottom = self.panels[-1].top + self.panels[-1].height
        step = next((s for s in _STEPS if self.end / s <= 10), _STEPS[-1])
        for i in range(int(self.end / step) + 1):
            yield _line(self._x(i * step), bottom, self._x(i * step), bottom + 4, "#444444", 1)
            yield _text(self._x(i * step), bottom + 18, clock(i * step), anchor="middle")

    def _legend(self) -> Iterator[str]:
        y = self.height - 16
        for i, verdict in enumerate(COLOURS):
            yield _mark(LEFT + 6 + 110 * i, y - 4, verdict)
            yield _text(LEFT + 18 + 110 * i, y, WORDS[verdict])
        if self.capacity["value"] is not None:
            yield _line(LEFT + 440, y - 4, LEFT + 460, y - 4, BLUE, 1.2)
            yield _text(LEFT + 466, y, "capacity, 95% interval")
        if self.outcome["stalls"]:
            yield _line(LEFT + 630, y - 4, LEFT + 650, y - 4, "#b8860b", 0.8, dashed=True)
            yield _text(LEFT + 656, y, "stall")

    def _x(self, t: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * t / self.end


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width:g}"{dashes}/>'


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12, colour: str = "#222222") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f'<text {place} fill="{colour}">{escape(text)}</text>'


def _mark(x: float, y: float, verdict: str) -> str:
    """Of another shape for each verdict, as not everyone sees their colours."""
    colour = COLOURS[verdict]
    match verdict:
        case "PASS":
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
        case "FAIL":
            return (
                f'<path d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8" stroke="{colour}" stroke-width="2.5" fill="none"/>'
            )
        case _:
            # On white, as it stands on a line.
            sign = _text(x, y + 5, "?" if verdict == "UNDECIDED" else "!", anchor="middle", size=15, colour=colour)
            return sign.replace("<text ", '<text stroke="white" stroke-width="3" paint-order="stroke" ')
