"""Stop, New, Reset, keys in the terminal, the time allowed, a fault in the shape, no worker, a full disk."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from locust_adaptive.search.events import FlowArrived
from tests.faults.buttons import press, requests_seen, searches, seen, silence, start
from tests.faults.oracle import honest
from tests.support.searches import (
    CAPACITY,
    CLOSED,
    HEADER,
    OPEN,
    Ended,
    LocustRun,
    Search,
    free_port,
    read_search,
    to_results,
)
from tests.support.target import Target
from tests.support.truth import CLOSED as CLOSED_SETTING
from tests.support.truth import SMALL
from tests.support.wait import wait_until

QUICK = ("--adaptive-precision", "12%", "--adaptive-soak", "5s", "--adaptive-start", "16")
BUDGET_S = 10.0
"""From a button to the end of the load."""
JUDGED, BEGUN = "probe 1 ", "searching the capacity"


def web(port: int) -> list[str]:
    return ["--web-host", "127.0.0.1", "--web-port", str(port)]


def said(run: LocustRun, words: str, times: int = 1, timeout: float = 60) -> None:
    wait_until(lambda: run.said.count(words) >= times, f"{words!r}, {times} times", timeout)


def stopped(port: int) -> None:
    wait_until(lambda: seen(port)["state"] == "stopped", "the state stopped", BUDGET_S)


# -- Stop, Reset, New ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pressed:
    """`zero_s`: after each Stop. `received`, `counted`: at the first Stop, and since the second Start, by the target
    and by Locust."""

    searches: list[Search]
    zero_s: list[float]
    received: int
    received_second: int
    counted_second: int
    left: bool


def buttons(folder: Path) -> Pressed:
    locustfile = folder / "locustfile.py"
    locustfile.write_text(HEADER + CAPACITY + OPEN)
    port = free_port()
    zero_s = []
    with Target(SMALL.service) as target, LocustRun(folder, locustfile, "-H", target.url, *QUICK, *web(port)) as run:
        start(port)
        said(run, JUDGED)
        press(port, "stats/reset")
        said(run, "probe 2 ")
        began = time.monotonic()
        press(port, "stop")  # in the middle of the third probe
        zero_s.append(silence(target, began))
        received = int(target.stats()["received"])
        # New; far above the capacity: Stop, twice at once, while the target drains, and New while that goes on.
        start(port, adaptive_start="250")
        said(run, "overload", timeout=30)
        counted_second, received_second = requests_seen(port), int(target.stats()["received"]) - received
        with ThreadPoolExecutor(3) as people:
            stops = [people.submit(press, port, "stop") for _ in range(2)]
            people.submit(start, port).result()
            for stop in stops:
                stop.result()
        said(run, BEGUN, 3)
        began = time.monotonic()
        press(port, "stop")  # before the first probe, or in it
        zero_s.append(silence(target, began))
        stopped(port)
        start(port, run_time="8")
        said(run, BEGUN, 4)
        wait_until(lambda: seen(port)["state"] == "stopped", "the end after 8 s", 20)
        start(port)
        wait_until(lambda: run.said.count(BEGUN) == 5 and JUDGED in run.said.rsplit(BEGUN, 1)[1], "a probe", 60)
        run.interrupt(signal.SIGTERM)
        ended = run.wait(20)
        wait_until(lambda: not run.left_behind, "the end of every process", BUDGET_S)
        found = searches(folder, ended)
        return Pressed(found, zero_s, received, received_second, counted_second, run.left_behind)


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
    assert not found.left


@pytest.mark.scenario(buttons, seconds=50)
def test_stop_ends_the_load_and_says_what_is_known(found: Pressed) -> None:
    assert max(found.zero_s) < BUDGET_S
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
    left: bool


TERMINAL = "import os\nos.dup2(os.open({!r}, os.O_RDWR | os.O_NOCTTY), 0)\n"
KEYS = b"wWSsS"


def typed(folder: Path, users: str, setting: Target, load: int, live: int) -> Typed:
    keyboard, terminal = os.openpty()
    locustfile = folder / "locustfile.py"
    locustfile.write_text(TERMINAL.format(os.ttyname(terminal)) + HEADER + CAPACITY + users)
    port = free_port()
    arguments = [*web(port), "--autostart", "--autoquit", "1", "-t", "20s", "--adaptive-soak", "5s"]
    arguments += ["--adaptive-start", str(load), *to_results(folder)]
    found = set()
    try:
        with setting as target, LocustRun(folder, locustfile, "-H", target.url, *arguments) as run:
            said(run, f"Ramping to {live} users")
            for n, key in enumerate(KEYS, 1):
                os.write(keyboard, bytes([key]))
                said(run, "change nothing", n)
                found.add(int(seen(port)["user_count"]))
            ended = run.wait(60)
            wait_until(lambda: not run.left_behind, "the end of every process", BUDGET_S)
            return Typed(read_search(folder, ended), found, run.said.count("change nothing"), run.left_behind)
    finally:
        os.close(keyboard)
        os.close(terminal)


def keys_open(folder: Path) -> Typed:
    return typed(folder, OPEN, Target(SMALL.service), 30, 3)


def keys_closed(folder: Path) -> Typed:
    return typed(folder, CLOSED, Target(CLOSED_SETTING.service), 8, 8)


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
    assert found.users <= ({8, 16} if closed else {3, 6})  # of the first two probes
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
    assert not found.left


# -- a fault in the shape --------------------------------------------------------------------------------------------

FAULTY = """
import os
from locust import events
from locust_adaptive.plugin.session import Session

class Capacity(AdaptiveShape):
    slo = "p99<250ms & errors<1%"
    def tick(self):
        if os.path.exists("tick"):
            raise RuntimeError("a fault in a tick")
        return super().tick()

users = Session.users.fget
def faulty(self):
    if os.path.exists("session"):
        raise RuntimeError("a fault in the session")
    return users(self)
Session.users = property(faulty)

@events.spawning_complete.add_listener
def broken(**_):
    raise ValueError("a listener of the user's")
"""


@dataclass(frozen=True)
class Faults:
    searches: list[Search]
    zero_s: list[float]
    headless: Search
    left: bool


def faults(folder: Path) -> Faults:
    locustfile = folder / "locustfile.py"
    locustfile.write_text(HEADER + FAULTY + OPEN)
    port = free_port()
    zero_s = []
    with Target(SMALL.service) as target:
        with LocustRun(folder, locustfile, "-H", target.url, *QUICK, *web(port)) as run:
            for n, place in enumerate(("tick", "session"), 1):
                start(port)
                said(run, JUDGED, n)
                (folder / place).touch()
                zero_s.append(silence(target, time.monotonic()))
                stopped(port)
                (folder / place).unlink()
            start(port)
            said(run, JUDGED, 3)
            run.interrupt(signal.SIGINT)
            ended = run.wait(20)
            left = run.left_behind
        alone = folder / "headless"
        with LocustRun(alone, locustfile, "-H", target.url, *QUICK, "--headless", *to_results(alone)) as run:
            said(run, JUDGED)
            (alone / "tick").touch()
            zero_s.append(silence(target, time.monotonic()))
            found = read_search(alone, run.wait(20))
            return Faults(searches(folder, ended), zero_s, found, left or run.left_behind)


@pytest.mark.scenario(faults, seconds=50)
def test_a_shape_that_raises_ends_the_load_and_a_new_search_works(found: Faults) -> None:
    assert max(found.zero_s) < BUDGET_S
    reasons = [search.outcome["reason"] for search in found.searches]
    tick = "internal error: RuntimeError: a fault in a tick"
    assert reasons == [tick, tick.replace("a tick", "the session"), "stopped by SIGINT"]
    assert found.searches[-1].outcome["trials"]
    assert found.searches[-1].ended.code == 130
    assert (found.headless.outcome["reason"], found.headless.ended.code) == (tick, 2)
    for search in (*found.searches, found.headless):
        honest(search, capacity=SMALL.capacity)
    assert not found.left


@pytest.mark.scenario(faults, seconds=50)
def test_a_listener_that_raises_is_noted(found: Faults) -> None:
    assert any("exception in a listener" in note for note in found.searches[0].outcome["notes"])


# -- no worker -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deserted:
    message: str
    state: str
    search: Search
    gave_up: Ended
    idle: Ended
    left: bool


def answers_on(port: int) -> bool:
    try:
        return bool(seen(port))
    except OSError:
        return False


def no_worker(folder: Path) -> Deserted:
    locustfile = folder / "locustfile.py"
    locustfile.write_text(HEADER + CAPACITY + OPEN)
    port, bind = free_port(), str(free_port())
    lead = ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", bind]
    with Target(SMALL.service) as target:
        arguments = ["-H", target.url, *QUICK, *to_results(folder), *lead]
        with LocustRun(folder, locustfile, *arguments, *web(port)) as master:
            said(master, "Starting web interface", timeout=30)
            answers = []

            def answered() -> bool:
                try:
                    answers.append(press(port, "swarm"))
                except OSError:
                    return False
                return True

            wait_until(answered, "an answer of the web UI", 20)
            said(master, "no worker has connected")
            state = seen(port)["state"]
            join = ["--worker", "--master-host", "127.0.0.1", "--master-port", bind]
            with LocustRun(folder / "worker", locustfile, *join) as worker:
                said(master, "reported as ready")
                start(port)
                said(master, JUDGED)
                master.interrupt(signal.SIGTERM)
                ended = master.wait(20)
                worker.wait(BUDGET_S)
            left = master.left_behind or worker.left_behind
        alone = folder / "alone"
        waiting = ["--headless", "--expect-workers", "1", "--expect-workers-max-wait", "3"]
        with LocustRun(alone, locustfile, "-H", target.url, *lead, *waiting) as master:
            gave_up = master.wait(20)
            left = left or master.left_behind
        with LocustRun(folder / "idle", locustfile, "-H", target.url, *web(port)) as run:
            wait_until(lambda: answers_on(port), "the web UI", 20)
            run.interrupt(signal.SIGTERM)
            idle = run.wait(20)
            left = left or run.left_behind
    return Deserted(answers[0]["message"], state, read_search(folder, ended), gave_up, idle, left)


@pytest.mark.scenario(no_worker, seconds=50)
def test_a_start_without_workers_is_refused_and_a_later_one_works(found: Deserted) -> None:
    assert "no worker has connected" in found.message
    assert found.state in ("ready", "stopped")
    honest(found.search, capacity=SMALL.capacity)
    assert found.search.outcome["trials"]
    assert found.search.ended.code == 143
    assert not found.left


@pytest.mark.scenario(no_worker, seconds=50)
def test_without_a_search_a_signal_is_locusts_own(found: Deserted) -> None:
    assert found.idle.code == 0
    assert "Got SIGTERM signal" in found.idle.stderr
    assert BEGUN not in found.idle.stderr


@pytest.mark.scenario(no_worker, seconds=50)
def test_a_master_that_waited_in_vain_ends_as_locust_has_it(found: Deserted) -> None:
    assert found.gave_up.code == 1
    assert "Gave up waiting for workers" in found.gave_up.stderr
    assert "Traceback" not in found.gave_up.stderr
    assert found.gave_up.seconds < 12


# -- a full disk -----------------------------------------------------------------------------------------------------

FULL = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))\n"


def full_disk(folder: Path) -> Search:
    locustfile = folder / "locustfile.py"
    locustfile.write_text(FULL + HEADER + CAPACITY + OPEN)
    with Target(SMALL.service) as target:
        arguments = ["-H", target.url, *QUICK, "--headless", "-t", "25s", *to_results(folder)]
        with LocustRun(folder, locustfile, *arguments) as run:
            return read_search(folder, run.wait(60))


@pytest.mark.scenario(full_disk, seconds=30)
def test_a_disk_that_is_full_loses_the_journal_and_not_the_answer(found: Search) -> None:
    outcome = found.outcome
    assert (outcome["verdict"], outcome["reason"]) == ("unresolved", "budget_spent")
    assert outcome["elapsed_s"] >= 25
    assert "journal_lost" in outcome["notes"]
    assert found.ended.code == 2
    assert "The search goes on without its journal" in found.ended.stderr
    assert found.ended.stderr.count("without its journal") == 1
    # What is there is whole, and older than the end.
    assert not found.journal.finished
    assert found.journal.steps[-1].event.t < 25
    believed = outcome["capacity"]
    assert (believed["low"] or 0.0) <= 1.08 * SMALL.capacity
