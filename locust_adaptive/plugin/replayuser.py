"""`ReplayUser`: sends recorded requests, over Locust's fast client."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from locust import FastHttpUser, task

from ..replay.record import Record, TraceError
from .openloop import OpenLoop
from .options import ConfigError
from .playlist import Playlist, playlist_of
from .virtualuser import virtual_user_of


class ReplayUser(OpenLoop, FastHttpUser):
    """Replays a trace: `class Ranker(ReplayUser): trace = "day.trace"`.

    Each arrival sends one recorded request. With `arrivals = "recorded"` they come as in the trace, at any rate: whole
    copies of it superposed, sessions left out for the rest; `speed = 2` plays it in half the time. With `"poisson"` or
    `"constant"` the worker's playlist draws what is sent: every probe plays the same population of sessions, in a
    seeded order. Unless one is named, arrivals are recorded where the trace is fit for it, else Poisson's, with a
    warning. `order = "recorded"` plays the trace in sequence from its start, in runs at a fixed rate. `load = "closed"`
    makes ordinary users of it, each sending one request after the other.

    `headers` stand over the recorded ones; a value `env:NAME` is read from the environment, for credentials that a
    trace does not hold. `on_request(record, lap)` may change what is sent, e.g. make repeats unique. Redirects are not
    followed and cookies not kept: what was recorded is what is sent.
    """

    abstract = True

    trace: str = ""
    headers: ClassVar[Mapping[str, str]] = {}
    arrivals: Literal["poisson", "recorded", "constant"] | None = None
    order: Literal["shuffled", "recorded"] = "shuffled"
    speed: float = 1.0

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._playlist, self._extra = self.prepare()

    @classmethod
    def prepare(cls) -> tuple[Playlist, dict[str, str]]:
        """Open the trace, once a process, and look up the headers. Raises ConfigError with what to do."""
        try:
            if not (isinstance(cls.speed, int | float) and 0 < cls.speed < math.inf):
                raise TraceError(f"speed is {cls.speed!r}; it is a positive number, 2 plays the trace twice as fast")
            playlist = playlist_of(cls.trace_path(), cls.in_order())
        except TraceError as e:
            raise ConfigError(f"{cls.__name__}: {e}") from None
        return playlist, {name: cls._value(name, value) for name, value in cls.headers.items()}

    @classmethod
    def trace_path(cls) -> Path:
        """The trace file: as given, or beside the locustfile. Raises ConfigError with what to do."""
        if not cls.trace:
            raise ConfigError(f"{cls.__name__} names no trace: set trace = 'day.trace' in the class")
        beside = Path(getattr(sys.modules.get(cls.__module__), "__file__", None) or ".").parent / cls.trace
        for path in (Path(cls.trace), beside):
            if path.is_file():
                return path.resolve()
        raise ConfigError(
            f"{cls.__name__}: there is no trace {cls.trace!r} here nor beside the locustfile; "
            "make one with `locust-adaptive trace import`"
        )

    @classmethod
    def in_order(cls) -> bool:
        """Is the trace played in sequence? Raises ConfigError for an order that is none."""
        if cls.order not in ("shuffled", "recorded"):
            raise ConfigError(f"{cls.__name__}: order is {cls.order!r}; known are shuffled, recorded")
        return cls.order == "recorded"

    @classmethod
    def unfit(cls) -> str | None:
        """Why the trace is not fit for recorded arrivals; None if it is, or is not on this host."""
        try:
            return cls.prepare()[0].unfit
        except ConfigError:  # said by whoever has to play it
            return None

    def on_request(self, record: Record, lap: int) -> Record:
        """What to send instead of `record`. `lap` is another number each time that a probe plays it: 0 the first time,
        1, 2, ... after each end of the trace, and from 1 000 000, 2 000 000, ... in copies that are superposed."""
        return record

    @task
    def replay(self) -> None:
        vu = virtual_user_of(self)
        play = (vu and vu.take_play()) or self._playlist.next()
        record = self.on_request(self._playlist.record(play), play.repeat)
        self.client.cookiejar.clear()
        with self.client.request(
            record.method,
            record.path,
            name=record.name,
            data=record.body or None,
            headers=_merged(record.headers, self._extra),
            allow_redirects=False,
            catch_response=True,
        ) as response:
            if record.expect is not None and response.status_code == record.expect:
                response.success()
            elif record.expect is not None and response.status_code:
                response.failure(f"http {response.status_code}, {record.expect} was recorded")

    @classmethod
    def _value(cls, name: str, value: str) -> str:
        if not value.startswith("env:"):
            return value
        variable = value.removeprefix("env:")
        if variable not in os.environ:
            raise ConfigError(
                f"{cls.__name__}: the header {name} is to come from the environment variable {variable}, which is not "
                "set"
            )
        return os.environ[variable]


def _merged(recorded: Iterable[tuple[str, str]], extra: Mapping[str, str]) -> dict[str, str]:
    """The headers to send: a name comes once, several values joined as RFC 9110, 5.3 says."""
    overridden = {name.lower() for name in extra}
    merged: dict[str, str] = {}
    spelled: dict[str, str] = {}
    for name, value in recorded:
        if name.lower() not in overridden:
            name = spelled.setdefault(name.lower(), name)
            merged[name] = f"{merged[name]}, {value}" if name in merged else value
    merged.update(extra)
    if "accept-encoding" not in spelled and "accept-encoding" not in overridden:
        merged["Accept-Encoding"] = "identity"  # the client would ask for compression, which was not recorded
    return merged


def prepare(user_classes: Iterable[Any]) -> None:
    """Prepare all replaying users among these classes. Raises ConfigError."""
    for user_class in user_classes:
        if issubclass(user_class, ReplayUser):
            user_class.prepare()
