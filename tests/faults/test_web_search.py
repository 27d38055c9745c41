"""Searches started, watched and stopped in the web UI of a master with workers.

A fact of Locust that is answered here: a start without workers succeeds and never starts.
"""

from __future__ import annotations

import json
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.buttons import web
from tests.faults.loaded import Loaded
from tests.faults.oracle import honest
from tests.faults.page import QUICK, SHAPE, Answer, Page
from tests.support.searches import HEADER, OPEN, Cluster, Ended, Search, free_port, locustfile, read_results
from tests.support.truth import SMALL
from tests.support.wait import wait_until


@dataclass
class Watched:
    """Two searches of one master, by what their states said and what they left."""

    alone: Answer
    received_alone: int
    first: Search
    states: list[dict[str, Any]]
    received_between: tuple[int, int]
    second: Search
    last: dict[str, Any]
    health: set[int]


def resolved(page: Page, folder: Path, health: set[int]) -> tuple[Search, list[dict[str, Any]]]:
    """Start a search and watch it to its end; `health` gets what the health check answered."""
    answer = page.start(QUICK, Origin=page.own)
    assert answer.plain["success"], answer
    states: list[dict[str, Any]] = []

    def done() -> bool:
        states.append(page.state())
        health.add(page.ask("GET", "/adaptive/healthz").status)
        time.sleep(0.4)  # as a page polls
        return bool(states[-1]["phase"] == "done")

    wait_until(lambda: page.state()["phase"] not in ("idle", "done"), "the search", 30)
    wait_until(done, "the end of the search", 240)
    return result(folder, states[-1]), states


def result(folder: Path, state: dict[str, Any]) -> Search:
    """What the search left that the web UI shows; its process goes on."""
    return read_results(folder / "adaptive-results" / state["folder"], Ended(0, "", "", 0.0))


def distributed(folder: Path) -> Watched:
    page, health = Page(free_port()), set[int]()
    file = locustfile(folder, HEADER + SHAPE + OPEN)
    with (
        Loaded(folder, SMALL.service, 130) as target,
        Cluster(folder, file, *target.aim, *web(page.port), workers=0, expect=2) as cluster,
    ):
        page.comes_up()
        alone = page.start(QUICK, Origin=page.own)
        cluster.join()
        cluster.join()
        wait_until(lambda: page.ask("GET", "/worker-count").plain["worker_count"] == 2, "two workers", 30)
        received_alone = target.stats()["received"]
        first, states = resolved(page, folder, health)
        # A machine busy with other things voids measurements: that is no wrong answer, but none. Once more.
        if first.outcome["verdict"] != "resolved" and first.outcome["generator"]["invalid_probes"]:
            target.silence()
            first, states = resolved(page, folder, health)
        target.silence()
        before = target.stats()["received"]
        assert page.start(QUICK, Origin=page.own).plain["success"]
        wait_until(lambda: page.state()["started"] != states[-1]["started"], "the second search", 30)
        wait_until(lambda: page.state()["trials"], "its first trial", 60)
        target.must_end()
        page.ask("POST", "/stop", Origin=page.own)
        target.silence()
        last = page.state()
        second = result(folder, last)
        received = target.stats()["received"]
        # Locust forgets a worker while it stops; one that it has forgotten is not told to quit.
        wait_until(lambda: page.ask("GET", "/worker-count").plain["worker_count"] == 2, "the workers again", 30)
        cluster.master.interrupt(signal.SIGTERM)
        cluster.master.over(30)
        for worker in cluster.workers:
            worker.over(20)
    return Watched(alone, received_alone, first, states, (before, received), second, last, health)


by_workers = pytest.mark.scenario(distributed, seconds=170)


@by_workers
def test_a_start_without_workers_is_refused_and_one_with_them_resolves(found: Watched) -> None:
    assert found.alone.plain["success"] is False
    assert "no worker has connected to this master" in found.alone.plain["message"]
    assert found.received_alone == 0
    outcome = found.first.outcome
    assert (outcome["verdict"], outcome["reason"]) == ("resolved", "converged"), outcome
    assert outcome["capacity"]["value"] == pytest.approx(SMALL.capacity, rel=0.08)
    assert outcome["generator"]["workers"] == 2
    honest(found.first, capacity=SMALL.capacity, served=SMALL.served)


@by_workers
def test_the_state_follows_the_search(found: Watched) -> None:
    numbers = [len(state["trials"]) for state in found.states]
    assert numbers == sorted(numbers)
    assert {"ramp", "refine", "done"} <= {state["phase"] for state in found.states}
    last, outcome = found.states[-1], found.first.outcome
    for name in ("verdict", "reason", "capacity", "trials", "slo", "requests"):
        assert last[name] == json.loads(found.first.text)[name], name
    assert last["options"]["adaptive_precision"] == "12%"
    assert all("/" not in state["folder"] for state in found.states)
    assert found.health == {200}
    assert outcome["elapsed_s"] == last["elapsed_s"]


@by_workers
def test_new_is_another_search_and_stop_leaves_its_report(found: Watched) -> None:
    outcome = found.second.outcome
    assert (outcome["verdict"], outcome["reason"]) == ("aborted", "stopped")
    assert outcome["trials"][0]["number"] == 1
    assert outcome["started"] > found.first.outcome["started"]
    assert found.last["folder"] != found.states[-1]["folder"]
    assert found.last["phase"] == "done"
    assert [trial["number"] for trial in found.last["trials"]] == [trial["number"] for trial in outcome["trials"]]
    before, after = found.received_between
    assert outcome["requests"] <= after - before, "requests of the first search are not counted again"
    honest(found.second, capacity=SMALL.capacity, served=SMALL.served)
