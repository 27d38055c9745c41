"""A new trace of a part of another, or of the same without its secrets. The old one stays as it is."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .index import Index
from .output import mode_of, whole
from .provenance import Sampling
from .record import Record, TraceError
from .redact import Redactor
from .store import Trace
from .writer import TraceWriter

Progress = Callable[[Sequence[int]], Iterable[int]]
"""Passes on the rows that are worked off; a command line shows how far it is."""


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """Which requests of a trace to keep: those due in [start_ns, stop_ns); of their sessions a share, and whole ones up
    to so many requests, both in the order of a hash of session and seed. None: no limit.

    Equal seeds nest: the sessions of 5 % are among those of 10 %.
    """

    start_ns: int = 0
    stop_ns: int | None = None
    sessions: float | None = None
    requests: int | None = None
    seed: int = 1

    def choose(self, index: Index) -> tuple[NDArray[np.intp], list[Sampling]]:
        """The rows to keep, in order, and what that was; `TraceError` when there are none."""
        stop_ns = int(index.due_ns[-1]) + 1 if self.stop_ns is None else self.stop_ns
        rows = np.flatnonzero((index.due_ns >= self.start_ns) & (index.due_ns < stop_ns))
        steps: list[Sampling] = []
        if len(rows) < len(index):
            until = "the end" if self.stop_ns is None else f"{self.stop_ns / 1e9:g} s"
            steps.append({"of": "time", "share": None, "how": f"from {self.start_ns / 1e9:g} s to {until}"})
        if self.sessions is not None or self.requests is not None:
            lengths = np.bincount(index.session[rows], minlength=len(index.session_hash))
            present = np.flatnonzero(lengths)
            order = present[np.argsort(_mixed(index.session_hash[present], self.seed), kind="stable")]
            if self.sessions is not None:
                order = order[: round(self.sessions * len(order))]
            if self.requests is not None:
                order = order[: np.searchsorted(np.cumsum(lengths[order]), self.requests, side="right")]
            kept = np.zeros(len(lengths), dtype=np.bool_)
            kept[order] = True
            rows = rows[kept[index.session[rows]]]
            share = len(order) / max(len(present), 1)
            steps.append({"of": "sessions", "share": share, "how": f"by hash, seed {self.seed}"})
        if not len(rows):
            raise TraceError(
                "no request of the trace is in that part; take a longer time, or more sessions or requests"
            )
        return rows, steps


def sample(source: Path, out: Path, part: Part, *, force: bool = False, progress: Progress = iter) -> int:
    """Make the trace `out` of a part of `source`; how many requests it has."""
    with Trace.open(source) as trace:
        rows, steps = part.choose(trace.index())
        return _copy(trace, rows.tolist(), out, force, progress, lambda record: record, steps=steps)


def redact(source: Path, out: Path, redactor: Redactor, *, force: bool = False, progress: Progress = iter) -> int:
    """Make the trace `out` of `source` without what the redactor takes out; how many requests it has."""
    with Trace.open(source) as trace:
        return _copy(trace, range(len(trace)), out, force, progress, redactor.redact, counts=redactor.counts)


def _copy(
    trace: Trace,
    rows: Sequence[int],
    out: Path,
    force: bool,
    progress: Progress,
    change: Callable[[Record], Record],
    *,
    steps: Iterable[Sampling] = (),
    counts: Counter[str] | None = None,
) -> int:
    info = trace.info()
    with (
        whole(out, force) as unfinished,
        TraceWriter(unfinished, origin=info.origin, batch=4096, mode=mode_of(trace.path)) as writer,
    ):
        writer.time_quality = info.time_quality  # a sample's own times may happen to look coarser
        for row in progress(rows):
            record = change(trace.record(row))
            # By the clock of the origin again, which sealing notes and counts from.
            writer.append(dataclasses.replace(record, due_ns=info.start_ns + record.due_ns))
        writer.note("redactions", dict(Counter(info.redactions) + (counts or Counter())))
        writer.note("sampling", [*info.sampling, *steps])
        writer.note("dropped", dict(info.dropped))
    return writer.committed


def _mixed(hashes: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Another hash of each session for each seed: splitmix64 (Steele, Lea and Flood 2014)."""
    key = hashlib.blake2b(str(seed).encode(), digest_size=8).digest()
    z = hashes ^ np.uint64(int.from_bytes(key, "big"))
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed
