"""One search in one environment: from the options to the files. What Locust's events begin and end."""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from signal import Signals
from typing import Any

import locust

from .. import __version__
from ..report.block import block
from ..report.exitcode import USAGE, exit_code, gates
from ..report.fold import Fold
from ..report.journal import Header, JournalWriter
from ..report.result import result, write
from ..search.controller import Controller
from ..search.events import Command, Event
from ..search.policy import AdaptivePolicy
from .conductor import Conductor
from .exchange import MasterSide, makes_load
from .inflight import instruments
from .options import ConfigError, Plan, resolve
from .signals import SignalWatch
from .worker import Agent

logger = logging.getLogger("locust_adaptive")

shape_class: Any = None
"""The locustfile's adaptive shape: the last concrete subclass defined."""

JOURNAL, CAPACITY = "journal.jsonl", "capacity.json"

_ATTRIBUTE, _AGENT = "_adaptive", "_adaptive_agent"


class Session:
    """A search from its options to its result. Raises ConfigError before any load when it cannot begin."""

    def __init__(self, environment: Any, side: MasterSide, shape: Any, max_users: int | None) -> None:
        self.environment = environment
        self.plan = resolve(shape, environment.parsed_options, environment.user_classes, max_users)
        self.folder = _new_folder(self.plan)
        self.block: str | None = None
        """The verdict for people, once there is one."""
        self.closed = False
        """Has Locust's test ended? The next one is another search."""
        self._signal: int | None = None
        self._watch = SignalWatch(self._on_signal)
        settings = self.plan.settings
        policy = AdaptivePolicy(settings)
        header = Header.of(
            settings,
            policy,
            datetime.now(UTC).isoformat(timespec="seconds"),
            arrivals="poisson" if settings.loop == "open" else None,
            environment=_surroundings(environment),
            options=self.plan.texts,
        )
        self._file = (self.folder / JOURNAL).open("w", encoding="utf-8")
        self._journal = JournalWriter(self._file, header, lambda: os.fsync(self._file.fileno()))
        self._facts = Fold(header)
        # Locust would kill a request that is in flight when its user leaves; it has to end to be counted.
        environment.stop_timeout = max(environment.stop_timeout or 0.0, 10 * settings.limit, 10.0)
        runner = environment.runner
        self.conductor = Conductor(
            self.plan, side, Controller(settings, policy), lambda: int(runner.user_count), self._record, self._finish
        )
        logger.info("searching the capacity under %s; results go to %s/", settings.slo, self.folder)

    @property
    def users(self) -> int:
        """Locust users that there should be now."""
        return self.conductor.users

    @property
    def over(self) -> bool:
        return self.conductor.finished

    def begin(self) -> None:
        """Tell the workers, and start."""
        # What the process exits with unless the search ends properly.
        self.environment.process_exit_code = USAGE
        instruments.untracked.clear()
        self.conductor.prepare()
        self.conductor.start()
        if headless(self.environment):
            self._watch.arm()

    def close(self) -> None:
        """Locust's test ends: so does the search, if it has not."""
        self.closed = True
        self.conductor.stop("stopped")
        self._watch.disarm()

    def fail(self, error: BaseException) -> None:
        """End the search because of a fault of our own."""
        self.conductor.fail(error)

    def _on_signal(self, number: int) -> None:
        if not self.over:
            self._signal = number
            self.conductor.stop(f"stopped by {Signals(number).name}")

    def _record(self, event: Event, commands: list[Command]) -> None:
        self._journal.write(event, commands)
        self._facts.add(event, commands)

    def _finish(self) -> None:
        if instruments.untracked:
            kinds = ", ".join(sorted(instruments.untracked))
            note = f"requests of kind {kinds} are seen only when they end: one that hangs counts by its arrival's age"
            self._journal.note(note)
            self._facts.notes.append(note)
        self._file.close()
        outcome = result(self._facts)
        found = gates(outcome, self.plan.min_capacity)
        code = USAGE if self.conductor.failure else exit_code(outcome, found, self._signal)
        write(outcome, self.folder / CAPACITY)
        self.environment.process_exit_code = code
        self.block = block(outcome, found, code, f"{self.folder}/", (CAPACITY, JOURNAL))


def _surroundings(environment: Any) -> Mapping[str, Any]:
    return {
        "locust_adaptive": __version__,
        "locust": locust.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "host": environment.host,
        "command": sys.argv,
    }


def headless(environment: Any) -> bool:
    """Does the process end with the test?"""
    return environment.parsed_options is not None and bool(environment.parsed_options.headless)


def check_out(plan: Plan) -> None:
    """Raise ConfigError if the folder asked for cannot be a new one."""
    if plan.out and Path(plan.out).exists():
        raise ConfigError(f"--adaptive-out {plan.out} exists; results are never overwritten, name another folder")


def _new_folder(plan: Plan) -> Path:
    """The folder of a run, made now; one that exists is never written into."""
    folder = Path(plan.out) if plan.out else Path("adaptive-results") / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    stem, attempt = folder, 1
    while True:
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            check_out(plan)
            attempt += 1
            folder = stem.with_name(f"{stem.name}-{attempt}")
        except OSError as e:
            raise ConfigError(f"cannot make the folder {folder} for the results: {e.strerror}") from None


def agent_of(environment: Any) -> Agent:
    """The agent of an environment that makes load, made when first asked for."""
    agent: Agent | None = getattr(environment, _AGENT, None)
    if agent is None:
        agent = Agent(environment)
        setattr(environment, _AGENT, agent)
    return agent


class Adaptive:
    """What this package keeps in a Locust environment."""

    def __init__(self, environment: Any) -> None:
        if makes_load(environment.runner):
            agent_of(environment)
        self.side = MasterSide(environment.runner)
        self.max_users: int | None = None
        self.session: Session | None = None


def adaptive_of(environment: Any) -> Adaptive:
    """The environment's state, made when first asked for."""
    state: Adaptive | None = getattr(environment, _ATTRIBUTE, None)
    if state is None:
        state = Adaptive(environment)
        setattr(environment, _ATTRIBUTE, state)
    return state


def of(environment: Any) -> Session | None:
    """The last search of this environment."""
    return adaptive_of(environment).session


def begin(environment: Any, shape: Any) -> Session:
    """Start a search."""
    state = adaptive_of(environment)
    state.session = None
    if not state.side.workers():
        raise ConfigError("no worker has connected to this master; start `locust --worker` first")
    state.session = Session(environment, state.side, shape, state.max_users)
    state.session.begin()
    return state.session
