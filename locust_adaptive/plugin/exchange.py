"""The messages between master and workers, over Locust's own channel. Local mode is the same code with one worker.

    master -> worker   adaptive_setup   what to count, caps, shard map; load away
                       adaptive_hold    probe number and this worker's absolute share of the load
                       adaptive_end     load away, abort what is open
    worker -> master   adaptive_slices  a Shipment
                       adaptive_refused why this worker cannot take part

Handlers run in Locust's message pump: they only take note, or set what is cheap to set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from locust.runners import LocalRunner, MasterRunner, WorkerRunner

SETUP, HOLD, END = "adaptive_setup", "adaptive_hold", "adaptive_end"
SLICES, REFUSED = "adaptive_slices", "adaptive_refused"
LOCAL = "local"


class MasterSide:
    """The master's end. `on_slices(worker, plain shipment)` and `on_refused(worker, reason)` are called in the message
    pump."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self.on_slices: Callable[[str, Mapping[str, Any]], None] = lambda worker, data: None
        self.on_refused: Callable[[str, str], None] = lambda worker, reason: None
        runner.register_message(SLICES, lambda environment, msg, **_: self.on_slices(msg.node_id, msg.data))
        runner.register_message(REFUSED, lambda environment, msg, **_: self.on_refused(msg.node_id, msg.data))

    def workers(self) -> list[str]:
        """Workers that can make load now, by name."""
        if not isinstance(self._runner, MasterRunner):
            return [LOCAL]
        clients = self._runner.clients
        return sorted(c.id for c in (*clients.ready, *clients.spawning, *clients.running))

    def send(self, kind: str, data: Mapping[str, Any], worker: str) -> None:
        """Send one worker a message of plain values."""
        self._runner.send_message(kind, dict(data), client_id=None if worker == LOCAL else worker)


class WorkerSide:
    """A worker's end: hands messages to an agent with `setup`, `hold` and `end`."""

    def __init__(self, runner: Any, agent: Any) -> None:
        self._runner = runner
        runner.register_message(SETUP, lambda environment, msg, **_: agent.setup(msg.data))
        runner.register_message(HOLD, lambda environment, msg, **_: agent.hold(msg.data))
        runner.register_message(END, lambda environment, msg, **_: agent.end())

    @property
    def name(self) -> str:
        return LOCAL if isinstance(self._runner, LocalRunner) else str(self._runner.client_id)

    @property
    def users(self) -> int:
        """Live Locust users of this worker."""
        return int(self._runner.user_count)

    def ship(self, plain: Mapping[str, Any]) -> None:
        self._runner.send_message(SLICES, dict(plain))

    def refuse(self, reason: str) -> None:
        self._runner.send_message(REFUSED, reason)


def makes_load(runner: Any) -> bool:
    return isinstance(runner, LocalRunner | WorkerRunner)


def leads(runner: Any) -> bool:
    return isinstance(runner, LocalRunner | MasterRunner)
