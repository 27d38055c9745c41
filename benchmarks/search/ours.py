"""Our own search of a scenario, in virtual time: the shipped controller and policy around a simulated server.

A user has set --adaptive-min, --adaptive-start and --adaptive-max: the range that every tool is told. All else is the
default, 20 minutes of budget among it (the others have an hour), or that of another profile; but --adaptive-spike-
tolerance is 10 %, since the truths leave out what disturbs the server for less than a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from locust_adaptive.search.grid import Grid
from locust_adaptive.search.profiles import PROFILES, STANDARD
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.slo import Slo
from locust_adaptive.search.trial import Trial
from locust_adaptive.simulation.search import simulate

from .scenarios import Scenario

OURS: Mapping[str, Mapping[str, float]] = {"ours": PROFILES[STANDARD]} | {
    f"ours {name}": fields for name, fields in PROFILES.items() if name != STANDARD
}
"""Our rows, by name: what else is set. The peers are compared with the first, the standard profile."""

SPIKE_TOLERANCE = 0.10


def search(scenario: Scenario, low: float, high: float, seed: int, **more: Any) -> dict[str, Any]:
    """What came of it: `value`, `low` and `high` (1/s or users, None where unknown), `seconds`, the rest of a row."""
    grid = Grid.rate(low, high) if scenario.loop == "open" else Grid.users(int(low), int(high))
    settings = Settings(Slo.parse(scenario.slo), scenario.loop, grid, low, spike_tolerance=SPIKE_TOLERANCE, **more)
    run = simulate(settings, scenario.server, seed, mischief=scenario.mischief, bursts=scenario.bursts)
    conclusion, trials = run.conclusion, run.controller.trials
    capacity, strict = conclusion.capacity, conclusion.strict
    seconds = run.log[-1][0].t
    return {
        "value": capacity.value,
        "low": capacity.low,
        "high": capacity.high,
        "seconds": seconds,
        "verified": capacity.verified,
        "strict": strict.value if strict else None,
        "verdict": conclusion.verdict,
        "reason": conclusion.reason,
        "notes": list(conclusion.notes),
        "objective": conclusion.objective,
        "warmup_s": conclusion.warmup_s,
        "stalls": len(run.controller.stalls),
        "requests": run.sent,
        "in_budget": seconds <= settings.budget_s + 1,
        "excess": excess(trials),
        "probes": [[t.load, t.purpose, t.verdict, t.reason, t.started, t.ended] for t in trials],
    }


def excess(trials: Iterable[Trial]) -> float:
    """By how much the load of a probe exceeded the best pass before it, at most, from the first overload on.

    Before there is a pass: the load that was too much.
    """
    most, best, overload = 0.0, 0.0, 0.0
    for trial in trials:
        if overload:
            most = max(most, trial.load / (best or overload))
        if trial.verdict == "PASS":
            best = max(best, trial.load)
        if trial.overloaded and not overload:
            overload = trial.load
    return round(most, 4)
