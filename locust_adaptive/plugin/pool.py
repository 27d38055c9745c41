"""The pool of virtual users of one class: ready ones waiting, last in first out, and new ones built in good time.

Last in first out keeps connections warm. `on_start` runs before a virtual user is lent. An arrival that finds none
ready waits for the next one, counted from when it was due: the reserve is there so that this is rare.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import gevent
from gevent.event import Event
from gevent.pool import Group
from locust.exception import StopTest, StopUser
from locust.user.users import User

from .guards import clock
from .virtualuser import VirtualUser

if TYPE_CHECKING:
    from ..replay.population import Play
    from ..search.meter import Meter, Request

logger = logging.getLogger(__name__)

MAX_DEATHS = 5
"""So many virtual users in a row that die in `on_start` end the attempts."""
ON_STOP_S = 2.0
"""How long `on_stop` may take when the pool is stopped, in seconds."""
MIN_RESERVE, MAX_RESERVE = 2, 32


class Limits(Protocol):
    """`cap`: arrivals in flight, in all pools of a worker. `growth`: virtual users built a second where the class has
    an `on_start` of its own (a login)."""

    cap: int
    growth: float


class Pool:
    """Lends virtual users of one class to arrivals.

    `make_user` makes a real user. A class with an `on_start` of its own grows by at most `limits.growth` a second,
    others as fast as arrivals need; never above `limits.cap` and the reserve. `on_broken` gets one message, and the
    last error, when no virtual user can be made.
    """

    def __init__(
        self,
        user_class: Any,
        make_user: Callable[[], Any],
        limits: Limits,
        on_broken: Callable[[str, BaseException | None], None],
    ) -> None:
        self.user_class = user_class
        self.in_flight = 0
        """Arrivals whose task has not ended, those that wait for a virtual user included."""
        self.broken: str | None = None
        """Why no virtual user can be made."""
        self._make_user = make_user
        self._limits = limits
        self._logs_in = user_class.on_start is not User.on_start
        self._on_broken = on_broken
        self._members = Group()
        self._free: list[VirtualUser] = []
        self._waiting: deque[tuple[Meter | None, Request | None, Play | None]] = deque()
        self._starting = 0
        self._deaths = 0
        self._target = 0
        self._reserve = MIN_RESERVE
        self._builder: gevent.Greenlet | None = None
        self._changed = Event()
        self._stopping = False

    @property
    def size(self) -> int:
        """Virtual users, those in `on_start` included."""
        return len(self._members)

    @property
    def can_take(self) -> bool:
        """Whether an arrival will find a virtual user, now or soon."""
        return not self.broken or bool(self._free)

    @property
    def ready(self) -> int:
        """Virtual users past their `on_start`, busy or not."""
        return self.size - self._starting

    # -- arrivals ----------------------------------------------------------------------------------------------------

    def lend(self, meter: Meter | None, request: Request | None, play: Play | None = None) -> None:
        """Run a task for an arrival, up to where it first waits. Only the hub may call this: it switches directly."""
        self.in_flight += 1
        free = self._free
        while free:
            vu = free.pop()
            if not vu.dead:
                vu.begin_arrival(meter, request, play)
                vu.switch()
                if len(free) < self._reserve // 2:
                    self._grow()
                return
        self._waiting.append((meter, request, play))
        self._grow()

    def park(self, vu: VirtualUser) -> None:
        """Return when `vu` has an arrival. Raises `StopUser` when it is to end."""
        if not vu.is_up:
            vu.is_up = vu.counts = True
            self._starting -= 1
            self._deaths = 0
            self._changed.set()
        if self._waiting:
            vu.begin_arrival(*self._waiting.popleft())
            return
        if self._stopping:
            raise StopUser
        self._free.append(vu)
        hub = gevent.get_hub()
        while not vu.busy:  # anything may wake a greenlet: only an arrival counts
            if vu.retiring:
                raise StopUser
            try:
                hub.switch()
            except gevent.Timeout:
                continue  # left open by a task: none of ours

    # -- size --------------------------------------------------------------------------------------------------------

    def keep_reserve(self, rate: float) -> None:
        """Keep a tenth of a second's worth of virtual users ready for `rate` arrivals a second, beyond those busy."""
        self._reserve = min(max(math.ceil(rate / 10), MIN_RESERVE), MAX_RESERVE)
        if rate > 0 and len(self._free) < self._reserve // 2:
            self._grow()

    def prepare(self, n: int) -> None:
        """Build up to `n` virtual users in all, from now on and beside the arrivals' path. See `wait_ready`."""
        self._target = min(n, self._limits.cap)
        self._grow()

    def wait_ready(self, timeout: float | None) -> int:
        """Wait until what `prepare` asked for is ready, or the pool is broken; the number ready."""
        deadline = clock() + (math.inf if timeout is None else timeout)
        while self.ready < self._target and not self.broken and (left := deadline - clock()) > 0:
            self._changed.clear()
            self._changed.wait(None if left == math.inf else left)
        return self.ready

    def _wanted(self) -> int:
        spare = max(self._reserve - len(self._free), 0)
        wanted = max(self._target - self.size, len(self._waiting) + spare - self._starting)
        return min(wanted, self._limits.cap + self._reserve - self.size)

    def _grow(self) -> None:
        if not self._builder and not self.broken and not self._stopping and self._wanted() > 0:
            self._builder = gevent.spawn(self._build)

    def _build(self) -> None:
        while not self.broken and self._wanted() > 0:
            self._starting += 1
            vu = VirtualUser(self)
            self._members.start(vu)
            vu.rawlink(self._gone)  # a link, as one that is killed before it ran has no `finally`
            gevent.sleep(1 / self._limits.growth if self._logs_in else 0)  # the pace of logins
        self._builder = None

    def build(self, vu: VirtualUser) -> Any:
        """The real user that `vu` runs, made in its greenlet: an `__init__` may wait, and the hub may not."""
        user = self._make_user()
        user._greenlet, user._group = vu, self._members
        on_stop = user.on_stop

        def leave() -> None:
            vu.leave()
            on_stop()

        user.on_stop = leave
        return user

    def _gone(self, vu: VirtualUser) -> None:
        error = vu.failure
        self._changed.set()
        if not vu.is_up:
            self._starting -= 1
            if not vu.aborted:
                self._deaths += 1
                if self._deaths >= MAX_DEATHS or isinstance(error, StopTest):
                    self._break(error)
        elif error is not None:
            logger.error("%s ended: %s: %s", self.user_class.__name__, type(error).__name__, error)
        if self._waiting:
            self._grow()

    def _break(self, error: BaseException | None) -> None:
        if self.broken:
            return
        name = self.user_class.__name__
        if isinstance(error, StopTest):
            self.broken = f"{name}: no virtual user can be made: {error}"
        else:
            last = "StopUser" if error is None else f"{type(error).__name__}: {error}"
            self.broken = (
                f"{name}.on_start ended {self._deaths} times in a row before a task could run (last: {last}). No more "
                f"virtual users are made; arrivals that find none are dropped. Make on_start work, then start again."
            )
        self._fail_waiting("exception")
        self._on_broken(self.broken, error)

    def _fail_waiting(self, error: str) -> int:
        failed = len(self._waiting)
        self.in_flight -= failed
        now = clock()
        while self._waiting:
            meter, request, _ = self._waiting.popleft()
            if meter is not None and request is not None:
                meter.finish(request, now, error)
        return failed

    # -- end ---------------------------------------------------------------------------------------------------------

    def abort(self) -> int:
        """Kill what is in flight; how many arrivals that were. Their open requests end as `aborted`."""
        aborted = self._fail_waiting("aborted")
        busy = [vu for vu in self._members if vu.busy]
        self._kill(busy)
        gevent.joinall(busy, timeout=ON_STOP_S)
        return aborted + len(busy)

    def stop(self, grace: float, caller: Any = None) -> None:
        """End all virtual users: `grace` seconds for the busy ones to finish, then a short time for every `on_stop`.

        A virtual user that is itself the `caller` (a task that ends the test) ends after its task. The pool can be used
        again after.
        """
        if caller in self._members:
            caller.retiring = True
        self._stopping = True
        if self._builder:
            self._builder.kill()
            self._builder = None
        self._fail_waiting("aborted")
        self._target = 0
        self._kill([vu for vu in self._members if not vu.is_up])
        parked, self._free = self._free, []
        for vu in parked:
            vu.retiring = True
            gevent.get_hub().loop.run_callback(vu.switch)
        others = [vu for vu in self._members if vu is not caller]
        gevent.joinall([vu for vu in others if vu.busy], timeout=grace)
        self._kill([vu for vu in others if vu.busy])
        gevent.joinall(others, timeout=ON_STOP_S)
        if left := [vu for vu in others if not vu.dead]:
            logger.warning("%s: on_stop took longer than %g s and was ended", self.user_class.__name__, ON_STOP_S)
            gevent.killall(left, timeout=ON_STOP_S)
        self._stopping = False
        self.mend()

    def mend(self) -> None:
        """Forget that no virtual user could be made: another test may have better luck."""
        self._deaths = 0
        self.broken = None

    @staticmethod
    def _kill(vus: list[VirtualUser]) -> None:
        for vu in vus:
            vu.aborted = True
        gevent.killall(vus, block=False)
