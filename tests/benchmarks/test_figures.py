"""The figures and the report of made-up searches."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numba")
pytest.importorskip("matplotlib")
pytest.importorskip("MLRsearch")

from benchmarks.search import report
from benchmarks.search.figures import Figures, by, stationary
from benchmarks.search.ours import excess
from benchmarks.search.scenarios import HELD_OUT, SUITE
from benchmarks.search.truth import TIMES, Truth, truth, truths

ONE, DRIFT = "01 M/G/1 p95", "15 drift"


def row(error: float, tool: str = "ours", scenario: str = ONE, **more: Any) -> dict[str, Any]:
    base = {"tool": tool, "scenario": scenario, "seed": 1, "truth": 100.0, "error": error, "seconds": 200.0}
    base["commit"] = "abc1234"
    value = {"value": None if error == -1 else 100 * (1 + error), "cpu_s": 1.0}
    if tool == "ours":
        value |= {"low": 95.0, "high": 105.0, "excess": 1.2, "in_budget": True, "verdict": "resolved"}
    return {**base, **value, **more}


def test_errors_are_of_both_signs_and_a_missing_answer_is_off_by_all() -> None:
    figures = Figures([row(e) for e in (-0.02, 0.01, 0.06, -1.0, 0.0)])
    assert (figures.median, figures.bias, figures.over, figures.unanswered) == (0.02, 0.0, 0.2, 0.2)


def test_only_intervals_with_both_ends_count() -> None:
    rows = [row(0.0), row(0.0, low=101.0), row(0.0, high=None), row(-1.0, low=None, high=None)]
    assert Figures(rows).covered == 0.5
    assert Figures([row(0.0, tool="ramp")]).covered is None


def test_the_limit_of_one_scenario_is_the_median_of_a_normal_error() -> None:
    # Two thirds of a standard error (0.6745) are the median of its absolute value.
    se = truths()[ONE].limit[TIMES.index(200)]
    assert Figures([row(0.01)]).limit == pytest.approx(0.6745 * se, rel=1e-3)
    assert Figures([row(0.01)]).ratio == pytest.approx(0.01 / (0.6745 * se), rel=1e-3)


def test_the_limit_falls_with_the_square_root_of_the_time_beyond_what_was_measured() -> None:
    known = Truth((100.0,), 0.1, 0, 20.0, (0.04, 0.03, 0.02, 0.01))
    assert [known.counting_limit(t) for t in (15, 60, 400, 1600)] == pytest.approx([0.08, 0.04, 0.01, 0.005])
    assert 0.02 < known.counting_limit(150) < 0.03


def test_a_truth_that_moves_is_asked_with_the_time() -> None:
    leaking = next(s for s in HELD_OUT if s.truth_of == "moment")
    assert truth(leaking, 600) == pytest.approx((truth(leaking, 0) + truth(leaking, 1200)) / 2)


def test_every_scenario_has_a_truth_known_well_enough() -> None:
    for scenario in (*SUITE, *HELD_OUT):
        known = truths()[scenario.name]
        assert known.se < 0.003 * known.capacity[0], scenario.name
        assert len(known.limit) == len(TIMES)
        assert all(0 < x < math.inf for x in known.limit)
        assert list(known.limit) == sorted(known.limit, reverse=True)


def test_the_truths_are_those_of_the_first_measurement() -> None:
    """The capacities of 4.2 in the first measurement of these servers, by other code: within 1 %."""
    first = [83.5, 83.4, 236, 288, 121, 133, 9.65, 236, 83.5, 236, 185, 185, 145, 74.8, 196, 185, 383, 221]
    assert [truth(s) for s in SUITE] == pytest.approx(first, rel=0.01)


def test_what_moves_is_not_stationary() -> None:
    names = [s.name[:2] for s in (*SUITE, *HELD_OUT) if not stationary(s.name)]
    assert names == ["13", "14", "15", "18", "H4", "H5"]


def test_better_is_faster_and_more_accurate() -> None:
    one, slow = Figures([row(0.01), row(0.02)]), Figures([row(0.01), row(0.02, seconds=900.0)])
    worse = Figures([row(0.02, seconds=900.0), row(0.03, seconds=900.0)])
    assert one.better_than(worse)
    assert not worse.better_than(one)
    assert not one.better_than(slow)


class Load:
    def __init__(self, load: float, verdict: str, overloaded: bool = False) -> None:
        self.load, self.verdict, self.overloaded = load, verdict, overloaded


def test_the_excess_is_over_the_best_pass_before_it_from_the_first_overload_on() -> None:
    climb = [Load(10, "PASS"), Load(20, "PASS"), Load(40, "FAIL", overloaded=True)]
    assert excess(climb) == 0
    assert excess([*climb, Load(25, "PASS"), Load(30, "FAIL")]) == 1.25
    assert excess([*climb, Load(25, "FAIL"), Load(30, "FAIL")]) == 1.5
    assert excess([Load(40, "FAIL", overloaded=True), Load(10, "PASS"), Load(50, "PASS")]) == 5


def test_the_bounds_of_the_subset_are_noticed() -> None:
    good = [row(e) for e in (0.01, -0.01, 0.02, 0.0)]
    assert report.broken(good) == []
    assert len(report.broken([*good, row(-1.0, excess=1.3, in_budget=False)])) >= 3


def test_wins_and_losses_are_computed(tmp_path: Path) -> None:
    rows = [row(0.01), row(0.01, scenario=DRIFT), row(-0.05, tool="ramp"), row(0.002, tool="ramp", scenario=DRIFT)]
    rows += [row(0.3, tool="mlrsearch", seconds=900.0), row(0.2, tool="mlrsearch", scenario=DRIFT, seconds=900.0)]
    (tmp_path / report.RESULTS).write_text("".join(json.dumps(r) + "\n" for r in rows))
    report.write(tmp_path)
    text = (tmp_path / "RESULTS.md").read_text()
    wins, losses = text.split("## Wins")[1].split("## What was assumed")[0].split("## Losses")
    assert "more accurate (median and p90) than mlrsearch." in wins
    assert f"1 of 2 scenarios: {ONE}." in wins
    assert f"{DRIFT}: ours 1.0 % in 200 s, ramp 0.2 % in 200 s." in losses
    assert ONE not in losses
    assert {p.name for p in tmp_path.glob("*.svg")} == {"error-time.svg", "scenarios.svg", "ours.svg"}


def test_ours_comes_first_and_then_the_peers_in_their_order(tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl"
    file.write_text("".join(json.dumps(row(0.1, tool=t)) + "\n" for t in ("mlrsearch", "ours", "ramp")))
    assert list(by("tool", report.read(file))) == ["ours", "ramp", "mlrsearch"]


def test_our_other_profiles_are_shown_and_are_no_peers(tmp_path: Path) -> None:
    rows = [row(0.02), row(0.001, tool="ours fast", seconds=50.0), row(0.03, tool="ramp", seconds=900.0)]
    (tmp_path / report.RESULTS).write_text("".join(json.dumps(r) + "\n" for r in rows))
    report.write(tmp_path)
    text = (tmp_path / "RESULTS.md").read_text()
    assert "\n| ours fast | 0.1 % |" in text.partition("## Each tool\n")[2]
    compared = text.partition("## Wins")[2].partition("## What was assumed")[0]
    assert "than ramp." in compared
    assert "ours fast" not in compared


def test_results_name_the_commits_of_the_search_and_of_what_was_held_out(tmp_path: Path) -> None:
    held = [row(0.0, scenario="H3 rate limiter", commit="def5678")]
    for name, rows in ((report.RESULTS, [row(0.0), row(0.0, seed=2, commit="abc9999")]), (report.HELD_OUT, held)):
        (tmp_path / name).write_text("".join(json.dumps(r) + "\n" for r in rows))
    report.write(tmp_path)
    suite, _, once = (tmp_path / "RESULTS.md").read_text().partition("## The held-out scenarios")
    assert "at commits abc1234, abc9999" in suite
    said = f"at commit def5678. These servers, and what is asked of\nthem, were committed as {report.HELD_OUT_DEFINED}"
    assert said in once
