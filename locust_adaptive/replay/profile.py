"""What a trace is like: rate, mix, sizes, burstiness. Pure, from the index."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .index import Index

MIN_WINDOWS = 10
"""Fewer windows say nothing about a variance."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The figures of a trace. Times are None when the trace has none, or too little of it."""

    requests: int
    sessions: int
    duration_s: float | None  # first to last arrival
    rate: float | None  # arrivals per second
    endpoints: dict[str, int]  # requests by name, most frequent first
    size_p50: int  # body bytes, as are the next two
    size_p90: int
    size_max: int
    size_mean: float
    playable_sessions: int  # those of which every body was kept; so are the requests and the size of the next two
    playable_requests: int
    playable_size_mean: float | None  # beside `size_mean`: whether what is played is like what arrived
    dispersion_1s: float | None  # index of dispersion of counts; 1 for Poisson arrivals
    dispersion_10s: float | None


def profile(index: Index, timed: bool = True) -> Profile:
    """The profile of a trace of at least one request; `timed=False` when its arrival times mean nothing."""
    duration = float(index.due_ns[-1] - index.due_ns[0]) / 1e9 if timed else None
    counts = np.bincount(index.name, minlength=len(index.names))
    playable = index.playable()
    sizes = index.size[playable[index.session]]
    p50, p90, largest = np.quantile(index.size, (0.5, 0.9, 1.0), method="inverted_cdf").tolist()
    return Profile(
        requests=len(index),
        sessions=len(index.session_hash),
        duration_s=duration,
        rate=(len(index) - 1) / duration if duration else None,
        endpoints={index.names[code]: int(counts[code]) for code in np.argsort(-counts, kind="stable")},
        size_p50=p50,
        size_p90=p90,
        size_max=largest,
        size_mean=float(index.size.mean()),
        playable_sessions=int(playable.sum()),
        playable_requests=len(sizes),
        playable_size_mean=float(sizes.mean()) if len(sizes) else None,
        dispersion_1s=dispersion(index.due_ns, 10**9) if timed else None,
        dispersion_10s=dispersion(index.due_ns, 10**10) if timed else None,
    )


def dispersion(due_ns: NDArray[np.int64], window_ns: int) -> float | None:
    """Index of dispersion of counts: variance over mean of the arrivals in whole windows; None below `MIN_WINDOWS`.

    `due_ns` ascends from 0. Only occupied windows are held, so a gap of years costs nothing.
    """
    windows = int(due_ns[-1]) // window_ns
    if windows < MIN_WINDOWS:
        return None
    places = due_ns // window_ns
    _, counts = np.unique(places[places < windows], return_counts=True)
    mean = float(counts.sum()) / windows
    variance = (float(np.square(counts.astype(float)).sum()) - windows * mean**2) / (windows - 1)
    return variance / mean
