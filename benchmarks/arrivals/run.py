"""Bursts of synthetic 8 h traces at other rates, as the index of dispersion of counts over that of the recording.

python -m benchmarks.arrivals.run        # about a minute; writes RESULTS.md beside this file
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from locust_adaptive.replay.index import Index
from locust_adaptive.replay.profile import dispersion
from locust_adaptive.replay.timeline import Draw, Timeline

from .synthetic import KINDS

HOURS, SEEDS = 8, 20
WINDOWS = {"1 s": 10**9, "10 s": 10**10, "60 s": 6 * 10**10}
MULTIPLES = (2.0, 3.5, 10.0, 0.5, 0.2)

Due = NDArray[np.int64]


def expected(kind: str, multiple: float, recorded: float) -> float | None:
    """The ratio that theory has for whole copies and a thinned rest: that keeps the dispersion D of bursts inside
    sessions, and has 1 + p (D - 1) where the rate of sessions bursts. None where both are so."""
    whole, part = divmod(multiple, 1)
    if kind == "session-driven" or not part:
        return 1.0
    if kind == "mixed":
        return None
    return (whole * recorded + part * (1 + part * (recorded - 1))) / (multiple * recorded)


def superposed(index: Index, multiple: float, seed: int) -> Due:
    timeline = Timeline(index, seed)
    return timeline.due_times(Draw((seed, 7)), multiple, timeline.period_ns)


def compressed(index: Index, multiple: float, seed: int) -> Due:
    """For comparison: everything in less time."""
    return (index.due_ns / multiple).astype(np.int64)


def scattered(index: Index, multiple: float, seed: int) -> Due:
    """For comparison: copies of the sessions, each shifted by itself."""
    rng = np.random.default_rng(seed)
    period = int(index.due_ns[-1])
    shifts = rng.integers(0, period, (int(multiple), len(index.session_hash)))
    return np.sort(((index.due_ns + shifts[:, index.session]) % period).ravel())


def poisson(index: Index, multiple: float, seed: int) -> Due:
    """For comparison: independent arrivals at the same rate."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.integers(0, int(index.due_ns[-1]), int(multiple * len(index))))


def rows(seeds: int) -> Iterator[str]:
    rng = [np.random.default_rng(seed) for seed in range(seeds)]
    for kind, make in KINDS.items():
        traces = [make(3600 * HOURS, each) for each in rng]
        recorded = [[dispersion(trace.due_ns, window) or 0.0 for window in WINDOWS.values()] for trace in traces]
        mean = np.mean(recorded, axis=0)
        yield f"| {kind} | recorded | " + " | ".join(f"{value:.3g}" for value in mean) + " | |"
        for multiple in MULTIPLES:
            parts = ratios_of(traces, recorded, superposed, multiple)
            theory = [expected(kind, multiple, value) for value in mean]
            aim = "" if theory[0] is None else ", ".join(f"{value:.3f}" for value in theory)
            yield f"| {kind} | **x{multiple:g}** | " + " | ".join(_with_error(part) for part in parts) + f" | {aim} |"
        for name, other in (("compressed", compressed), ("each session shifted", scattered), ("Poisson", poisson)):
            parts = ratios_of(traces, recorded, other, 2.0)
            yield f"| {kind} | x2, {name} | " + " | ".join(_with_error(part) for part in parts) + " | |"


def ratios_of(
    traces: list[Index], recorded: list[list[float]], how: Callable[[Index, float, int], Due], multiple: float
) -> NDArray[np.float64]:
    """(windows, traces): the dispersion at the multiple over the recorded one."""
    found = []
    for seed, (trace, before) in enumerate(zip(traces, recorded, strict=True)):
        due = how(trace, multiple, seed)
        after = [dispersion(due, window) or 0.0 for window in WINDOWS.values()]
        found.append([a / b for a, b in zip(after, before, strict=True)])
    return np.asarray(found).T


def _with_error(ratios: NDArray[np.float64]) -> str:
    return f"{ratios.mean():.3f} ± {ratios.std(ddof=1) / len(ratios) ** 0.5:.3f}"


HEAD = f"""# What another rate does to the bursts of a trace

`python -m benchmarks.arrivals.run`. {SEEDS} synthetic traces of {HOURS} h each, at 9 req/s, each played at so many
times its rate, for {HOURS} h. The rows *recorded* have the index of dispersion of counts D (1 for Poisson arrivals),
the others that at the new rate over the recorded one, mean and standard error: 1 is as bursty as recorded. *Expected*,
at 1, 10 and 60 s: 1 for whole copies and for bursts inside sessions; 1 + p (D - 1) instead of D for a part p of the
sessions where it is their rate that bursts, so that x3.5 has (3 D + 0.5 (1 + 0.5 (D - 1))) / 3.5; the mixed trace lies
between.

- rate-driven: a Markov-modulated Poisson process, each request a session
- session-driven: sessions come as a Poisson process, and each is a burst of 12 requests on average
- mixed: sessions of 4 requests with 5 s to think, whose starts come in bursts

| trace | played | 1 s | 10 s | 60 s | expected |
|---|---|---|---|---|---|
"""


def main() -> None:
    lines = []
    for row in rows(SEEDS):
        print(row, file=sys.stderr, flush=True)
        lines.append(row)
    (Path(__file__).parent / "RESULTS.md").write_text(HEAD + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
