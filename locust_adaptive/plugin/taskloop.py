"""The hooks in Locust's task loop: a virtual user waits for an arrival before a task, and gives it back after; any
other user waits for the lease; and a user that is stopped while it waits does not wake once more.

All else in `TaskSet.run` stays Locust's: weights, nesting, sequences, interrupts, exceptions, stopping.
"""

import sys
from typing import Any

from locust.exception import StopUser
from locust.user.task import LOCUST_STATE_RUNNING, LOCUST_STATE_STOPPING, LOCUST_STATE_WAITING, TaskSet
from locust.user.users import User

from .guards import clock
from .lease import ATTRIBUTE, Lease
from .virtualuser import virtual_user_of

_execute_next_task = TaskSet.execute_next_task
_wait = TaskSet.wait
_stop = User.stop
_RUN = TaskSet.run.__code__


def missing_internals() -> list[str]:
    """What the hooks need and this Locust has not: `TaskSet.run` must call both."""
    names = [name for name in ("execute_next_task", "wait") if name not in _RUN.co_names]
    return [f"locust.TaskSet.run calling {name}" for name in names]


def install() -> None:
    """Put the hooks in, for all TaskSets of the process; again does nothing."""
    TaskSet.execute_next_task = _hooked_execute_next_task
    TaskSet.wait = _hooked_wait
    User.stop = _hooked_stop


def has_started(user: Any) -> bool:
    """Whether a closed-loop user is past its `on_start`; True where that cannot be seen (users without TaskSets)."""
    return getattr(user, "_taskset_instance", None) is None or hasattr(user, "_adaptive_started")


def _hooked_execute_next_task(self: Any) -> None:
    user = self._user
    vu = virtual_user_of(user)
    if vu is not None:
        vu.await_arrival()
    else:
        lease = getattr(user.environment, ATTRIBUTE, None)
        if lease is not None and clock() > lease.until:
            _await_lease(user, lease)
        user._adaptive_started = True
    _execute_next_task(self)


def _await_lease(user: Any, lease: Lease) -> None:
    """Between two tasks, as in Locust's own wait: a stop ends it at once."""
    user._state = LOCUST_STATE_WAITING
    lease.wait()
    if user._state == LOCUST_STATE_STOPPING:
        raise StopUser
    user._state = LOCUST_STATE_RUNNING


def _hooked_wait(self: Any) -> None:
    vu = virtual_user_of(self._user)
    if vu is None or sys._getframe(1).f_code is not _RUN:
        _wait(self)  # a user of another kind, or a think time inside a task
        return
    if not vu.busy:
        # Nothing took an arrival before this turn (picking the task failed): take one now, or the loop would spin.
        vu.await_arrival()
    vu.end_arrival()


def _hooked_stop(self: Any, force: bool = False) -> bool:
    """Locust kills a user that waits. Its wait may end before the kill comes, some ms later when many leave: then it
    must end by itself, and not send a request that would be killed in flight and counted by nobody but the server."""
    if not force and self._state == LOCUST_STATE_WAITING:
        self._state = LOCUST_STATE_STOPPING
        self._group.killone(self._greenlet)
        return True
    return bool(_stop(self, force))
