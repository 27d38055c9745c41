"""Workers that die and stand still in closed loop: users are made up for, and never too many make load."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.faults.loaded import Loaded
from tests.faults.oracle import honest
from tests.faults.workers import QUICK, Found, ended, pause, probes, repeated
from tests.support.searches import CAPACITY, CLOSED, HEADER, Cluster, locustfile, to_results
from tests.support.truth import CLOSED as CLOSED_TRUTH

CAP = 16.0
"""What the ramp comes to. While one of two workers stands still the other has them all; the users of the one that comes
back wait until those are stopped."""


def closed(folder: Path, *arguments: str) -> Found:
    """Of three workers one is killed, another stands still for 10 s."""
    file = locustfile(folder / "files", HEADER + CAPACITY + CLOSED)
    with (
        Loaded(folder, CLOSED_TRUTH.service, CAP, users=True) as target,
        Cluster(folder, file, *target.aim, *QUICK, *arguments, *to_results(folder), workers=3) as cluster,
    ):
        cluster.master.says("probe 3 ", timeout=120)
        cluster.workers[0].interrupt(signal.SIGKILL)
        noticed = cluster.master.says("workers changed: 3 before, 2 now", timeout=30)
        probes(cluster.master, 2)
        pause(cluster.workers[1], 10)
        cluster.master.says("workers changed: 1 before, 2 now", timeout=30)
        return ended(folder, target, cluster, noticed_s=noticed)


def closed_as_it_is(folder: Path) -> Found:
    return closed(folder)


def closed_rebalanced(folder: Path) -> Found:
    return closed(folder, "--enable-rebalancing")


def judge_closed(found: Found) -> None:
    # A probe of seconds may pass with one user more; the answer may not be above 12.
    honest(found.search, capacity=CLOSED_TRUTH.capacity, served=CLOSED_TRUTH.capacity + 1)
    outcome, over = found.search.outcome, found.search.ended
    assert (outcome["verdict"], over.code) == ("resolved", 0), over.stdout[-2000:]
    assert outcome["capacity"]["value"] == pytest.approx(CLOSED_TRUTH.capacity, abs=1)
    assert len(found.voided) >= 3
    repeated(found)
    assert found.noted["noticed_s"] <= 5.0


@pytest.mark.scenario(closed_as_it_is, seconds=200)
def test_in_closed_loop_lost_users_are_made_up_for(found: Found) -> None:
    """Locust alone would wait for a minute before it gave them to others."""
    judge_closed(found)


@pytest.mark.scenario(closed_rebalanced, seconds=200)
def test_in_closed_loop_too_many_users_make_no_load_and_are_taken_away(found: Found) -> None:
    """Locust alone would keep those of the worker that came back, half as many again, for good."""
    judge_closed(found)
