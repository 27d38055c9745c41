"""The conductor: one greenlet on the master that carries slices to the controller and its commands to the workers.

Nothing here decides anything. What Locust shows and does follows from `users`, which the shape's tick reads.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent.queue import Empty, SimpleQueue

from ..replay.sharding import ShardMap
from ..report.journal import as_travelled
from ..report.lines import probe_line, stall_line
from ..search.controller import Controller
from ..search.events import (
    CohortArrived,
    Command,
    Done,
    Event,
    FlowArrived,
    Hold,
    Judged,
    Stall,
    Started,
    Stopped,
    TimePassed,
    WorkersChanged,
)
from ..search.slices import Merger, Shipment
from .exchange import END, HOLD, SETUP, MasterSide
from .guards import clock
from .options import Plan

logger = logging.getLogger("locust_adaptive")

TICK_S = 0.5
USERS_WAIT_S = 30.0


class Conductor:
    """Runs one search. `record(event, commands)` is told of every step; `finish()` is called once, at the end."""

    def __init__(
        self,
        plan: Plan,
        side: MasterSide,
        controller: Controller,
        live_users: Callable[[], int],
        record: Callable[[Event, list[Command]], None],
        finish: Callable[[], None],
    ) -> None:
        self.plan = plan
        self.controller = controller
        self.workers = side.workers()
        self.users = self._users_for(plan.settings.grid.minimum)
        """Locust users that there should be now."""
        self.finished = False
        """Is the search over, and all of it written?"""
        self.failure: str | None = None
        """What went wrong here, if something did: the answer is none of the target's."""
        self._ending = False
        self._side = side
        self._live_users = live_users
        self._record = record
        self._finish = finish
        self._queue: SimpleQueue = SimpleQueue()
        self._mergers: dict[int, Merger] = {}
        self._started = clock()
        self._greenlet: gevent.Greenlet | None = None
        self._hold_in_force: Hold | None = None
        side.on_slices = lambda worker, data: self._queue.put((worker, data))
        side.on_refused = lambda worker, reason: self._queue.put((worker, reason))

    @property
    def now(self) -> float:
        """Seconds of the search."""
        return round(clock() - self._started, 3)

    def prepare(self) -> None:
        """Tell the workers what will be asked of them. To be called before Locust spawns the first user."""
        settings = self.plan.settings
        shards = ShardMap(self.workers).to_dict()
        for worker in self.workers:
            setup = {
                "slo": str(settings.slo),
                "loop": settings.loop,
                "bin_s": settings.bin_s,
                "patience": settings.patience,
                "cap": self.plan.cap,
                "seed": self.plan.seed,
                "workers": self.workers,
                "shards": shards,
            }
            self._side.send(SETUP, setup, worker)

    def start(self) -> None:
        """Begin, once the first users are there."""
        self._greenlet = gevent.spawn(self._run)

    def stop(self, reason: str) -> None:
        """End now, from another greenlet, and write what is known. After the end it does nothing."""
        if self._greenlet is not None:
            if self._ending:
                self._greenlet.join()
            else:
                self._greenlet.kill(block=True)
        if not self.finished:
            self._stop(reason)

    def fail(self, error: BaseException) -> None:
        """End now because of a fault of our own."""
        self.failure = f"internal error: {type(error).__name__}: {error}"
        self.stop(self.failure)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            # A worker without a live user sends nothing: wait for one each, so that the first probe is whole.
            deadline = clock() + USERS_WAIT_S
            while self._live_users() < len(self.workers) and clock() < deadline:
                gevent.sleep(0.05)  # Locust has no event for a user that is there
            self._started = clock()
            while not self._queue.empty():  # nothing but refusals, yet
                self._wait()
            self._step(Started(0.0, len(self.workers)))
            while not self.finished:
                self._wait()
        except Exception as e:  # whatever it was, the load must end and what is known must be written
            logger.exception("the search failed; please report it with the journal")
            self.failure = f"internal error: {type(e).__name__}: {e}"
            self._stop(self.failure)

    def _stop(self, reason: str) -> None:
        try:
            self._step(Stopped(self.now, reason))
        except Exception:  # what is broken may be the controller, or the disk
            logger.exception("the search could not come to a conclusion")
            self._end()

    def _wait(self) -> None:
        try:
            worker, data = self._queue.get(timeout=TICK_S)
        except Empty:
            self._check_workers()
            self._step(TimePassed(self.now))
            return
        if isinstance(data, str):
            self.failure = data if len(self.workers) == 1 else f"worker {worker}: {data}"
            logger.error("%s", self.failure)
            self._stop(self.failure)
        else:
            self._take(worker, data)

    def _take(self, worker: str, data: Mapping[str, Any]) -> None:
        shipment = Shipment.from_plain(data)
        merger = self._mergers.get(shipment.probe)
        if merger is None:
            return
        flows, cohorts = merger.add(worker, shipment)
        for flow in flows:
            self._step(FlowArrived(self.now, shipment.probe, flow))
        for cohort in cohorts:
            self._step(CohortArrived(self.now, shipment.probe, cohort))
        if flows:
            self._check_workers()

    def _check_workers(self) -> None:
        workers = self._side.workers()
        if workers != self.workers and workers and not self.finished:
            logger.warning("workers changed: %d before, %d now; the probe is void", len(self.workers), len(workers))
            self.workers = workers
            self.prepare()
            held = self._hold_in_force
            self._step(WorkersChanged(self.now, len(workers)))
            if held is not None and held is self._hold_in_force and not self.finished:
                # Nothing else was asked for (a drain goes on): the same again, by those who are there now.
                self._mergers.pop(held.probe, None)
                self._hold(held)

    def _step(self, event: Event) -> None:
        if self._ending:
            return
        event = as_travelled(event)
        commands: list[Command] = []
        try:
            commands = self.controller.step(event)
        finally:  # an event that breaks the controller is what the report of the fault needs
            self._record(event, commands)
        for command in commands:
            match command:
                case Hold():
                    self._hold(command)
                case Judged(trial):
                    logger.info(probe_line(trial, self.plan.settings))
                case Stall():
                    logger.info(stall_line(command))
                case Done():
                    self._end()

    def _hold(self, command: Hold) -> None:
        self._hold_in_force = command
        if command.probe not in self._mergers:
            self._mergers = {n: m for n, m in self._mergers.items() if n >= command.probe - 2}
            self._mergers[command.probe] = Merger(self.workers)
        if self.plan.settings.loop == "closed" or command.load > 0:
            self.users = self._users_for(command.load)
        share = command.load / len(self.workers)
        for worker in self.workers:
            self._side.send(HOLD, {"probe": command.probe, "share": share}, worker)

    def _users_for(self, load: float) -> int:
        if self.plan.settings.loop == "closed":
            return round(load)
        return max(math.ceil(load / self.plan.unit), len(self.workers))

    def _end(self) -> None:
        if self._ending:
            return
        self._ending = True
        try:
            for worker in self.workers:
                self._side.send(END, {}, worker)
            self._finish()
        finally:
            self.finished = True
