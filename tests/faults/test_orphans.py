"""Workers that differ from the start, a master that is killed, workers that are all killed: nobody loads on."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.faults.loaded import Loaded
from tests.faults.oracle import honest
from tests.faults.workers import OPEN_LOOP, QUICK, STRANGER, Found
from tests.support.searches import (
    CAPACITY,
    CLOSED,
    HEADER,
    LOCUSTFILES,
    OPEN,
    Cluster,
    Ended,
    locustfile,
    read_search,
    to_results,
)
from tests.support.truth import SMALL

# -- workers that differ, before the start ---------------------------------------------------------------------------

REPLAY = HEADER + CAPACITY + 'class Ranker(ReplayUser):\n    trace = "day.trace"\n'


def differing(folder: Path) -> dict[str, Ended]:
    """What the master said, for each difference. The target is to get nothing."""
    return {name: refusal(folder / name, name) for name in SAID}


def refusal(folder: Path, name: str) -> Ended:
    text = HEADER + CAPACITY + OPEN if name in ("version", "plain") else REPLAY
    plain = text.replace(CAPACITY, "").replace("from locust_adaptive", "# ").replace("OpenLoop, ", "")
    odd = {"version": STRANGER + text, "plain": plain}.get(name, text)
    good, other = locustfile(folder / "good", text), locustfile(folder / "odd", odd)
    trace = (LOCUSTFILES.parent / "traces" / "demo.trace").read_bytes()
    (folder / "good" / "day.trace").write_bytes(trace)
    if name == "trace":
        (folder / "odd" / "day.trace").write_bytes(trace[:-100] + bytes(100))
    with (
        Loaded(folder, SMALL.service, cap=0) as target,
        Cluster(folder, good, *target.aim, *OPEN_LOOP, *to_results(folder), workers=1, expect=2) as cluster,
    ):
        cluster.join(other)
        over = cluster.master.over(60)
        for worker in cluster.workers:
            worker.over(20)
        return over


SAID = {
    "version": "locust-adaptive 0.0.1, not ",
    "trace": "trace 'day.trace' of Ranker with digest ",
    "no trace": "Ranker: there is no trace 'day.trace'",
    "plain": "no answer for 10 s; does its locustfile import locust_adaptive?",
}


@pytest.mark.scenario(differing, seconds=60)
@pytest.mark.parametrize("name", SAID)
def test_workers_that_differ_end_it_before_any_load(name: str, found: dict[str, Ended]) -> None:
    over = found[name]
    assert over.code == 2, over.stderr
    assert SAID[name] in over.stderr
    assert "worker " in over.stderr
    assert "No load was made." in over.stderr
    assert over.stdout.rstrip().endswith("exit 2")
    assert "Traceback" not in over.stdout + over.stderr


# -- the master dies; all workers die --------------------------------------------------------------------------------


def orphaned(folder: Path) -> dict[str, list[Ended]]:
    """The master is killed in mid-probe, the second one's load being the cap: in open and in closed loop."""
    return {"open": orphans(folder / "open", OPEN, 16), "closed": orphans(folder / "closed", CLOSED, 4)}


def orphans(folder: Path, users: str, start: int) -> list[Ended]:
    """How the workers ended."""
    file = locustfile(folder / "files", HEADER + CAPACITY + users)
    arguments = [*QUICK, "--adaptive-start", str(start), *to_results(folder)]
    with (
        Loaded(folder, SMALL.service, 2 * start, users=users == CLOSED) as target,
        Cluster(folder, file, *target.aim, *arguments, workers=2) as cluster,
    ):
        cluster.master.says("probe 1 ")
        target.must_end()
        cluster.master.interrupt(signal.SIGKILL)
        return [worker.over(30) for worker in cluster.workers]


@pytest.mark.scenario(orphaned, seconds=60)
@pytest.mark.parametrize("loop", ["open", "closed"])
def test_without_a_master_the_load_ends_and_so_do_the_workers(loop: str, found: dict[str, list[Ended]]) -> None:
    for worker in found[loop]:
        assert worker.code == 3, worker.stderr
        assert "the master has not answered for 8 s" in worker.stderr


def deserted(folder: Path) -> Found:
    """Both workers are killed at once."""
    arguments = [*OPEN_LOOP, *to_results(folder)]
    with (
        Loaded(folder, SMALL.service, 32) as target,
        Cluster(folder, LOCUSTFILES / "open_loop.py", *target.aim, *arguments, workers=2) as cluster,
    ):
        cluster.master.says("probe 1 ")
        killed = target.must_end()
        for worker in cluster.workers:
            worker.interrupt(signal.SIGKILL)
        over = cluster.master.over(30)
        return Found(read_search(folder, over), target.stats(), {"took_s": time.monotonic() - killed})


@pytest.mark.scenario(deserted, seconds=20)
def test_the_loss_of_all_workers_ends_it_with_its_reason(found: Found) -> None:
    honest(found.search, capacity=SMALL.capacity)
    assert (found.search.outcome["verdict"], found.search.outcome["reason"]) == ("aborted", "workers_lost")
    assert found.search.ended.code == 3
    assert found.noted["took_s"] < 15
    assert "Traceback" not in found.search.ended.stderr
