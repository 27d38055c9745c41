"""A whole session in the test's process, with a policy that holds the loads it is told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Self

from locust.env import Environment

from locust_adaptive import AdaptiveShape
from locust_adaptive.plugin import inflight, session
from locust_adaptive.plugin.register import on_init
from locust_adaptive.plugin.scheduler import scheduler_of
from locust_adaptive.report.journal import Journal, read
from locust_adaptive.search.events import Capacity, Conclusion, FlowArrived, Stall
from locust_adaptive.search.slices import Flow
from locust_adaptive.search.trial import Probe, Purpose, Trial

from .wait import wait_until


class Shape(AdaptiveShape):
    """Not the locustfile's."""

    abstract = True
    slo = "p99<500ms & errors<90%"


class Script:
    """Holds each load for as many seconds, in turn; `asked(n)` is told before the n-th, from 0."""

    name, version = "script", 1

    def __init__(self, steps: Sequence[tuple[float, float]], asked: Callable[[int], None] = lambda n: None) -> None:
        self._steps, self._asked = list(steps), asked

    def ask(self, trials: list[Trial], now: float, stalls: list[Stall]) -> Probe | Conclusion:
        number = len(trials)
        self._asked(number)
        if number < len(self._steps):
            load, seconds = self._steps[number]
            return Probe(load, Purpose.RAMP, 0.0, seconds, seconds)
        return Conclusion("resolved", "converged", Capacity(1.0, 1.0, 1.0))

    def give_up(self, trials: list[Trial], stalls: list[Stall], verdict: str, reason: str) -> Conclusion:
        return Conclusion(verdict, reason, Capacity(None, None, None))


class Rig:
    """`with Rig(folder, url, UserClass) as rig: rig.start(Script(...)); rig.ends()`; `out` is the newest folder."""

    def __init__(self, folder: Path, url: str, *classes: Any, shape: Any = None, **options: Any) -> None:
        self._folder, self._count = folder, 0
        self.errors = 0
        self.shape = (shape or Shape)()
        defaults: dict[str, Any] = {"headless": False, "autostart": False, "num_users": None, "run_time": None}
        parsed = SimpleNamespace(**defaults | {"processes": None, "worker": False} | options)
        self.environment = Environment(
            user_classes=list(classes), host=url, shape_class=self.shape, parsed_options=parsed
        )
        self.runner = self.environment.create_local_runner()
        on_init(self.environment, self.runner)
        self.environment.events.user_error.add_listener(self._on_user_error)
        self._policy = session.AdaptivePolicy

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        session.AdaptivePolicy = self._policy  # type: ignore[misc]
        self.runner.quit()
        scheduler_of(self.environment).close()
        inflight.instruments.meter = None

    def _on_user_error(self, **_: Any) -> None:
        self.errors += 1

    def start(self, policy: Any) -> None:
        """Start Locust's test with this policy, and wait until the search is there."""
        self._count += 1
        self.out = self._folder / f"run{self._count}"
        self.environment.parsed_options.adaptive_out = str(self.out)
        session.AdaptivePolicy = lambda settings: policy  # type: ignore[assignment, misc]
        self.runner.start_shape()

    @property
    def session(self) -> session.Session:
        current = session.of(self.environment)
        assert current is not None
        return current

    def begins(self, timeout: float = 15.0) -> None:
        """Wait until the search that was started is there."""

        def there() -> bool:
            current = session.of(self.environment)
            return current is not None and current.folder == self.out

        wait_until(there, "the search", timeout)

    def ends(self, timeout: float = 30.0) -> None:
        """Wait until Locust has stopped the test, and with it the search if there is one."""

        def over() -> bool:
            current = session.of(self.environment)
            # The state alone may still be that of the test before.
            return self.runner.state == "stopped" and (current is None or current.closed)

        wait_until(over, "the end of the test", timeout)

    @property
    def journal(self) -> Journal:
        return read((self.out / "journal.jsonl").read_text().splitlines(keepends=True))

    @property
    def flows(self) -> list[Flow]:
        return [step.event.flow for step in self.journal.steps if isinstance(step.event, FlowArrived)]
