"""The roll of workers: who takes part in a search, who fell silent, who came, and who must not.

Pure: it is told what Locust lists, what was heard, and how much time has passed. A pass counts for `PASS_S` at most:
the time in which this process stood still itself is nobody's silence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .identity import Identity, differences

LEASE_S = 3.0
"""A worker makes load for so long after the last sign of life that the master has heard and answered; its own clock
counts from when it sent it. So the load of one that fell silent is away before others take it over."""
AWAY_S = LEASE_S
"""A worker silent for so long takes no part any more. At least the lease."""
ANSWER_S = 10.0
"""A worker must say who it is before it has been silent for so long."""
PASS_S = 1.0


class Roll:
    """`members` take part. Whoever is told to `admit` them compares `present` with them now and then."""

    def __init__(self, ours: Identity) -> None:
        """`ours`: the master's versions."""
        self.members: list[str] = []
        self._like = ours
        self._listed: list[str] = []
        self._known: dict[str, Identity] = {}
        self._refused: dict[str, str] = {}
        self._silent: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._setup: dict[str, int] = {}
        self._users: dict[str, int] = {}
        self._loading: set[str] = set()

    def call(self, listed: Sequence[str], seconds: float) -> list[str]:
        """So much time has passed, and Locust lists these. Returns those to be asked who they are, if need be again: a
        worker is listed a moment before it can hear us."""
        self._listed = list(listed)
        for worker in self._silent:
            self._silent[worker] += min(seconds, PASS_S)
        self._silent.update({worker: 0.0 for worker in listed if worker not in self._silent})
        return [worker for worker in self.pending if worker not in self._told]

    def hear(self, worker: str, at: float, setup: int, users: int) -> None:
        """A sign of life, sent at `at` by the worker's own clock, under this set-up, with so many users."""
        if worker in self._silent:
            self._silent[worker] = 0.0
            self._told[worker] = at
            self._setup[worker] = setup
            self._users[worker] = users

    def answer(self, worker: str, who: Identity) -> None:
        self._known[worker] = who

    def refuse(self, worker: str, why: str) -> None:
        """The worker cannot take part."""
        self._refused[worker] = why

    def heard_at(self, worker: str) -> float | None:
        """When the worker sent its last sign of life, by its own clock."""
        return self._told.get(worker)

    def all_in(self, setup: int) -> bool:
        """Have all members taken this set-up?"""
        return all(self._setup.get(worker) == setup for worker in self.members)

    def may_load(self, member: str, setup: int, intended: Callable[[str], float]) -> bool:
        """May this one's users make load? One that did goes on. One that came, or came back, has to wait until all have
        taken this set-up and none has more users than intended: others may still have those that it was to have."""
        waiting = not self._loading.issuperset(self.members)
        if waiting and self.all_in(setup) and all(self._users[worker] <= intended(worker) for worker in self.members):
            self._loading.update(self.members)
        return member in self._loading

    @property
    def pending(self) -> list[str]:
        """Those whose answer may still come."""
        answered = self._known.keys() | self._refused.keys()
        return [w for w in self._listed if w not in answered and self._silent[w] <= ANSWER_S]

    @property
    def odd(self) -> dict[str, str]:
        """Those that are there and cannot take part, with the reason."""
        odd = differences({w: self._known[w] for w in self._listed if w in self._known}, self._like)
        for worker in self._listed:
            if worker in self._refused:
                odd[worker] = self._refused[worker]
            elif worker not in self._known and self._silent[worker] > ANSWER_S:
                odd[worker] = f"no answer for {ANSWER_S:g} s; does its locustfile import locust_adaptive?"
        return odd

    @property
    def present(self) -> list[str]:
        """Those that could take part now."""
        odd = self.odd
        return [w for w in self._listed if w in self._known and w not in odd and self._silent[w] <= AWAY_S]

    @property
    def deserted(self) -> bool:
        """Has nobody who takes part been heard for a while?"""
        return bool(self.members) and all(self._silent[w] > AWAY_S / 2 for w in self.members)

    def admit(self, workers: Sequence[str]) -> None:
        """These take part from now on. Whoever comes later must be like the first."""
        self.members = list(workers)
        self._loading.intersection_update(workers)
        self._like = dict(self._known[workers[0]])
