"""Worlds: stretches of a search in which the server stayed itself.

A world begins with the gate. It begins anew where canaries in a row differ from the light load before them: with the
first of them where they differ plainly (one alone may be a slow phase that passes; where one has passed, more of them
are asked for), with the last of them where they differ a little, all to the same side: then the server drifts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from .settings import Settings
from .trial import Measurement, Purpose, Trial
from .validity import lag_quantile

CHANGED, CHANGED_LOOKS = 0.15, 3
"""A canary differs plainly when its median latency is this share and three standard errors away; in so many in a row
the server is another."""
DRIFTED, DRIFTED_LOOKS = 0.03, 2
"""It differs a little at this share and two standard errors; with so many in a row to one side the server drifts."""
LEAST_CHANGE_S = 0.002
"""Less than this, or than a hundredth of the limit, is no difference."""
LATE, LATE_TIMES = 0.75, 4
"""Nor is less than so many times this quantile of the send lag: what our own machine keeps from sending in time it also
keeps from reading the answer, and, where the server is on it, the server too."""
LEAST_S = 2.0
"""A canary shorter than this says nothing."""


@dataclass(frozen=True)
class Worlds:
    """Places of the trials that began a world. `in_doubt`: the last canaries differ, and are too few to begin one.
    `drifts`: the last world began because the server drifts."""

    beginnings: tuple[int, ...] = ()
    in_doubt: bool = False
    drifts: bool = False


def worlds(trials: Sequence[Trial], settings: Settings) -> Worlds:
    """Of the valid trials, in order."""
    found: list[int] = []
    doubtful: list[int] = []
    phases, drift, drifts = 0, 0, False
    for place, trial in enumerate(trials):
        if not is_reference(trial):
            continue
        if trial.purpose is Purpose.GATE:
            found, doubtful, phases, drift, drifts = [place], [], 0, 0, False
        elif found:
            before = trials[found[-1] : place]
            reference = next((t for t in before if is_reference(t) and t.load == trial.load), None)
            if reference is None:
                continue
            change, side = _change(reference, trial, settings)
            if change is Change.PLAIN:
                doubtful.append(place)
            else:
                phases += bool(doubtful)
                doubtful = []
            drift = (drift + side if drift * side >= 0 else side) if change is Change.LITTLE else 0
            if len(doubtful) == CHANGED_LOOKS * (1 + phases):
                found.append(doubtful[0])
            elif abs(drift) == DRIFTED_LOOKS:
                found.append(place)
            else:
                continue
            drifts = found[-1] == place
            doubtful, phases, drift = [], 0, 0
    return Worlds(tuple(found), bool(doubtful or drift), drifts)


def is_reference(trial: Trial) -> bool:
    """Is it a light load that canaries can be compared with? A gate always is: without one there is no world."""
    looked = trial.purpose is Purpose.GATE or (trial.purpose is Purpose.CANARY and trial.measurement.clean_s >= LEAST_S)
    return looked and not trial.overloaded


def differs(reference: Trial, canary: Trial, settings: Settings) -> bool:
    """Did the same load plainly take another time?"""
    return _change(reference, canary, settings)[0] is Change.PLAIN


class Change(Enum):
    """How much two probes of the same load differ."""

    NONE = 0
    LITTLE = 1
    PLAIN = 2


def _change(reference: Trial, canary: Trial, settings: Settings) -> tuple[Change, int]:
    """How much the median latencies differ, and to which side: 1 is slower."""
    medians, errors = [], []
    for trial in (reference, canary):
        m = trial.measurement
        # The end of a gate is the warm server; its start may not be.
        recent = Measurement(m.bin_s, m.flows, tuple(m.clean[-24:]))
        n = sum(c.sent for c in recent.clean)
        latencies = recent.latencies()
        middle, low, high = (latencies.quantile(q) for q in (0.5, 0.25, 0.75))
        if n < 20 or not middle > 0:
            return Change.NONE, 0
        medians.append(middle)
        # Standard error of a median, 1.25 sigma / sqrt(n), and twice that for requests that wait together.
        errors.append(2.5 * math.log(high / low) / 1.35 / math.sqrt(n))
    ratio, error = math.log(medians[1] / medians[0]), math.hypot(*errors)
    side = 1 if ratio > 0 else -1
    late = max(lag_quantile(trial.measurement.flows, LATE) for trial in (reference, canary))
    if abs(medians[1] - medians[0]) <= max(LEAST_CHANGE_S, 0.01 * settings.limit, LATE_TIMES * late):
        return Change.NONE, side
    if abs(ratio) > max(CHANGED, 3 * error):
        return Change.PLAIN, side
    return (Change.LITTLE if abs(ratio) > max(DRIFTED, 2 * error) else Change.NONE), side
