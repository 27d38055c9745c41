"""One search in one environment: from the options to the files. What Locust's events begin and end."""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Any

import gevent
import locust
from gevent.lock import RLock
from locust import log
from locust.exception import StopTest

from .. import __version__
from ..report.block import block
from ..report.exitcode import USAGE, exit_code, gates
from ..report.files import JournalFile
from ..report.fold import Fold
from ..report.journal import Header
from ..report.result import result, to_json, write
from ..search.controller import Controller
from ..search.events import Command, Event
from ..search.policy import AdaptivePolicy
from . import wheel
from .conductor import Conductor
from .exchange import MasterSide, makes_load
from .guards import clock
from .inflight import instruments
from .options import ConfigError, Plan, resolve
from .signals import SignalWatch, end_forks, interrupt_main, throw_into_main
from .worker import GRACE_S, Agent

logger = logging.getLogger("locust_adaptive")

shape_class: Any = None
"""The locustfile's adaptive shape: the last concrete subclass defined."""

RESULTS, JOURNAL, CAPACITY = "adaptive-results", "journal.jsonl", "capacity.json"

_ATTRIBUTE, _AGENT = "_adaptive", "_adaptive_agent"


class Session:
    """A search from its options to its result. Raises ConfigError before any load when it cannot begin."""

    def __init__(self, environment: Any, side: MasterSide, shape: Any, max_users: int | None) -> None:
        self.environment = environment
        self.plan = resolve(shape, environment.parsed_options, environment.user_classes, max_users)
        self.folder = _new_folder(self.plan)
        self.block: str | None = None
        """The verdict for people, once there is one; below the result itself, if that could not be saved."""
        self.closed = False
        """Has Locust's test ended? The next one is another search."""
        self._signal: int | None = None
        self._ending = RLock()
        settings = self.plan.settings
        policy = AdaptivePolicy(settings)
        header = Header.of(
            settings,
            policy,
            datetime.now(UTC).isoformat(timespec="seconds"),
            arrivals=self.plan.arrivals,
            environment=_surroundings(environment),
            options=self.plan.texts,
        )
        self.facts = Fold(header)
        """What is known so far."""
        try:
            self._journal = JournalFile(self.folder / JOURNAL, header, self._on_lost)
        except OSError as e:
            raise ConfigError(f"cannot write {self.folder / JOURNAL}: {e.strerror}") from None
        self._stop_timeout = environment.stop_timeout
        # Locust would kill a request that is in flight when its user leaves; it has to end to be counted.
        environment.stop_timeout = max(environment.stop_timeout or 0.0, 10 * settings.limit, 10.0)
        self.conductor = Conductor(self.plan, side, Controller(settings, policy), self._record, self._finish)
        # What the process exits with unless the search ends properly.
        environment.process_exit_code = USAGE
        self._heard_of_errors = log.unhandled_greenlet_exception
        for doubt in self.plan.doubts:
            logger.warning("%s", doubt)
        logger.info("searching the capacity under %s; results go to %s/", settings.slo, self.folder)

    @property
    def users(self) -> int:
        """Locust users that there should be now."""
        return self.conductor.users

    @property
    def over(self) -> bool:
        return self.conductor.finished

    def begin(self) -> None:
        """Ask the workers, and start."""
        instruments.untracked.clear()
        self.conductor.start()

    def end(self, reason: str, signal: int | None = None) -> None:
        """End the search, if it is not over, and return when what is known is written. `signal` asked for it."""
        self._signal = signal or self._signal
        with self._ending:
            self.conductor.stop(reason)

    def fail(self, error: BaseException) -> None:
        """End the search because of a fault of our own."""
        with self._ending:
            if not self.over:
                self.conductor.fail(error)

    def close(self) -> None:
        """Locust's test has ended."""
        self.end("stopped")
        self.closed = True
        self.environment.stop_timeout = self._stop_timeout

    def note(self, text: str) -> None:
        """Something to say in the result: a word of `words.NOTES`, or a sentence."""
        if not self.over:
            self._journal.note(text)
            self.facts.notes.append(text)

    def _record(self, event: Event, commands: list[Command]) -> None:
        self._journal.write(event, commands)
        self.facts.add(event, commands)

    def _on_lost(self, why: str) -> None:
        logger.error("%s: %s. The search goes on without its journal", self.folder / JOURNAL, why)
        self.facts.notes.append("journal_lost")

    def _finish(self) -> None:
        if instruments.untracked:
            kinds = ", ".join(sorted(instruments.untracked))
            self.note(
                f"requests of kind {kinds} are seen only when they end: one that hangs counts by its arrival's age"
            )
        if log.unhandled_greenlet_exception and not self._heard_of_errors:
            self.note("an exception in a listener or a greenlet, of the locustfile or of Locust: see Locust's log")
        self._journal.close()
        saved = not self._journal.lost
        outcome = result(self.facts)
        try:
            write(outcome, self.folder / CAPACITY)
        except OSError as e:
            saved = False
            logger.error("%s: %s. The result follows as text", self.folder / CAPACITY, e.strerror)
            self.facts.notes.append("result_not_saved")
            outcome = result(self.facts)
        found = gates(outcome, self.plan.min_capacity)
        stopped_by = self._signal if outcome["verdict"] == "aborted" else None
        code = exit_code(outcome, found, stopped_by)
        if self.conductor.failure or (not saved and stopped_by is None):
            code = USAGE
        self.environment.process_exit_code = code
        self.block = block(outcome, found, code, f"{self.folder}/", (CAPACITY, JOURNAL))
        if "result_not_saved" in self.facts.notes:
            self.block = f"{to_json(outcome)}\n{self.block}"


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
    """Raise ConfigError if the results cannot go into a new folder where they are to go."""
    if plan.out and Path(plan.out).exists():
        raise ConfigError(f"--adaptive-out {plan.out} exists; results are never overwritten, name another folder")
    folder = Path(plan.out or RESULTS)
    above = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not above.is_dir():
        raise ConfigError(
            f"the results cannot go to {folder}/: {above} is a file; name another folder with --adaptive-out"
        )
    if not os.access(above, os.W_OK | os.X_OK):
        raise ConfigError(
            f"the results cannot go to {folder}/: nothing may be written to {above}; name another folder with "
            "--adaptive-out"
        )


def _new_folder(plan: Plan) -> Path:
    """The folder of a run, made now; one that exists is never written into."""
    folder = Path(plan.out) if plan.out else Path(RESULTS) / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
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
        self._environment = environment
        self._watch = SignalWatch(self._on_signal)
        self._stopping: set[Any] = set()
        events = environment.events
        events.test_stopping.add_listener(self._on_test_stopping)
        events.reset_stats.add_listener(self._on_reset)
        events.quitting.add_listener(self._on_quitting)
        if headless(environment):  # also while it waits for workers, and until the process has ended
            self._watch.arm()

    def begin(self, shape: Any) -> Session:
        """Start a search, once the test before it has stopped. Raises ConfigError before any load if it cannot."""
        self._wait_for_the_stop()
        gone = self._returned(self.session.conductor.workers if self.session else [])
        self.session = None
        if not self.side.workers():
            raise ConfigError("no worker has connected to this master; start `locust --worker` first")
        if gone:
            logger.warning("%s of the search before have not come back", ", ".join(gone))
        self.session = Session(self._environment, self.side, shape, self.max_users)
        self.session.begin()
        if self._environment.parsed_options is not None:
            self._watch.arm()
        wheel.take(self._environment.runner)
        self._watch_shape()
        return self.session

    def closed(self) -> Session | None:
        """Locust's test has stopped: the search that ended with it, unless that was said before."""
        self._stopping.discard(gevent.getcurrent())
        current = self.session
        if current is None or current.closed:
            return None
        current.close()
        wheel.release(self._environment.runner)
        if not headless(self._environment):
            self._watch.disarm()
        return current

    @property
    def stopping(self) -> bool:
        """Is Locust's test being stopped? Locust would take a new one, and then stop that."""
        return any(not greenlet.dead for greenlet in self._stopping)  # no event comes from a stop that was killed

    def _wait_for_the_stop(self) -> None:
        deadline = clock() + GRACE_S + 60  # as long as Locust may wait for its workers
        while self.stopping and clock() < deadline:
            gevent.sleep(0.05)  # a stop that is killed tells nobody
        self._stopping.clear()

    def _returned(self, workers: Sequence[str]) -> list[str]:
        """Wait for workers that are not ready yet, since they have just stopped; those that stay away."""
        deadline = clock() + GRACE_S + 3
        while (gone := [w for w in workers if w not in self.side.workers()]) and clock() < deadline:
            gevent.sleep(0.05)  # Locust has no event for a worker that is ready
        return gone

    def _watch_shape(self) -> None:
        """Whatever kills the greenlet that asks the shape leaves the load running: not with us."""
        greenlet = self._environment.runner.shape_greenlet
        if greenlet is not None and not headless(self._environment):
            greenlet.link_exception(lambda _: gevent.spawn(self._environment.runner.stop))

    def _on_test_stopping(self, **_: Any) -> None:
        self._stopping.add(gevent.getcurrent())
        if self.session is None:
            return
        error = getattr(self._environment.runner.shape_greenlet, "exception", None)
        if error is None or isinstance(error, StopTest):
            self.session.end("stopped")
        else:
            self.session.fail(error)

    def _on_reset(self, **_: Any) -> None:
        if self.session is not None:
            self.session.note(
                f"Locust's statistics were reset at second {self.session.conductor.now:.0f}; nothing here was"
            )

    def _on_quitting(self, **_: Any) -> None:
        """Locust ends, with the exit code that holds when this returns."""
        gevent.sleep(0)  # both of us may listen to the signal that did it: let our watch see it first
        if self.session is not None:
            self.session.end("stopped")

    def _on_signal(self, number: int) -> None:
        """The first signal: the search ends with its report, then Locust as it does at Ctrl-C."""
        name = f"stopped by {Signals(number).name}"
        if headless(self._environment):
            if self.session is None:
                self._never_began(name, number)
            elif not self.session.over:  # else all is ending
                self.session.end(name, number)
                interrupt_main()
            return
        if self.session is not None:
            self.session.end(name, number)
        if number != SIGTERM:  # Locust's own handler has that one
            if self._environment.parsed_options.autostart:
                self._watch.pass_on()  # an interrupt would only stop the test
            else:
                interrupt_main()

    def _never_began(self, reason: str, number: int) -> None:
        """Locust waits for workers, where an interrupt would leave those that have come behind."""
        try:
            self.session = Session(self._environment, self.side, self._environment.shape_class, self.max_users)
            self.session.end(reason, number)
            sys.stdout.write(f"\n{self.session.block}\n")
        except ConfigError as e:
            logger.error("%s", e)
        self._environment.runner.quit()
        end_forks()
        throw_into_main(SystemExit(128 + number))


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
