"""The worker's agent: says who it is, takes the share it is told, counts what happens, and ships a slice of it every
half second. It makes no load without a lease, and leaves when its master is gone."""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Mapping
from typing import Any

import gevent

from ..replay.sharding import ShardMap, session_hash
from ..search.meter import Meter
from ..search.slo import Slo
from . import arriving, playlist
from .exchange import ALIVE, REFUSED, SLICES, WHO, WorkerSide
from .guards import Collector, CpuMeter, HubLag, clock, protect
from .host import HostMeter
from .identity import has_trace, identity
from .inflight import install, instruments
from .lease import lease_of
from .openloop import is_open_loop
from .roll import LEASE_S
from .scheduler import scheduler_of

logger = logging.getLogger(__name__)

GRACE_S = 5.0
"""How long requests in flight may take once a search is over, in seconds; in closed loop, where users hold them."""
SHIP_DELAY_S = 0.002
"""A slice is shipped this long after its end, so that what ended with it is in it."""
LOOK_S = 0.25
ALIVE_S = 0.5
ORPHANED_S = 8.0
"""A master that has not answered a heartbeat for so long is gone (Locust waits 60 s). Time in which this process stood
still does not count."""
PASS_S = 0.5
REFUSES, ORPHANED = 2, 3
"""Exit codes of a worker that cannot take part, and of one whose master is gone: there is no answer."""


class Agent:
    """One per process that makes load."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._side = WorkerSide(environment.runner, self)
        self._lease = lease_of(environment)
        self._lag = HubLag()
        self._cpu = CpuMeter()
        self._host = HostMeter()
        self._collector = Collector()
        self._reporter: gevent.Greenlet | None = None
        self._meter: Meter | None = None
        self._counts: Any = None
        self._setup = 0
        self._open_loop = False
        self._unheard = 0.0
        protect()
        install(environment)
        environment.events.test_start.add_listener(self._on_test_start)
        environment.events.heartbeat_received.add_listener(self._on_heartbeat)

    # -- what the master says ----------------------------------------------------------------------------------------

    def ask(self) -> None:
        """A search is there: make no load until told, and say who this is."""
        self._lease.move(-math.inf)
        self._unheard = 0.0
        if not self._reporter:
            self._reporter = gevent.spawn(self._report)
        if has_trace(self._environment.user_classes):
            gevent.spawn(self._say_who)  # reading it takes its time
        else:
            self._say_who()

    def setup(self, data: Mapping[str, Any]) -> None:
        """The search begins, or goes on with other workers: make no load until told, and count by this SLO."""
        self._setup = data["number"]
        self._open_loop = data["loop"] == "open"
        if self._open_loop:
            scheduler_of(self._environment).set_rate(0.0)
        try:
            self._set_up(data)
        except ValueError as e:  # a trace that is not here, or has nothing for this worker to play
            instruments.meter = self._meter = None
            self._side.send(REFUSED, str(e))
        gevent.spawn(self._say_alive)  # after what Locust was told before this: the users that it starts must count

    def _set_up(self, data: Mapping[str, Any]) -> None:
        shard = ShardMap.from_dict(data["shards"]).shard(self._side.name)
        classes = self._environment.user_classes
        playlist.configure(data["seed"], shard)
        arriving.check_bodies(classes, data["arrivals"])
        if self._open_loop:
            scheduler = scheduler_of(self._environment)
            part, parts = data["workers"].index(self._side.name), len(data["workers"])
            seed = f"{data['seed']}/{data['number']}/{part}"
            scheduler.cap = data["cap"]
            scheduler.set_arrivals(arriving.pacing(data["arrivals"], classes, seed, part, parts))
        counts = [data[key] for key in ("slo", "bin_s", "patience")]
        if self._meter is None or counts != self._counts:
            self._meter = Meter(Slo.parse(data["slo"]), data["bin_s"], clock(), data["patience"])
            self._counts = counts
        instruments.meter = self._meter
        self._lag.start()
        self._collector.freeze()

    def hold(self, data: Mapping[str, Any]) -> None:
        """Make this share of the load from now on, under this probe's number."""
        if self._meter is None:
            logger.error("a probe came before the set-up; ignored")
            return
        playlist.begin(data["probe"])
        if data["share"] == 0:
            # Nothing is measured while the server drains.
            self._collector.between_probes()
        self._meter.open_probe(data["probe"], clock())
        if self._open_loop:
            if data["at"] is not None:
                self.lease(data["at"])
            scheduler = scheduler_of(self._environment)
            scheduler.set_rate(float(data["share"]))
            if data.get("abandon"):
                # The target gives nothing back: what is open is ended, beside the message pump as it may block.
                gevent.spawn(scheduler.abort)

    def lease(self, at: float) -> None:
        """The master heard this worker, at `at` of its own clock."""
        self._lease.move(max(self._lease.until, at + LEASE_S))

    def leave(self, why: str) -> None:
        """This worker does not fit into the search: Locust's own word to quit follows."""
        logger.error("this worker takes no part in the search: %s", why)
        self._environment.process_exit_code = REFUSES
        self.end()

    def end(self) -> None:
        """The search is over: what is in flight need not end to be counted."""
        self._environment.stop_timeout = min(self._environment.stop_timeout or 0.0, GRACE_S)
        if self._open_loop:
            scheduler = scheduler_of(self._environment)
            scheduler.set_rate(0.0)
            # Blocks until the killed greenlets are gone: not in the message pump.
            gevent.spawn(scheduler.abort)
        self._lease.move(-math.inf)
        if self._reporter:
            self._reporter.kill(block=False)
            self._reporter = None
        self._lag.stop()
        self._collector.thaw()
        instruments.meter = self._meter = None

    # -- what it does by itself --------------------------------------------------------------------------------------

    def _on_test_start(self, **_: Any) -> None:
        """Users may come before the master's first word, as Locust shares them with a worker that joins."""
        from .shape import AdaptiveShape

        if isinstance(self._environment.shape_class, AdaptiveShape) and not self._reporter:
            self._lease.move(-math.inf)
            gevent.spawn_later(LEASE_S, self._no_search)
        else:
            self._no_search()

    def _no_search(self) -> None:
        if self._reporter:
            return
        # The users were started without the shape (--class-picker): as they are.
        classes = self._environment.user_classes
        try:
            is_open = any(is_open_loop(user_class) for user_class in classes)
            kind, doubt = arriving.chosen(classes) if is_open else (None, None)
            arriving.check_bodies(classes, kind)
            if doubt:
                logger.warning("%s", doubt)
            if kind is not None:
                playlist.begin(session_hash(self._side.name))  # no two workers at the same place of a trace
                pacing = arriving.pacing(kind, classes, secrets.token_hex())
                scheduler_of(self._environment).set_arrivals(pacing)
        except ValueError as e:
            logger.error("%s", e)
            self._environment.process_exit_code = REFUSES
            gevent.spawn(self._quit)
            return
        self._lease.move(math.inf)

    def _on_heartbeat(self, **_: Any) -> None:
        self._unheard = 0.0

    def _say_who(self) -> None:
        kind: str = WHO
        try:
            answer: Any = identity(self._environment.user_classes)
        except (ValueError, OSError) as e:  # a trace that is not here, or cannot be read
            kind, answer = REFUSED, str(e)
            logger.error("%s", e)
        if self._side.is_remote:
            self._environment.process_exit_code = None if kind == WHO else REFUSES
        self._side.send(kind, answer)

    def _say_alive(self) -> None:
        self._side.send(ALIVE, {"at": clock(), "setup": self._setup, "users": self._side.users})

    def _report(self) -> None:
        """Every half second: a sign of life, and the slice that has ended. And is the master still there?"""
        looked = said = -math.inf
        while True:
            now = clock()
            if now - said >= ALIVE_S:
                self._say_alive()
                said = now
            self._unheard += min(now - looked, PASS_S)
            looked = now
            if self._side.is_remote and self._unheard > ORPHANED_S:
                logger.error("the master has not answered for %g s: this worker ends", ORPHANED_S)
                self._environment.process_exit_code = ORPHANED
                gevent.spawn(self._quit)
                return
            meter = self._meter
            # A new probe may end the slice earlier than this expects: look again soon.
            left = math.inf if meter is None else max(meter.next_collect() - now, 0.0) + SHIP_DELAY_S
            gevent.sleep(min(left, LOOK_S))  # slices and signs of life go by the clock
            if meter is not None and meter is self._meter and (now := clock()) >= meter.next_collect():
                self._ship(meter, now)

    def _ship(self, meter: Meter, now: float) -> None:
        if self._open_loop:
            users = sum(scheduler_of(self._environment).tokens.values())
        else:  # those that have to wait are no load
            users = 0 if self._lease.missed() else self._side.users
        meter.health(self._cpu.read(), self._lag.read(), users, self._host.read())
        for shipment in meter.collect(now):
            self._side.send(SLICES, {"setup": self._setup, "shipment": shipment.to_plain()})

    def _quit(self) -> None:
        self.end()
        self._environment.runner.quit()
