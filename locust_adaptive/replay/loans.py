"""What is sent at the arrivals whose bodies were not kept: requests that were recorded whole, borrowed. Pure.

A session that lacks a body borrows all its requests from one that has its own: of those with the same endpoints in the
same order, the nearest in bytes. Where there is none, only what lacks a body is borrowed, each from the request of the
same endpoint that is nearest in size. Equals lend in turn, in an order by seed, so that every worker comes to the same.
What is sent is the lender's request as it was recorded, with its path and headers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .index import Index

Rows = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Loans:
    """Of a trace with n requests: which are sent at whose times."""

    row: Rows  # (n,) the row that is sent
    number: Rows  # (n,) 0 where it is the arrival's own; else the loan's, which no other loan of that row has
    unmet: Rows  # rows that nobody can lend to, ascending


def borrow(index: Index, seed: int) -> Loans | None:
    """The loans of a trace; None where every body was kept."""
    if not len(index.bodyless):
        return None
    rng = np.random.default_rng((seed, 5))
    lengths = np.bincount(index.session, minlength=len(index.session_hash))
    starts = np.cumsum(lengths) - lengths
    rows = np.argsort(index.session, kind="stable").astype(np.int32)  # by session, in order of due time
    # A body is only borrowed where there was one: a GET of the same name lends nothing to a POST.
    endpoint = 2 * index.name.astype(np.int64) + (index.size > 0)
    total = np.bincount(index.session, weights=index.size, minlength=len(lengths))
    lender = _nearest(_sequences(endpoint[rows], starts, lengths), total, index.playable(), rng)

    sent = np.arange(len(index), dtype=np.int32)
    number = np.zeros(len(index), dtype=np.int32)
    by_session = index.session[rows]
    places = np.flatnonzero(lender[by_session] >= 0)
    borrowers = by_session[places]
    sent[rows[places]] = rows[places - starts[borrowers] + starts[lender[borrowers]]]
    number[rows[places]] = rows[starts[borrowers]] + 1  # of the session

    kept = index.size > 0
    kept[index.bodyless] = False
    alone = index.bodyless[lender[index.session[index.bodyless]] < 0]
    pool = np.concatenate([alone, np.flatnonzero(kept)])
    found = _nearest(endpoint[pool], index.size[pool], np.arange(len(pool)) >= len(alone), rng)[: len(alone)]
    sent[alone] = np.where(found < 0, alone, pool[found])
    number[alone] = alone + 1  # of the request: its session borrows nothing as a whole
    return Loans(sent, number, alone[found < 0])


def _sequences(endpoint: NDArray[np.int64], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """A code for each session: the same for those with the same endpoints in the same order."""
    codes: dict[bytes, int] = {}
    spans = zip(starts.tolist(), (starts + lengths).tolist(), strict=True)
    found = (codes.setdefault(endpoint[start:end].tobytes(), len(codes)) for start, end in spans)
    return np.fromiter(found, np.int64, len(starts))


def _nearest(
    group: NDArray[np.int64], value: NDArray[Any], lends: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.int64]:
    """For each that does not lend, who of its group does and is nearest in value; -1 where nobody, and for lenders."""
    order = np.lexsort((rng.permutation(len(group)), ~lends, value, group))
    group, value, lends = group[order], value[order].astype(np.float64), lends[order]
    at = np.arange(len(order))
    before = np.maximum.accumulate(np.where(lends, at, -1))
    after = np.minimum.accumulate(np.where(lends, at, len(at))[::-1])[::-1]

    def distance(lender: NDArray[np.int64]) -> NDArray[np.float64]:
        there = (lender >= 0) & (lender < len(at))
        lender = np.where(there, lender, 0)
        return np.where(there & (group[lender] == group), np.abs(value[lender] - value), np.inf)

    down, up = distance(before), distance(after)
    asks = np.flatnonzero(~lends & np.isfinite(np.minimum(down, up)))
    chosen = np.where(down <= up, before, after)[asks]
    # Those of one group and value lend in turn; they stand together, and before all others of that value.
    first = np.flatnonzero(np.diff(group, prepend=-1).astype(bool) | np.diff(value, prepend=-1.0).astype(bool))
    block = np.searchsorted(first, chosen, side="right") - 1
    lenders = np.add.reduceat(lends, first, dtype=np.int64)
    turn = np.empty(len(asks), dtype=np.int64)
    by_block = np.argsort(block, kind="stable")
    borrowers = np.bincount(block, minlength=len(first))
    turn[by_block] = np.arange(len(asks)) - np.repeat(np.cumsum(borrowers) - borrowers, borrowers)
    found = np.full(len(order), -1, dtype=np.int64)
    found[order[asks]] = order[first[block] + turn % lenders[block]]
    return found
