"""ml-loadtest 1.12.5, mode INDIVIDUAL: users up or down by one at each check, and what was served at the end.

Source: its description and defaults. The run ends at the first check that is a tenth over the limit, at the most users,
or after 600 s. What it reports is the rate of its last 10 000 answers, whatever the load was at the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..bench import Bench, Window
from .shared import anytime

NAME = "ml-loadtest"
ASSUMPTIONS = (
    "A user is a 32nd of high, 32 being its default for the most users; it starts with one.",
    "Its other modes (an endpoint's latency before, the long run after) take no part in the search and no time here.",
    "The load goes on from check to check without a pause.",
)

CHECK_S, END_S, USERS, TOLERANCE, BUFFER = 30.0, 600.0, 32, 0.1, 10_000


@anytime
def search(bench: Bench) -> Iterator[float]:
    """Answers per second, over its buffer at the end of the run."""
    users, change = 1, 0
    checks: list[Window] = []
    while True:
        window = bench.run(users * bench.high / USERS, CHECK_S, drain=False)
        checks.append(window)
        yield _rate(checks)
        too_slow = window.quantile(bench.quantile) > (1 + TOLERANCE) * bench.limit_s
        if too_slow or users >= USERS or len(checks) * CHECK_S >= END_S:
            return
        since = replace(window, latencies=np.concatenate([check.latencies for check in checks[change:]]))
        tail = since.quantile(bench.quantile) / bench.limit_s
        step = (tail < 1 - TOLERANCE) - (tail > 1 + TOLERANCE)
        if step and users + step >= 1:
            users, change = users + step, len(checks)


def _rate(checks: Sequence[Window]) -> float:
    """Of the last `BUFFER` answers, 1/s."""
    answers, seconds = 0.0, 0.0
    for check in reversed(checks):
        share = min(1.0, (BUFFER - answers) / max(check.done, 1))
        answers, seconds = answers + share * check.done, seconds + share * check.seconds
    return answers / seconds
