"""What a tool under test may do: offer a load for a while and look at what came back. Virtual time, one server.

The server's state goes on from window to window: its queue, its warm-up, its pauses, whatever ails it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from locust_adaptive.simulation.arrivals import Arrivals as Traffic
from locust_adaptive.simulation.arrivals import Bursts
from locust_adaptive.simulation.mischief import Mischief
from locust_adaptive.simulation.server import Server

from .engine import Floats, Machine, State, closed_loop, open_loop

Arrivals = Literal["poisson", "constant"]
Offer = Callable[[float, float], tuple[Floats, Floats, Floats]]
"""A load from one second to another: when each request was sent, when it was answered, and when older ones were."""


class BudgetSpent(Exception):
    """The time allowed is over: what was asked for cannot be done."""


@dataclass(frozen=True)
class Window:
    """What one measuring window saw.

    `rate`: what was offered, 1/s (or users). `seconds`: how long it lasted. `sent`: requests sent in it. `done`:
    requests served within it, whenever they were sent. `latencies`: seconds, of the requests sent in it, inf for one
    that was refused or lost; of all of them if the window was drained, otherwise of those answered by its end, and inf
    for each that is then open and older than the limit. `rejected`: how many were refused or lost.
    """

    rate: float
    seconds: float
    sent: int
    done: int
    latencies: Floats
    rejected: int

    def quantile(self, q: float) -> float:
        """Nearest rank, in seconds. Inf if nothing is known: no evidence is no pass."""
        if not len(self.latencies):
            return math.inf
        rank = max(math.ceil(q * len(self.latencies) - 1e-9), 1)
        return float(np.partition(self.latencies, rank - 1)[rank - 1])

    def miss_ratio(self, limit: float) -> float:
        """Share of the known latencies above `limit` seconds; 1 if none is known."""
        return float(np.mean(self.latencies > limit)) if len(self.latencies) else 1.0


class Bench:
    """A server, and a tool's hand on it. `limit_s` and `quantile` are the SLO, `low` and `high` the range of loads:
    what a user tells the tool. Every method raises BudgetSpent where `now` would pass `budget_s`.
    """

    def __init__(
        self,
        server: Server,
        *,
        limit_s: float,
        quantile: float,
        low: float,
        high: float,
        seed: int,
        budget_s: float = 3600.0,
        mischief: Mischief | None = None,
        bursts: Bursts | None = None,
    ) -> None:
        """`bursts`: the traffic comes in bursts, where a tool sends at random at all."""
        arrivals, service = np.random.SeedSequence(seed).spawn(2)
        self.limit_s, self.quantile, self.low, self.high = limit_s, quantile, low, high
        self.now, self.budget_s = 0.0, budget_s
        self._traffic = Traffic(np.random.default_rng(arrivals), bursts)
        self._machine = Machine.of(server, mischief)
        self._state = State.new(self._machine, np.random.default_rng(service))
        self._serving: Floats = np.empty(0)
        """When those being served now will be answered."""
        self._has_left = False

    def run(
        self, rate: float, seconds: float, *, settle_s: float = 0.0, drain: bool = True, arrivals: Arrivals = "poisson"
    ) -> Window:
        """Offer `rate` requests/s for `seconds`, after `settle_s` seconds of the same that do not count. `drain`: then
        wait until nothing is open."""
        begin = self.now + settle_s
        end = begin + seconds
        self._afford(end)
        return self._offer(rate, self._times(rate, self.now, end, arrivals), begin, end, drain)

    def run_requests(
        self, rate: float, requests: int, *, settle_s: float = 0.0, drain: bool = True, arrivals: Arrivals = "poisson"
    ) -> Window:
        """As `run`, until so many requests have been sent in the window."""
        begin = self.now + settle_s
        before = self._times(rate, self.now, begin, arrivals)
        seconds = 1.2 * requests / rate
        while len(counted := self._times(rate, begin, begin + seconds, arrivals)) < requests:
            seconds *= 1.2
        counted = counted[:requests]
        end = float(np.nextafter(counted[-1], math.inf))
        self._afford(end)
        return self._offer(rate, np.concatenate([before, counted]), begin, end, drain)

    def run_users(self, users: int, seconds: float, *, settle_s: float = 0.0, drain: bool = True) -> Window:
        """As `run`, with users who send their next request as soon as they have the answer to the last. Those whose
        request is still open from the window before go on with it."""
        begin = self.now + settle_s
        end = begin + seconds
        self._afford(end)

        def offer(start: float, stop: float) -> tuple[Floats, Floats, Floats]:
            return closed_loop(self._machine, self._state, users, self._serving, start, stop)

        return self._window(float(users), offer, begin, end, drain)

    def wait(self, seconds: float) -> None:
        """Offer nothing for a while."""
        self._afford(self.now + seconds)
        self._offer(0.0, np.empty(0), self.now, self.now + seconds, drain=False)

    # -- time --------------------------------------------------------------------------------------------------------

    def _afford(self, until: float) -> None:
        if until > self.budget_s:
            self.now = self.budget_s
            raise BudgetSpent(f"the {self.budget_s:g} s allowed for a search are over")

    def _times(self, rate: float, start: float, end: float, arrivals: Arrivals) -> Floats:
        if arrivals == "constant":
            return start + np.arange(math.ceil((end - start) * rate)) / rate
        return self._traffic.times(start, end, rate)

    def _offer(self, rate: float, sent: Floats, begin: float, end: float, drain: bool) -> Window:
        def offer(start: float, stop: float) -> tuple[Floats, Floats, Floats]:
            now = sent[(sent >= start) & (sent < stop)]
            return now, *open_loop(self._machine, self._state, now, stop)

        return self._window(rate, offer, begin, end, drain)

    # -- what came back ----------------------------------------------------------------------------------------------

    def _window(self, rate: float, offer: Offer, begin: float, end: float, drain: bool) -> Window:
        """Make the load happen from now to `end`. Time is `end` then, or when nothing is open any more."""
        leaves, back = self._machine.gone
        if leaves < end and not self._has_left:
            self._has_left = True
            sent, finish, others = self._pass(offer, max(leaves, self.now))
            # What is open when the server goes is lost.
            finish[~(finish <= leaves)] = math.inf
            others = others[others <= leaves]
            self._state.restart(back)
            self._serving = np.empty(0)
            later = self._pass(offer, end)
            sent, finish, others = (np.concatenate(x) for x in zip((sent, finish, others), later, strict=True))
        else:
            sent, finish, others = self._pass(offer, end)
        if drain:
            finish, others = self._drain(finish, others)
        served = np.concatenate([finish[np.isfinite(finish)], others])
        counted = sent >= begin
        latencies = finish[counted] - sent[counted]
        if not drain:
            is_open = ~(finish[counted] <= end) & ~np.isinf(latencies)
            late = is_open & (end - sent[counted] > self.limit_s)
            latencies = np.where(late, math.inf, latencies)[~is_open | late]
        return Window(
            rate,
            end - begin,
            int(counted.sum()),
            int(((served > begin) & (served <= end)).sum()),
            latencies,
            int(np.isinf(finish[counted]).sum()),
        )

    def _pass(self, offer: Offer, until: float) -> tuple[Floats, Floats, Floats]:
        """Time passes to `until`. When each new request was sent and answered, and when the older ones were."""
        sent, finish, others = offer(self.now, until)
        others = np.concatenate([self._serving, others])
        self.now = until
        self._serving = _after(finish, others, until)
        return sent, finish, others

    def _drain(self, finish: Floats, others: Floats) -> tuple[Floats, Floats]:
        """No more arrivals; `now` becomes the time of the last answer."""
        _, rest = open_loop(self._machine, self._state, np.empty(0), math.inf)
        # First in, first out: the older ones come back first.
        waiting = np.isnan(finish)
        old = len(rest) - int(waiting.sum())
        finish[waiting] = rest[old:]
        others = np.concatenate([others, rest[:old]])
        last = float(np.concatenate([self._serving, rest]).max(initial=self.now))
        self._afford(last)
        self.now = last
        self._serving = np.empty(0)
        return finish, others


def _after(finish: Floats, others: Floats, t: float) -> Floats:
    """The answers that come after `t`."""
    answers = np.concatenate([finish, others])
    return answers[np.isfinite(answers) & (answers > t)]
