"""One hand on the wheel: while a search runs, only its shape says how many users there are.

Locust's keys w, W, s and S in the terminal would change them behind its back.
"""

from __future__ import annotations

import logging
from typing import Any

import gevent

logger = logging.getLogger("locust_adaptive")


def take(runner: Any) -> None:
    """Let only the shape's greenlet change the number of users; Locust itself may ask for the same number again, as it
    does when a worker comes or goes. Again does nothing."""
    if "start" in vars(runner):
        return
    start = runner.start

    def only_the_shape(user_count: int, *arguments: Any, **named: Any) -> None:
        if gevent.getcurrent() is runner.shape_greenlet or user_count == runner.target_user_count:
            start(user_count, *arguments, **named)
        else:
            logger.warning("a search is running: it decides on the users, and the keys w, W, s and S change nothing")

    runner.start = only_the_shape


def release(runner: Any) -> None:
    """Anyone may change the number of users. Again does nothing."""
    vars(runner).pop("start", None)
