"""Recorded arrivals on several workers, one of which is killed: what the target got, against what the trace says.

Each request says who sent it, in which probe, and which of its repeats it is. The trace has silences of three
seconds: in one of them the worker is killed, while the target keeps some of its requests unanswered.
"""

from __future__ import annotations

import itertools
import signal
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import pytest
from gevent.event import Event
from gevent.server import StreamServer

from locust_adaptive.replay.index import Index
from locust_adaptive.replay.record import Record
from locust_adaptive.replay.sharding import ShardMap
from locust_adaptive.replay.store import Trace, TraceWriter
from locust_adaptive.replay.timeline import Draw, Timeline
from locust_adaptive.report.journal import read
from locust_adaptive.search.events import FlowArrived, Hold, Judged, WorkersChanged
from tests.support.behaviours import OK, requests
from tests.support.searches import ROOT, Cluster, Ended, locustfile, to_results
from tests.support.wait import wait_until

S = 10**9
SESSIONS, BURSTS, EACH, EVERY_NS, SILENCE_NS = 60, 8, 20, S // 5, 3 * S
SEED = 3
FILE = f"""
import dataclasses, os, sys
sys.path.insert(0, {str(ROOT)!r})
from locust_adaptive import AdaptiveShape, ReplayUser
from locust_adaptive.plugin import scheduler, session
from locust_adaptive.plugin.virtualuser import virtual_user_of
from tests.support.scripted import Script

scheduler.LATE_S = 1e9  # a machine that is busy with other things is not what is tested
session.AdaptivePolicy = lambda settings: Script([(RATE, 60.0), (RATE, 6.0)])

class Capacity(AdaptiveShape):
    slo = "p99<2s & errors<99%"

class Replaying(ReplayUser):
    trace = "day.trace"
    arrivals = "recorded"

    def on_request(self, record, lap):
        probe = virtual_user_of(self).request.probe.number
        said = {{"By": self.environment.runner.client_id, "Pid": os.getpid(), "Probe": probe, "Repeat": lap}}
        return dataclasses.replace(record, headers=tuple((name, str(value)) for name, value in said.items()))
"""


def recording(path: Path) -> Index:
    """A trace in which the sessions' requests come in bursts, of which each row is a path."""
    with TraceWriter(path, origin="test") as writer:
        for n in range(BURSTS * EACH):
            due = n // EACH * EVERY_NS + n % EACH * 1_000_003
            writer.append(Record(due, f"s{n * 7 % SESSIONS}", "GET", f"/{n}"))
        writer.append(Record((BURSTS - 1) * EVERY_NS + SILENCE_NS, "s0", "GET", f"/{BURSTS * EACH}"))
    with Trace.open(path) as trace:
        return trace.index()


class Sent(NamedTuple):
    """A request as the target got it: the row of the trace and which of its repeats."""

    row: int
    repeat: int


class Target:
    """Answers at once, but nothing more to `kept`, a worker, whose unanswered requests are counted."""

    def __init__(self) -> None:
        self.got: dict[tuple[int, str], list[Sent]] = defaultdict(list)
        """What came of each probe from each worker, in order."""
        self.names: dict[int, str] = {}
        """The workers by their processes."""
        self.kept, self.unanswered = "", 0
        self._over = Event()
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _serve(self, sock: Any, _address: Any) -> None:
        with suppress(OSError):
            for request in requests(sock):
                line, *lines = request.decode().split("\r\n")
                said = dict(header.split(": ", 1) for header in lines if header)
                sent = Sent(int(line.split(" ")[1][1:]), int(said["Repeat"]))
                self.got[int(said["Probe"]), said["By"]].append(sent)
                self.names[int(said["Pid"])] = said["By"]
                if said["By"] == self.kept:
                    self.unanswered += 1
                    self._over.wait()
                    return
                sock.sendall(OK)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        self._server.stop(timeout=1)


@dataclass
class Found:
    """What there is to judge. `unanswered`: requests of the worker `lost`, just before the kill and in the end."""

    index: Index
    got: dict[tuple[int, str], list[Sent]]
    lost: str
    survivor: str
    unanswered: tuple[int, int]
    ended: Ended
    steps: list[Any]

    def events(self, kind: type) -> list[Any]:
        return [step.event for step in self.steps if isinstance(step.event, kind)]

    def commands(self, kind: type) -> list[Any]:
        return [command for step in self.steps for command in step.commands if isinstance(command, kind)]

    @property
    def probes(self) -> list[int]:
        return [hold.probe for hold in self.commands(Hold) if hold.load]

    def planned(self, probe: int, worker: str, of: tuple[str, ...]) -> list[tuple[int, Sent]]:
        """What one of these workers is to send in a minute of a probe, in order, and when, in nanoseconds."""
        shard = ShardMap(of).shard(worker) if len(of) > 1 else None
        found = Timeline(self.index, SEED, shard).stretch(Draw((SEED, probe)), 1.0, 0, 60 * S)
        columns = (found.due_ns.tolist(), found.row.tolist(), found.lap.tolist())
        return [(due, Sent(row, lap)) for due, row, lap in zip(*columns, strict=True)]


def killed(folder: Path) -> Found:
    """Two workers; when each has played a while one is killed; the other plays on alone."""
    index = recording(folder / "day.trace")
    file = locustfile(folder, FILE.replace("RATE", repr(Timeline(index, SEED).rate)))
    journal = folder / "results" / "journal.jsonl"

    def heard(more: int) -> None:
        """Wait until the master has got so many more slices from all."""

        def slices() -> int:
            return journal.read_text().count('"event":"flow"')

        enough = slices() + more
        wait_until(lambda: slices() >= enough, f"{more} more slices", 20)

    with (
        Target() as target,
        Cluster(
            folder, file, "--headless", "-H", target.url, "--adaptive-seed", str(SEED), *to_results(folder), workers=2
        ) as cluster,
    ):
        wait_until(lambda: sum(sent[-1].repeat >= 2 for sent in target.got.values()) == 2, "a whole lap of each", 60)
        worker, other = cluster.workers
        target.kept = target.names[worker.pid]
        while True:  # until the master must have heard of all that is open
            before = target.unanswered
            heard(3)
            if before and target.unanswered == before:
                break
        worker.interrupt(signal.SIGKILL)
        worker.wait(10)
        ended = cluster.master.over(60)
        assert other.over(20).code == 0, other.said[-2000:]
        steps = read(journal.read_text().splitlines(keepends=True)).steps
        unanswered = before, target.unanswered
        return Found(index, dict(target.got), target.kept, target.names[other.pid], unanswered, ended, steps)


killed_is = pytest.mark.scenario(
    killed, seconds=40, no_target="it plays a recording at its own rate to a target that notes who sent what"
)


@killed_is
def test_until_the_kill_two_workers_send_what_the_trace_has(found: Found) -> None:
    first, both = found.probes[0], (found.lost, found.survivor)
    for worker in both:
        planned = found.planned(first, worker, both)
        got = found.got[first, worker]
        assert len(got) > BURSTS
        due = {sent: at for at, sent in planned}
        last = max(due[sent] for sent in got)
        begun = [sent for at, sent in planned if at <= last]
        # None twice, none that is another's; and of what was due, at most some of the burst in which the kill came.
        assert len(set(got)) == len(got)
        assert set(got) <= set(begun)
        missing = set(begun) - set(got)
        assert not missing or (worker == found.lost and min(due[sent] for sent in missing) > last - EVERY_NS // 2)


@killed_is
def test_laps_that_were_over_before_the_kill_have_each_request_once(found: Found) -> None:
    """By the trace alone, whatever the plan says."""
    sent = [found.got[found.probes[0], worker] for worker in (found.lost, found.survivor)]
    laps = [max(lap for _, lap in of_worker) for of_worker in sent]
    whole = range(1, min(laps))
    assert len(whole) >= 1
    for lap in whole:
        rows = [row for row, at in itertools.chain(*sent) if at == lap]
        assert sorted(rows) == list(range(len(found.index)))


@killed_is
def test_the_other_plays_all_of_it_from_the_next_probe_on(found: Found) -> None:
    second = found.probes[1]
    got = found.got[second, found.survivor]
    planned = [sent for _, sent in found.planned(second, found.survivor, (found.survivor,))]
    assert len(got) > len(found.index)
    assert set(got) == set(planned[: len(got)])
    assert len(set(got)) == len(got)
    assert {probe for probe, worker in found.got if worker == found.lost} == {found.probes[0]}


@killed_is
def test_what_was_lost_is_counted_and_said(found: Found) -> None:
    (change,) = found.events(WorkersChanged)
    least, most = found.unanswered
    assert change.workers == 1
    assert 0 < least <= change.lost <= most
    assert f"had {change.lost} requests in flight when last heard" in found.ended.stderr
    void, _ = (command.trial for command in found.commands(Judged))
    assert (str(void.verdict), void.reason) == ("INVALID", "workers_changed")


@killed_is
def test_no_arrival_was_dropped(found: Found) -> None:
    assert found.ended.code == 0, found.ended.stderr[-2000:]
    assert sum(event.flow.dropped for event in found.events(FlowArrived)) == 0
