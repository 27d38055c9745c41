"""Gates and the exit code. Failures above capacity never make it."""

from __future__ import annotations

from dataclasses import dataclass

from ..search.slo import Slo
from .numbers import number
from .result import CapacityPart, Result

OK, GATE_FAILED, USAGE, NO_ANSWER = 0, 1, 2, 3

BOUNDED = ("ceiling_reached", "not_precise", "budget_spent")
"""Reasons of an unresolved search whose lower end still stands, so that a gate may be met by it."""


@dataclass(frozen=True)
class Gate:
    """A demand on the capacity, in words. `met` is None where the search cannot tell."""

    text: str
    met: bool | None


def gates(outcome: Result, min_capacity: float | None = None, tolerant: bool = False) -> list[Gate]:
    """The gates of a run: `min_capacity` in the unit of the load, and each `rps>=X` constraint of the SLO.

    The lower end of the 95 % interval is compared: of the strict capacity, with every stall counted, unless `tolerant`.
    """
    found: list[Gate] = []
    if min_capacity is not None:
        found.append(_gate(f"capacity >= {number(min_capacity)}", outcome, tolerant, min_capacity, in_rps=False))
    floors = [o for o in Slo.parse(outcome["slo"]).objectives if o.signal == "rps" and o.role == "constraint"]
    return found + [_gate(str(o), outcome, tolerant, o.limit, in_rps=True, strictly=o.op == ">") for o in floors]


def _gate(text: str, outcome: Result, tolerant: bool, bound: float, in_rps: bool, strictly: bool = False) -> Gate:
    capacity = outcome["capacity"] if tolerant else outcome["strict"]
    low = None if capacity is None else capacity["rps_low" if in_rps else "low"]
    with_stalls = "" if tolerant or not any(s["excised"] for s in outcome["stalls"]) else ", stalls counted"
    shown = "is not known" if low is None else f"is {number(low)}{with_stalls}"
    text = f"{text}: the lower end {shown}"
    if outcome["verdict"] in ("invalid", "aborted"):
        return Gate(text, None)
    if capacity is None:
        # With a reason no load meets the SLO; without one the strict capacity was not estimated.
        reason = outcome["strict_reason"]
        return Gate(text if reason is None else f"{text} ({reason})", None if reason is None else False)
    reached = low is not None and (low > bound if strictly else low >= bound)
    if outcome["verdict"] == "resolved":
        return Gate(text, reached if low is not None else None)
    if reached and _stands(outcome, capacity):
        return Gate(text, True)
    return Gate(text, False if not in_rps and _surely_below(outcome, capacity, bound) else None)


def _stands(outcome: Result, capacity: CapacityPart) -> bool:
    """Is the lower end more than the highest load that happened to pass?"""
    return outcome["reason"] in BOUNDED and (capacity["value"] is not None or outcome["reason"] == "ceiling_reached")


def _surely_below(outcome: Result, capacity: CapacityPart, bound: float) -> bool:
    """Does even the upper end miss the bound?"""
    high = capacity["high"]
    known = capacity["value"] is not None or outcome["reason"] == "below_minimum"
    return known and high is not None and high < bound


def exit_code(outcome: Result, found: list[Gate], signal: int | None = None) -> int:
    """The exit code of a run that came to its end; `signal` is the number of one that stopped it (2 or 15)."""
    if signal is not None:
        return 128 + signal
    if any(gate.met is False for gate in found):
        return GATE_FAILED
    all_met = all(gate.met for gate in found)
    if outcome["verdict"] == "resolved" and all_met:
        return OK
    return OK if found and all_met and outcome["verdict"] == "unresolved" else NO_ANSWER
