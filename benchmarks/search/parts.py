"""The parts of our search, and how each is taken away from outside: a constant, a method or a setting is replaced for
as long as a search lasts. The search that ships knows nothing of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from locust_adaptive.search import belief, estimate, past, policy, stalls, verdict, worlds
from locust_adaptive.search.belief import Belief
from locust_adaptive.search.events import Conclusion, Stall
from locust_adaptive.search.policy import AdaptivePolicy
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.trial import Probe, Purpose

from . import ours

NEVER = 10**9
"""So many never come."""
FULL = "full search"

_gate_probe, _finish = AdaptivePolicy._gate_probe, AdaptivePolicy._finish


def _short_gate(self: AdaptivePolicy, load: float) -> Probe:
    return replace(_gate_probe(self, load), min_s=1.0, max_s=1.0, until_steady=False)


def _no_canary(self: AdaptivePolicy, past: Belief, every: float) -> None:
    return None


def _no_soak(self: AdaptivePolicy, past: Belief, stalls: Sequence[Stall]) -> Probe | Conclusion | None:
    answer = _finish(self, past, stalls)
    return None if isinstance(answer, Probe) and answer.purpose is Purpose.VERIFY else answer


@dataclass(frozen=True)
class Part:
    """`without` it: what the search does then, in words. `changes`: `(owner, name, value)` of what is replaced, each
    the name of something that is there. `settings`: fields of `Settings` that are set otherwise."""

    without: str
    changes: tuple[tuple[Any, str, Any], ...] = ()
    settings: Mapping[str, float] = field(default_factory=dict)

    @contextmanager
    def taken_away(self) -> Iterator[None]:
        """In this process; AttributeError if the search no longer has what is to be replaced."""
        with ExitStack() as stack:
            for owner, name, value in self.changes:
                stack.enter_context(patch.object(owner, name, value))
            stack.enter_context(patch.dict(ours.OURS, {"ours": {**ours.OURS["ours"], **self.settings}}))
            yield


PARTS: Mapping[str, Part] = {
    "damping": Part(
        "probes go up to 4 times the best pass, and the climb that locates the capacity takes steps of 4",
        ((past, "DAMPING", 4.0), (policy, "DAMPING", 4.0)),
    ),
    "spike tolerance": Part(
        "no stall is forgiven: what it made late counts",
        ((stalls, "SHARE", 0.0), (stalls, "ALLOWANCE_S", 0.0)),
    ),
    "warm-up gate": Part(
        "the gate ends at its first second, warm or not",
        ((AdaptivePolicy, "_gate_probe", _short_gate),),
    ),
    "canaries": Part(
        "no light load is held again after the gate: a server that became another is not noticed",
        ((AdaptivePolicy, "_canary", _no_canary),),
    ),
    "virtual queue": Part(
        "the estimate is from counts of misses alone",
        ((Belief, "_rate", None),),
    ),
    "contamination floors": Part(
        "each trial counts for what it is, however unlikely: none is taken for disturbed",
        # The cached property keeps its value under its own name, and so the two share it.
        ((Belief, "undisturbed", vars(Belief)["with_phases"]),),
    ),
    "slow phases": Part(
        "slow phases never count, however often they come, and nobody waits to see how often that is",
        ((belief, "SLOW_SHARE", 1.0), (Belief, "unsettled", False)),
    ),
    "drift": Part(
        "canaries that differ a little, all to one side, begin no new world",
        ((worlds, "DRIFTED_LOOKS", NEVER),),
    ),
    "check of the service rate": Part(
        "close looks that contradict the service rate do not send the search back to locate",
        ((Belief, "outgrown", False),),
    ),
    "dither": Part(
        "every dwell is at the median, and goes no higher after dwells without misses",
        ((policy, "DITHER", (0.0,)), (belief, "BOLDER", 0.0)),
    ),
    "strain brake": Part(
        "a probe passes by its misses alone, however close its mean latency is to the limit",
        ((verdict, "STRAINED", float("inf")), (verdict, "STRAINED_SHORT", float("inf"))),
    ),
    "verification": Part(
        "no soak at the end",
        ((AdaptivePolicy, "_finish", _no_soak),),
    ),
    "number of dwells": Part(
        "the search stops at the first estimate that is narrow enough",
        settings={"dwells": 1},
    ),
    "precision": Part(
        "the search stops at twice the width of the interval",
        settings={"precision": 2 * Settings.precision},
    ),
    "interval inflation": Part(
        "the interval is taken at its word, and so are the steps and soaks counted in its standard deviations",
        ((estimate, "INFLATE", 1.0),),
    ),
}
"""By name. One at a time: none is taken away together with another."""
