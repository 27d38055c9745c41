"""Which worker plays which sessions: an explicit map made by the master, the same on every host.

A worker's index is no shard: it is never reused, so a replaced worker would leave its share unplayed.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SLOTS = 4096
_SHIFT = 64 - SLOTS.bit_length() + 1  # the top bits of a session's hash name its slot


def session_hash(session: str) -> int:
    """64-bit hash of a session, the same in every process, host and version (unlike `hash`): BLAKE2b, big-endian."""
    return int.from_bytes(hashlib.blake2b(session.encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """The slots of one worker."""

    worker: str
    slots: NDArray[np.bool_]  # (SLOTS,)

    def owns(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of these sessions, given by their `session_hash`, are this worker's."""
        mine: NDArray[np.bool_] = self.slots[(hashes >> np.uint64(_SHIFT)).astype(np.intp)]
        return mine


class ShardMap:
    """Every session to exactly one worker, in proportion to the weights (default: equal).

    Sessions hash to slots, and slots to workers by weighted rendezvous hashing (highest random weight: Thaler and
    Ravishankar 1998; weights as exponential races): when a worker comes or goes, only its own sessions move.
    Raises `ValueError` for no workers, a name given twice, or a weight that is not positive.
    """

    __slots__ = ("table", "workers")

    def __init__(self, workers: Sequence[str], weights: Sequence[float] | None = None) -> None:
        shares = np.ones(len(workers)) if weights is None else np.asarray(weights, dtype=float)
        if not workers or len(set(workers)) != len(workers):
            raise ValueError(f"a shard map needs at least one worker and each name once, not {list(workers)}")
        if shares.shape != (len(workers),) or not np.all(np.isfinite(shares) & (shares > 0)):
            raise ValueError(f"{len(workers)} workers need as many positive finite weights, not {weights}")
        self.workers = tuple(workers)
        races = [_draws(worker) / share for worker, share in zip(workers, shares, strict=True)]
        self.table: tuple[int, ...] = tuple(np.argmin(races, axis=0).tolist())

    def owner(self, session: str) -> str:
        return self.workers[self.table[session_hash(session) >> _SHIFT]]

    def shard(self, worker: str) -> Shard:
        """The share of one worker; `ValueError` when the map does not know it."""
        if worker not in self.workers:
            raise ValueError(f"the shard map has no worker {worker!r}, only {list(self.workers)}")
        return Shard(worker, np.asarray(self.table) == self.workers.index(worker))

    def to_dict(self) -> dict[str, Any]:
        """Plain strings, ints and lists, for a message; the table itself, so that no worker repeats the arithmetic."""
        return {"workers": list(self.workers), "table": list(self.table)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "ShardMap":
        """Inverse of `to_dict`; `ValueError` when it is no such map."""
        made = cls.__new__(cls)
        try:
            made.workers, made.table = tuple(plain["workers"]), tuple(plain["table"])
        except (KeyError, TypeError):
            raise ValueError("not a shard map: it needs the lists `workers` and `table`") from None
        known = range(len(made.workers))
        if len(made.table) != SLOTS or not all(isinstance(slot, int) and slot in known for slot in made.table):
            raise ValueError(f"not a shard map: its table must name one of its {len(known)} workers for {SLOTS} slots")
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShardMap) and (self.workers, self.table) == (other.workers, other.table)

    def __hash__(self) -> int:
        return hash((self.workers, self.table))


def _draws(worker: str) -> NDArray[np.float64]:
    """One standard exponential a slot, from the worker's name alone."""
    bits = np.frombuffer(hashlib.shake_128(worker.encode()).digest(8 * SLOTS), dtype="<u8") >> np.uint64(11)
    draws: NDArray[np.float64] = -np.log((bits + 0.5) * 2.0**-53)
    return draws
