"""What the controller asks of a search policy."""

from __future__ import annotations

from typing import Protocol

from .events import Conclusion, Stall
from .trial import Probe, Trial


class SearchPolicy(Protocol):
    """Decides the next probe from the trials alone. `name` and `version` go into the journal."""

    name: str
    version: int

    def ask(self, trials: list[Trial], now: float, stalls: list[Stall]) -> Probe | Conclusion:
        """The next probe, or the conclusion, at second `now` of the search."""

    def give_up(self, trials: list[Trial], stalls: list[Stall], verdict: str, reason: str) -> Conclusion:
        """The conclusion when the search must end now: what is known so far, under this verdict and reason."""
