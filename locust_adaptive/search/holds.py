"""What the controller remembers of the load in force: a probe, a drain, or a light load that waits for the target."""

from __future__ import annotations

from .slices import SLICE_S, Cohort, Flow
from .stalls import Gap
from .trial import Excision, Probe


class Held:
    """A load in force: its number, when it began, and the slices of it that came."""

    def __init__(self, number: int, now: float) -> None:
        self.number = number
        self.since = self.heard = now
        self.flows: list[Flow] = []


class Probing(Held):
    """The probe under way."""

    def __init__(self, number: int, now: float, probe: Probe, carried: bool) -> None:
        super().__init__(number, now)
        self.probe = probe
        self.started = round(now, 3)
        self.carried = carried
        self.cohorts: list[Cohort] = []
        self.excised: list[Excision] = []
        self.late: list[Excision] = []
        self.looked = 0.0
        self.settled_slices = 0
        self.ended: float | None = None
        """When it was cut short, if it is not judged yet."""

    def blocked(self, gap: Gap) -> float:
        """The longest that our own event loop stood still during a gap, in seconds."""
        near = (f for f in self.flows if f.index * SLICE_S < gap.end and gap.start < (f.index + 1) * SLICE_S + 0.1)
        return max((f.hub_lag for f in near), default=0.0)

    def settled(self, now: float) -> bool:
        """Closed loop: are the users of this load there, and since which slice?"""
        users = [f.users for f in self.flows]
        if users[-1] != round(self.probe.load):
            return False
        reached = len(users)
        while reached and users[reached - 1] == round(self.probe.load):
            reached -= 1
        self.settled_slices = reached
        return True


class Draining(Held):
    """The load is away until the server is empty.

    `stalled` is the probe that is judged once the server is empty, since its stall may turn out to be none. The stall
    began at second `stalled_at` and took `stall_s`; None while it has not ended. `check`: see afterwards
    whether the target answers a light load, unless it shows in the drain that it does. `abandoned`: what was open has
    been given up.
    """

    def __init__(
        self,
        number: int,
        now: float,
        *,
        check: bool,
        stalled: Probing | None = None,
        stalled_at: float = 0.0,
        stall_s: float | None = None,
        abandoned: bool = False,
    ) -> None:
        super().__init__(number, now)
        self.check = check
        self.stalled = stalled
        self.stalled_at = stalled_at
        self.stall_s = stall_s
        self.abandoned = abandoned
        self.answered = now
        """When something last came back."""


class Recovering(Held):
    """A light load, until the target answers again. `gone`: nobody listened when it began."""

    def __init__(self, number: int, now: float, gone: bool) -> None:
        super().__init__(number, now)
        self.gone = gone
