"""What the answers of the last moments say of the target: is anybody there, does most of it fail, is it our request?

Read off the flows, by the clock, so that it is known at once; the counts that decide a verdict come a limit later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .slices import OWN_ERRORS, Flow

NOBODY = frozenset({"refused", "dns", "unreachable"})
"""Kinds of error that mean that nobody is there."""
BUSY = frozenset({"http 408", "http 425", "http 429"})
"""The statuses of 4xx that blame the moment and not the request (RFC 9110, 6585, 8470)."""
OURS = frozenset({*OWN_ERRORS, "aborted", "unreported"})
"""Kinds of error that say nothing of the target."""

SURGE_S, SURGE_ANSWERS, SURGE_SHARE = 2.0, 20, 0.5
"""The breaker: more than half of the answers failed, of the last 2 s and the last 20 at least. As others have it: Azure
Load Testing stops at 90 % in any 60 s unless told otherwise, k6's abortOnFail waits for 10 s and more; ours only ends a
probe, so it may act sooner."""
GONE_S, GONE_ANSWERS = 1.0, 3
FIRST_S, FIRST_ANSWERS = 3.0, 5
"""Before the first good answer: nobody is there, or the request is wrong, when nothing else came back for so long."""
BACK_ANSWERS = 3
"""As many good answers in a row say that the target is back."""


@dataclass(frozen=True)
class Answers:
    """What came back over some slices: good answers, and failed ones by kind; what says nothing of the target is left
    out."""

    good: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, flows: Iterable[Flow]) -> Answers:
        good, errors = 0, Counter[str]()
        for flow in flows:
            good += flow.done - flow.failed
            errors.update({kind: n for kind, n in flow.errors.items() if kind not in OURS})
        return cls(good, errors)

    def __add__(self, other: Answers) -> Answers:
        return Answers(self.good + other.good, self.errors + other.errors)

    @property
    def failed(self) -> int:
        return self.errors.total()

    @property
    def nobody(self) -> int:
        """Those that found nobody there."""
        return sum(n for kind, n in self.errors.items() if kind in NOBODY)

    @property
    def wrong(self) -> int:
        """Those that say that the request is wrong, at any load."""
        return sum(n for kind, n in self.errors.items() if blames_request(kind))


def blames_request(kind: str) -> bool:
    """Does this kind of error mean that the request itself is wrong?"""
    return kind in ("check", "exception") or (kind.startswith("http 4") and kind not in BUSY)


def latest(flows: Sequence[Flow], seconds: float, enough: int) -> Answers | None:
    """The answers of the last slices: of so many seconds and so many answers at least. None if there is not so much
    yet."""
    start, spent, found = len(flows), 0.0, 0
    while start and (spent < seconds or found < enough):
        start -= 1
        spent += flows[start].span
        found += flows[start].done
    return Answers.of(flows[start:]) if spent >= seconds - 1e-6 and found >= enough else None


def gone(flows: Sequence[Flow]) -> bool:
    """Does nobody listen any more? Nothing good for a second, and most of what came back found nobody there."""
    seen = latest(flows, GONE_S, GONE_ANSWERS)
    return seen is not None and not seen.good and seen.nobody >= GONE_ANSWERS and 2 * seen.nobody > seen.failed


def missed(flows: Sequence[Flow]) -> bool:
    """Did the last answers find nobody there? Too early to say that the target is gone."""
    seen = latest(flows, 0.0, 1)
    return seen is not None and not seen.good and 2 * seen.nobody > seen.failed


def surging(flows: Sequence[Flow], tolerated: float) -> bool:
    """The breaker: do most of the answers fail? `tolerated` is the share that the SLO itself allows."""
    # A probe that has just begun is looked at after a second.
    seconds = min(max(sum(f.span for f in flows[-4:]), SURGE_S / 2), SURGE_S)
    seen = latest(flows, seconds, SURGE_ANSWERS)
    return (
        seen is not None
        and seen.failed + seen.good >= SURGE_ANSWERS
        and seen.failed > max(SURGE_SHARE, tolerated) * (seen.failed + seen.good)
    )


def back(flows: Sequence[Flow]) -> bool:
    """Does the target answer again?"""
    good = 0
    for flow in reversed(flows):
        seen = Answers.of([flow])
        if seen.failed:
            break
        good += seen.good
    return good >= BACK_ANSWERS
