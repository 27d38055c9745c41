"""The `OpenLoop` mixin: Locust's users become tokens, and arrivals do not wait for answers.

A live Locust user of such a class is a *token*: an idle greenlet that is never started, costs next to nothing and comes
and goes at once. The tokens say how much load there is, as Locust's user count does; the work is done by *virtual
users*, real instances of the class that the `Scheduler` lends to arrivals. An arrival is one leaf task.
"""

from __future__ import annotations

import logging
from typing import Any, Literal

from gevent import Greenlet
from gevent.pool import Group
from locust.user.task import LOCUST_STATE_WAITING
from locust.user.users import User, UserMeta

from .scheduler import scheduler_of

logger = logging.getLogger(__name__)


class OpenLoopMeta(UserMeta):
    """Makes Locust's spawning of an open-loop user a token; `real` makes the user itself."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        environment = args[0] if args else kwargs.get("environment")
        if not is_open_loop(cls) or getattr(environment, "runner", None) is None:  # `run_single_user` has no runner
            return super().__call__(*args, **kwargs)
        # Of exactly this class, as Locust counts and stops users by their type; without its __init__, and so no client.
        token: Any = object.__new__(cls)
        token.environment = environment
        token._is_token = True
        token._state = LOCUST_STATE_WAITING
        token._greenlet = token._group = token._taskset_instance = None
        return token

    def real(cls, environment: Any) -> Any:
        """A real instance of the user class."""
        return super().__call__(environment)


class OpenLoop(User, metaclass=OpenLoopMeta):
    """Mixin that makes a user class open loop; stands before the user class: `class Ranker(OpenLoop, FastHttpUser)`.

    `on_start` runs once for each virtual user; weights, TaskSets, `interrupt`, StopUser and failures are Locust's own.
    What differs: `wait_time` between tasks has no meaning (`self.wait()` inside a task has), a TaskSet's `on_start`
    that sends a request takes an arrival of its own, and `self.client` exists on virtual users only, not on what
    Locust's `user_greenlets` hold.
    """

    abstract = True

    load: Literal["open", "closed"] = "open"
    """`closed` switches the mixin off: an ordinary Locust user."""

    arrivals: Literal["poisson", "recorded", "constant"] | None = "poisson"
    """When arrivals come: independent of each other, as in a `ReplayUser`'s trace, or evenly spaced."""

    rate: float = 1.0
    """Arrivals per second and live user, when no adaptive shape sets the rate."""

    _is_token = False

    def start(self, group: Group) -> Greenlet:
        if not self._is_token:
            return super().start(group)
        cls = type(self)
        scheduler = scheduler_of(self.environment)
        # Never started: Locust counts it and finds the user in its arguments, and killing it ends it at once.
        # A `finally` in it would never run, so the end is seen by a link.
        self._greenlet, self._group = Greenlet(_idle, self), group
        group.add(self._greenlet)
        self._greenlet.rawlink(lambda _: scheduler.remove_token(cls))
        scheduler.add_token(cls)
        _tell_once_of_wait_time(cls)
        return self._greenlet

    def stop(self, force: bool = False) -> bool:
        if not self._is_token:
            return super().stop(force)
        self._group.killone(self._greenlet, block=False)
        return True


def is_open_loop(cls: Any) -> bool:
    """Whether users of this class are open loop: it has the `OpenLoop` mixin, not switched off by `load`."""
    return isinstance(cls, OpenLoopMeta) and cls.load == "open"


def _idle(_user: Any) -> None:
    """What a token's greenlet would run."""


_told: set[Any] = set()


def _tell_once_of_wait_time(cls: Any) -> None:
    if cls not in _told:
        _told.add(cls)
        if cls.wait_time is not User.wait_time:
            logger.info("%s is open loop: its wait_time has no effect between tasks", cls.__name__)
