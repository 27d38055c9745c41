"""`ReplayUser`: sends recorded requests, byte for byte, with a client of its own."""

from __future__ import annotations

import inspect
import math
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from locust import FastHttpUser, task

from ..replay.record import Record, TraceError
from .connections import Repeat, Reply
from .openloop import OpenLoop
from .options import ConfigError
from .playlist import Playlist, playlist_of
from .replayclient import ReplayClient
from .virtualuser import virtual_user_of

_CLIENTS = "_adaptive_replay_clients"


class ReplayUser(OpenLoop, FastHttpUser):
    """Replays a trace: `class Ranker(ReplayUser): trace = "day.trace"`.

    Each arrival sends one recorded request, byte for byte, with `Host` and the length of the body: redirects are not
    followed, cookies not kept, bodies not decoded. `self.client` is Locust's own, for an `on_start` that logs in.
    """

    abstract = True

    trace: str = ""
    headers: ClassVar[Mapping[str, str]] = {}
    """They stand over the recorded ones. A value `env:NAME` is read from the environment: credentials, which a trace
    does not hold."""
    arrivals: Literal["poisson", "recorded", "constant"] | None = None
    """`recorded`: requests come as in the trace, at any rate: whole copies of it superposed, sessions left out for the
    rest. With the others each probe plays the same population of sessions, in a seeded order. None: as recorded where
    the trace is fit for it, else Poisson's, with a warning."""
    order: Literal["shuffled", "recorded"] = "shuffled"
    """`recorded` plays the trace in sequence from its start, in runs at a fixed rate."""
    speed: float = 1.0
    """With recorded arrivals: 2 plays the trace in half the time, bursts and think times too."""
    load: Literal["open", "closed"] = "open"
    """`closed` makes ordinary Locust users of it, each sending one request after the other."""
    timeout: float = 60.0
    """Seconds for a request, from connecting to the last byte of the reply."""
    verify: bool | str = True
    """The certificate of an https server is verified; against the CAs in this file, if it is one."""
    repeat: Repeat = "idempotent"
    """Requests sent again when a kept connection ends without a byte of the reply, since the server may not have heard
    them: those of idempotent methods, `always`, `never`. They are counted."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._playlist, headers = self.prepare()
        clients = vars(environment).setdefault(_CLIENTS, {})
        key = (type(self), self.host)
        if key not in clients:
            client = clients[key] = self.client_for(str(self.host), headers)
            environment.events.test_stop.add_listener(lambda **_: client.end_run(type(self).__name__))
        self._replay_client: ReplayClient = clients[key]

    @classmethod
    def prepare(cls) -> tuple[Playlist, dict[str, str]]:
        """Open the trace, once a process, and look up the headers. Raises ConfigError with what to do."""
        try:
            if not (isinstance(cls.speed, int | float) and 0 < cls.speed < math.inf):
                raise TraceError(f"speed is {cls.speed!r}; it is a positive number, 2 plays the trace twice as fast")
            if cls.repeat not in get_args(Repeat):
                raise TraceError(f"repeat is {cls.repeat!r}; known are {', '.join(get_args(Repeat))}")
            if not (isinstance(cls.timeout, int | float) and cls.timeout > 0):
                raise TraceError(f"timeout is {cls.timeout!r}; it is a positive number of seconds")
            if not isinstance(inspect.getattr_static(cls, "on_reply"), staticmethod | classmethod):
                raise TraceError("on_reply belongs to no user: write @staticmethod above it, and leave out self")
            playlist = playlist_of(cls.trace_path(), cls.in_order())
        except ConfigError:
            raise
        except ValueError as e:  # of the trace, or that none of it can be played
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
            return playlist_of(cls.trace_path(), cls.in_order()).unfit
        except ValueError:  # said by whoever has to play it
            return None

    def on_request(self, record: Record, lap: int) -> Record:
        """What to send instead of `record`. `lap` is another number each time that a probe plays it: 0 the first time,
        1, 2, ... after each end of the trace, from 1 000 000, 2 000 000, ... in copies that are superposed, and from
        10**12 on for a session whose own bodies were not kept."""
        return record

    @staticmethod
    def on_reply(record: Record, reply: Reply) -> str | None:
        """What is wrong with a reply whose status is good; None if nothing is. Override it to look into replies: only
        then is their `content` kept."""
        return None

    @task
    def replay(self) -> None:
        vu = virtual_user_of(self)
        play = (vu and vu.take_play()) or self._playlist.next()
        self._replay_client.send(self, self.on_request(self._playlist.record(play), play.repeat))

    @classmethod
    def client_for(cls, url: str, headers: Mapping[str, str]) -> ReplayClient:
        """A client for all users of this class. Raises ConfigError with what to do."""
        looks = cls.on_reply is not ReplayUser.on_reply
        try:
            return ReplayClient(
                url,
                headers,
                timeout=cls.timeout,
                verify=cls.verify,
                repeat=cls.repeat,
                check=cls.on_reply if looks else None,
            )
        except TraceError as fault:
            raise ConfigError(f"{cls.__name__}: {fault}") from None

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


def prepare(user_classes: Iterable[Any], host: str | None) -> None:
    """Prepare all replaying users among these classes, to send to `host` or their own. Raises ConfigError."""
    for user_class in user_classes:
        if issubclass(user_class, ReplayUser):
            _, headers = user_class.prepare()
            if url := host or user_class.host:  # without one Locust has its own words
                user_class.client_for(url, headers)
