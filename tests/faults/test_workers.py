"""Workers that die, join, stand still and do not fit, in open loop: the answer stays true."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # comes with Locust
import pytest

from tests.faults.loaded import Loaded
from tests.faults.oracle import honest
from tests.faults.workers import (
    CAP,
    LONG,
    OPEN_LOOP,
    STRANGER,
    Found,
    answers,
    bursts,
    changes_under_load,
    ended,
    pause,
    probes,
    repeated,
)
from tests.support.searches import (
    LOCUSTFILES,
    Cluster,
    Ended,
    LocustRun,
    forks_ports,
    locustfile,
    read_search,
    to_results,
)
from tests.support.truth import SMALL

FILE = LOCUSTFILES / "open_loop.py"

# -- one dies, one joins, one does not fit ---------------------------------------------------------------------------


def lost_and_joined(folder: Path) -> Found:
    """Two workers; a third of another version comes, one of the two is killed, a good one comes."""
    with (
        Loaded(folder, SMALL.service, CAP) as target,
        Cluster(folder, FILE, *target.aim, *OPEN_LOOP, *to_results(folder), workers=2) as cluster,
    ):
        cluster.master.says("probe 1 ")
        stranger = cluster.join(locustfile(folder / "other", STRANGER + FILE.read_text()))
        gone = stranger.wait(60)
        before = cluster.master.said.count("workers changed")
        cluster.workers[0].interrupt(signal.SIGKILL)
        noticed = cluster.master.says("workers changed: 2 before, 1 now", timeout=30)
        probes(cluster.master, 2)
        cluster.join()
        cluster.master.says("workers changed: 1 before, 2 now")
        return ended(folder, target, cluster, noticed_s=noticed, stranger=gone, before=before)


lost_and_joined_is = pytest.mark.scenario(lost_and_joined, seconds=110)


@lost_and_joined_is
def test_a_killed_worker_and_a_new_one_do_not_change_the_answer(found: Found) -> None:
    answers(found, SMALL.capacity)
    assert len(found.voided) == changes_under_load(found) >= 1
    repeated(found)
    assert found.search.outcome["generator"]["workers"] == 2


@lost_and_joined_is
def test_a_loss_is_noticed_within_seconds(found: Found) -> None:
    assert found.noted["noticed_s"] <= 5.0


@lost_and_joined_is
def test_a_worker_that_differs_is_sent_away_and_spoils_nothing(found: Found) -> None:
    stranger: Ended = found.noted["stranger"]
    assert stranger.code == 2
    assert "takes no part in the search: locust-adaptive 0.0.1, not" in stranger.stderr
    assert "locust-adaptive 0.0.1, not" in found.search.ended.stderr
    assert found.noted["before"] == 0, "it was never counted in"


# -- one stands still, then the master -------------------------------------------------------------------------------


def stopped(folder: Path) -> Found:
    """A worker is stopped for 10 s and goes on; later the master, for 5 s."""
    arguments = [*OPEN_LOOP, "--enable-rebalancing", *to_results(folder)]
    with (
        Loaded(folder, SMALL.service, CAP) as target,
        Cluster(folder, FILE, *target.aim, *arguments, workers=2) as cluster,
    ):
        cluster.master.says(" locate ", timeout=120)
        pause(cluster.workers[1], 10)
        cluster.master.says("workers changed: 1 before, 2 now", timeout=20)
        probes(cluster.master, 2)
        pause(cluster.master, 5)
        probes(cluster.master)
        there = [worker.left_behind for worker in cluster.workers]
        return ended(folder, target, cluster, there=there)


stopped_is = pytest.mark.scenario(stopped, seconds=240)


@stopped_is
def test_a_worker_and_a_master_that_stood_still_do_not_change_the_answer(found: Found) -> None:
    answers(found, SMALL.capacity)
    assert len(found.voided) >= 2, "when it fell silent, and when it came back"
    repeated(found)
    assert found.noted["there"] == [True, True], "nobody left because the master was silent for 5 s"


@stopped_is
def test_there_is_no_burst_when_they_go_on(found: Found) -> None:
    assert bursts(found) == []


# -- forked workers, one process -------------------------------------------------------------------------------------


def forked(folder: Path) -> Found:
    """Of the two workers that `--processes` forked one is killed."""
    arguments = [*OPEN_LOOP, "--processes", "2", *forks_ports(), *to_results(folder)]
    with Loaded(folder, SMALL.service, CAP) as target, LocustRun(folder, FILE, *target.aim, *arguments) as run:
        run.says("probe 1 ")
        os.kill(psutil.Process(run.pid).children()[0].pid, signal.SIGKILL)
        noticed = run.says("workers changed: 2 before, 1 now", timeout=30)
        over = run.over(LONG)
        return Found(read_search(folder, over), target.stats(), {"noticed_s": noticed})


@pytest.mark.scenario(forked, seconds=220)
def test_a_killed_fork_does_not_change_the_answer(found: Found) -> None:
    answers(found, SMALL.capacity)
    assert len(found.voided) == changes_under_load(found) == 1
    repeated(found)
    assert found.noted["noticed_s"] <= 5.0


def alone(folder: Path) -> Found:
    """The only process stands still for 5 s; the search is ended two probes later."""
    arguments = [*OPEN_LOOP, *to_results(folder)]
    with Loaded(folder, SMALL.service, CAP) as target, LocustRun(folder, FILE, *target.aim, *arguments) as run:
        run.says("probe 2 ")
        pause(run, 5)
        probes(run, 2)
        target.must_end()
        run.interrupt(signal.SIGINT)
        return Found(read_search(folder, run.over(20)), target.stats())


@pytest.mark.scenario(alone, seconds=40)
def test_that_this_process_stood_still_is_not_the_target_s_doing(found: Found) -> None:
    honest(found.search, capacity=SMALL.capacity, served=SMALL.served)
    assert (found.search.outcome["verdict"], found.search.ended.code) == ("aborted", 130)
    assert found.search.outcome["stalls"] == []
    assert [t["verdict"] for t in found.trials if t["load"] < SMALL.capacity].count("FAIL") == 0
    assert bursts(found) == []
    assert found.search.outcome["generator"]["workers"] == 1
