"""A target whose load is judged, at the target, when the scenario leaves it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.faults.oracle import Report, ended, within_cap
from tests.support.target import Service, Target
from tests.support.wait import wait_until

_here = threading.local()


Scenario = Callable[[Path], Any]
"""What runs in a new folder, and returns what there is to judge."""


def judged(scenario: Scenario, folder: Path, no_target: str = "") -> Any:
    """What it returns; fails when no target judged its load, unless `no_target` says why, and then when one did."""
    _here.judged = 0
    returned = scenario(folder)
    assert bool(_here.judged) != bool(no_target), "load goes to a Loaded target, or no_target= says why not"
    return returned


def measured(scenario: Scenario, folder: Path, no_target: str = "", unfit: bool = False) -> Any:
    """What it returns as `judged`; of a second run if the first search ended as one that could not be measured, since
    the machine was busy with other things. `unfit`: that is what it is about."""
    returned = judged(scenario, folder, no_target)
    search = getattr(returned, "search", None)
    if unfit or search is None or search.outcome["reason"] != "measurement_invalid":
        return returned
    again = folder.with_name(folder.name + "-again")
    again.mkdir()
    return judged(scenario, again, no_target)


class Loaded(Target):
    """Leave it with all its runs ended: fails if load was above `cap`, or there 10 s after it had to end.

    Searches end with their reports, `capacity.json` anywhere in `folder`, and where the scenario says `must_end`.
    """

    def __init__(self, folder: Path, service: Service, cap: float, *, users: bool = False, **more: Any) -> None:
        """`cap`: in open loop the highest rate of arrivals, with `users` the most requests at once; 0 is no load."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._record = folder, folder / "load.json"
        self._cap, self._users = cap, users
        self._asked: list[float] = []
        super().__init__(service, record=self._record, **more)

    @property
    def aim(self) -> list[str]:
        """The options that make a search load this, up to the cap."""
        return ["-H", self.url, *(["--adaptive-max", f"{self._cap:g}"] if self._cap else [])]

    def must_end(self) -> float:
        """Say that the load has to end from now on: before a signal is sent or Stop is pressed. Monotonic time."""
        self._asked.append(time.time())
        return time.monotonic()

    def silence(self) -> None:
        """Wait until nothing has come for 1.5 s."""
        wait_until(lambda: self.stats()["silent_s"] is None or self.stats()["silent_s"] > 1.5, "silence", 12)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if kind is None:
            self._judge()
            _here.judged = getattr(_here, "judged", 0) + 1

    def _judge(self) -> None:
        load = json.loads(self._record.read_text())
        if self._users:
            assert load["at_once"] <= self._cap, f"{load['at_once']} requests at once: the cap is {self._cap:g}"
        else:
            within_cap(load["arrivals"], self._cap)
        ended(load["arrivals"], self._asked, [_report(path) for path in self._folder.rglob("capacity.json")])


def _report(path: Path) -> Report:
    said = json.loads(path.read_text())
    return Report(datetime.fromisoformat(said["started"]).timestamp(), path.stat().st_mtime, said["verdict"])
