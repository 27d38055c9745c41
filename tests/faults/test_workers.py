"""Workers that die, join, stand still and differ, a master that is killed: the answer stays true, nobody loads on."""

from __future__ import annotations

import math
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # comes with Locust
import pytest

from locust_adaptive.search.events import Hold
from tests.faults.oracle import honest
from tests.support.searches import (
    CAPACITY,
    CLOSED,
    HEADER,
    LOCUSTFILES,
    OPEN,
    Cluster,
    Ended,
    LocustRun,
    Search,
    free_port,
    read_search,
    to_results,
)
from tests.support.target import Target
from tests.support.truth import CLOSED as CLOSED_TRUTH
from tests.support.truth import SMALL
from tests.support.wait import wait_until

QUICK = ("--headless", "--adaptive-precision", "12%", "--adaptive-soak", "5s", "-t", "300")
OPEN_LOOP = (*QUICK, "--adaptive-start", "16")
WITHIN = 0.08
LONG = 300.0
SERVED = SMALL.service.workers / SMALL.service.mean_s
"""Requests a second that the server can serve at all."""


@dataclass
class Found:
    """A search, the target's counts after its end, whether a process was left; and what was noted on the way."""

    search: Search
    stats: dict[str, Any]
    left: list[bool]
    noted: dict[str, Any] = field(default_factory=dict)

    @property
    def trials(self) -> list[Any]:
        return list(self.search.outcome["trials"])

    @property
    def voided(self) -> list[Any]:
        """The probes that a change of workers made INVALID."""
        return [t for t in self.trials if (t["verdict"], t["reason"]) == ("INVALID", "workers_changed")]


def locustfile(folder: Path, text: str, name: str = "locustfile.py") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(text)
    return file


def says(run: LocustRun, words: str, times: int = 1, seconds: float = 60.0) -> float:
    """Wait until the run has said something so often; how many seconds that took."""
    began = time.monotonic()
    wait_until(lambda: run.said.count(words) >= times, repr(words), seconds)
    return time.monotonic() - began


def probes(run: LocustRun, more: int = 1) -> None:
    """Wait until so many more probes were judged."""
    says(run, "probe ", run.said.count("probe ") + more, 90)


def ended(folder: Path, target: Target, cluster: Cluster, **noted: Any) -> Found:
    """Wait for the end of a search, and of everybody's processes; then for 10 s at most until the target is quiet."""
    over = cluster.master.wait(LONG)
    runs = [cluster.master, *cluster.workers]
    wait_until(lambda: not any(run.left_behind for run in runs), "the end of every process", 20)
    return Found(read_search(folder, over), quiet(target), [run.left_behind for run in runs], noted)


def quiet(target: Target) -> dict[str, Any]:
    """The target's counts, once it received nothing for 2 s."""
    wait_until(lambda: silent(target) > 2, "silence at the target", 12)
    return target.stats()


def silent(target: Target) -> float:
    """Seconds since the target's last request; for ever, if there was none."""
    since = target.stats()["silent_s"]
    return math.inf if since is None else float(since)


def answers(found: Found, capacity: float, within: float = WITHIN) -> None:
    """The search came to an answer that is right, and all that must hold of any run holds."""
    # A probe of seconds may pass by luck a little above the capacity, but not where work surely piles up.
    honest(found.search, capacity=SERVED)
    assert found.search.outcome["capacity"]["verified"] <= 1.08 * capacity
    outcome, over = found.search.outcome, found.search.ended
    assert (outcome["verdict"], over.code) == ("resolved", 0), over.stdout[-2000:]
    assert outcome["capacity"]["value"] == pytest.approx(capacity, rel=within)
    assert not any(found.left)
    said = over.stdout + over.stderr
    # Locust's exit handler waits for a fork that died more than a minute ago, and gevent has forgotten it.
    assert said.count("Traceback") == said.count("in kill_workers"), said[-3000:]


def repeated(found: Found) -> None:
    """Each probe that a change of workers voided was tried again at the same load."""
    for trial in found.voided:
        again = next((t for t in found.trials if t["number"] > trial["number"]), None)
        assert again is not None
        assert again["load"] == trial["load"]


# -- one dies, one joins, one does not fit ---------------------------------------------------------------------------

STRANGER = "import locust_adaptive\nlocust_adaptive.__version__ = '0.0.1'\n"


def lost_and_joined(folder: Path) -> Found:
    """Two workers; a third of another version comes, one of the two is killed, a good one comes."""
    with (
        Target(SMALL.service) as target,
        Cluster(
            folder,
            LOCUSTFILES / "open_loop.py",
            "-H",
            target.url,
            *OPEN_LOOP,
            *to_results(folder),
            workers=2,
        ) as cluster,
    ):
        says(cluster.master, "probe 1 ")
        text = STRANGER + (LOCUSTFILES / "open_loop.py").read_text()
        stranger = cluster.join(locustfile(folder / "other", text))
        gone = stranger.wait(60)
        before = cluster.master.said.count("workers changed")
        cluster.workers[0].interrupt(signal.SIGKILL)
        noticed = says(cluster.master, "workers changed: 2 before, 1 now", seconds=30)
        probes(cluster.master, 2)
        joined = cluster.join()
        says(cluster.master, "workers changed: 1 before, 2 now")
        return ended(folder, target, cluster, noticed_s=noticed, stranger=gone, before=before, joined=joined.said)


lost_and_joined_is = pytest.mark.scenario(lost_and_joined, seconds=110)


@lost_and_joined_is
def test_a_killed_worker_and_a_new_one_do_not_change_the_answer(found: Found) -> None:
    answers(found, SMALL.capacity)
    assert len(found.voided) == 2
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
    with (
        Target(SMALL.service) as target,
        Cluster(
            folder,
            LOCUSTFILES / "open_loop.py",
            "-H",
            target.url,
            *OPEN_LOOP,
            "--enable-rebalancing",
            *to_results(folder),
            workers=2,
        ) as cluster,
    ):
        says(cluster.master, " locate ", seconds=120)
        pause(cluster.workers[1], 10)
        says(cluster.master, "workers changed: 1 before, 2 now", seconds=20)
        probes(cluster.master, 2)
        pause(cluster.master, 5)
        probes(cluster.master)
        there = [worker.left_behind for worker in cluster.workers]
        return ended(folder, target, cluster, there=there)


def pause(run: LocustRun, seconds: float) -> None:
    """Stop it, and let it go on: the one thing here that is a fixed time."""
    run.interrupt(signal.SIGSTOP)
    time.sleep(seconds)
    run.interrupt(signal.SIGCONT)


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


def bursts(found: Found) -> list[tuple[int, int, float]]:
    """Seconds in which the target got more than 1.1 times what was asked for: (second, received, load).

    Its seconds begin with the first request, a moment after the first hold: compared with what was asked for from half
    a second before to two seconds after. Poisson arrivals: 5 standard deviations.
    """
    holds = [
        (step.event.t, c.load) for step in found.search.journal.steps for c in step.commands if isinstance(c, Hold)
    ]
    ends = [*(t for t, _ in holds[1:]), math.inf]
    over = []
    for second, received in enumerate(found.stats["per_second"]):
        load = max(
            (load for (t, load), end in zip(holds, ends, strict=True) if t < second + 2 and end > second - 0.5),
            default=0.0,
        )
        if received > 1.1 * load + 5 * math.sqrt(1.1 * load) + 2:
            over.append((second, received, load))
    return over


# -- closed loop -----------------------------------------------------------------------------------------------------


def closed(folder: Path, *arguments: str) -> Found:
    """Of three workers one is killed, another stands still for 10 s."""
    with (
        Target(CLOSED_TRUTH.service) as target,
        Cluster(
            folder,
            locustfile(folder / "files", HEADER + CAPACITY + CLOSED),
            "-H",
            target.url,
            *QUICK,
            *arguments,
            *to_results(folder),
            workers=3,
        ) as cluster,
    ):
        says(cluster.master, "probe 3 ", seconds=120)
        cluster.workers[0].interrupt(signal.SIGKILL)
        noticed = says(cluster.master, "workers changed: 3 before, 2 now", seconds=30)
        probes(cluster.master, 2)
        pause(cluster.workers[1], 10)
        says(cluster.master, "workers changed: 1 before, 2 now", seconds=30)
        return ended(folder, target, cluster, noticed_s=noticed)


def closed_as_it_is(folder: Path) -> Found:
    return closed(folder)


def closed_rebalanced(folder: Path) -> Found:
    return closed(folder, "--enable-rebalancing")


def judge_closed(found: Found) -> None:
    honest(found.search, capacity=CLOSED_TRUTH.capacity)
    outcome, over = found.search.outcome, found.search.ended
    assert (outcome["verdict"], over.code) == ("resolved", 0), over.stdout[-2000:]
    assert outcome["capacity"]["value"] == pytest.approx(CLOSED_TRUTH.capacity, abs=1)
    assert len(found.voided) >= 3
    repeated(found)
    assert found.noted["noticed_s"] <= 5.0
    assert not any(found.left)


@pytest.mark.scenario(closed_as_it_is, seconds=200)
def test_in_closed_loop_lost_users_are_made_up_for(found: Found) -> None:
    """Locust alone would wait for a minute before it gave them to others."""
    judge_closed(found)


@pytest.mark.scenario(closed_rebalanced, seconds=200)
def test_in_closed_loop_too_many_users_are_seen_and_taken_away(found: Found) -> None:
    """Locust alone would keep those of the worker that came back, half as many again, for good."""
    judge_closed(found)


# -- forked workers, one process -------------------------------------------------------------------------------------


def forked(folder: Path) -> Found:
    """Of the two workers that `--processes` forked one is killed."""
    port = str(free_port())
    ports = ("--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port)
    with (
        Target(SMALL.service) as target,
        LocustRun(
            folder,
            LOCUSTFILES / "open_loop.py",
            "-H",
            target.url,
            *OPEN_LOOP,
            "--processes",
            "2",
            *ports,
            *to_results(folder),
        ) as run,
    ):
        says(run, "probe 1 ")
        first = next(child for child in psutil.Process().children() if str(folder) in " ".join(child.cmdline()))
        os.kill(first.children()[0].pid, signal.SIGKILL)
        noticed = says(run, "workers changed: 2 before, 1 now", seconds=30)
        over = run.wait(LONG)
        wait_until(lambda: not run.left_behind, "the end of every process", 20)
        return Found(read_search(folder, over), quiet(target), [run.left_behind], {"noticed_s": noticed})


@pytest.mark.scenario(forked, seconds=220)
def test_a_killed_fork_does_not_change_the_answer(found: Found) -> None:
    answers(found, SMALL.capacity)
    assert len(found.voided) == 1
    repeated(found)
    assert found.noted["noticed_s"] <= 5.0


def alone(folder: Path) -> Found:
    """The only process stands still for 5 s; the search is ended two probes later."""
    with (
        Target(SMALL.service) as target,
        LocustRun(folder, LOCUSTFILES / "open_loop.py", "-H", target.url, *OPEN_LOOP, *to_results(folder)) as run,
    ):
        says(run, "probe 2 ")
        pause(run, 5)
        probes(run, 2)
        run.interrupt(signal.SIGINT)
        over = run.wait(20)
        wait_until(lambda: not run.left_behind, "the end of every process", 20)
        return Found(read_search(folder, over), quiet(target), [run.left_behind])


@pytest.mark.scenario(alone, seconds=40)
def test_that_this_process_stood_still_is_not_the_target_s_doing(found: Found) -> None:
    honest(found.search, capacity=SERVED)
    assert (found.search.outcome["verdict"], found.search.ended.code) == ("aborted", 130)
    assert found.search.outcome["stalls"] == []
    assert [t["verdict"] for t in found.trials if t["load"] < SMALL.capacity].count("FAIL") == 0
    assert bursts(found) == []
    assert found.search.outcome["generator"]["workers"] == 1


# -- workers that differ, before the start ---------------------------------------------------------------------------

REPLAY = HEADER + CAPACITY + 'class Ranker(ReplayUser):\n    trace = "day.trace"\n'


def differing(folder: Path) -> dict[str, tuple[Ended, list[Ended], int]]:
    """What the master and each worker said, and how many requests the target got, for each difference."""
    return {name: refusal(folder / name, name) for name in ("version", "trace", "no trace", "plain")}


def refusal(folder: Path, name: str) -> tuple[Ended, list[Ended], int]:
    text = HEADER + CAPACITY + OPEN if name in ("version", "plain") else REPLAY
    odd = {"version": STRANGER + text, "plain": text.replace(CAPACITY, "").replace("from locust_adaptive", "# ")}
    odd_text = odd.get(name, text)
    if name == "plain":
        odd_text = odd_text.replace("OpenLoop, ", "")
    good, other = locustfile(folder / "good", text), locustfile(folder / "odd", odd_text)
    trace = (LOCUSTFILES.parent / "traces" / "demo.trace").read_bytes()
    (folder / "good" / "day.trace").write_bytes(trace)
    if name == "trace":
        (folder / "odd" / "day.trace").write_bytes(trace[:-100] + bytes(100))
    with (
        Target(SMALL.service) as target,
        Cluster(folder, good, "-H", target.url, *OPEN_LOOP, *to_results(folder), workers=1, expect=2) as cluster,
    ):
        cluster.join(other)
        over = cluster.master.wait(60)
        workers = [worker.wait(20) for worker in cluster.workers]
        return over, workers, int(target.stats()["received"])


SAID = {
    "version": "locust-adaptive 0.0.1, not ",
    "trace": "trace 'day.trace' of Ranker with digest ",
    "no trace": "Ranker: there is no trace 'day.trace'",
    "plain": "no answer for 10 s; does its locustfile import locust_adaptive?",
}


@pytest.mark.scenario(differing, seconds=60)
@pytest.mark.parametrize("name", SAID)
def test_workers_that_differ_end_it_before_any_load(name: str, found: dict[str, Any]) -> None:
    over, _, received = found[name]
    assert over.code == 2, over.stderr
    assert SAID[name] in over.stderr
    assert "worker " in over.stderr
    assert "No load was made." in over.stderr
    assert over.stdout.rstrip().endswith("exit 2")
    assert received == 0
    assert "Traceback" not in over.stdout + over.stderr


# -- the master dies; all workers die --------------------------------------------------------------------------------


def orphaned(folder: Path) -> dict[str, dict[str, Any]]:
    """The master is killed in mid-probe: in open and in closed loop."""
    return {"open": orphans(folder / "open", OPEN, "16"), "closed": orphans(folder / "closed", CLOSED, "4")}


def orphans(folder: Path, users: str, start: str) -> dict[str, Any]:
    with (
        Target(SMALL.service) as target,
        Cluster(
            folder,
            locustfile(folder / "files", HEADER + CAPACITY + users),
            "-H",
            target.url,
            *QUICK,
            "--adaptive-start",
            start,
            *to_results(folder),
            workers=2,
        ) as cluster,
    ):
        says(cluster.master, "probe 1 ")
        cluster.master.interrupt(signal.SIGKILL)
        killed = time.monotonic()
        wait_until(lambda: silent(target) > 2, "silence at the target", 30)
        silent_after = time.monotonic() - killed - silent(target)
        over = [worker.wait(30) for worker in cluster.workers]
        return {
            "silent_after_s": silent_after,
            "gone_after_s": time.monotonic() - killed,
            "codes": [o.code for o in over],
            "said": [o.stderr for o in over],
            "left": [worker.left_behind for worker in cluster.workers],
            "received_later": silent(target) < 2,
        }


@pytest.mark.scenario(orphaned, seconds=60)
@pytest.mark.parametrize("loop", ["open", "closed"])
def test_without_a_master_the_load_ends_and_so_do_the_workers(loop: str, found: dict[str, Any]) -> None:
    seen = found[loop]
    assert seen["silent_after_s"] <= 10
    assert seen["codes"] == [3, 3], seen["said"]
    assert all("the master has not answered for 8 s" in said for said in seen["said"])
    assert not any(seen["left"])
    assert not seen["received_later"]


def deserted(folder: Path) -> Found:
    """Both workers are killed at once."""
    with (
        Target(SMALL.service) as target,
        Cluster(
            folder, LOCUSTFILES / "open_loop.py", "-H", target.url, *OPEN_LOOP, *to_results(folder), workers=2
        ) as cluster,
    ):
        says(cluster.master, "probe 1 ")
        killed = time.monotonic()
        for worker in cluster.workers:
            worker.interrupt(signal.SIGKILL)
        over = cluster.master.wait(30)
        took = time.monotonic() - killed
        wait_until(lambda: not cluster.master.left_behind, "the end of every process", 20)
        return Found(read_search(folder, over), quiet(target), [cluster.master.left_behind], {"took_s": took})


@pytest.mark.scenario(deserted, seconds=20)
def test_the_loss_of_all_workers_ends_it_with_its_reason(found: Found) -> None:
    honest(found.search, capacity=SMALL.capacity)
    assert (found.search.outcome["verdict"], found.search.outcome["reason"]) == ("aborted", "workers_lost")
    assert found.search.ended.code == 3
    assert found.noted["took_s"] < 15
    assert "Traceback" not in found.search.ended.stderr
