"""Locust's events, wired to ours. Imported with the shape; registering twice does nothing."""

from __future__ import annotations

import logging
import sys
from typing import Any

from locust import events

from . import options, session
from .checks import before_load
from .exchange import leads, makes_load
from .shape import AdaptiveShape
from .signals import end_forks
from .web import Door, shapes

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
    if makes_load(runner):
        session.agent_of(environment)
    try:
        _check(environment, runner)
    except options.ConfigError as e:
        sys.stderr.write(f"locust-adaptive: {e}\n")
        if leads(runner) and environment.parsed_options.processes:
            end_forks()
        sys.exit(2)
    if leads(runner) and shapes(environment):
        # Locust sets num_users to 1 later when it was not given.
        session.adaptive_of(environment).max_users = getattr(environment.parsed_options, "num_users", None)
        environment.events.test_stop.add_listener(lambda **_: _on_test_stop(environment))
        if environment.web_ui is not None and environment.parsed_options is not None:
            Door(environment)


def _check(environment: Any, runner: Any) -> None:
    """Raise ConfigError for what cannot work, where nobody is there to correct it."""
    shape, parsed = environment.shape_class, environment.parsed_options
    if not isinstance(shape, AdaptiveShape) or parsed is None:
        return
    # A worker that lacks something says so when the master asks, and the master ends the search.
    if leads(runner) and (parsed.headless or parsed.autostart):
        before_load(environment, shape, parsed, environment.user_classes, parsed.num_users)


def _on_test_stop(environment: Any) -> None:
    current = session.adaptive_of(environment).closed()
    if current is None or current.block is None:
        return
    if session.headless(environment):
        _last_words.append(current.block)
    else:
        logger.info("%s", "\n" + current.block)


_last_words: list[str] = []


def _on_quit(**_: Any) -> None:
    """Last of all, below Locust's own summary: the verdict."""
    while _last_words:
        sys.stdout.write("\n" + _last_words.pop() + "\n")
        sys.stdout.flush()
