"""Events and commands as plain values, and back: the lines of a journal."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..search.events import (
    Capacity,
    CohortArrived,
    Command,
    Conclusion,
    Done,
    Event,
    FlowArrived,
    Hold,
    Judged,
    Stall,
    Started,
    Stopped,
    TimePassed,
    WorkersChanged,
)
from ..search.slices import Cohort, Flow
from ..search.trial import Purpose, Trial


def to_line(plain: Mapping[str, Any]) -> str:
    """One line of ASCII JSON with its newline. Floats read back exactly."""
    return json.dumps(plain, separators=(",", ":"), default=_of_numpy) + "\n"


def _of_numpy(number: Any) -> Any:
    """The search computes with numpy; its integers are none to JSON."""
    return number.item()


def event_to_plain(event: Event) -> dict[str, Any]:
    match event:
        case Started(t, workers):
            return {"event": "started", "t": t, "workers": workers}
        case FlowArrived(t, probe, flow):
            return {"event": "flow", "t": t, "probe": probe, "flow": flow.to_plain()}
        case CohortArrived(t, probe, cohort):
            return {"event": "cohort", "t": t, "probe": probe, "cohort": cohort.to_plain()}
        case TimePassed(t):
            return {"event": "time", "t": t}
        case WorkersChanged(t, workers, lost):
            return {"event": "workers", "t": t, "workers": workers, **({"lost": lost} if lost else {})}
        case Stopped(t, reason):
            return {"event": "stopped", "t": t, "reason": reason}


def event_from_plain(plain: Mapping[str, Any]) -> Event:
    """ValueError, KeyError or TypeError if it is no event."""
    t = plain["t"]
    match plain["event"]:
        case "started":
            return Started(t, plain["workers"])
        case "flow":
            return FlowArrived(t, plain["probe"], Flow.from_plain(plain["flow"]))
        case "cohort":
            return CohortArrived(t, plain["probe"], Cohort.from_plain(plain["cohort"]))
        case "time":
            return TimePassed(t)
        case "workers":
            return WorkersChanged(t, plain["workers"], plain.get("lost", 0))
        case "stopped":
            return Stopped(t, plain["reason"])
        case kind:
            raise ValueError(f"unknown event {kind!r}")


def command_to_plain(command: Command) -> dict[str, Any]:
    match command:
        case Hold(probe, load, purpose):
            return {"command": "hold", "probe": probe, "load": load, "purpose": str(purpose)}
        case Judged(trial):
            # Its preamble are flows of the load held before, whose number is one less.
            preamble = trial.measurement.preamble
            span = [preamble[0].index if preamble else 0, len(preamble)]
            return {"command": "judged", "trial": {**trial.to_plain(), "preamble": span}}
        case Stall():
            return {"command": "stall", **asdict(command)}
        case Done(conclusion):
            return {"command": "done", "conclusion": asdict(conclusion)}


class Decoder:
    """Reads lines in order: a trial is put together again from the slices that came before it."""

    def __init__(self, bin_s: float) -> None:
        self._bin_s = bin_s
        self._flows: dict[int, list[Flow]] = defaultdict(list)
        self._cohorts: dict[int, list[Cohort]] = defaultdict(list)

    def event(self, plain: Mapping[str, Any]) -> Event:
        event = event_from_plain(plain)
        match event:
            case FlowArrived(_, probe, flow):
                self._flows[probe].append(flow)
            case CohortArrived(_, probe, cohort):
                self._cohorts[probe].append(cohort)
        return event

    def command(self, plain: Mapping[str, Any]) -> Command:
        match plain["command"]:
            case "hold":
                # What came under this number before it was held belongs to nothing.
                self._flows.pop(plain["probe"], None)
                self._cohorts.pop(plain["probe"], None)
                return Hold(plain["probe"], plain["load"], Purpose(plain["purpose"]))
            case "judged":
                return Judged(self._trial(plain["trial"]))
            case "stall":
                return Stall(plain["at"], plain["length"], plain["probe"], plain["excised"])
            case "done":
                return Done(_conclusion(plain["conclusion"]))
            case kind:
                raise ValueError(f"unknown command {kind!r}")

    def _trial(self, plain: dict[str, Any]) -> Trial:
        number = plain["number"]
        first, count = plain["preamble"]
        before = [f for f in self._flows[number - 1] if f.index >= first][:count]
        trial = Trial.from_plain(plain, self._bin_s, self._flows[number], self._cohorts[number], before)
        m = trial.measurement
        if [len(m.flows), len(m.cohorts), len(before)] != [*plain["slices"], count]:
            raise ValueError(f"slices of probe {number} are missing before its verdict")
        return trial


def _conclusion(plain: Mapping[str, Any]) -> Conclusion:
    others = {name: plain.get(name) for name in ("strict", "undisturbed")}
    return Conclusion(
        **{
            **plain,
            "capacity": Capacity(**plain["capacity"]),
            **{name: None if value is None else Capacity(**value) for name, value in others.items()},
            "notes": tuple(plain["notes"]),
        }
    )
