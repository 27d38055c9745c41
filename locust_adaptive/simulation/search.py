"""A whole search in virtual time: the real controller, meters and merger around a simulated server.

Events reach the controller as they would from the shell: every half second each worker ships its slices, they are
merged, and the commands take effect at once.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..search.controller import Controller
from ..search.events import (
    CohortArrived,
    Command,
    Conclusion,
    Done,
    Event,
    FlowArrived,
    Hold,
    Started,
    TimePassed,
)
from ..search.meter import Meter, Request
from ..search.policy import AdaptivePolicy
from ..search.searchpolicy import SearchPolicy
from ..search.settings import Settings
from ..search.slices import SLICE_S, Flow, Merger
from ..search.trial import Purpose
from .arrivals import Arrivals, Bursts
from .mischief import Misbehaviour, Mischief
from .server import RunningServer, Server


@dataclass
class Run:
    """A finished search: how it ended, and every event and command in order."""

    conclusion: Conclusion
    controller: Controller
    log: list[tuple[Event, list[Command]]] = field(default_factory=list)
    sent: int = 0


def simulate(
    settings: Settings,
    server: Server,
    seed: int,
    workers: int = 1,
    policy: SearchPolicy | None = None,
    disturb: Callable[[float, Meter], None] | None = None,
    mischief: Mischief | None = None,
    bursts: Bursts | None = None,
) -> Run:
    """Search the capacity of `server`. The arrivals depend on `seed` alone, not on how many `workers` share them.

    `disturb(t, meter)` may report a generator's health before each slice is shipped. `mischief` and `bursts`: open
    loop only. A server that was gone is back as at its first second.
    """
    policy = policy or AdaptivePolicy(settings)
    return _Simulation(settings, server, seed, workers, policy, disturb, mischief or Mischief(), bursts).run()


class _Simulation:
    def __init__(
        self,
        settings: Settings,
        server: Server,
        seed: int,
        workers: int,
        policy: SearchPolicy,
        disturb: Callable[[float, Meter], None] | None,
        mischief: Mischief,
        bursts: Bursts | None,
    ) -> None:
        self.settings = settings
        arrivals, service, shares = np.random.SeedSequence(seed).spawn(3)
        self._arrivals = Arrivals(np.random.default_rng(arrivals), bursts)
        self._share = np.random.default_rng(shares)
        self._server = RunningServer(server, np.random.default_rng(service))
        self._names = [f"w{i}" for i in range(workers)]
        self._meters = [Meter(settings.slo, settings.bin_s, 0.0, settings.patience) for _ in self._names]
        self._mergers: dict[int, Merger] = {}
        self._controller = Controller(settings, policy)
        self._open: dict[int, tuple[int, Request]] = {}
        self._request = 0
        self._load = 0.0
        self._users = 0
        self._disturb = disturb
        self._mischief = mischief
        self._misbehaviour = Misbehaviour(mischief, random.Random(seed))
        self._misbehaves = mischief != Mischief()
        self._was_gone = False
        self._slow: set[int] = set()
        self._late: list[tuple[float, int]] = []
        self._t = 0.0
        self.run_ = Run(Conclusion("aborted", "", None), self._controller)  # type: ignore[arg-type]

    def run(self) -> Run:
        self._tell(Started(0.0, len(self._names)))
        next_slice = SLICE_S
        while self._controller.done is None:
            self._pass_time(next_slice)
            self._ship(next_slice)
            self._tell(TimePassed(round(next_slice, 3)))
            next_slice += SLICE_S
        self.run_.conclusion = self._controller.done
        return self.run_

    # -- requests ----------------------------------------------------------------------------------------------------

    def _pass_time(self, until: float) -> None:
        if self.settings.loop == "open":
            t = self._t
            while self._load > 0:
                t = self._arrivals.after(t, self._load)
                if t >= until:
                    break
                self._answer(t)
                self._send(t)
            self._answer(until)
        else:
            while (t := self._server.next_event()) < until:
                self._answer(t)
        self._t = until

    def _send(self, t: float) -> None:
        worker = int(self._share.random() * len(self._names)) if len(self._names) > 1 else 0
        meter = self._meters[worker]
        request = meter.begin(t, t, "infer")
        self._request += 1
        self.run_.sent += 1
        fate = self._misbehaviour.fate(t) if self._misbehaves else None
        if fate == "refused" and not self._was_gone and self._mischief.gone is not None:
            self._was_gone = True
            self._end_all(t, "reset")
            self._server.restart(self._mischief.gone[1])
        if fate == "hang":
            self._open[self._request] = (worker, request)
        elif fate not in (None, "slow"):
            meter.finish(request, t, "reset" if fate == "half" else fate)
        elif self._server.submit(t, self._request):
            self._open[self._request] = (worker, request)
            if fate == "slow":
                self._slow.add(self._request)
        else:
            meter.finish(request, t, "http 503")

    def _end_all(self, t: float, error: str) -> None:
        for worker, request in self._open.values():
            self._meters[worker].finish(request, t, error)
        self._open.clear()

    def _answers(self, until: float) -> list[tuple[float, int]]:
        """`(time, request)` of the answers by `until`, the delayed ones among them."""
        answers, ready = self._server.advance(until), []
        if not self._slow:
            return answers
        for t, number in answers:
            if number in self._slow:
                heapq.heappush(self._late, (t + self._mischief.delay, number))
            else:
                ready.append((t, number))
        while self._late and self._late[0][0] <= until:
            ready.append(heapq.heappop(self._late))
        return sorted(ready)

    def _answer(self, until: float) -> None:
        for t, number in self._answers(until):
            if number not in self._open:
                continue  # given up, or reset
            worker, request = self._open.pop(number)
            self._meters[worker].finish(request, t)
            if self.settings.loop == "closed":
                if self._users > self._load:
                    self._users -= 1
                else:
                    self._send(t)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def _ship(self, t: float) -> None:
        shares = [self._users // len(self._names)] * len(self._names)
        shares[0] += self._users - sum(shares)
        for worker, meter in enumerate(self._meters):
            meter.health(0.1, 0.001, shares[worker])
            if self._disturb is not None:
                self._disturb(t, meter)
        for worker, meter in enumerate(self._meters):
            for shipment in meter.collect(t):
                merger = self._mergers.get(shipment.probe)
                if merger is None:
                    continue
                flows, cohorts = merger.add(self._names[worker], shipment)
                for flow in flows:
                    self._tell(FlowArrived(round(t, 3), shipment.probe, _rounded(flow)))
                for cohort in cohorts:
                    self._tell(CohortArrived(round(t, 3), shipment.probe, cohort))

    def _tell(self, event: Event) -> None:
        commands = self._controller.step(event)
        self.run_.log.append((event, commands))
        for command in commands:
            if isinstance(command, Hold):
                self._hold(command, event.t)
            elif isinstance(command, Done):
                self._load = 0.0

    def _hold(self, command: Hold, t: float) -> None:
        self._load = command.load
        if command.purpose is Purpose.ABANDON:
            self._end_all(t, "aborted")
        self._mergers[command.probe] = Merger(self._names)
        for meter in self._meters:
            meter.open_probe(command.probe, t)
        if self.settings.loop == "closed":
            while self._users < command.load:
                self._users += 1
                self._send(t)


def _rounded(flow: Flow) -> Flow:
    """As it would have travelled."""
    return Flow.from_plain(flow.to_plain())
