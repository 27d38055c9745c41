"""What a run amounts to, step by step: the same for a live search as for its journal (law 3). Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable

from ..search.events import (
    Command,
    Conclusion,
    Done,
    Event,
    FlowArrived,
    Judged,
    Stall,
    Started,
    WorkersChanged,
)
from ..search.trial import Trial
from .journal import Header, Journal


class Fold:
    """The facts of a run so far.

    `conclusion` is None until the search has ended; `elapsed_s` is the time of the last event before that. `requests`
    were sent in all; `intended` were due, by `arrivals` executions of a task (0 if those are not counted). `notes` are
    words, or sentences, on what the shell noticed.
    """

    def __init__(self, header: Header) -> None:
        self.header = header
        self.trials: list[Trial] = []
        self.stalls: list[Stall] = []
        self.conclusion: Conclusion | None = None
        self.workers = 0
        self.elapsed_s = 0.0
        self.requests = self.intended = self.arrivals = 0
        self.notes: list[str] = []

    def add(self, event: Event, commands: Iterable[Command]) -> None:
        """Take in one step of the controller. What comes after the end of the search does not count."""
        if self.conclusion is not None:
            return
        self.elapsed_s = event.t
        match event:
            case Started(_, workers) | WorkersChanged(_, workers):
                self.workers = workers
            case FlowArrived(_, _, flow):
                self.requests += flow.sent
                self.intended += flow.intended
                self.arrivals += flow.tasks
        for command in commands:
            match command:
                case Judged(trial):
                    self.trials.append(trial)
                case Stall():
                    self.stalls.append(command)
                case Done(conclusion):
                    self.conclusion = conclusion

    @property
    def requests_per_arrival(self) -> float:
        """1 where arrivals are not counted apart."""
        return self.intended / self.arrivals if self.arrivals else 1.0


def fold(journal: Journal) -> Fold:
    """The facts that a journal records."""
    facts = Fold(journal.header)
    for step in journal.steps:
        facts.add(step.event, step.commands)
    facts.notes = [*journal.notes, *(["journal_torn"] if journal.torn else [])]
    return facts
