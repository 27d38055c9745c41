"""The journal of a run: what the controller was told and what it answered, one JSON object a line.

The format is described in docs/reference/journal.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from .. import __version__
from ..search.events import Command, Done, Event, FlowArrived, Judged, TimePassed
from ..search.searchpolicy import SearchPolicy
from ..search.settings import Settings
from ..search.slices import Flow
from .codec import Decoder, command_to_plain, event_to_plain, to_line

VERSION = 1
"""Goes up when an older reader could not read what is written."""


class JournalError(ValueError):
    """A journal that cannot be read, or not be decided again: the message says where, why, and what to do."""


@dataclass(frozen=True)
class Header:
    """The first line. `started` is a UTC time in text, `arrivals` poisson, recorded or constant, None in closed loop;
    `environment` and `options` are plain values that are kept as they are."""

    settings: Settings
    policy: str
    policy_version: int
    started: str
    arrivals: str | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    package: str = __version__

    @classmethod
    def of(cls, settings: Settings, policy: SearchPolicy, started: str, **rest: Any) -> Header:
        return cls(settings, policy.name, policy.version, started, **rest)

    def to_plain(self) -> dict[str, Any]:
        return {
            "journal": VERSION,
            "package": self.package,
            "policy": [self.policy, self.policy_version],
            "settings": self.settings.to_plain(),
            "started": self.started,
            "arrivals": self.arrivals,
            "environment": dict(self.environment),
            "options": dict(self.options),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Header:
        rest = {k: v for k, v in plain.items() if k not in ("journal", "settings", "policy")}
        name, version = plain["policy"]
        return cls(Settings.from_plain(plain["settings"]), name, version, **rest)


@dataclass(frozen=True)
class Step:
    """An event, on line `line`, and the commands that followed from it."""

    line: int
    event: Event
    commands: list[Command]


@dataclass(frozen=True)
class Journal:
    """What a journal says. `notes` are the shell's own words. `torn` says that the last line was not written to its
    end; None if it was."""

    header: Header
    steps: list[Step]
    notes: list[str]
    torn: str | None = None

    @property
    def finished(self) -> bool:
        """Does it hold the end of its search?"""
        return any(isinstance(c, Done) for step in reversed(self.steps) for c in step.commands)


class _Writable(Protocol):
    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...


class JournalWriter:
    """Writes the journal as the run goes: each step is flushed, each verdict synced to disk by `fsync`.

    What the controller is told must be what a reader will read: pass events through `as_travelled` first.
    """

    def __init__(self, file: _Writable, header: Header, fsync: Callable[[], None]) -> None:
        self._file = file
        self._fsync = fsync
        self._put(to_line(header.to_plain()))
        fsync()

    def write(self, event: Event, commands: Iterable[Command]) -> None:
        """Record one step of the controller. Time that passed without a consequence is left out."""
        commands = list(commands)
        if isinstance(event, TimePassed) and not commands:
            return
        self._put(to_line(event_to_plain(event)) + "".join(to_line(command_to_plain(c)) for c in commands))
        if any(isinstance(c, Judged | Done) for c in commands):
            self._fsync()

    def note(self, text: str) -> None:
        """Record something the shell noticed, for the notes of the result: a word of `words.NOTES`, or a sentence."""
        self._put(to_line({"note": text}))

    def _put(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()


def as_travelled(event: Event) -> Event:
    """The event as it reads back from a journal: a flow's numbers are rounded to the microsecond."""
    if isinstance(event, FlowArrived):
        return FlowArrived(event.t, event.probe, Flow.from_plain(event.flow.to_plain()))
    return event


def read(lines: Iterable[str]) -> Journal:
    """Read a journal. JournalError if it is none, is newer than this package, or is damaged before its last line."""
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise JournalError("the journal is empty: the run ended before it began")
    header = _header(numbered[0][1])
    decoder = Decoder(header.settings.bin_s)
    steps: list[Step] = []
    notes: list[str] = []
    torn = None
    for number, line in numbered[1:]:
        try:
            plain = json.loads(line)
        except ValueError as e:
            if number != numbered[-1][0]:
                raise _damaged(number, f"no JSON: {e}") from None
            torn = f"the last line ({number}) was not written to its end, and is left out"
            break
        try:
            if "event" in plain:
                steps.append(Step(number, decoder.event(plain), []))
            elif "command" in plain:
                steps[-1].commands.append(decoder.command(plain))
            elif "note" in plain:
                notes.append(str(plain["note"]))
            elif "detail" not in plain:
                raise ValueError("neither event, command, note nor detail")
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as e:
            raise _damaged(number, f"{type(e).__name__}: {e}") from e
    return Journal(header, steps, notes, torn)


def _header(line: str) -> Header:
    try:
        plain = json.loads(line)
        version = plain["journal"]
    except (ValueError, KeyError, TypeError):
        raise JournalError(
            f'line 1 is no journal header: {line.strip()[:60]!r}; a journal begins with {{"journal":{VERSION},...'
        ) from None
    if not isinstance(version, int) or version > VERSION:
        raise JournalError(
            f"the journal has version {version}, written by locust-adaptive {plain.get('package', '(unknown)')}; this "
            f"is {__version__} and reads up to version {VERSION}: upgrade locust-adaptive to read it"
        )
    try:
        return Header.from_plain(plain)
    except (ValueError, KeyError, TypeError) as e:
        raise _damaged(1, f"{type(e).__name__}: {e}") from e


def _damaged(number: int, why: str) -> JournalError:
    return JournalError(
        f"line {number} of the journal is damaged ({why}). Only the last line may be: restore the file, or cut it off "
        f"before line {number} to read what came before"
    )
