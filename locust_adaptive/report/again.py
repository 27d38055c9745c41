"""Deciding again: does the policy that a journal names still give the commands that it records?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import zip_longest

from ..search.controller import Controller
from ..search.policy import AdaptivePolicy
from ..search.searchpolicy import SearchPolicy
from ..search.settings import Settings
from .codec import command_to_plain, to_line
from .journal import Journal, JournalError

Policies = Mapping[tuple[str, int], Callable[[Settings], SearchPolicy]]

POLICIES: Policies = {(AdaptivePolicy.name, AdaptivePolicy.version): AdaptivePolicy}
"""The policies that can decide again, by name and version."""


@dataclass(frozen=True)
class Difference:
    """The first command that differs: after the event on `line` of the journal, at second `t` of the search. None where
    one side gave no command."""

    line: int
    t: float
    recorded: str | None
    decided: str | None

    def __str__(self) -> str:
        nothing = "no further command"
        return (
            f"after the event on line {self.line}, {self.t:g} s into the search:\n"
            f"  recorded  {self.recorded or nothing}\n  decided   {self.decided or nothing}"
        )


def decide_again(journal: Journal, policies: Policies = POLICIES) -> Difference | None:
    """Feed the recorded events to a fresh controller; the first difference, or None. JournalError if the policy is not
    here."""
    header = journal.header
    make = policies.get((header.policy, header.policy_version))
    if make is None:
        known = ", ".join(f"{name} {version}" for name, version in policies)
        raise JournalError(
            f"the journal was decided by policy {header.policy} {header.policy_version}, and this package has {known}: "
            f"decide it again with locust-adaptive {header.package}. The journal can still be read and reported here"
        )
    controller = Controller(header.settings, make(header.settings))
    for step in journal.steps:
        decided = [to_line(command_to_plain(c)).strip() for c in controller.step(step.event)]
        recorded = [to_line(command_to_plain(c)).strip() for c in step.commands]
        if step is journal.steps[-1] and not journal.finished:
            # The run was cut off: the commands of its last event may have been lost.
            decided = decided[: len(recorded)]
        for ours, theirs in zip_longest(decided, recorded):
            if ours != theirs:
                return Difference(step.line, step.event.t, theirs, ours)
    return None
