"""The controller's language: what it is told, and what it answers. `t` is seconds since the search began."""

from __future__ import annotations

from dataclasses import dataclass

from .slices import Cohort, Flow
from .trial import Purpose, Trial


@dataclass(frozen=True)
class Started:
    """The search begins, with this many workers."""

    t: float
    workers: int


@dataclass(frozen=True)
class FlowArrived:
    """A slice of probe `probe` has ended in every worker."""

    t: float
    probe: int
    flow: Flow


@dataclass(frozen=True)
class CohortArrived:
    """Every request due in a slice of probe `probe` has answered or is late."""

    t: float
    probe: int
    cohort: Cohort


@dataclass(frozen=True)
class TimePassed:
    """Nothing but time. Needed about once a second, so that silence is noticed."""

    t: float


@dataclass(frozen=True)
class WorkersChanged:
    """Workers came or went: what is being measured is void. `workers` are there now. Requests `lost`: those that the
    gone ones had in flight when they were last heard."""

    t: float
    workers: int
    lost: int = 0


@dataclass(frozen=True)
class Stopped:
    """Someone ends the search. `reason` says who or why."""

    t: float
    reason: str


Event = Started | FlowArrived | CohortArrived | TimePassed | WorkersChanged | Stopped


@dataclass(frozen=True)
class Hold:
    """Make this load happen, under this number, until told otherwise. Load 0 lets the server drain."""

    probe: int
    load: float
    purpose: Purpose


@dataclass(frozen=True)
class Judged:
    """A probe is over, and this is what it means."""

    trial: Trial


@dataclass(frozen=True)
class Stall:
    """The target gave nothing back for `length` seconds while work was outstanding; seen in probe `probe`, from second
    `at` of the search. `excised`: left out of the counts."""

    at: float
    length: float
    probe: int
    excised: bool


@dataclass(frozen=True)
class Done:
    """The search is over."""

    conclusion: Conclusion


@dataclass(frozen=True)
class Capacity:
    """Highest load that meets the SLO. `value` with its 95 % interval; None where not known. `verified`: the highest
    load whose soak passed."""

    value: float | None
    low: float | None
    high: float | None
    verified: float | None = None


@dataclass(frozen=True)
class Conclusion:
    """`verdict` is resolved, unresolved, invalid or aborted; `reason` a word from the reference.

    `objective` and `next_objective` are places among the counted objectives: what limits, and what would next.
    `strict` is the capacity with the stalls and slow phases of the target counted, with `strict_reason` where it is
    None. `undisturbed`: between slow phases, where `capacity` counts these. `notes` are words on what was noticed
    (`not_stationary`, ...).
    """

    verdict: str
    reason: str
    capacity: Capacity
    strict: Capacity | None = None
    strict_reason: str | None = None
    objective: int | None = None
    next_objective: int | None = None
    warmup_s: float | None = None
    notes: tuple[str, ...] = ()
    undisturbed: Capacity | None = None


Command = Hold | Judged | Stall | Done
