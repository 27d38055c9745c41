"""`ReplayUser`: sends recorded requests, over Locust's fast client."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from locust import FastHttpUser, task

from ..replay.record import Record
from .openloop import OpenLoop
from .playlist import playlist_of


class ReplayUser(OpenLoop, FastHttpUser):
    """Replays a trace: `class Ranker(ReplayUser): trace = "day.trace"`.

    Each arrival sends one recorded request; which one is drawn by the worker's playlist (every probe plays the same
    population of sessions, in a seeded order). `load = "closed"` makes ordinary users of it, each sending one after the
    other. `headers` are added to every request; a value `env:NAME` is read from the environment, for credentials that a
    trace does not hold. `on_request(record, lap)` may change what is sent, e.g. make repeats unique.
    """

    abstract = True

    trace: str = ""
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._playlist = playlist_of(self.trace_path())
        self._extra = {name: _from_environment(name, value) for name, value in self.headers.items()}

    @classmethod
    def trace_path(cls) -> Path:
        """The trace file: as given, or beside the locustfile. Raises FileNotFoundError with what to do."""
        if not cls.trace:
            raise FileNotFoundError(f"{cls.__name__} names no trace: set trace = 'day.trace' in the class")
        beside = Path(getattr(sys.modules.get(cls.__module__), "__file__", None) or ".").parent / cls.trace
        for path in (Path(cls.trace), beside):
            if path.is_file():
                return path.resolve()
        raise FileNotFoundError(
            f"{cls.__name__}: there is no trace {cls.trace!r} here nor beside the locustfile; "
            "make one with `locust-adaptive trace import`"
        )

    def on_request(self, record: Record, lap: int) -> Record:
        """What to send instead of `record`, which is played for the `lap`-th time in this probe (from 0)."""
        return record

    @task
    def replay(self) -> None:
        record, play = self._playlist.next()
        record = self.on_request(record, play.lap)
        with self.client.request(
            record.method,
            record.path,
            name=record.name,
            data=record.body or None,
            headers={**dict(record.headers), **self._extra},
            catch_response=True,
        ) as response:
            if record.expect is not None and response.status_code == record.expect:
                response.success()
            elif record.expect is not None and response.status_code:
                response.failure(f"http {response.status_code}, {record.expect} was recorded")


def _from_environment(name: str, value: str) -> str:
    if not value.startswith("env:"):
        return value
    variable = value.removeprefix("env:")
    if variable not in os.environ:
        raise RuntimeError(f"the header {name} is to come from the environment variable {variable}, which is not set")
    return os.environ[variable]
