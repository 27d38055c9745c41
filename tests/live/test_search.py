"""Whole searches, in real time, against servers of known capacity: one of each kind."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from locust_adaptive.demo.capacity import capacity
from locust_adaptive.demo.workload import candidate_counts, make_workload
from locust_adaptive.report.again import decide_again
from locust_adaptive.report.fold import fold
from locust_adaptive.report.result import result, to_json
from locust_adaptive.search.events import Stall
from tests.live.cases import CASES, Answer
from tests.support.truth import CLOSED, SMALL

pytestmark = [pytest.mark.live, pytest.mark.timeout(1300)]

WITHIN = 0.08
OPEN = [name for name in CASES if name not in ("closed", "demo")]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, answer: Callable[[str], Answer]) -> Answer:
    return answer(request.param)


def test_it_resolves_with_exit_code_0(case: Answer) -> None:
    ended = case.search.ended
    assert (case.search.outcome["verdict"], ended.code) == ("resolved", 0), ended.stdout[-2000:]
    assert ended.stdout.rstrip().endswith("exit 0"), "the verdict is the last thing said"
    assert "Traceback" not in ended.stdout + ended.stderr


@pytest.mark.parametrize("name", OPEN)
def test_open_loop_finds_the_capacity(name: str, answer: Callable[[str], Answer]) -> None:
    found = answer(name).search.outcome["capacity"]
    assert found["value"] == pytest.approx(SMALL.capacity, rel=WITHIN)
    assert found["unit"] == "rps"


def test_closed_loop_finds_the_capacity(answer: Callable[[str], Answer]) -> None:
    found = answer("closed").search.outcome["capacity"]
    assert found["value"] == pytest.approx(CLOSED.capacity, abs=1)
    assert found["unit"] == "users"


def test_the_demo_finds_its_known_capacity(answer: Callable[[str], Answer]) -> None:
    truth = capacity(candidate_counts(make_workload()), runs=48, requests=10_000)
    assert answer("demo").search.outcome["capacity"]["value"] == pytest.approx(truth.value, rel=WITHIN)


def test_pauses_are_forgiven_and_said(answer: Callable[[str], Answer]) -> None:
    found = answer("pause").search
    outcome = found.outcome
    told = [c for step in found.journal.steps for c in step.commands if isinstance(c, Stall)]
    assert told
    assert [s["at_s"] for s in outcome["stalls"]] == [s.at for s in told]
    # On a busy machine a gap of another kind and length may stand beside them.
    assert any(stall["length_s"] == pytest.approx(1.0, abs=0.25) for stall in outcome["stalls"])
    # 1 s each 45 s is 2.2 % of the requests: no load keeps 99 % of them within the limit.
    assert outcome["strict"] is None
    assert outcome["strict_reason"]


@pytest.mark.parametrize(("name", "workers"), [("open", 1), ("processes", 2), ("distributed", 2)])
def test_every_worker_took_part(name: str, workers: int, answer: Callable[[str], Answer]) -> None:
    assert answer(name).search.outcome["generator"]["workers"] == workers


def test_the_journal_is_the_run(case: Answer) -> None:
    journal = case.search.journal
    assert journal.finished
    assert to_json(result(fold(journal))) == case.search.text
    assert decide_again(journal) is None


def test_the_server_counts_what_we_count(case: Answer) -> None:
    outcome, counted = case.search.outcome, case.search.counted
    last = outcome["trials"][-1]
    rate = last["throughput"] or 0.0
    # Open at the end, and ended with it: arrivals are killed and in no statistics of Locust's. Users finish.
    open_at_end = 0 if outcome["load"]["kind"] == "closed" else rate * 0.5 + 10
    assert 0 <= case.received - counted <= open_at_end
    # The result was written when the last slice counted came from all workers, up to a second late; arrivals stop then,
    # users at the next tick of Locust.
    after_the_end = 2.5 * rate if outcome["load"]["kind"] == "closed" else rate + 10
    assert 0 <= case.received - outcome["requests"] <= after_the_end
