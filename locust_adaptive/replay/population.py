"""What a probe plays: sessions of a trace in a seeded order in which every stretch has nearly the population's mix.

Sessions are sorted by endpoint, then by body bytes, and cut into as many classes as a block holds; each block takes one
session, at random, from every class. A probe plays the blocks in a shuffled order, each shuffled inside: the mix is
right after each block, while neighbours stay as random as the population, as a queue would meet them.
"""

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .index import Index
from .sharding import Shard, session_hash

BLOCK = 64
"""Sessions in a block, about. Fewer would balance the mix sooner but leave less chance in what a queue sees."""

MANY = 1_000_000
"""More laps than a probe has."""


class Play(NamedTuple):
    """One request to send: its row in the trace, its session's code, how often the probe has wrapped, from 0, which of
    the copies that are superposed it belongs to, from 0, and the number of the loan (`loans`), 0 for none. The session
    is the one that comes; where it borrows, `row` is of another."""

    row: int
    session: int
    lap: int
    copy: int = 0
    loan: int = 0

    @property
    def repeat(self) -> int:
        """A number of its own for each time that the probe plays the request, and one for all of a session unless they
        are borrowed one by one: the lap, a million more a copy, and a million millions a loan."""
        return self.lap + MANY * (self.copy + MANY * self.loan)


def playing(index: Index, shard: Shard | None) -> NDArray[np.bool_]:
    """(s,) which sessions are played: those of the shard of which every body was kept. Raises `ValueError` for none.

    A part of a session, or a body from another, is nothing that ever was sent: only arrivals in their own time, which
    leave no choice, are played with bodies that are borrowed.
    """
    mine = index.playable()
    if not mine.any():
        raise ValueError(
            f"none of the {len(mine)} sessions of the trace has all its bodies, so none can be played; record it "
            "again with the bodies of a share of the sessions"
        )
    if shard is None:
        return mine
    whole = int(mine.sum())
    mine &= shard.owns(index.session_hash)
    if not mine.any():
        raise ValueError(
            f"no session of the trace falls to worker {shard.worker!r}: there are only {whole} sessions to play; use "
            "fewer workers, or a trace with more sessions"
        )
    return mine


class Population:
    """The sessions of a trace, or of one worker's shard of it, from which every probe draws.

    The order depends on `seed` (not negative), the shard's worker and the probe number only. `sessions` and `requests`
    count what there is to play before a wrap. Raises `ValueError` where none is `playing`.
    """

    def __init__(self, index: Index, seed: int, shard: Shard | None = None) -> None:
        self._session = index.session
        self._mine = playing(index, shard)
        self._seed = (seed, session_hash(shard.worker) if shard else 0)
        rng = np.random.default_rng(self._seed)
        mine = rng.permutation(np.flatnonzero(self._mine)).astype(np.int32)  # equal sessions in no order of time
        self._rows = np.argsort(index.session, kind="stable").astype(np.int32)  # by session, in order of due time
        lengths = np.bincount(index.session, minlength=len(index.session_hash))
        self._ends = np.cumsum(lengths).astype(np.int32)
        self._starts = (self._ends - lengths).astype(np.int32)
        # A session's stratum: the endpoint of its middle request (no log-in, no good-bye), then all its body bytes.
        endpoint = index.name[self._rows[(self._starts + self._ends - 1) // 2]]
        total = np.bincount(index.session, weights=index.size, minlength=len(lengths))
        excess = total - index.size.mean() * lengths
        ordered = mine[np.lexsort((total[mine], endpoint[mine]))]
        self._blocks = _blocks(ordered, excess[ordered], rng)
        self.sessions = len(mine)
        self.requests = int(lengths[mine].sum())

    def ranks(self) -> NDArray[np.uint32]:
        """A place for each session of the trace on a circle of 2^32: any arc of it holds its part of the requests,
        nearly in the mix of all. Sessions that are not of this shard have no meaningful place."""
        rng = np.random.default_rng((*self._seed, 1))
        order = rng.permuted(rng.permutation(self._blocks), axis=1).ravel()
        order = order[order >= 0]
        lengths = (self._ends - self._starts)[order]
        ranks = np.zeros(len(self._ends), dtype=np.uint32)
        ranks[order] = (np.cumsum(lengths) - lengths / 2) / self.requests * 2.0**32
        return ranks

    def plays(self, probe: int) -> Iterator[Play]:
        """The endless plays of one probe: whole sessions, one request per arrival, in the session's own order.

        Each lap has every session once, in a fresh order. The wraps of a probe are the lap of its last play.
        """
        rows = self._rows.data  # an item of it is an int, and costs less than an array's
        for lap in count():
            rng = np.random.default_rng((*self._seed, probe, lap))
            for block in rng.permutation(len(self._blocks)):
                sessions = rng.permutation(self._blocks[block])
                sessions = sessions[sessions >= 0]
                columns = (sessions, self._starts[sessions], self._ends[sessions])
                for session, start, end in zip(*(column.tolist() for column in columns), strict=True):
                    for i in range(start, end):
                        yield Play(rows[i], session, lap)

    def in_order(self) -> Iterator[Play]:
        """The endless plays in the order in which they were recorded."""
        rows = np.flatnonzero(self._mine[self._session])
        for lap in count():
            for start in range(0, len(rows), BLOCK):
                block = rows[start : start + BLOCK]
                for row, session in zip(block.tolist(), self._session[block].tolist(), strict=True):
                    yield Play(row, session, lap)


def _blocks(ordered: NDArray[np.int32], excess: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int32]:
    """Deal sessions, given in the order of their strata, to blocks (rows), one of each class; -1 where one ran out.

    `excess` is a session's bytes above those of as many average requests. A few large bodies carry much of the mean,
    more than classes can even out, so each class is dealt largest excess to smallest block, the widest classes first.
    """
    count = max(1, round(len(ordered) / BLOCK))
    classes = np.array_split(np.arange(len(ordered)), -(-len(ordered) // count))
    blocks = np.full((count, len(classes)), -1, dtype=np.int32)
    totals = np.zeros(count)
    for column in sorted(range(len(classes)), key=lambda column: -float(np.ptp(excess[classes[column]]))):
        members = classes[column][np.argsort(-excess[classes[column]])]
        tie_break = rng.permutation(count)
        takers = tie_break[np.argsort(totals[tie_break], kind="stable")][: len(members)]
        blocks[takers, column] = ordered[members]
        totals[takers] += excess[members]
    return blocks
