"""What is checked before any load, whatever the door: command line, environment, configuration file or web form."""

from __future__ import annotations

from typing import Any

from . import replayuser, session
from .exchange import makes_load
from .options import Plan, resolve


def before_load(environment: Any, shape: Any, options: Any, user_classes: list[Any], max_users: int | None) -> Plan:
    """What a search with these options would do. Raises ConfigError for what cannot work; changes nothing."""
    plan = resolve(shape, options, user_classes, max_users)
    session.check_out(plan)
    if makes_load(environment.runner) or getattr(options, "processes", None):  # forks have what the master has
        replayuser.prepare(user_classes, environment.host)
    return plan
