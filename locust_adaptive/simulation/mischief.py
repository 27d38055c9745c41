"""What a server does wrong: above a rate of arrivals, at a given time, or now and then. Virtual or live."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Mischief:
    """How a server misbehaves. Times in seconds.

    `mode` is what happens to a request that arrives while more than `above` came within the last second, and to a
    random `share` of all: `hang` is never answered, `slow` takes `delay` more, `reset`, `half` (half an answer) and
    `http 503`, `http 404`, ... fail at once. `http 429` is a token bucket instead: `above` tokens a second, at most a
    quarter of that in it. `gone = (from, to)`: nobody listens in that time, and what is open at its start is reset.
    """

    mode: str = "hang"
    above: float = math.inf
    delay: float = 2.0
    share: float = 0.0
    gone: tuple[float, float] | None = None


class Misbehaviour:
    """A mischief at work: `fate` of each arrival, in the order of time."""

    def __init__(self, mischief: Mischief, rng: random.Random) -> None:
        self._mischief = mischief
        self._rng = rng
        self._recent: deque[float] = deque()
        self._tokens = mischief.above / 4
        self._filled = 0.0

    def fate(self, t: float) -> str | None:
        """What becomes of a request that arrives at second `t`: the mode, `refused`, or None for nothing unusual."""
        mischief = self._mischief
        if mischief.gone is not None and mischief.gone[0] <= t < mischief.gone[1]:
            return "refused"
        if mischief.share and self._rng.random() < mischief.share:
            return mischief.mode
        if mischief.mode == "http 429":
            return self._limited(t)
        self._recent.append(t)
        while self._recent[0] <= t - 1:
            self._recent.popleft()
        return mischief.mode if len(self._recent) > mischief.above else None

    def _limited(self, t: float) -> str | None:
        rate = self._mischief.above
        self._tokens = min(self._tokens + (t - self._filled) * rate, rate / 4)
        self._filled = t
        if self._tokens < 1:
            return "http 429"
        self._tokens -= 1
        return None
