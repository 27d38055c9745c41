"""Synthetic traces whose bursts have a known reason, and so a known index of dispersion: only times and sessions."""

import math

import numpy as np
from numpy.typing import NDArray

from locust_adaptive.replay.index import Index

Times = NDArray[np.float64]  # seconds
Codes = NDArray[np.int64]

CALM, BURST = 4.0, 40.0
"""Arrivals per second of the two states of the rate-driven trace,"""
CALM_S, BURST_S = 18.0, 3.0
"""and how long each lasts on average."""
LENGTH, GAP_S = 12.0, 0.1
"""Requests of a session in the session-driven trace on average (geometric), and the mean gap between them."""
THINK_S, TURNS = 5.0, 4.0
"""The same two of the mixed trace: gaps longer than a burst."""
MEAN = (CALM * CALM_S + BURST * BURST_S) / (CALM_S + BURST_S)
"""Arrivals per second of each trace at scale 1. A scale makes all rates of arrivals, or of sessions, so much higher."""


def rate_driven(seconds: float, rng: np.random.Generator, scale: float = 1.0) -> Index:
    """A Markov-modulated Poisson process of two states; each request is a session."""
    times = _modulated(seconds, rng, scale)
    return _index(times, np.arange(len(times)), seconds)


def session_driven(seconds: float, rng: np.random.Generator, scale: float = 1.0) -> Index:
    """Sessions come as a Poisson process, and each is a burst."""
    count = rng.poisson(seconds * scale * MEAN / LENGTH)
    return _sessions(np.sort(rng.uniform(0, seconds, count)), LENGTH, GAP_S, seconds, rng)


def mixed(seconds: float, rng: np.random.Generator, scale: float = 1.0) -> Index:
    """Sessions of a few requests with think times, whose starts come in bursts."""
    return _sessions(_modulated(seconds, rng, scale / TURNS), TURNS, THINK_S, seconds, rng)


KINDS = {"rate-driven": rate_driven, "session-driven": session_driven, "mixed": mixed}


def rate_driven_dispersion(window: float, scale: float = 1.0) -> float:
    """The index of dispersion of `rate_driven` in windows of so many seconds (Fischer and Meier-Hellstern 1993)."""
    out, back = 1 / CALM_S, 1 / BURST_S
    both = out + back
    limit = scale * 2 * (BURST - CALM) ** 2 * out * back / (both**3 * MEAN)
    return 1 + limit * (1 - -math.expm1(-both * window) / (both * window))


def session_driven_dispersion() -> float:
    """That of `session_driven` in windows much longer than a session: E[N^2]/E[N] of a geometric N."""
    return 2 * LENGTH - 1


def _modulated(seconds: float, rng: np.random.Generator, scale: float) -> Times:
    cycles = int(2 * seconds / (CALM_S + BURST_S)) + 100
    spells = rng.exponential(1.0, (cycles, 2)) * (CALM_S, BURST_S)
    counts = rng.poisson(spells * (CALM, BURST) * scale).ravel()
    ends = np.cumsum(spells.ravel())
    times = np.repeat(ends, counts) - rng.uniform(0, 1, counts.sum()) * np.repeat(spells.ravel(), counts)
    return np.sort(times[times < seconds])


def _sessions(starts: Times, length: float, gap_s: float, seconds: float, rng: np.random.Generator) -> Index:
    lengths = rng.geometric(1 / length, len(starts))
    session = np.repeat(np.arange(len(starts)), lengths)
    gaps = rng.exponential(gap_s, len(session))
    firsts = np.cumsum(lengths) - lengths
    elapsed = np.cumsum(gaps) - np.repeat(np.cumsum(gaps)[firsts], lengths)
    return _index(np.repeat(starts, lengths) + elapsed, session, seconds)


def _index(times: Times, session: Codes, seconds: float) -> Index:
    order = np.argsort(times, kind="stable")
    order = order[times[order] < seconds]
    due = (1e9 * times[order]).astype(np.int64)
    known, codes = np.unique(session[order], return_inverse=True)
    nothing = np.zeros(len(due), np.int32)
    hashes = (known.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return Index(due - due[0], codes.astype(np.int32), nothing, nothing + 1, hashes, ("a",))
