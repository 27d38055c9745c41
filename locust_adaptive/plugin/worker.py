"""The worker's agent: takes the share it is told, counts what happens, and ships a slice of it every half second."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from typing import Any

import gevent

from ..replay.arrivals import Poisson
from ..replay.sharding import ShardMap
from ..search.meter import Meter
from ..search.slo import Slo
from . import playlist, replayuser
from .exchange import WorkerSide
from .guards import Collector, CpuMeter, HubLag, clock, protect
from .inflight import install, instruments
from .scheduler import scheduler_of

logger = logging.getLogger(__name__)

GRACE_S = 5.0
"""How long requests in flight may take once a search is over, in seconds; in closed loop, where users hold them."""
SHIP_DELAY_S = 0.002
"""A slice is shipped this long after its end, so that what ended with it is in it."""


class Agent:
    """One per process that makes load."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._side = WorkerSide(environment.runner, self)
        self._lag = HubLag()
        self._cpu = CpuMeter()
        self._collector = Collector()
        self._shipper: gevent.Greenlet | None = None
        self._meter: Meter | None = None
        self._open_loop = False
        protect()
        install(environment)

    def setup(self, data: Mapping[str, Any]) -> None:
        """A search begins, or goes on with other workers: make no load until told, and count by this SLO."""
        instruments.meter = self._meter = None
        try:
            self._set_up(data)
        except ValueError as e:  # a trace that is not here, or has nothing for this worker to play
            self._side.refuse(str(e))

    def _set_up(self, data: Mapping[str, Any]) -> None:
        self._open_loop = data["loop"] == "open"
        scheduler = scheduler_of(self._environment)
        if self._open_loop:
            index = data["workers"].index(self._side.name)
            scheduler.cap = data["cap"]
            scheduler.set_arrivals(Poisson(random.Random(f"{data['seed']}/{index}")))
            scheduler.set_rate(0.0)
        shard = ShardMap.from_dict(data["shards"]).shard(self._side.name)
        playlist.configure(data["seed"], shard)
        replayuser.prepare(self._environment.user_classes)
        self._meter = Meter(Slo.parse(data["slo"]), data["bin_s"], clock(), data["patience"])
        instruments.meter = self._meter
        self._lag.start()
        self._collector.freeze()
        if not self._shipper:
            self._shipper = gevent.spawn(self._ship_slices)

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
            scheduler_of(self._environment).set_rate(float(data["share"]))

    def end(self) -> None:
        """The search is over: what is in flight need not end to be counted."""
        self._environment.stop_timeout = min(self._environment.stop_timeout or 0.0, GRACE_S)
        if self._open_loop:
            scheduler = scheduler_of(self._environment)
            scheduler.set_rate(0.0)
            # Blocks until the killed greenlets are gone: not in the message pump.
            gevent.spawn(scheduler.abort)
        if self._shipper:
            self._shipper.kill(block=False)
            self._shipper = None
        self._lag.stop()
        self._collector.thaw()
        instruments.meter = self._meter = None

    def _ship_slices(self) -> None:
        while (meter := self._meter) is not None:
            now = clock()
            # A new probe may end the slice earlier than this expects: look again soon.
            gevent.sleep(min(max(meter.next_collect() - now, 0.0) + SHIP_DELAY_S, 0.25))
            if (meter := self._meter) is None:
                return
            now = clock()
            if now < meter.next_collect():
                continue
            scheduler = scheduler_of(self._environment)
            users = sum(scheduler.tokens.values()) if self._open_loop else self._side.users
            meter.health(self._cpu.read(), self._lag.read(), users)
            for shipment in meter.collect(now):
                self._side.ship(shipment.to_plain())
