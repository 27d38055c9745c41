"""The run: which searches, each as one line, none lost and none made twice; and our own search's line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numba")
pytest.importorskip("matplotlib")
pytest.importorskip("MLRsearch")
pytest.importorskip("tqdm")

from benchmarks.search import ours, run, scenarios
from benchmarks.search.scenarios import FOUR, ONE, Scenario
from locust_adaptive.simulation.arrivals import Bursts
from locust_adaptive.simulation.mischief import Mischief

QUICK: list[str] = ["--tools", "ramp", "loadgen-10s", "--scenarios", "01", "17", "--jobs", "1"]


def searches(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_each_search_is_a_line_decided_by_its_seed(tmp_path: Path) -> None:
    one, other = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    for file in (one, other):
        assert run.main([*QUICK, "--seeds", "2", "--out", str(file)]) == 0
    rows, again = searches(one), searches(other)
    assert len(rows) == 2 * 2 * 2
    assert [{**r, "cpu_s": 0} for r in rows] == [{**r, "cpu_s": 0} for r in again]
    assert len({json.dumps([r["error"], r["scenario"]]) for r in rows if r["value"]}) > 3


def test_a_run_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl"
    run.main([*QUICK, "--seeds", "1", "--out", str(file)])
    first = file.read_text()
    run.main([*QUICK, "--seeds", "2", "--out", str(file), "--resume"])
    assert file.read_text().startswith(first)
    keys = [(r["tool"], r["scenario"], r["seed"]) for r in searches(file)]
    assert len(keys) == len(set(keys)) == 8


def test_an_unknown_tool_is_named() -> None:
    with pytest.raises(SystemExit, match="no tool rmap; there are ours, ours fast, ours thorough, ramp"):
        run.main(["--tools", "rmap"])


def test_everyone_is_told_the_same_range() -> None:
    scenario = scenarios.SUITE[0]
    pairs = [scenario.loads(100.0, seed) for seed in range(200)]
    assert all(high / low == pytest.approx(64, rel=0.01) for low, high in pairs)
    assert 150 <= min(h for _, h in pairs) < 165
    assert 385 < max(h for _, h in pairs) <= 400
    assert len({s.seed(1) for s in scenarios.SUITE}) == len(scenarios.SUITE)


def find(scenario: Scenario, seed: int = 3) -> dict[str, Any]:
    return ours.search(scenario, 4.0, 400.0, seed)


def test_our_line_says_what_was_found_and_how() -> None:
    found = find(Scenario("plain", ONE, "p95<100ms"))
    assert found["verdict"] == "resolved"
    assert found["low"] < found["value"] < found["high"]
    assert found["value"] == pytest.approx(83.4, rel=0.08)
    assert found["in_budget"]
    assert found["probes"][0][:3] == [4.0, "ramp", "PASS"]
    assert found["requests"] > 5000
    assert json.loads(json.dumps(found)) == found


def test_bursts_overload_a_server_that_would_take_as_much_at_random() -> None:
    """185/s in Poisson traffic."""
    bursts = Bursts(2.0, 2.0, 6.0)
    for traffic, overloads in ((None, False), (bursts, True)):
        probes = find(Scenario("bursts", FOUR, "p95<120ms", bursts=traffic))["probes"]
        assert any(load < 176 and reason == "overload" for load, _, _, reason, *_ in probes) == overloads


def test_a_limiter_lowers_the_capacity() -> None:
    found = find(Scenario("limiter", FOUR, "p95<120ms", mischief=Mischief("http 429", above=80.0)))
    assert found["value"] == pytest.approx(84, rel=0.08)


def test_a_server_that_restarts_is_searched_on() -> None:
    server = replace(ONE, cold=(2.0, 10.0))
    found = find(Scenario("restart", server, "p95<100ms", mischief=Mischief("http 429", gone=(80.0, 86.0))))
    assert any(probe[3] == "target_gone" for probe in found["probes"])
    assert found["value"] == pytest.approx(83.4, rel=0.08)


def test_our_rows_are_the_profiles_and_the_first_is_the_standard_one() -> None:
    assert list(ours.OURS) == ["ours", "ours fast", "ours thorough"]
    plain = Scenario("plain", ONE, "p95<100ms")
    found = {row: ours.search(plain, 4.0, 400.0, 3, **fields) for row, fields in ours.OURS.items()}
    assert found["ours"] == find(plain)
    assert found["ours fast"]["seconds"] < found["ours"]["seconds"] < found["ours thorough"]["seconds"]
