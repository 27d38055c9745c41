"""The demo's traffic: seeded sessions of ranking requests with heavy-tailed candidate counts.

Pure and deterministic: `traces/make_demo_trace.py` writes it to a trace, and the known capacity is computed from the
same candidate counts. Counts do not depend on the session, so drawing by session or by request is the same load.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MODEL = "ranker"
INFER_PATH = f"/v2/models/{MODEL}/infer"
USERS = 500
ITEMS = 2000
MAX_CANDIDATES = 640

SEED = 20240901
REQUESTS = 2000
DURATION_S = 240.0

_MEDIAN_CANDIDATES = 45.0
_SIGMA = 0.9
_MEAN_SESSION_REQUESTS = 5.0
_MEDIAN_THINK_S = 2.0


@dataclass(frozen=True, slots=True)
class RankRequest:
    """One request: when it is due (ns from the start), whose it is, and which items are to be ranked."""

    due_ns: int
    session: int
    user: int
    candidates: tuple[int, ...]

    def body(self) -> bytes:
        """The request as KServe V2 JSON, without spaces."""
        inputs = [
            {"name": "user_id", "shape": [1], "datatype": "INT64", "data": [self.user]},
            {
                "name": "candidates",
                "shape": [len(self.candidates)],
                "datatype": "INT64",
                "data": list(self.candidates),
            },
        ]
        return json.dumps({"inputs": inputs}, separators=(",", ":")).encode()


def make_workload(requests: int = REQUESTS, seed: int = SEED, duration_s: float = DURATION_S) -> list[RankRequest]:
    """`requests` requests in order of due time, the same for the same arguments.

    Sessions start as a Poisson process whose rate follows one mild daily wave (+-30 %) with three bursts of twice the
    rate, in a day pressed into `duration_s`; a session has a geometric number of requests (mean 5) with log-normal
    think times (median 2 s). Candidate counts are log-normal (median 45, sigma 0.9), clipped to 1..640.
    """
    rng = np.random.default_rng(seed)
    drawn: list[tuple[float, int, int]] = []
    session = 0
    while len(drawn) < requests:
        due = _session_start(rng, duration_s)
        user = int(rng.integers(USERS))
        for _ in range(int(rng.geometric(1 / _MEAN_SESSION_REQUESTS))):
            if due < duration_s:  # the recording ends here, in the middle of some sessions
                drawn.append((due, session, user))
            due += _MEDIAN_THINK_S * float(np.exp(rng.standard_normal()))
        session += 1
    drawn = sorted(drawn[:requests])
    counts = np.exp(np.log(_MEDIAN_CANDIDATES) + _SIGMA * rng.standard_normal(requests))
    sizes = np.clip(np.rint(counts), 1, MAX_CANDIDATES).astype(np.int64)
    first = drawn[0][0]
    return [
        RankRequest(
            due_ns=round((due - first) * 1e9),
            session=session,
            user=user,
            candidates=tuple(rng.choice(ITEMS, size=int(size), replace=False).tolist()),
        )
        for (due, session, user), size in zip(drawn, sizes, strict=True)
    ]


def candidate_counts(workload: list[RankRequest]) -> NDArray[np.int64]:
    """Candidates of each request, in order: what decides the cost."""
    return np.array([len(request.candidates) for request in workload], dtype=np.int64)


def _session_start(rng: np.random.Generator, duration_s: float) -> float:
    """One draw from the day's rate by rejection; no rate exceeds 2.6 (a burst at the wave's top)."""
    while True:
        share = float(rng.random())
        rate = 1.0 + 0.3 * np.sin(2 * np.pi * share)
        if any(start <= share < start + 0.03 for start in (0.2, 0.55, 0.8)):
            rate *= 2.0
        if float(rng.random()) * 2.6 < rate:
            return share * duration_s
