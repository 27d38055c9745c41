"""The servers of the suite, and what is asked of them: the 18 of the suite, and those held out from all tuning.

One server, first in, first out: see `Server`. Its queue is bounded by 5 s of what it can serve; a refused request
counts as bad. Whoever starts a search knows the SLO, and a range of loads: `Scenario.loads`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from locust_adaptive.search.settings import Loop
from locust_adaptive.search.slo import Objective, Slo
from locust_adaptive.simulation.arrivals import Bursts
from locust_adaptive.simulation.mischief import Mischief
from locust_adaptive.simulation.server import Server

PATIENCE_S = 10.0
"""Stands in for the limit of an SLO without one."""

Truth = Literal["settled", "pooled", "moment"]
"""Of which server the capacity is asked: as it is in the end, without what disturbs it for less than a tenth of the
time (a cold start, pauses, a co-tenant, a restart); with all of it; as it is at the end of the search."""


@dataclass(frozen=True)
class Scenario:
    """A server and a question. `bursts`: how its traffic comes; None is Poisson."""

    name: str
    server: Server
    slo: str
    truth_of: Truth = "settled"
    loop: Loop = "open"
    bursts: Bursts | None = None
    mischief: Mischief | None = None

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        return Slo.parse(self.slo).counted

    @property
    def limit_s(self) -> float:
        """Of the first objective: a tool that takes one is given that."""
        first = self.objectives[0]
        return first.limit if first.signal == "latency" else PATIENCE_S

    @property
    def quantile(self) -> float:
        """The share of requests that must be good, by the first objective."""
        budget = self.objectives[0].budget
        assert budget is not None
        return 1 - budget

    def seed(self, number: int) -> int:
        """Another one for each scenario, so that they do not share their luck."""
        return int(np.random.SeedSequence([number, zlib.crc32(self.name.encode())]).generate_state(1)[0])

    def loads(self, capacity: float, number: int) -> tuple[float, float]:
        """The lowest and the highest load that a user gives for search `number`: he knows the capacity to a factor of
        1.5 to 4 from above, and to one of 64 below that."""
        high = capacity * np.random.default_rng(self.seed(number)).uniform(1.5, 4)
        if self.loop == "closed":
            return max(round(high / 64), 1), round(high)
        return float(f"{high / 64:.3g}"), float(f"{high:.3g}")


def service_rate(server: Server) -> float:
    """Requests/s of a server with all its workers busy and no trouble."""
    work = 1.0
    if server.bimodal is not None:
        share, factor = server.bimodal
        work = 1 - share + share * factor
    return server.workers * server.batch / ((server.base + server.per_request * server.batch) * work)


def _bounded(server: Server) -> Server:
    return replace(server, queue=round(5 * service_rate(server)))


ONE = _bounded(Server(1, 0.010, sigma=0.3))
BATCHES = _bounded(Server(1, 0.030, 0.0020, 16, 0.005, 0.15))
FOUR = _bounded(Server(4, 0.020, sigma=0.3))
NEIGHBOUR = (1.4, 8.0, 92.0)
PAUSES = (0.5, 2.0, 60.0)

SUITE: tuple[Scenario, ...] = (
    Scenario("01 M/G/1 p95", ONE, "p95<100ms"),
    Scenario("02 M/G/1 p99", ONE, "p99<150ms"),
    Scenario("03 batches of 16", BATCHES, "p95<150ms"),
    Scenario("04 4 x batches of 8, p99", _bounded(Server(4, 0.060, 0.006, 8, 0.010, 0.25)), "p99<400ms"),
    Scenario("05 heavy tail, p99", _bounded(Server(8, 0.060, sigma=1.0)), "p99<600ms"),
    Scenario("06 bimodal", _bounded(Server(4, 0.020, sigma=0.2, bimodal=(0.05, 8.0))), "p95<250ms"),
    Scenario("07 LLM-like, 1.6 s", _bounded(Server(16, 1.6, sigma=0.6)), "p95<6s"),
    Scenario("08 cold for 60 s", replace(BATCHES, cold=(3.0, 60.0)), "p95<150ms"),
    Scenario("09 cold for 180 s", replace(ONE, cold=(4.0, 180.0)), "p95<100ms"),
    Scenario("10 pauses of 0.5-2 s", replace(BATCHES, pauses=PAUSES), "p95<150ms"),
    Scenario("11 pauses of 0.1-0.4 s", replace(FOUR, pauses=(0.1, 0.4, 15.0)), "p95<120ms"),
    Scenario("12 co-tenant 8 %", replace(FOUR, tenant=(1.5, 8.0, 92.0)), "p95<120ms"),
    Scenario("13 co-tenant 30 %", replace(FOUR, tenant=(1.3, 12.0, 28.0)), "p95<120ms", "pooled"),
    Scenario("14 slow phases 40 %", replace(ONE, modes=(1.15, 0.4, 20.0)), "p95<100ms", "pooled"),
    Scenario("15 drift", replace(BATCHES, drift=(0.15, 200.0)), "p95<150ms"),
    Scenario("16 metastable", replace(FOUR, metastable=(0.2, 1.6)), "p95<120ms"),
    Scenario("17 non-monotone", _bounded(Server(1, 0.012, 0.001, 8, 0.100, 0.1)), "p95<115ms"),
    Scenario(
        "18 cold, pauses, co-tenant, drift",
        replace(BATCHES, sigma=0.2, cold=(3.0, 90.0), pauses=PAUSES, tenant=NEIGHBOUR, drift=(0.05, 200.0)),
        "p95<150ms",
    ),
)

HELD_OUT: tuple[Scenario, ...] = (
    Scenario("H1 bursts", FOUR, "p95<120ms", bursts=Bursts(3.0, 0.5, 2.0)),
    Scenario(
        "H2 restart after 150 s",
        _bounded(Server(2, 0.016, sigma=0.4, cold=(3.0, 30.0))),
        "p95<100ms",
        mischief=Mischief("http 429", gone=(150.0, 158.0)),
    ),
    Scenario("H3 rate limiter", FOUR, "p95<120ms", mischief=Mischief("http 429", above=120.0)),
    Scenario("H4 autoscaler", _bounded(Server(2, 0.020, sigma=0.3, scale=(3, 0.8, 60.0))), "p95<120ms"),
    Scenario("H5 slow leak", replace(ONE, leak=0.3), "p95<100ms", "moment"),
    Scenario(
        "H6 two objectives",
        _bounded(Server(6, 0.030, sigma=0.4, bimodal=(0.03, 6.0))),
        "p99<350ms & p50<45ms",
    ),
    Scenario("H7 errors", Server(8, 0.050, sigma=0.5, queue=12), "errors<0.5%"),
    Scenario("H8 p99.9", _bounded(Server(4, 0.010, sigma=0.3)), "p99.9<100ms"),
    # 5 s of what it can serve would be a queue of 3.
    Scenario("H9 LLM-like, 0.5/s", Server(4, 6.0, sigma=0.6, queue=30), "p95<20s"),
    Scenario("H10 20 000/s", _bounded(Server(32, 0.030, 0.0006, 32, 0.005, 0.2)), "p95<150ms"),
    Scenario("H11 users", _bounded(Server(8, 0.040, 0.004, 8, 0.005, 0.3)), "p95<250ms", loop="closed"),
)
"""Defined before any tuning on the suite, and run once, at the end: what a search does on servers it was not made
for."""
