"""What `/adaptive/state` answers: the state of a search in plain values, derived from its facts.

docs/reference/web.md describes each field. Schema 1; changes only add fields.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ..report.fold import Fold
from ..report.result import result, to_json, trial_part
from ..search.events import Hold
from ..search.past import Past
from ..search.trial import Verdict
from .options import OPTIONS

SCHEMA = 1
SHOWN = frozenset(option.name for option in OPTIONS if option.web != "no")
"""Options that may be seen: no path, no host name."""


@dataclass(frozen=True)
class Seen:
    """A search as it is now. `hold` is the load in force, None before the first; `users` are live; `over`: it has ended
    and all of it is written; `folder` is a name without its path."""

    facts: Fold
    hold: Hold | None
    users: int
    over: bool
    folder: str


class StateText:
    """The state as JSON text, made anew only when a step of the search has changed it: in the process that makes the
    load, each millisecond of it could delay a request. A trial is described once, and the bracket found once for it."""

    def __init__(self) -> None:
        self._facts: Fold | None = None
        self._trials: list[Any] = []
        self._bracket: dict[str, float | None] = {}
        self._key: tuple[Any, ...] | None = None
        self._text = ""

    def of(self, seen: Seen | None, options: Mapping[str, str]) -> str:
        """The text; `options` are those that the next search would have, shown while there was none."""
        if seen is None:
            return json.dumps(idle(options))
        facts = seen.facts
        if facts is not self._facts:
            self._facts, self._trials, self._bracket, self._key = facts, [], bracket(facts), None
        key = (facts.elapsed_s, len(facts.trials), seen.hold, seen.users, seen.over)
        if key != self._key:
            if new := facts.trials[len(self._trials) :]:
                settings = facts.header.settings
                self._trials += [_plain(trial_part(trial, settings)) for trial in new]
                self._bracket = bracket(facts)
            self._key = key
            self._text = json.dumps(state(seen, self._trials, self._bracket), allow_nan=False)
        return self._text


def idle(options: Mapping[str, str]) -> dict[str, Any]:
    """The state before the first search."""
    return {"schema": SCHEMA, "phase": "idle", "options": _shown(options)}


def state(seen: Seen, trials: list[Any], between: Mapping[str, float | None]) -> dict[str, Any]:
    """The state of a search, under way or over, with its trials and its bracket."""
    facts, hold = seen.facts, seen.hold
    settings = facts.header.settings
    over = seen.over or facts.conclusion is not None
    outcome = _plain(result(facts)) if over else None
    return {
        "schema": SCHEMA,
        "phase": "done" if over else "starting" if hold is None else str(hold.purpose),
        "started": facts.header.started,
        "folder": seen.folder,
        "slo": str(settings.slo),
        "loop": settings.loop,
        "probe": None
        if over or hold is None
        else {"number": hold.probe, "load": hold.load, "purpose": str(hold.purpose)},
        "users": seen.users,
        "workers": facts.workers,
        "elapsed_s": round(facts.elapsed_s, 3),
        "left_s": 0.0 if over else round(max(settings.budget_s - facts.elapsed_s, 0.0), 3),
        "requests": facts.requests,
        "bracket": between,
        "verdict": outcome["verdict"] if outcome else None,
        "reason": outcome["reason"] if outcome else None,
        "capacity": outcome["capacity"] if outcome else None,
        "limit": outcome["limit"] if outcome else None,
        "trials": trials,
        "stalls": [{"at_s": s.at, "length_s": s.length, "probe": s.probe, "excised": s.excised} for s in facts.stalls],
        "notes": outcome["notes"] if outcome else list(facts.notes),
        "options": _shown(facts.header.options),
    }


def bracket(facts: Fold) -> dict[str, float | None]:
    """The highest load believed to pass, and the lowest above it that failed; None where there is none yet."""
    past = Past(facts.header.settings, [t for t in facts.trials if t.verdict is not Verdict.INVALID], facts.elapsed_s)
    low = past.best if past.passed else None
    high = min((t.load for t in past.failed if low is None or t.load > low), default=None)
    return {"low": low, "high": high}


def _plain(part: Any) -> Any:
    """Of a result, as it reads back from `capacity.json`: what is no finite number is None."""
    return json.loads(to_json(cast(Any, part)))


def _shown(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: text for name, text in options.items() if name in SHOWN}
