"""What a result says of validity: the rules with their values, what a trial broke, and both in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from ..search.rules import RULES
from ..search.settings import Settings
from ..search.trial import Trial, Verdict
from ..search.validity import Check, checks, lightest_errors, worst
from .numbers import number, percent

_ADVICE = {rule.id: rule.advice for rule in RULES}
_AT_LEAST = {rule.id for rule in RULES if rule.at_least}
_TOLD = {"V1": "CPU at most", "V2": "send lag p99", "V3": "sent"}


class RulePart(TypedDict):
    id: str
    rule: str
    value: float | None
    bound: float
    unit: str
    effect: str


class ValidityPart(RulePart):
    ok: bool | None


class BrokenPart(RulePart):
    advice: str


def _checks(trial: Trial, settings: Settings) -> list[Check]:
    users = trial.load if settings.loop == "closed" else None
    return checks(trial.measurement, settings.limit, users, trial.reason)


def _part(check: Check) -> RulePart:
    rule = check.rule
    return {
        "id": rule.id,
        "rule": rule.name,
        "value": _known(check.value),
        "bound": check.bound,
        "unit": rule.unit,
        "effect": rule.effect,
    }


def broken(trial: Trial, settings: Settings) -> list[BrokenPart]:
    """The rules that a trial breaks, causes first."""
    return [{**_part(c), "advice": c.rule.advice} for c in _checks(trial, settings) if c.ok is False]


def validity(trials: Sequence[Trial], settings: Settings, unfit: bool) -> list[ValidityPart]:
    """Each rule held against the worst of the probes that count; of those that do not if the search ended as `unfit`.
    Empty without such probes."""
    counting = [t for t in trials if (t.verdict is Verdict.INVALID) is unfit]
    found = worst([_checks(t, settings) for t in counting])
    if counting:
        found.append(lightest_errors([] if unfit else [(t.load, t.measurement) for t in counting]))
    return [{**_part(c), "ok": c.ok} for c in found]


def _known(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


# -- in words ----------------------------------------------------------------------------------------------------------


def values(rules: Sequence[ValidityPart]) -> str:
    """CPU at most 41 % (70 %), send lag p99 1.2 ms (12.5 ms), sent 100 % (98 %)"""
    told = [r for id_ in _TOLD for r in rules if r["id"] == id_ and r["value"] is not None]
    return ", ".join(
        f"{_TOLD[r['id']]} {_measured(r['value'], r['unit'])} ({_measured(r['bound'], r['unit'])})" for r in told
    )


def flagged(rules: Sequence[ValidityPart]) -> str:
    """The broken rules that void nothing, with advice; empty if there are none."""
    return "; ".join(f"{said(r)}: {_ADVICE[r['id']]}" for r in rules if r["ok"] is False and r["effect"] == "flag")


def cause(found: Sequence[BrokenPart], reason: str) -> tuple[str, str] | None:
    """The rule that the reason of an INVALID trial names, and what to say of it; None if it names no measured one."""
    for part in found:
        if reason.startswith(part["rule"]) and part["unit"] != "users" and part["value"] is not None:
            return part["rule"], f"{said(part)}: {part['advice']}"
    return None


def said(rule: ValidityPart | BrokenPart) -> str:
    """generator CPU 95 % (at most 70 %)"""
    value = "" if rule["value"] is None else f" {_measured(rule['value'], rule['unit'])}"
    way = "at least" if rule["id"] in _AT_LEAST else "at most"
    return f"{rule['rule'].removesuffix(' in seconds')}{value} ({way} {_measured(rule['bound'], rule['unit'])})"


def _measured(value: float | None, unit: str) -> str:
    if value is None:
        return "?"
    if unit == "share":
        return percent(value)
    return f"{number(1000 * value)} ms" if unit == "s" else number(value)
