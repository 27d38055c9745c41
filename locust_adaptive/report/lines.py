"""A probe in a few words: the line in the log while a search runs, and the cell in the verdict block."""

from __future__ import annotations

from collections.abc import Sequence

from ..search.events import Stall
from ..search.settings import Settings
from ..search.slo import Objective
from ..search.trial import Trial
from .numbers import clock, count, number, percent
from .result import TrialPart, key, trial_part

WORDS = {"PASS": "pass", "FAIL": "FAIL", "UNDECIDED": "undecided", "INVALID": "INVALID"}


def timing(seconds: float, objective: Objective, unit: bool = True) -> str:
    """A latency in the unit that suits the objective's limit: ms below 1 s."""
    text, name = (number(seconds), " s") if objective.limit >= 1 else (number(1000 * seconds), " ms")
    return text + (name if unit else "")


def limit(objective: Objective) -> str:
    """250 ms, 1 %."""
    return timing(objective.limit, objective) if objective.signal == "latency" else percent(objective.limit)


def reading(trial: TrialPart, objective: Objective, unit: bool = True) -> str | None:
    """What a trial measured of a counted objective: its ratio of errors, or its latency quantile, or what share failed
    where failures and not slow answers broke it. None if nothing."""
    misses, requests = trial["misses"][str(objective)]
    if not requests:
        return None
    if objective.signal != "latency":
        return percent(misses / requests)
    if misses > (objective.budget or 0.0) * requests and 2 * sum(trial["errors"].values()) > misses:
        return f"{percent(misses / requests)} failed"
    ms = trial["latency_ms"].get(key(objective))
    if ms is None:
        return f">{timing(objective.limit, objective, unit)}"
    return timing(ms / 1000, objective, unit)


def decisive(trial: TrialPart, objectives: Sequence[Objective], binding: Objective) -> Objective:
    """The objective that the reason of a trial names, else the binding one."""
    return next((o for o in objectives if str(o) == trial["reason"]), binding)


def name(objective: Objective) -> str:
    """p99, errors, p99 of /v1/rank."""
    short = objective.aggregate if objective.signal == "latency" and objective.aggregate else objective.signal
    return short if objective.scope is None else f"{short} of {objective.scope}"


def probe_line(trial: Trial, settings: Settings) -> str:
    """probe 7  64 /s  refine  pass  p99 238 ms (limit 250 ms)  12 of 2310 late"""
    part = trial_part(trial, settings)
    unit = "users" if settings.loop == "closed" else "/s"
    words = [f"probe {trial.number}", f"{number(trial.load)} {unit}", trial.purpose, WORDS[trial.verdict]]
    named = {str(o) for o in settings.objectives}
    if trial.reason and trial.reason not in named:
        words.append(trial.reason)
    for i in settings.constraints:
        objective = settings.objectives[i]
        misses, requests = part["misses"][str(objective)]
        if value := reading(part, objective):
            what = "late or failed" if objective.signal == "latency" else "failed"
            counted = f", {count(misses)} of {count(requests)} {what}" if misses else ""
            words.append(f"{name(objective)} {value} (limit {limit(objective)}){counted}")
    if trial.ended_by_answers:
        words.append("failures: " + ", ".join(f"{count(n)} {kind}" for kind, n in part["errors"].items()))
    if trial.probe.repeats is not None:
        words.append(f"repeats probe {trial.probe.repeats}")
    return "  ".join(words)


def stall_line(stall: Stall) -> str:
    """stall of 1.0 s at 0:45 in probe 7: left out of the counts"""
    fate = "left out of the counts, measured again" if stall.excised else "counted"
    return f"stall of {stall.length:.1f} s at {clock(stall.at)} in probe {stall.probe}: {fate}"
