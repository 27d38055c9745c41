"""The ablation: each part is taken away, and put back; what changes is firm where it should be; the page has it all."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("matplotlib")
pytest.importorskip("MLRsearch")
pytest.importorskip("tqdm")

from benchmarks.search import ablation, ours
from benchmarks.search.figures import Figures
from benchmarks.search.paired import BLOCKS, EXCESS, MEASURES, Paired
from benchmarks.search.parts import FULL, PARTS
from benchmarks.search.run import Job
from benchmarks.search.scenarios import SUITE, Scenario
from locust_adaptive.search import policy
from locust_adaptive.search.belief import Belief
from locust_adaptive.search.estimate import by_queue
from locust_adaptive.search.histogram import Histogram
from locust_adaptive.search.stalls import forgivable
from locust_adaptive.search.trial import Purpose, Trial, Verdict
from locust_adaptive.search.verdict import judge
from locust_adaptive.search.worlds import worlds
from locust_adaptive.simulation.server import Server
from tests.support.searched import overload, question, seen
from tests.support.trials import cohort, measurement, trial

SLOW = Server(1, 0.05, sigma=0.3, queue=100, cold=(3.0, 20.0), pauses=(0.5, 1.0, 40.0))
"""Few requests a second, so that a search of it is quick."""


def searched() -> dict[str, Any]:
    return ours.search(Scenario("slow", SLOW, "p95<500ms"), 1.0, 60.0, 3, **ours.OURS["ours"])


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return searched()


def without(part: str) -> dict[str, Any]:
    with PARTS[part].taken_away():
        return searched()


def lasted(found: dict[str, Any], purpose: str) -> list[float]:
    return [ended - started for _, p, _, _, started, ended in found["probes"] if p == purpose]


def reasons(found: dict[str, Any]) -> set[str]:
    return {probe[3] for probe in found["probes"]}


# -- each part in a search -------------------------------------------------------------------------------------------


def test_without_damping_a_probe_goes_further(whole: dict[str, Any]) -> None:
    assert whole["excess"] <= EXCESS < without("damping")["excess"]


def test_without_the_tolerance_no_probe_ends_with_a_stall(whole: dict[str, Any]) -> None:
    assert "stall" in reasons(whole)
    assert "stall" not in reasons(without("spike tolerance"))


def test_without_the_gate_there_is_but_a_second_of_it(whole: dict[str, Any]) -> None:
    assert max(lasted(whole, "gate")) > 12
    assert max(lasted(without("warm-up gate"), "gate")) < 5


def test_without_canaries_there_are_none(whole: dict[str, Any]) -> None:
    assert lasted(whole, "canary")
    assert not lasted(without("canaries"), "canary")


def test_without_verification_there_is_no_soak_but_the_last_canary(whole: dict[str, Any]) -> None:
    found = without("verification")
    assert (whole["verified"] is None, found["verified"]) == (False, None)
    assert lasted(whole, "verify")
    assert not lasted(found, "verify")
    assert lasted(found, "canary")


# -- each of the others in what it decides ---------------------------------------------------------------------------


def close(looks: int, load: float, misses: Callable[[int], int], seconds: float = 20.0) -> Belief:
    """A server of 100/s that is known, and so many close looks at a load."""
    known = [seen(1, 40, Verdict.PASS, Purpose.GATE), overload(2, 125, 100, Purpose.LOCATE)]
    for i in range(looks):
        m = measurement([(round(load / 2), misses(i))] * round(2 * seconds))
        known.append(trial(5 + i, load, m, Verdict.UNDECIDED, Purpose.REFINE, started=50 + seconds * i))
    return Belief(question(), known, 500.0)


def spoilt(i: int) -> int:
    """Misses in half a second: many in every third look."""
    return 24 if i % 3 == 2 else 1


def drifting() -> int:
    """Worlds, of a server that is a little slower at each canary."""
    trials: list[Trial] = []
    for number, bucket in enumerate((500, 506, 506), start=1):
        m = measurement([(50, 0)] * 16)
        m = replace(m, cohorts=tuple(cohort(c.index, c.sent, 0, bucket=bucket) for c in m.cohorts))
        purpose = Purpose.CANARY if trials else Purpose.GATE
        trials.append(trial(number, 100, m, Verdict.PASS, purpose, started=20.0 * number))
    return len(worlds(trials, question()).beginnings)


def strained() -> Verdict:
    """Of a probe without a miss, whose latencies are exponential with half as much again as the mean that fits."""
    m = measurement([(40, 0)] * 24)
    latencies = Histogram()
    for share in (np.arange(40) + 0.5) / 40:
        latencies.add(-math.log1p(-share) * 1.5 * 0.1 / math.log(20))
    for c in m.cohorts:
        c.names["/a"].hist = dict(latencies.buckets)
    return judge(m, question(), [], True)[0]


def inflated() -> float:
    looks = close(6, 88.0, lambda i: 1).world
    return by_queue(looks, 0, 0.05, 100.0, 0.03).sd


def next_loads() -> list[float]:
    """Where the search looks, after dwells without a miss."""
    looks = close(3, 88.0, lambda i: 0)
    return [looks.next_load(sds) for sds in policy.DITHER]


DECIDES: dict[str, Callable[[], object]] = {
    "spike tolerance": lambda: forgivable(0.1, 100.0),
    "virtual queue": lambda: close(3, 88.0, spoilt).estimate.mu is None,
    "contamination floors": lambda: len(close(8, 88.0, spoilt).left_out) > 0,
    "slow phases": lambda: (close(16, 88.0, spoilt).slow_phases_count, close(8, 88.0, spoilt, 8.0).unsettled),
    "drift": drifting,
    "check of the service rate": lambda: close(3, 96.0, lambda i: 0).outgrown,
    "dither": next_loads,
    "strain brake": strained,
    "number of dwells": lambda: ours.OURS["ours"]["dwells"],
    "precision": lambda: ours.OURS["ours"]["precision"],
    "interval inflation": inflated,
}


@pytest.mark.parametrize("part", DECIDES)
def test_what_a_part_decides_is_decided_otherwise_without_it(part: str) -> None:
    before = DECIDES[part]()
    with PARTS[part].taken_away():
        assert DECIDES[part]() != before
    assert DECIDES[part]() == before


def test_every_part_is_tested() -> None:
    in_a_search = {"damping", "spike tolerance", "warm-up gate", "canaries", "verification"}
    assert in_a_search | set(DECIDES) == set(PARTS)


def test_a_part_that_the_search_no_longer_has_is_an_error() -> None:
    gone = replace(PARTS["drift"], changes=((Belief, "no_such_thing", 1),))
    with pytest.raises(AttributeError, match="no_such_thing"), gone.taken_away():
        pass


# -- what is found -----------------------------------------------------------------------------------------------------


def rows(tool: str, error: float, spread: float = 0.01, **more: Any) -> list[dict[str, Any]]:
    """Of three scenarios and all blocks; the luck of a seed is the same for each tool."""
    out = []
    for i, scenario in enumerate(SUITE[:3]):
        for first in BLOCKS:
            for seed in range(first, first + 5):
                luck = float(np.random.default_rng([seed, i]).standard_normal()) * spread
                base = {"tool": tool, "scenario": scenario.name, "seed": seed, "truth": 100.0, "seconds": 200.0 + luck}
                found = {"value": 100.0, "low": 95.0, "high": 105.0, "excess": 1.2, "in_budget": True, "cpu_s": 1.0}
                out.append({**base, **found, "error": abs(luck) + error, **more})
    return out


FULL_ROWS = rows(FULL, 0.0)


def test_the_measures_are_the_figures_of_all_other_pages() -> None:
    found, figures = rows("drift", 0.04), Figures(rows("drift", 0.04))
    names = ("median error", "p90 of the error", "over-estimates", "median time", "p90 of the time")
    expected = (figures.median, figures.p90, figures.over, figures.seconds, figures.seconds_p90)
    assert [float(MEASURES[n].figure(MEASURES[n].of(found))) for n in names] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("error", "more", "verdict"),
    [
        (0.01, {}, "pays"),
        (0.0, {}, "does not show"),
        (0.0, {"seconds": 150.0}, "costs"),
        # Dearer and better: what it is there for counts.
        (0.01, {"seconds": 150.0}, "pays"),
        (0.0, {"excess": 1.9}, "pays"),
        (0.0, {"low": 101.0}, "pays"),
        (0.0, {"low": None, "value": None}, "pays"),
    ],
)
def test_the_verdict_follows_from_what_changes_firmly(error: float, more: dict[str, Any], verdict: str) -> None:
    pairs = Paired.of(rows("drift", error, **more), FULL_ROWS)
    assert len(pairs.full) == 45
    assert pairs.verdict == verdict
    change = pairs.changes["median error"]
    assert change.value == pytest.approx(error)
    assert len(change.blocks) == 3


def test_a_change_in_one_block_is_not_firm() -> None:
    found = [{**r, "error": r["error"] + 0.05 * (r["seed"] < BLOCKS[1])} for r in FULL_ROWS]
    change = Paired.of(found, FULL_ROWS).changes["mean error"]
    assert change.low > 0
    assert change.firm == 0


def test_only_what_both_have_is_compared() -> None:
    pairs = Paired.of(rows("drift", 0.01)[:7], FULL_ROWS[3:])
    assert [r["seed"] for r in pairs.without] == [r["seed"] for r in pairs.full]
    assert len(pairs.full) == 4
    assert pairs.verdict == "too few searches"


def test_the_page_has_every_part_and_scenario() -> None:
    text = ablation.page([*FULL_ROWS, *rows("drift", 0.01), *rows("dither", 0.0, seconds=150.0), *rows("other", 1.0)])
    assert "| drift | 45 |" in text
    assert "+1.00 (+1.00 to +1.00) % | **pays** |" in text
    assert "without dither, better: median time -50 s" in text
    assert PARTS["drift"].without in text
    assert all(text.count(f"| {s.name} |") == 2 for s in SUITE[:3])
    assert "from 70000 | from 80000 | from 90000" in text
    assert "| other |" not in text
    with pytest.raises(ValueError, match="no full search"):
        ablation.page(rows("drift", 0.01))


# -- the run -----------------------------------------------------------------------------------------------------------


def test_all_blocks_have_each_part_and_the_full_search() -> None:
    jobs = ablation.wanted(["drift", "dither"], ["01", "17"], 2)
    assert len(jobs) == len({job.key for job in jobs}) == 3 * 2 * 2 * 3
    assert {job.tool for job in jobs} == {FULL, "drift", "dither"}
    # A run that is cut off has some of every block.
    assert {ablation.block(job.seed) for job in jobs[: len(jobs) // 2]} == set(BLOCKS)
    with pytest.raises(SystemExit, match="no part drit; there are damping"):
        ablation.wanted(["drit"], [""], 1)


def test_a_search_lacks_its_part_in_the_worker_and_a_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, Any]
) -> None:
    """The capacity stands in for a search, and tells the setting that the worker had."""

    def told(job: Job) -> dict[str, Any]:
        assert job.tool == "ours"
        found = {**whole, "value": ours.OURS["ours"]["precision"], "truth": 1.0, "error": 0.0, "cpu_s": 0.0}
        return {**found, "scenario": job.scenario.name, "seed": job.seed}

    monkeypatch.setattr(ablation, "searched", told)
    some = ["--parts", "precision", "--scenarios", "01", "--jobs", "1", "--out", str(tmp_path)]
    assert ablation.main([*some, "--seeds", "1"]) == 0
    file = tmp_path / ablation.FILE
    first = file.read_text()
    assert ablation.main([*some, "--seeds", "2", "--resume"]) == 0
    assert file.read_text().startswith(first)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 2 * 3 * 2
    shipped = ours.OURS["ours"]["precision"]
    assert {(r["tool"], r["value"]) for r in lines} == {(FULL, shipped), ("precision", 2 * shipped)}
    assert "probes" not in lines[0]
    assert "| precision | 6 |" in (tmp_path / ablation.PAGE).read_text()
