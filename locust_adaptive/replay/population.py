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


class Play(NamedTuple):
    """One request to send: its row in the trace, its session's code, and how often the probe has wrapped, from 0."""

    row: int
    session: int
    lap: int


class Population:
    """The sessions of a trace, or of one worker's shard of it, from which every probe draws.

    The order depends on `seed` (not negative), the shard's worker and the probe number only. `sessions` and `requests`
    count what there is to play before a wrap. Where only a sample of the bodies was kept, those sessions are played of
    which all were: a part of a session, or a body from another, is nothing that ever was sent.
    Raises `ValueError` when the trace has no such session, or none for this shard.
    """

    def __init__(self, index: Index, seed: int, shard: Shard | None = None) -> None:
        mine = np.flatnonzero(index.playable()).astype(np.int32)
        if not len(mine):
            raise ValueError(
                f"none of the {len(index.session_hash)} sessions of the trace has all its bodies, so none can be "
                "played; record it again with the bodies of a share of the sessions"
            )
        whole = len(mine)
        if shard is not None:
            mine = mine[shard.owns(index.session_hash)]
        if not len(mine):
            raise ValueError(
                f"no session of the trace falls to worker {shard.worker if shard else ''!r}: there are only "
                f"{whole} sessions to play; use fewer workers, or a trace with more sessions"
            )
        self._seed = (seed, session_hash(shard.worker) if shard else 0)
        self._rows = np.argsort(index.session, kind="stable").astype(np.int32)  # by session, in order of due time
        lengths = np.bincount(index.session, minlength=len(index.session_hash))
        self._ends = np.cumsum(lengths)
        self._starts = self._ends - lengths
        # A session's stratum: the endpoint of its middle request (no log-in, no good-bye), then all its body bytes.
        endpoint = index.name[self._rows[(self._starts + self._ends - 1) // 2]]
        total = np.bincount(index.session, weights=index.size, minlength=len(lengths))
        excess = total - index.size.mean() * lengths
        ordered = mine[np.lexsort((total[mine], endpoint[mine]))]
        self._blocks = _blocks(ordered, excess[ordered], np.random.default_rng(self._seed))
        self.sessions = len(mine)
        self.requests = int(lengths[mine].sum())

    def plays(self, probe: int) -> Iterator[Play]:
        """The endless plays of one probe: whole sessions, one request per arrival, in the session's own order.

        Each lap has every session once, in a fresh order. The wraps of a probe are the lap of its last play.
        """
        for lap in count():
            rng = np.random.default_rng((*self._seed, probe, lap))
            for block in rng.permutation(len(self._blocks)):
                for session in rng.permutation(self._blocks[block]).tolist():
                    if session < 0:
                        continue
                    for row in self._rows[self._starts[session] : self._ends[session]].tolist():
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
