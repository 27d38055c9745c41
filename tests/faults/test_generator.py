"""A generator that is the bottleneck: the probe is INVALID with the value and the advice, and nothing is called a
capacity."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from locust_adaptive.search.events import FlowArrived
from locust_adaptive.search.slices import OWN_ERRORS
from tests.faults.loaded import Loaded
from tests.faults.oracle import honest
from tests.support.searches import HEADER, QUICK, LocustRun, Search, locustfile, read_search, to_results
from tests.support.target import Service

FAST = Service(workers=200, mean_s=0.005, sigma=0.2)
"""Some 40 000 requests a second: never the limit here."""
SLOW = Service(workers=2000, mean_s=1.0, sigma=0.1)
"""So many requests are in flight as are sent in a second."""

BURN_S = 0.005
IMPORTS = HEADER + "import time\nfrom gevent import monkey\nfrom geventhttpclient import connectionpool\n"
SHAPE = 'class Capacity(AdaptiveShape):\n    slo = "p99<{limit}"\n'
OPEN = "class Ranker(OpenLoop, FastHttpUser):\n"
CLOSED = "class Visitor(HttpUser):\n    def wait_time(self):\n        return 0.05\n"
TASK = '    @task\n    def rank(self):\n        self.client.get("/rank")\n'
BURNING = f"""\
        until = time.process_time() + {BURN_S}
        while time.process_time() < until:
            sum(range(2000))
"""
BLOCKING = """\
        global blocked
        if time.monotonic() - blocked > 6:
            blocked = time.monotonic()
            monkey.get_original("time", "sleep")(0.3)
"""
NARROW = """
make = connectionpool.ConnectionPool._create_tcp_socket
def narrow(self, *kind):
    sock = make(self, *kind)
    sock.setsockopt({level}, {option}, {ports})
    return sock
connectionpool.ConnectionPool._create_tcp_socket = narrow
"""
IP_LOCAL_PORT_RANGE = 51
PORTS = 50


@dataclass(frozen=True)
class Found:
    """A search, and its target's counts after it."""

    search: Search
    stats: dict[str, Any]

    @property
    def end(self) -> tuple[str, str, int]:
        return self.search.outcome["verdict"], self.search.outcome["reason"], self.search.ended.code

    @property
    def invalid(self) -> list[dict[str, Any]]:
        return [dict(t) for t in self.search.outcome["trials"] if t["verdict"] == "INVALID"]

    @property
    def broken(self) -> set[str]:
        """Names of the rules that voided probes."""
        return {b["rule"] for t in self.invalid for b in t["broken"] if b["effect"] == "void"}

    @property
    def unsent(self) -> int:
        """Requests that this machine could not send."""
        flows = [s.event.flow for s in self.search.journal.steps if isinstance(s.event, FlowArrived)]
        return sum(flow.errors.get(kind, 0) for flow in flows for kind in OWN_ERRORS)

    def row(self, label: str) -> str:
        """A row of the verdict block."""
        lines = self.search.ended.stdout.splitlines()
        return next((line for line in lines if line.startswith(f" {label} ")), "")


def running(service: Service, text: str, *arguments: str, cap: float = 170, **more: Any) -> Callable[[Path], Found]:
    """A scenario: a search by a locustfile of this text. `cap`: the ramp's doubling from 20 comes to 160."""

    def scenario(folder: Path) -> Found:
        with Loaded(folder, service, cap, users=CLOSED in text) as target:
            quick = [*target.aim, "--headless", *QUICK, *to_results(folder), *arguments]
            with LocustRun(folder, locustfile(folder, text), *quick, **more) as run:
                return Found(read_search(folder, run.over(240)), target.stats())

    return scenario


def true(found: Found, capacity: float) -> None:
    """`capacity` is what the generator can measure."""
    honest(found.search, capacity=capacity)
    # What came is what the report says: some of the last second's are not in a count that is made every half second.
    assert 0 <= found.stats["received"] - (found.search.outcome["requests"] - found.unsent) <= 200


def unfit(found: Found, capacity: float) -> None:
    """The search ended because of the generator, and says so; what was measured validly stands."""
    true(found, capacity)
    assert found.end == ("unresolved", "measurement_invalid", 3)
    assert found.row("validity").startswith(" validity  INVALID: ")
    known = found.search.outcome["capacity"]
    assert (known["value"], known["verified"], known["high"]) == (None, None, None)
    passed = [t["load"] for t in found.search.outcome["trials"] if t["verdict"] == "PASS"]
    assert known["low"] == max(passed, default=None)
    assert not [t for t in found.search.outcome["trials"] if t["verdict"] == "FAIL"], "nothing is blamed on the target"
    assert found.search.outcome["probes"]["invalid"] >= 3


# -- CPU ---------------------------------------------------------------------------------------------------------------

SLO_1S = SHAPE.format(limit="1s")
BURNS = running(FAST, IMPORTS + SLO_1S + OPEN + TASK + BURNING, "--adaptive-start", "20", "-t", "150s")
BURNS_CLOSED = running(FAST, IMPORTS + SLO_1S + CLOSED + TASK + BURNING, "--adaptive-start", "2", "-t", "150s", cap=16)


@pytest.mark.parametrize(
    "most",
    [
        pytest.param(0.7 / BURN_S, marks=pytest.mark.scenario(BURNS, seconds=60, unfit=True)),
        # A user burns once in 50 ms, what it burns, and the target's 5 ms at least.
        pytest.param(0.7 * 0.06 / BURN_S, marks=pytest.mark.scenario(BURNS_CLOSED, seconds=60, unfit=True)),
    ],
    ids=["open loop", "closed loop"],
)
def test_a_saturated_generator_is_not_the_target(most: float, found: Found) -> None:
    unfit(found, capacity=most)
    assert "generator CPU" in found.broken
    assert "add workers" in found.row("validity")
    cpu = max(b["value"] for t in found.invalid for b in t["broken"] if b["rule"] == "generator CPU")
    assert cpu > 0.7
    assert any(t["verdict"] == "PASS" for t in found.search.outcome["trials"]), "below, it measures"


# -- the event loop ----------------------------------------------------------------------------------------------------

LIMIT = SHAPE.format(limit="250ms")
BLOCKS = running(
    FAST,
    IMPORTS + "blocked = 0.0\n" + LIMIT + OPEN + TASK + BLOCKING,
    *("--adaptive-start", "16", "-t", "150s"),
    cap=64,
)


@pytest.mark.scenario(BLOCKS, seconds=60)
def test_a_blocked_event_loop_is_no_stall_of_the_target(found: Found) -> None:
    true(found, capacity=64)
    outcome = found.search.outcome
    assert found.end == ("unresolved", "ceiling_reached", 3)
    assert outcome["capacity"]["low"] == 64
    assert outcome["stalls"] == []
    assert {x["cause"] for t in outcome["trials"] for x in t["excised"]} == {"generator"}
    assert outcome["generator"]["late_s"] > 0
    assert outcome["generator"]["hub_lag_max_ms"] > 250
    assert "of late sending left out" in found.row("generator")
    assert not [t for t in outcome["trials"] if t["verdict"] == "FAIL"]


# -- sockets -----------------------------------------------------------------------------------------------------------

DESCRIPTORS = 100
HOLDS = ("--adaptive-start", "20", "-t", "200s")
STARVED = running(SLOW, IMPORTS + SHAPE.format(limit="2s") + OPEN + TASK, *HOLDS, descriptors=DESCRIPTORS)


def without_ports(folder: Path) -> Found:
    low = random.randrange(40_000, 60_000)  # within the range that the system takes ports from
    ports = struct.pack("I", (low + PORTS - 1) << 16 | low)
    narrow = NARROW.format(level=socket.IPPROTO_IP, option=IP_LOCAL_PORT_RANGE, ports=ports)
    return running(SLOW, IMPORTS + narrow + SHAPE.format(limit="2s") + OPEN + TASK, *HOLDS)(folder)


def ports_can_be_narrowed() -> bool:
    with socket.socket() as sock:
        try:
            sock.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, struct.pack("I", 40_001 << 16 | 40_000))
        except OSError:
            return False
    return True


@pytest.mark.scenario(STARVED, seconds=80, unfit=True)
def test_a_generator_without_descriptors_is_not_the_target(found: Found) -> None:
    unfit(found, capacity=DESCRIPTORS)
    assert "no descriptors" in found.broken
    assert "ulimit -n" in found.row("validity")


@pytest.mark.skipif(not ports_can_be_narrowed(), reason="IP_LOCAL_PORT_RANGE needs Linux 6.3")
@pytest.mark.scenario(without_ports, seconds=80, unfit=True)
def test_a_generator_without_ports_is_not_the_target(found: Found) -> None:
    unfit(found, capacity=PORTS)
    assert "no ports" in found.broken
    assert "add workers on other machines" in found.row("validity")
