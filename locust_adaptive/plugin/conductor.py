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
from ..search.trial import Purpose
from .exchange import ALIVE, ASK, END, HOLD, LEASE, LOCAL, REFUSED, SETUP, SLICES, WHO, MasterSide
from .guards import clock
from .identity import versions
from .options import Plan
from .roll import Roll

logger = logging.getLogger("locust_adaptive")

TICK_S = 0.5
USERS_WAIT_S = 30.0
WORKERS_LOST = "workers_lost"
NO_LOAD = "No load was made. Start all workers with the same packages, locustfile and traces, then run again"


class Conductor:
    """Runs one search. `record(event, commands)` is told of every step; `finish()` is called once, at the end."""

    def __init__(
        self,
        plan: Plan,
        side: MasterSide,
        controller: Controller,
        record: Callable[[Event, list[Command]], None],
        finish: Callable[[], None],
    ) -> None:
        self.plan = plan
        self.controller = controller
        self.users = 0
        """Locust users that there should be now: none until it is known that all workers may take part."""
        self.finished = False
        """Is the search over, and all of it written?"""
        self.failure: str | None = None
        """What went wrong here, if something did: the answer is none of the target's."""
        self._ending = False
        self._side = side
        self._record = record
        self._finish = finish
        self._roll = Roll(versions())
        self._left: set[str] = set()
        self._setups = 0
        self._queue: SimpleQueue = SimpleQueue()
        self._mergers: dict[int, Merger] = {}
        self._in_flight: dict[str, int] = {}
        self._started = self._looked = self._stepped = clock()
        self._greenlet: gevent.Greenlet | None = None
        self.held: Hold | None = None
        """The load in force."""
        side.on_message = lambda kind, worker, data: self._queue.put((kind, worker, data))

    @property
    def workers(self) -> list[str]:
        """Those who take part, by name."""
        return self._roll.members

    @property
    def now(self) -> float:
        """Seconds of the search."""
        return round(clock() - self._started, 3)

    def start(self) -> None:
        """Ask the workers who they are, and begin once all agree."""
        self._look()
        while not self._queue.empty():  # in one process the answer may be there at once
            self._take(*self._queue.get())
        self._convene()
        self._greenlet = gevent.spawn(self._run)

    def stop(self, reason: str) -> None:
        """End now, from another greenlet, and write what is known. After the end it does nothing."""
        if self._greenlet is not None:
            if self._ending:
                self._greenlet.join()
            else:
                self._greenlet.kill(block=True)
        if not self.finished:
            # Locust ends a test by itself when it has lost all workers.
            self._stop(WORKERS_LOST if self._roll.deserted else reason)

    def fail(self, error: BaseException) -> None:
        """End now because of a fault of our own."""
        self.failure = f"internal error: {type(error).__name__}: {error}"
        self.stop(self.failure)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._convene():
                self._wait()
            deadline = clock() + USERS_WAIT_S
            while not self.finished and not self._ready and clock() < deadline:
                self._wait(0.05)  # Locust has no event for a user that is there
            self._started = clock()
            if self.failure is not None:
                self._stop(self.failure)
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

    def _wait(self, longest: float = TICK_S) -> None:
        """Take in one message, or wait for one; or look around, however many messages there are."""
        left = self._looked + TICK_S - clock()
        if left <= 0:
            if self.held is not None:
                self._tick()
            self._look()
            return
        try:
            message = self._queue.get(timeout=min(left, longest))
        except Empty:
            return
        self._take(*message)

    def _take(self, kind: str, worker: str, data: Any) -> None:
        if kind == ALIVE:
            self._roll.hear(worker, data["at"], data["setup"], data["users"])
            if worker in self.workers and self._may_load(worker):
                self._side.send(LEASE, {"at": data["at"]}, worker)
        elif kind == WHO:
            self._roll.answer(worker, data)
        elif kind == REFUSED:
            self._roll.refuse(worker, data)
        elif kind == SLICES and data["setup"] == self._setups:
            self._take_shipment(worker, Shipment.from_plain(data["shipment"]))

    def _may_load(self, worker: str) -> bool:
        """Shares of a rate change at once; Locust's users take their time to come and go."""
        open_loop = self.plan.settings.loop == "open"
        return open_loop or self._roll.may_load(worker, self._setups, self._side.intended)

    def _take_shipment(self, worker: str, shipment: Shipment) -> None:
        if shipment.flows:
            self._in_flight[worker] = shipment.flows[-1].open
        merger = self._mergers.get(shipment.probe)
        if merger is None:
            return
        flows, cohorts = merger.add(worker, shipment)
        for flow in flows:
            self._step(FlowArrived(self.now, shipment.probe, flow))
        for cohort in cohorts:
            self._step(CohortArrived(self.now, shipment.probe, cohort))

    # -- who takes part ----------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """See who is there, and ask those that are new."""
        now = clock()
        for worker in self._roll.call(self._side.workers(), now - self._looked):
            self._side.send(ASK, {}, worker)
        self._looked = now

    def _convene(self) -> bool:
        """Before the start: True once the workers are set up, or cannot be."""
        if self.workers or self.failure:
            return True
        if self._roll.pending:
            return False
        if odd := self._roll.odd:
            self._refuse_to_start(odd)
        elif present := self._roll.present:
            self._set_up(present)
        else:
            self._stop(WORKERS_LOST)
        return True

    def _refuse_to_start(self, odd: Mapping[str, str]) -> None:
        whose = [self._named(worker, why) for worker, why in odd.items()]
        self.failure = ". ".join([*whose, NO_LOAD] if self._distributed else whose)
        logger.error("%s", self.failure)

    @property
    def _ready(self) -> bool:
        """Are the workers set up, and can each send? In open loop one without a live user cannot."""
        if odd := self._roll.odd:
            self._refuse_to_start(odd)
        if self.failure or self._roll.present != self.workers:
            return True
        open_loop = self.plan.settings.loop == "open"
        return self._roll.all_in(self._setups) and not (
            open_loop and any(self._side.users(worker) == 0 for worker in self.workers)
        )

    def _tick(self) -> None:
        """Now and then: are the workers the same as before? And the controller must see that time passes."""
        odd = {worker: why for worker, why in self._roll.odd.items() if worker not in self._left}
        for worker, why in odd.items():
            # Whoever comes later and does not fit must not spoil the search.
            self._left.add(worker)
            logger.error("%s; it is sent away, and the search goes on without it", self._named(worker, why))
            self._side.dismiss(worker, why)
        if (present := self._roll.present) != self.workers:
            self._change(present)
        if not self.finished and clock() - self._stepped >= TICK_S:
            self._step(TimePassed(self.now))

    def _change(self, present: list[str]) -> None:
        if not present:
            self._stop(WORKERS_LOST)
            return
        lost = sum(self._in_flight.pop(worker, 0) for worker in set(self.workers) - {*present})
        said = f"; those that are gone had {lost} requests in flight when last heard" if lost else ""
        logger.warning("workers changed: %d before, %d now; the probe is void%s", len(self.workers), len(present), said)
        self._set_up(present)
        held = self.held
        self._step(WorkersChanged(self.now, len(present), lost))
        if held is not None and held is self.held and not self.finished:
            # Nothing else was asked for (a drain goes on): the same again, by those who are there now.
            self._mergers.pop(held.probe, None)
            self._hold(held)

    def _set_up(self, workers: list[str]) -> None:
        """Tell these what will be asked of them."""
        self._roll.admit(workers)
        self._setups += 1
        self.users = max(self.users, self._users_for(self.plan.settings.grid.minimum))
        settings = self.plan.settings
        setup = {
            "number": self._setups,
            "slo": str(settings.slo),
            "loop": settings.loop,
            "arrivals": self.plan.arrivals,
            "bin_s": settings.bin_s,
            "patience": settings.patience,
            "cap": self.plan.cap,
            "seed": self.plan.seed,
            "workers": workers,
            "shards": ShardMap(workers).to_dict(),
        }
        for worker in workers:
            self._side.send(SETUP, setup, worker)

    @property
    def _distributed(self) -> bool:
        return self._side.workers() != [LOCAL]

    def _named(self, worker: str, why: str) -> str:
        return f"worker {worker}: {why}" if self._distributed else why

    # -- what the controller says ------------------------------------------------------------------------------------

    def _step(self, event: Event) -> None:
        if self._ending:
            return
        event = as_travelled(event)
        self._stepped = clock()
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
        self.held = command
        if command.probe not in self._mergers:
            self._mergers = {n: m for n, m in self._mergers.items() if n >= command.probe - 2}
            self._mergers[command.probe] = Merger(self.workers)
        if self.plan.settings.loop == "closed" or command.load > 0:
            self.users = self._users_for(command.load)
        share = command.load / len(self.workers)
        for worker in self.workers:
            hold = {"probe": command.probe, "share": share, "at": self._roll.heard_at(worker)}
            hold["abandon"] = command.purpose is Purpose.ABANDON
            self._side.send(HOLD, hold, worker)

    def _users_for(self, load: float) -> int:
        if self.plan.settings.loop == "closed":
            return round(load)
        return max(math.ceil(load / self.plan.unit), len(self.workers))

    def _end(self) -> None:
        if self._ending:
            return
        self._ending = True
        try:
            for worker in sorted({*self.workers, *self._side.workers()}):
                self._side.send(END, {}, worker)
            self._finish()
        finally:
            self.finished = True
