"""The emulated accelerator: dynamic batching in front of one device, as a pure state machine with time as an argument.

Requests wait in arrival order. The device, once free, takes a batch when `max_batch` requests wait or when the first
has waited `max_delay_s`, whichever is sooner, and is then busy for `overhead_s + per_candidate_s * candidates` seconds,
where `candidates` is the total over the batch. This is the queueing model of a GPU behind a dynamic batcher: a fixed
cost a launch, a cost per row, one launch at a time.

`Device` holds the formula. `Accelerator` steps it request by request for the server; `capacity.simulate` steps it for
many runs at once. Nothing here reads a clock, so a caller that is late changes when replies leave, never how fast the
device works.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Seconds = TypeVar("Seconds", float, NDArray[np.float64])


@dataclass(frozen=True, slots=True)
class Device:
    """The constants of the formula. The defaults put the capacity of the demo near 120 requests a second."""

    overhead_s: float = 0.018
    per_candidate_s: float = 75e-6
    max_batch: int = 8
    max_delay_s: float = 0.004

    def busy_s(self, candidates: Seconds) -> Seconds:
        """Seconds that a batch with this many candidates in total occupies the device."""
        return self.overhead_s + self.per_candidate_s * candidates

    def launch_at(self, free_at: Seconds, first: Seconds, last: Seconds) -> Seconds:
        """When the next batch starts: the device is free, and the batch is full or its first request waited enough.

        `first` is the arrival of the oldest waiting request, `last` that of the one that fills the batch (infinity
        while it has not come).
        """
        launch: Seconds = np.maximum(free_at, np.minimum(first + self.max_delay_s, last))
        return launch


@dataclass(frozen=True, slots=True)
class Batch:
    """One launch: when it starts and ends, and the tickets of the requests in it, in arrival order."""

    start: float
    end: float
    tickets: tuple[int, ...]


class Accelerator:
    """One device with its queue. Tickets count the accepted requests from 0.

    Call `advance(now)` before each `offer(now, ...)`, with times that never go back; `advance` returns every batch
    that has started by `now`, with its end, which may lie in the future.
    """

    def __init__(self, device: Device, max_queue: int) -> None:
        """`max_queue`: requests that may wait for a launch; one more is refused."""
        self.device = device
        self.max_queue = max_queue
        self.batches = 0
        self._waiting: deque[tuple[int, float, int]] = deque()
        self._tickets = 0
        self._free_at = -np.inf
        self._busy_s = 0.0

    @property
    def queue_depth(self) -> int:
        """Requests that wait for a launch."""
        return len(self._waiting)

    def launch_at(self) -> float:
        """When the next batch starts if nobody else comes; infinity when nobody waits."""
        if not self._waiting:
            return np.inf
        full = len(self._waiting) >= self.device.max_batch
        last = self._waiting[self.device.max_batch - 1][1] if full else np.inf
        return float(self.device.launch_at(self._free_at, self._waiting[0][1], last))

    def advance(self, now: float) -> list[Batch]:
        """Start every batch that is due by `now`."""
        started = []
        while self._waiting and (start := self.launch_at()) <= now:
            members = [self._waiting.popleft() for _ in range(min(self.device.max_batch, len(self._waiting)))]
            busy = self.device.busy_s(float(sum(candidates for _, _, candidates in members)))
            self._free_at = start + busy
            self._busy_s += busy
            self.batches += 1
            started.append(Batch(start, self._free_at, tuple(ticket for ticket, _, _ in members)))
        return started

    def offer(self, now: float, candidates: int) -> int | None:
        """Queue a request that arrives at `now`; its ticket, or None when the queue is full."""
        if len(self._waiting) >= self.max_queue:
            return None
        ticket = self._tickets
        self._tickets += 1
        self._waiting.append((ticket, now, candidates))
        return ticket

    def busy_seconds(self, now: float) -> float:
        """Seconds that the device has been busy up to `now`."""
        return self._busy_s - max(0.0, self._free_at - now)
