"""When requests arrive: at random (Poisson), or at random in bursts."""

from __future__ import annotations

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

    def quiet(self, load: float) -> float:
        """The rate between the bursts at a mean of `load`."""
        return load * (self.length + self.gap) / (self.factor * self.length + self.gap)

    def times(self, load: float, start: float, end: float, rng: np.random.Generator) -> NDArray[np.float64]:
        """Arrivals from second `start` to `end`, in order, in a process that is stationary at `start`."""
        rate, out, t = self.quiet(load), [], start
        burst = rng.random() < self.length / (self.length + self.gap)
        while t < end:
            until = min(t + rng.exponential(self.length if burst else self.gap), end)
            n = rng.poisson((until - t) * rate * (self.factor if burst else 1))
            out.append(np.sort(rng.uniform(t, until, n)))
            t, burst = until, not burst
        return np.concatenate(out) if out else np.empty(0)
