"""Locust's events, wired to ours. Imported with the shape; registering twice does nothing."""

from __future__ import annotations

import logging
import sys
from typing import Any

from locust import events

from . import options, session
from .exchange import leads, makes_load
from .shape import AdaptiveShape

logger = logging.getLogger("locust_adaptive")

_registered = False


def register() -> None:
    """Listen to Locust's events in this process."""
    global _registered
    if _registered:
        return
    _registered = True
    events.init_command_line_parser.add_listener(_add_arguments)
    events.init.add_listener(on_init)
    events.quit.add_listener(_on_quit)


def _add_arguments(parser: Any, **_: Any) -> None:
    options.add_arguments(parser, session.shape_class)


def on_init(environment: Any, runner: Any, **_: Any) -> None:
    """An environment is there. A configuration that cannot work ends a headless run here, before any load."""
    shape = environment.shape_class
    if makes_load(runner):
        session.agent_of(environment)
    if not leads(runner) or not isinstance(shape, AdaptiveShape):
        return
    state = session.adaptive_of(environment)
    parsed = environment.parsed_options
    # Locust sets this to 1 later when it was not given.
    state.max_users = getattr(parsed, "num_users", None)
    environment.events.test_stop.add_listener(lambda **_: _on_test_stop(environment))
    if parsed is not None and (parsed.headless or parsed.autostart):
        try:
            options.resolve(shape, parsed, environment.user_classes, state.max_users)
        except options.ConfigError as e:
            sys.stderr.write(f"locust-adaptive: {e}\n")
            sys.exit(2)


def _on_test_stop(environment: Any) -> None:
    current = session.of(environment)
    if current is not None:
        current.stop("stopped")
        parsed = environment.parsed_options
        if current.block is not None and not (parsed is not None and parsed.headless):
            logger.info("%s", "\n" + current.block)
        _latest.append(current)


_latest: list[session.Session] = []


def _on_quit(**_: Any) -> None:
    """Last of all, below Locust's own summary: the verdict."""
    if _latest and _latest[-1].block is not None and _latest[-1].environment.parsed_options.headless:
        sys.stdout.write("\n" + _latest[-1].block + "\n")
        sys.stdout.flush()
