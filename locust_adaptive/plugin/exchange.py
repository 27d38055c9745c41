"""The messages between master and workers, over Locust's own channel. Local mode is the same code with one worker.

    master -> worker   adaptive_ask      say who you are; make no load of your own from now on
                       adaptive_setup    its number, what to count, caps, arrivals, shard map; load away
                       adaptive_hold     probe number, this worker's absolute share of the load, and a lease
                       adaptive_lease    a lease: make load until LEASE_S after `at`
                       adaptive_leave    why this worker must not take part; Locust's own `quit` follows
                       adaptive_end      load away, abort what is open
    worker -> master   adaptive_who      versions, user classes, digests of the traces: the answer to adaptive_ask
                       adaptive_refused  why this worker cannot take part: the other answer, also to adaptive_setup
                       adaptive_alive    `at`, the worker's own clock, its set-up and its users, every half second from
                                         adaptive_ask on, and in answer to adaptive_setup
                       adaptive_slices   a Shipment, with the number of the set-up it was counted under

A lease names a time of the worker's own clock: the last `at` that the master heard. So no two clocks are compared, and
one that a stopped worker finds in its mailbox when it wakes is as old as it is. In closed loop a worker that joins gets
none before the users that leave others for it have left. Channels keep the order of messages in each direction.
Handlers run in Locust's message pump: they only take note, or set what is cheap to set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from locust.runners import LocalRunner, MasterRunner, WorkerRunner

ASK, SETUP, HOLD = "adaptive_ask", "adaptive_setup", "adaptive_hold"
LEASE, LEAVE, END = "adaptive_lease", "adaptive_leave", "adaptive_end"
WHO, REFUSED, ALIVE, SLICES = "adaptive_who", "adaptive_refused", "adaptive_alive", "adaptive_slices"
LOCAL = "local"


class MasterSide:
    """The master's end. `on_message(kind, worker, data)` is called in the message pump."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self.on_message: Callable[[str, str, Any], None] = lambda kind, worker, data: None
        for kind in (WHO, REFUSED, ALIVE, SLICES):
            runner.register_message(kind, self._note)

    def _note(self, environment: Any, msg: Any, **_: Any) -> None:
        self.on_message(msg.type, msg.node_id, msg.data)

    def workers(self) -> list[str]:
        """Workers that Locust lists as able to make load now, by name."""
        if not isinstance(self._runner, MasterRunner):
            return [LOCAL]
        clients = self._runner.clients
        return sorted(c.id for c in (*clients.ready, *clients.spawning, *clients.running))

    def users(self, worker: str) -> int:
        """Live Locust users of a worker, as last reported."""
        if not isinstance(self._runner, MasterRunner):
            return int(self._runner.user_count)
        clients = self._runner.clients
        return int(clients[worker].user_count) if worker in clients else 0

    def intended(self, worker: str) -> float:
        """Users that Locust means a worker to have now, at most; in one process that is no matter."""
        if not isinstance(self._runner, MasterRunner):
            return math.inf
        dispatcher = self._runner._users_dispatcher
        return sum(dispatcher._users_on_workers.get(worker, {}).values()) if dispatcher is not None else 0

    def dismiss(self, worker: str, why: str) -> None:
        """Have a worker end itself: one of ours knows why then, any other just quits."""
        self.send(LEAVE, {"why": why}, worker)
        self.send("quit", {}, worker)

    def send(self, kind: str, data: Mapping[str, Any], worker: str) -> None:
        """Send one worker a message of plain values."""
        self._runner.send_message(kind, dict(data), client_id=None if worker == LOCAL else worker)


class WorkerSide:
    """A worker's end: hands messages to an agent with `ask`, `setup`, `hold`, `lease`, `leave` and `end`."""

    def __init__(self, runner: Any, agent: Any) -> None:
        self._runner = runner
        runner.register_message(ASK, lambda environment, msg, **_: agent.ask())
        runner.register_message(SETUP, lambda environment, msg, **_: agent.setup(msg.data))
        runner.register_message(HOLD, lambda environment, msg, **_: agent.hold(msg.data))
        runner.register_message(LEASE, lambda environment, msg, **_: agent.lease(msg.data["at"]))
        runner.register_message(LEAVE, lambda environment, msg, **_: agent.leave(msg.data["why"]))
        runner.register_message(END, lambda environment, msg, **_: agent.end())

    @property
    def is_remote(self) -> bool:
        """Is the master another process?"""
        return isinstance(self._runner, WorkerRunner)

    @property
    def name(self) -> str:
        return LOCAL if isinstance(self._runner, LocalRunner) else str(self._runner.client_id)

    @property
    def users(self) -> int:
        """Live Locust users of this worker."""
        return int(self._runner.user_count)

    def send(self, kind: str, data: Any) -> None:
        """Send the master a message of plain values."""
        self._runner.send_message(kind, data)


def makes_load(runner: Any) -> bool:
    return isinstance(runner, LocalRunner | WorkerRunner)


def leads(runner: Any) -> bool:
    return isinstance(runner, LocalRunner | MasterRunner)
