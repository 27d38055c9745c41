"""The virtual user: the greenlet that runs one real instance of a user class, one arrival at a time.

It runs Locust's own `User.run` unchanged; the hooks in `taskloop` bring it here before each task and after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gevent import Greenlet

from .guards import clock

if TYPE_CHECKING:
    from ..replay.population import Play
    from ..search.meter import Meter, Request
    from .pool import Pool

MAX_PASSES = 100
"""How often an arrival is passed on by tasks that interrupt without a request: a TaskSet of only such never ends."""


class VirtualUser(Greenlet):
    """Parked in its pool, or busy with an arrival.

    `is_up`: its `on_start` is over. `counts`: its requests are load, and not set-up or clean-up. `used`: the arrival in
    hand has sent a request; `request` is its record until then, None without a meter. `retiring`: asked to end when it
    parks. `aborted`: being killed by us. `failure`: what it died of.
    """

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.pool = pool
        self.is_up = self.counts = self.busy = self.used = self.retiring = self.aborted = False
        self.failure: Exception | None = None
        self.meter: Meter | None = None
        self.request: Request | None = None
        self.play: Play | None = None
        self._passes = 0

    def _run(self) -> None:
        try:
            self.pool.build(self).run()
        except Exception as e:  # Locust has logged it or fired user_error; the pool replaces us and counts deaths
            self.failure = e
        finally:
            self.leave()

    def leave(self) -> None:
        """The last task is over; what is sent from now on is clean-up."""
        self.counts = False
        self.end_arrival("aborted" if self.aborted else None)

    def begin_arrival(self, meter: Meter | None, request: Request | None, play: Play | None) -> None:
        """Take an arrival whose record is `request`, begun with `meter`; `play` is what it is to send, if that is
        given."""
        self.busy, self.used, self._passes = True, False, 0
        self.meter, self.request, self.play = meter, request, play

    def use(self) -> tuple[Meter | None, Request | None]:
        """A request goes out: the arrival's record if it is the first of an arrival, else nothing."""
        self.used = True
        meter, request = self.meter, self.request
        self.meter = self.request = None
        return meter, request

    def take_play(self) -> Play | None:
        """What the arrival in hand is to send, if that is given and was not taken before."""
        play, self.play = self.play, None
        return play

    def await_arrival(self) -> None:
        """Return with an arrival in hand.

        One that a task gave back without a request (by `interrupt` or `RescheduleTaskImmediately`) is passed on to the
        next pick; one that has sent a request is used up.
        """
        if self.busy:
            if not self.used and self._passes < MAX_PASSES:
                self._passes += 1
                return
            self.end_arrival()
        self.pool.park(self)

    def end_arrival(self, error: str | None = None) -> None:
        """The task is over. An arrival that sent nothing is taken back, or failed with `error`."""
        if not self.busy:
            return
        self.busy = False
        self.pool.in_flight -= 1
        meter, request = self.use()
        if meter is not None and request is not None:
            if error is None:
                meter.cancel(request, clock())
            else:
                meter.finish(request, clock(), error)


def virtual_user_of(user: Any) -> VirtualUser | None:
    """The greenlet of a Locust user that an arrival runs on; None for closed-loop users, tokens and no user."""
    greenlet = getattr(user, "_greenlet", None)
    return greenlet if type(greenlet) is VirtualUser else None
