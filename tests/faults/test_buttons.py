"""Stop, New, Reset, keys in the terminal, the time allowed."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from locust_adaptive.search.events import FlowArrived
from tests.faults.buttons import press, requests_seen, searches, seen, start, stopped, web
from tests.faults.loaded import Loaded
from tests.faults.oracle import honest
from tests.support.searches import (
    CAPACITY,
    CLOSED,
    HEADER,
    OPEN,
    QUICK,
    LocustRun,
    Search,
    free_port,
    locustfile,
    read_search,
    to_results,
)
from tests.support.truth import CLOSED as CLOSED_SETTING
from tests.support.truth import SMALL

JUDGED, BEGUN = "probe 1 ", "searching the capacity"
ABOVE = 250
"""Far above the capacity, and the cap."""


# -- Stop, Reset, New ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pressed:
    """`received`, `counted`: at the first Stop, and since the second Start, by the target and by Locust."""

    searches: list[Search]
    received: int
    received_second: int
    counted_second: int


def buttons(folder: Path) -> Pressed:
    file, port = locustfile(folder, HEADER + CAPACITY + OPEN), free_port()
    quick = [*QUICK, "--adaptive-start", "16", *web(port)]
    with Loaded(folder, SMALL.service, ABOVE) as target, LocustRun(folder, file, *target.aim, *quick) as run:
        start(port)
        run.says(JUDGED)
        press(port, "stats/reset")
        run.says("probe 2 ")
        target.must_end()
        press(port, "stop")  # in the middle of the third probe
        target.silence()
        received = int(target.stats()["received"])
        # New: Stop, twice at once, while the target drains, and New while that goes on.
        start(port, adaptive_start=ABOVE)
        run.says("overload", timeout=30)
        counted_second, received_second = requests_seen(port), int(target.stats()["received"]) - received
        target.must_end()
        with ThreadPoolExecutor(3) as people:
            stops = [people.submit(press, port, "stop") for _ in range(2)]
            people.submit(start, port).result()
            for stop in stops:
                stop.result()
        run.says(BEGUN, 3)
        target.must_end()
        press(port, "stop")  # before the first probe, or in it
        target.silence()
        stopped(port)
        start(port, run_time="8")
        run.says(BEGUN, 4)
        stopped(port, 20)
        start(port)
        run.says(BEGUN, 5)
        run.says(JUDGED, run.said.rsplit(BEGUN, 1)[0].count(JUDGED) + 1)
        target.must_end()
        run.interrupt(signal.SIGTERM)
        return Pressed(searches(folder, run.over(20)), received, received_second, counted_second)


@pytest.mark.scenario(buttons, seconds=50)
def test_each_search_ends_with_its_own_report(found: Pressed) -> None:
    for search in found.searches:
        honest(search, capacity=SMALL.capacity)
        numbers = [trial["number"] for trial in search.outcome["trials"]]
        assert numbers[:1] in ([], [1])
        assert "Traceback" not in search.ended.stderr
    ends = [(search.outcome["verdict"], search.outcome["reason"]) for search in found.searches]
    aborted = ("aborted", "stopped")
    assert ends == [aborted, aborted, aborted, ("unresolved", "budget_spent"), ("aborted", "stopped by SIGTERM")]
    assert found.searches[0].ended.code == 143


@pytest.mark.scenario(buttons, seconds=50)
def test_stop_says_what_is_known(found: Pressed) -> None:
    first = found.searches[0].outcome
    assert len(first["trials"]) >= 2
    assert first["capacity"]["low"] == max((t["load"] for t in first["trials"] if t["verdict"] == "PASS"), default=None)
    second = found.searches[1].outcome
    assert [trial["reason"] for trial in second["trials"]][-1] == "overload"


@pytest.mark.scenario(buttons, seconds=50)
def test_reset_changes_nothing_here(found: Pressed) -> None:
    first = found.searches[0].outcome
    assert any("statistics were reset" in note for note in first["notes"])
    # The journal ends with the last whole half second, the load when the message has come.
    assert 0 <= found.received - first["requests"] <= 1.5 * 64 + 20


@pytest.mark.scenario(buttons, seconds=50)
def test_new_starts_from_nothing(found: Pressed) -> None:
    assert 0 < found.counted_second <= found.received_second
    assert len({search.outcome["started"] for search in found.searches}) >= 4
    for search in found.searches[1:]:
        assert search.outcome["requests"] < 2000


# -- keys, --autostart, --autoquit, --run-time -----------------------------------------------------------------------


@dataclass(frozen=True)
class Typed:
    search: Search
    users: set[int]
    """Seen while keys were pressed."""
    refused: int


TERMINAL = "import os\nos.dup2(os.open({!r}, os.O_RDWR | os.O_NOCTTY), 0)\n"
KEYS = b"wWSsS"


def typed(folder: Path, users: str, target: Loaded, load: int) -> Typed:
    keyboard, terminal = os.openpty()
    file = locustfile(folder, TERMINAL.format(os.ttyname(terminal)) + HEADER + CAPACITY + users)
    port = free_port()
    arguments = [*web(port), "--autostart", "--autoquit", "1", "-t", "20s", "--adaptive-soak", "5s"]
    arguments += ["--adaptive-start", str(load), *to_results(folder)]
    found = set()
    try:
        with target, LocustRun(folder, file, *target.aim, *arguments) as run:
            run.says(f"Ramping to {load} users")
            for n, key in enumerate(KEYS, 1):
                os.write(keyboard, bytes([key]))
                run.says("change nothing", n)
                found.add(int(seen(port)["user_count"]))
            ended = run.over(60)
            return Typed(read_search(folder, ended), found, ended.stderr.count("change nothing"))
    finally:
        os.close(keyboard)
        os.close(terminal)


def keys_open(folder: Path) -> Typed:
    return typed(folder, OPEN, Loaded(folder, SMALL.service, 130), 30)


def keys_closed(folder: Path) -> Typed:
    return typed(folder, CLOSED, Loaded(folder, CLOSED_SETTING.service, 16, users=True), 8)


@pytest.mark.parametrize(
    "capacity",
    [
        pytest.param(SMALL.capacity, marks=pytest.mark.scenario(keys_open, seconds=35), id="open"),
        pytest.param(CLOSED_SETTING.capacity + 1, marks=pytest.mark.scenario(keys_closed, seconds=35), id="closed"),
    ],
)
def test_keys_in_the_terminal_change_nothing(capacity: float, found: Typed) -> None:
    outcome = found.search.outcome
    honest(found.search, capacity=capacity)
    assert found.refused == len(KEYS)
    assert not any(trial["reason"] == "users_not_reached" for trial in outcome["trials"])
    closed = outcome["load"]["kind"] == "closed"
    assert found.users <= ({8, 16} if closed else {30, 60, 120})  # of the first probes
    if closed:
        for trial in (t for t in outcome["trials"] if t["verdict"] == "PASS"):
            flows = [step.event for step in found.search.journal.steps if isinstance(step.event, FlowArrived)]
            users = [event.flow.users for event in flows if event.probe == trial["number"]]
            reached = users.index(round(trial["load"]))
            assert set(users[reached:]) == {round(trial["load"])}
    # The time allowed holds, and the exit code is ours.
    assert (outcome["verdict"], outcome["reason"]) == ("unresolved", "budget_spent")
    assert 20 <= outcome["elapsed_s"] < 22
    assert found.search.ended.code == 3
    assert found.search.ended.seconds < 35
