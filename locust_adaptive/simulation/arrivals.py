"""When requests arrive: at random (Poisson), or at random in bursts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Bursts:
    """Traffic with bursts: a Poisson process whose rate is `factor` times as high in stretches of mean `length` s as in
    the gaps of mean `gap` s between them (all exponential); on average it is the load.

    A Markov-modulated Poisson process of two states.
    """

    factor: float
    length: float
    gap: float

    def rate(self, load: float, burst: bool) -> float:
        """The rate in or between bursts at a mean of `load`."""
        quiet = load * (self.length + self.gap) / (self.factor * self.length + self.gap)
        return quiet * self.factor if burst else quiet


class Arrivals:
    """Arrivals at work: ask for them in the order of time."""

    def __init__(self, rng: np.random.Generator, bursts: Bursts | None = None) -> None:
        self._rng = rng
        self._bursts = bursts
        self._burst = False
        self._until = math.inf if bursts is None else 0.0
        """When the present stretch ends."""

    def after(self, t: float, load: float) -> float:
        """The first arrival after second `t` at `load` arrivals/s."""
        if self._bursts is None:
            return t + float(self._rng.exponential(1 / load))
        while True:
            self._go_to(t)
            arrival = t + float(self._rng.exponential(1 / self._rate(load)))
            if arrival < self._until:
                return arrival
            t = self._until

    def times(self, start: float, end: float, load: float) -> NDArray[np.float64]:
        """All arrivals from second `start` to `end`, in order."""
        out, t = [np.empty(0)], start
        while t < end:
            self._go_to(t)
            until = min(self._until, end)
            n = self._rng.poisson((until - t) * self._rate(load))
            out.append(np.sort(self._rng.uniform(t, until, n)))
            t = until
        return np.concatenate(out)

    def _rate(self, load: float) -> float:
        return load if self._bursts is None else self._bursts.rate(load, self._burst)

    def _go_to(self, t: float) -> None:
        while self._bursts is not None and t >= self._until:
            self._burst = not self._burst
            self._until += self._rng.exponential(self._bursts.length if self._burst else self._bursts.gap)
