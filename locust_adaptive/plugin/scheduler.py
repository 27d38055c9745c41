"""The scheduler: makes a worker's open-loop arrivals at absolute times, and gives each to a virtual user.

It is no greenlet but a callback of gevent's hub, so that nothing stands between the timer and the request. Due times
come from a `Pacing` and do not drift; a late callback hands over all that is due, each counted from its own time.
"""

from __future__ import annotations

import bisect
import itertools
import logging
import math
import random
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gevent
from locust.exception import StopTest
from locust.runners import locust_exception_handler

from ..replay.arrivals import Pacer, Pacing, Poisson
from ..replay.population import Play
from ..search.meter import ARRIVAL
from . import inflight
from .guards import clock
from .inflight import instruments
from .lease import lease_of
from .pool import Pool
from .timers import make_timer

logger = logging.getLogger(__name__)

BATCH = 64
"""Arrivals handed over in one callback; then the loop gets its turn, so that one delay does not make a longer one."""
LATE_S = 1.0
"""A callback that comes so late finds that this process stood still, or drowns: what became due meanwhile is skipped;
all of it at once would be a burst that nobody asked for."""


class Scheduler:
    """The open-loop load of one worker.

    The rate is `set_rate`'s absolute share, or without one (any plain Locust run) each live token's class attribute
    `rate`. **A worker without a live token sends nothing**, whatever its rate; what would have been due meanwhile is
    not made up later, as the user count then says that there is no load. Nor does it send anything after the end of the
    process's `Lease`. What a share should have sent and could not, for these reasons or because this process stood
    still (`LATE_S`), is *skipped*: told to the meter, so that nobody takes the pause for load.

    Arrivals above `cap` in flight are dropped, and counted by the meter; `growth` virtual users a second are built, at
    most, where the class has an `on_start`; both may change at any time. `on_broken(message)` is told when a class can
    make no virtual users. `grace`: seconds that work in flight gets when Locust stops the test; None for Locust's
    stop_timeout.
    """

    def __init__(self, environment: Any, rng: random.Random | None = None) -> None:
        self.cap = 2000
        self.growth = 50.0
        self.grace: float | None = None
        self.on_broken: Callable[[str], None] | None = None
        self.tokens: Counter[Any] = Counter()
        """Live tokens by user class."""
        self.arrivals = 0
        """Arrivals since the test began, dropped ones included and skipped ones not."""
        self.dropped = self.skipped = 0
        self._environment = environment
        self._lease = lease_of(environment)
        self._rng = rng or random.Random()
        self._pools: dict[Any, Pool] = {}
        self._rate: float | None = None
        self._effective = 0.0
        self._stood_until = -math.inf
        self._pacing: Pacing = Pacer(Poisson(self._rng))
        self._timer = make_timer(gevent.get_hub().loop, self._fire)
        self._classes: list[Any] = []
        self._cumulative: list[float] = []
        inflight.install(environment)
        environment.events.test_start.add_listener(self._on_test_start)
        environment.events.test_stop.add_listener(self._on_test_stop)

    # -- what the load is --------------------------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Arrivals whose task has not ended."""
        return sum(pool.in_flight for pool in self._pools.values())

    @property
    def rate(self) -> float:
        """Arrivals per second now in force: 0 without a live token."""
        return self._effective

    @property
    def broken(self) -> str | None:
        """Why a class can make no virtual users, for the first such class."""
        return next((pool.broken for pool in self._pools.values() if pool.broken), None)

    def set_rate(self, rate: float | None) -> None:
        """Make `rate` arrivals per second from now on; None for each token's own rate. In force at once.

        With a rate, the mix of several classes follows their weights, at any number of tokens; without, it follows the
        live tokens, as Locust's users would. Raises `ValueError` for a rate that is negative or not finite.
        """
        if rate is not None and not (math.isfinite(rate) and rate >= 0):
            raise ValueError(f"rate {rate} arrivals/s: must be finite and not negative")
        self._rate = rate
        self._apply()

    def set_arrivals(self, pacing: Pacing) -> None:
        """Take the arrivals from `pacing` (Poisson's are the default), from now on."""
        self._shed()
        self._pacing = pacing
        self._pacing.set_rate(clock(), self._effective)
        self._arm()

    def add_token(self, user_class: Any) -> None:
        """A Locust user of this open-loop class has started."""
        self.tokens[user_class] += 1
        self._apply()

    def remove_token(self, user_class: Any) -> None:
        """A Locust user of this class has stopped. Its work in flight goes on."""
        self.tokens[user_class] -= 1
        self._apply()

    def prepare(self, n: int, timeout: float | None = None) -> int:
        """Build `n` virtual users, over the classes by the mix, and wait up to `timeout` seconds; how many are ready.

        For the time before a probe: what is built here is not built in an arrival's path.
        """
        mix = self._mix()
        total = sum(mix.values()) or 1.0
        pools = [(self._pool(cls), math.ceil(n * weight / total)) for cls, weight in mix.items() if weight > 0]
        for pool, share in pools:
            pool.prepare(share)
        deadline = None if timeout is None else clock() + timeout
        return sum(pool.wait_ready(None if deadline is None else deadline - clock()) for pool, _ in pools)

    # -- ends --------------------------------------------------------------------------------------------------------

    def abort(self) -> int:
        """Kill all work in flight, requests as `aborted`; how many arrivals. The rate stays as it is."""
        return sum(pool.abort() for pool in self._pools.values())

    def stop(self, grace: float = 0.0) -> None:
        """No more arrivals; work in flight has `grace` seconds to end, then is killed; every `on_stop` runs."""
        self.set_rate(0.0)
        self._shed()  # sent in the next test they would look slow
        self._timer.disarm()
        caller = gevent.getcurrent()
        gevent.joinall([gevent.spawn(pool.stop, grace, caller) for pool in self._pools.values()])

    def close(self) -> None:
        """Stop, and give the timer back: this scheduler cannot be used again."""
        self.stop()
        self._timer.close()

    def _on_test_start(self, **_: Any) -> None:
        self.arrivals = self.dropped = self.skipped = 0
        for pool in self._pools.values():
            pool.mend()

    def _on_test_stop(self, **_: Any) -> None:
        grace = self.grace if self.grace is not None else self._environment.stop_timeout or 0.0
        self.stop(grace)
        self._rate = None

    # -- inside ------------------------------------------------------------------------------------------------------

    def _mix(self) -> dict[Any, float]:
        """Each class's share of the arrivals, in tokens."""
        from .openloop import is_open_loop

        live = {cls: float(n) for cls, n in self.tokens.items() if n > 0}
        if self._rate is None and live:
            return live
        # On a worker, Locust names the classes picked for this run in the target; a few tokens cannot show the weights.
        environment = self._environment
        picked = getattr(environment.runner, "target_user_classes_count", None) or environment.user_classes_by_name
        classes = [cls for cls in environment.user_classes if cls.__name__ in picked and is_open_loop(cls)]
        classes += [cls for cls in live if cls not in classes]
        mix = {cls: live.get(cls, 0.0 if live else cls.fixed_count) for cls in classes if cls.fixed_count}
        rest = [cls for cls in classes if not cls.fixed_count]
        weights = sum(cls.weight for cls in rest)
        tokens = sum(live.get(cls, 0.0) for cls in rest) or (0.0 if live else 1.0)
        return mix | {cls: tokens * cls.weight / weights for cls in rest if weights}

    def _apply(self) -> None:
        rate = sum(n * cls.rate for cls, n in self.tokens.items()) if self._rate is None else self._rate
        self._effective = rate if any(self.tokens.values()) else 0.0
        if self._effective:
            mix = self._mix()
            self._classes = list(mix)
            self._cumulative = list(itertools.accumulate(mix.values()))
            for cls, weight in mix.items():
                self._pool(cls).keep_reserve(rate * weight / self._cumulative[-1])
        self._pacing.set_rate(clock(), rate)
        self._arm()

    def _pool(self, user_class: Any) -> Pool:
        pool = self._pools.get(user_class)
        if pool is None:

            def make() -> Any:
                if self._environment.host:  # as Locust does, but we may build before it spawns
                    user_class.host = self._environment.host
                return user_class.real(self._environment)

            pool = self._pools[user_class] = Pool(user_class, make, self, self._broke)
        return pool

    def _arm(self) -> None:
        due = self._pacing.next_due()
        if due == math.inf:
            self._timer.disarm()
        else:
            self._timer.arm(due - clock())

    def _fire(self) -> None:
        try:
            pacing = self._pacing
            for _ in range(BATCH):
                now = clock()
                if pacing.next_due() > now:
                    break
                self._hand_over(now, *pacing.pop())
        finally:
            self._arm()

    def _hand_over(self, now: float, due: float, play: Play | None) -> None:
        if now - due > LATE_S:
            self._stood_until = now
        if due <= self._stood_until or now > self._lease.until or not self._effective:
            self._skip(now)
            return
        if len(self._classes) == 1:
            cls = self._classes[0]
        else:
            cls = self._classes[bisect.bisect(self._cumulative, self._rng.random() * self._cumulative[-1])]
        pool = self._pools[cls]
        if not pool.can_take or self.in_flight >= self.cap:
            self._drop(now, due)
            return
        self.arrivals += 1
        meter = instruments.meter
        pool.lend(meter, None if meter is None else meter.begin(now, due, ARRIVAL), play)

    def _shed(self) -> None:
        """It is too late for what is due and was not handed over."""
        now = clock()
        while self._pacing.next_due() <= now:
            self._drop(now, self._pacing.pop().due)

    def _skip(self, now: float) -> None:
        self.skipped += 1
        if instruments.meter is not None:
            instruments.meter.skip(now)

    def _drop(self, now: float, due: float) -> None:
        self.arrivals += 1
        self.dropped += 1
        if instruments.meter is not None:
            instruments.meter.drop(now, due)

    def _broke(self, message: str, error: BaseException | None) -> None:
        logger.error(message)
        if self.on_broken is not None:
            self.on_broken(message)
        elif isinstance(error, StopTest):
            # As Locust does when a user it spawns raises this; in a greenlet of its own, as it kills the caller's.
            told = SimpleNamespace(exc_info=(StopTest, error, None))
            gevent.spawn(locust_exception_handler(self._environment), told)


def scheduler_of(environment: Any) -> Scheduler:
    """The one scheduler of this environment, made when first asked for."""
    scheduler = getattr(environment, "_adaptive_scheduler", None)
    if scheduler is None:
        scheduler = environment._adaptive_scheduler = Scheduler(environment)
    return scheduler
