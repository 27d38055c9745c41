"""`AdaptiveShape`: the class a locustfile adds. Locust asks it once a second for users; the conductor does the rest."""

from __future__ import annotations

import logging
from typing import Any

from locust import LoadTestShape

from . import session
from .options import ConfigError

logger = logging.getLogger("locust_adaptive")

SPAWN_RATE = 100.0
"""Users per second; the most that Locust spawns without a warning."""
PATIENCE_TICKS = 3


class AdaptiveShape(LoadTestShape):
    """Searches for the highest load that meets `slo`.

    Every option is also a class attribute, e.g. `slo = "p99<250ms & errors<1%"` or `adaptive_max = 500`. One given on
    the command line, in the environment or in the web form stands over it.
    """

    abstract = True

    slo: str = ""

    use_common_options = True
    """Locust's -u and -t are read here: as a ceiling, and as the time that the search may take."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__dict__.get("abstract", False):
            session.shape_class = cls

    def __init__(self) -> None:
        super().__init__()
        self._waited = 0
        self._nudge = 0.0

    def tick(self) -> tuple[int, float] | None:
        """Locust's question. Never raises and never blocks: the load ends instead."""
        try:
            return self._tick()
        except ConfigError as e:
            logger.error("%s", e)
            self.runner.environment.process_exit_code = 2
        except Exception as e:  # an exception here would leave the load running for ever (Locust, web UI)
            logger.exception("the adaptive search cannot go on")
            self._fail(e)
        return None

    def _fail(self, error: Exception) -> None:
        if self.runner is None:
            return
        self.runner.environment.process_exit_code = 2
        try:
            if (current := session.of(self.runner.environment)) is not None and not current.over:
                current.fail(error)
        except Exception:  # what is broken may be the session itself
            logger.exception("the search could not be ended properly")

    def _tick(self) -> tuple[int, float] | None:
        runner = self.runner
        state = session.adaptive_of(runner.environment)
        current = state.session
        if current is None or current.closed or state.stopping:  # a stop ends this greenlet, or the one before it
            current = state.begin(self)
        if current.over:
            return None
        users = current.users
        if runner.user_count == users:
            self._waited = 0
        else:
            self._waited += 1
            if self._waited > PATIENCE_TICKS:
                # Locust can undershoot for good after a fast down and up; a tuple that differs makes it dispatch again.
                self._waited = 0
                self._nudge = 1e-6 if self._nudge == 0.0 else 0.0
        return users, SPAWN_RATE - self._nudge
