"""What a trace is like: rate, mix, sizes, burstiness. Pure, from the index."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .index import Index
from .loans import borrow
from .record import TraceError
from .timeline import Draw, Timeline

WINDOWS = {"100ms": 10**8, "1s": 10**9, "10s": 10**10, "60s": 6 * 10**10}
"""Windows in which arrivals are counted, in nanoseconds, by their name in the fields of a profile."""
DRAWS, MOST = 4, 2_000_000
"""How often a trace is played to see what it is like at another rate, and how many arrivals are looked at each time."""
MOST_COPIES = 10_000
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
    size_error: float  # half of the 95 % interval of the mean, as a part of it: sessions are what is drawn
    playable_sessions: int  # those of which every body was kept; so are the requests and the size of the next two
    playable_requests: int
    playable_size_mean: float | None  # beside `size_mean`: whether what is played is like what arrived
    borrowed_requests: int  # with recorded arrivals: those at whose times another request is sent
    sent_size_mean: float | None  # of all that is sent then
    unsent_requests: int  # nor are these sent then: nobody can lend to them, or to another of their session
    dispersion_100ms: float | None  # index of dispersion of counts; 1 for Poisson arrivals
    dispersion_1s: float | None
    dispersion_10s: float | None
    dispersion_60s: float | None


@dataclass(frozen=True, slots=True)
class Rescaled:
    """What a trace is like at another rate, on average over `stretches` of `stretch_s` seconds."""

    rate: float
    multiple: float  # of the trace's own rate: so many copies, the last one thinned
    stretches: int
    stretch_s: float
    dispersion_100ms: float | None
    dispersion_1s: float | None
    dispersion_10s: float | None
    dispersion_60s: float | None


def profile(index: Index, timed: bool = True) -> Profile:
    """The profile of a trace of at least one request; `timed=False` when its arrival times mean nothing."""
    duration = float(index.due_ns[-1] - index.due_ns[0]) / 1e9 if timed else None
    counts = np.bincount(index.name, minlength=len(index.names))
    mean = float(index.size.mean())
    lengths = np.bincount(index.session, minlength=len(index.session_hash))
    excess = np.bincount(index.session, weights=index.size, minlength=len(lengths)) - mean * lengths
    playable = index.playable()
    sizes = index.size[playable[index.session]]
    loans = borrow(index, 1)
    sent = playable if loans is None else replace(index, bodyless=loans.unmet).playable()
    then = np.flatnonzero(sent[index.session])
    sizes_then = index.size[then if loans is None else loans.row[then]]
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
        size_mean=mean,
        size_error=1.96 * float(np.sqrt(np.square(excess).sum())) / (mean * len(index)) if mean else 0.0,
        playable_sessions=int(playable.sum()),
        playable_requests=len(sizes),
        playable_size_mean=float(sizes.mean()) if len(sizes) else None,
        borrowed_requests=0 if loans is None else int((loans.row[then] != then).sum()),
        sent_size_mean=float(sizes_then.mean()) if len(then) else None,
        unsent_requests=len(index) - len(then),
        **_dispersions([index.due_ns] if timed else []),
    )


def rescaled(index: Index, rate: float, seed: int = 1) -> Rescaled:
    """The trace played at `rate` arrivals per second, as recorded arrivals. Raises `TraceError` for a
    rate that makes no sense, or times that do not differ."""
    timeline = Timeline(index, seed)
    multiple = rate / timeline.rate
    if not 0 < multiple <= MOST_COPIES:
        raise TraceError(
            f"at {rate:g} req/s it would be played {multiple:.3g} times at once; ask for a rate above 0 and of at most "
            f"{MOST_COPIES * timeline.rate:.4g} req/s"
        )
    length = min(timeline.period_ns, int(MOST / max(multiple, 1) * timeline.period_ns / len(index)))
    played = [timeline.due_times(Draw((seed, draw)), multiple, length) for draw in range(DRAWS)]
    return Rescaled(rate, multiple, DRAWS, length / 1e9, **_dispersions(played))


def _dispersions(stretches: list[NDArray[np.int64]]) -> dict[str, float | None]:
    """The mean over stretches, in each window; None where one of them has too few."""
    found = {}
    for name, window in WINDOWS.items():
        each = [dispersion(due, window) if len(due) else None for due in stretches]
        known = [value for value in each if value is not None]
        found[f"dispersion_{name}"] = sum(known) / len(known) if known and len(known) == len(each) else None
    return found


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
