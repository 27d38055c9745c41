"""What breaks around a search: a fault in the shape or a listener, no worker, a full disk."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.buttons import press, searches, seen, start, stopped, web
from tests.faults.loaded import Loaded
from tests.faults.oracle import honest
from tests.support.searches import (
    CAPACITY,
    HEADER,
    OPEN,
    Ended,
    LocustRun,
    Search,
    free_port,
    locustfile,
    read_search,
    to_results,
)
from tests.support.searches import QUICK as SHORT
from tests.support.truth import SMALL
from tests.support.wait import wait_until

QUICK = (*SHORT, "--adaptive-start", "16")
CAP = 32.0
"""The second probe's load: they end in it."""
JUDGED = "probe 1 "

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
    headless: Search


def faults(folder: Path) -> Faults:
    file, port = locustfile(folder, HEADER + FAULTY + OPEN), free_port()
    with Loaded(folder, SMALL.service, CAP) as target:
        with LocustRun(folder, file, *target.aim, *QUICK, *web(port)) as run:
            for n, place in enumerate(("tick", "session"), 1):
                start(port)
                run.says(JUDGED, n)
                target.must_end()
                (folder / place).touch()
                target.silence()
                stopped(port)
                (folder / place).unlink()
            start(port)
            run.says(JUDGED, 3)
            target.must_end()
            run.interrupt(signal.SIGINT)
            ended = run.over(20)
        alone = folder / "headless"
        with LocustRun(alone, file, *target.aim, *QUICK, "--headless", *to_results(alone)) as run:
            run.says(JUDGED)
            target.must_end()
            (alone / "tick").touch()
            found = read_search(alone, run.over(20))
            return Faults(searches(folder, ended), found)


@pytest.mark.scenario(faults, seconds=50)
def test_a_shape_that_raises_ends_the_load_and_a_new_search_works(found: Faults) -> None:
    reasons = [search.outcome["reason"] for search in found.searches]
    tick = "internal error: RuntimeError: a fault in a tick"
    assert reasons == [tick, tick.replace("a tick", "the session"), "stopped by SIGINT"]
    assert found.searches[-1].outcome["trials"]
    assert found.searches[-1].ended.code == 130
    assert (found.headless.outcome["reason"], found.headless.ended.code) == (tick, 2)
    for search in (*found.searches, found.headless):
        honest(search, capacity=SMALL.capacity)


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


def answers_on(port: int) -> bool:
    try:
        return bool(seen(port))
    except OSError:
        return False


def no_worker(folder: Path) -> Deserted:
    file = locustfile(folder, HEADER + CAPACITY + OPEN)
    port, bind = free_port(), str(free_port())
    lead = ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", bind]
    with Loaded(folder, SMALL.service, CAP) as target:
        arguments = [*target.aim, *QUICK, *to_results(folder), *lead]
        with LocustRun(folder, file, *arguments, *web(port)) as master:
            master.says("Starting web interface", timeout=30)
            answers = []

            def answered() -> bool:
                try:
                    answers.append(press(port, "swarm"))
                except OSError:
                    return False
                return True

            wait_until(answered, "an answer of the web UI", 20)
            master.says("no worker has connected")
            state = seen(port)["state"]
            join = ["--worker", "--master-host", "127.0.0.1", "--master-port", bind]
            with LocustRun(folder / "worker", file, *join) as worker:
                master.says("reported as ready")
                start(port)
                master.says(JUDGED)
                target.must_end()
                master.interrupt(signal.SIGTERM)
                ended = master.over(20)
                worker.over(10)
        waiting = ["--headless", "--expect-workers", "1", "--expect-workers-max-wait", "3"]
        with LocustRun(folder / "alone", file, *target.aim, *lead, *waiting) as master:
            gave_up = master.over(20)
        with LocustRun(folder / "idle", file, *target.aim, *web(port)) as run:
            wait_until(lambda: answers_on(port), "the web UI", 20)
            run.interrupt(signal.SIGTERM)
            idle = run.over(20)
    return Deserted(answers[0]["message"], state, read_search(folder, ended), gave_up, idle)


@pytest.mark.scenario(no_worker, seconds=50)
def test_a_start_without_workers_is_refused_and_a_later_one_works(found: Deserted) -> None:
    assert "no worker has connected" in found.message
    assert found.state in ("ready", "stopped")
    honest(found.search, capacity=SMALL.capacity)
    assert found.search.outcome["trials"]
    assert found.search.ended.code == 143


@pytest.mark.scenario(no_worker, seconds=50)
def test_without_a_search_a_signal_is_locusts_own(found: Deserted) -> None:
    assert found.idle.code == 0
    assert "Got SIGTERM signal" in found.idle.stderr
    assert "searching the capacity" not in found.idle.stderr


@pytest.mark.scenario(no_worker, seconds=50)
def test_a_master_that_waited_in_vain_ends_as_locust_has_it(found: Deserted) -> None:
    assert found.gave_up.code == 1
    assert "Gave up waiting for workers" in found.gave_up.stderr
    assert "Traceback" not in found.gave_up.stderr
    assert found.gave_up.seconds < 12


# -- a full disk -----------------------------------------------------------------------------------------------------

FULL = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))\n"


def full_disk(folder: Path) -> Search:
    file = locustfile(folder, FULL + HEADER + CAPACITY + OPEN)
    with Loaded(folder, SMALL.service, 130) as target:
        arguments = [*target.aim, *QUICK, "--headless", "-t", "25s", *to_results(folder)]
        with LocustRun(folder, file, *arguments) as run:
            return read_search(folder, run.over(60))


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
