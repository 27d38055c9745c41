import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from locust_adaptive.report.fold import Fold
from locust_adaptive.report.journal import Header
from locust_adaptive.report.lines import probe_line
from locust_adaptive.report.result import ResultError, from_json, result, throughput_at, to_json, trial_part, write
from locust_adaptive.search.events import Capacity, Conclusion, Done, FlowArrived, Judged, Stall, Started
from locust_adaptive.search.grid import Grid
from locust_adaptive.search.histogram import index_of
from locust_adaptive.search.rules import RULES
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.slices import Cohort, Flow, NameCounts
from locust_adaptive.search.slo import Slo
from locust_adaptive.search.trial import Excision, Measurement, Probe, Purpose, Trial, Verdict
from tests.journals.record import live_fold
from tests.report.conftest import SEARCHES

SLO = Slo.parse("p99<250ms & p90{/a}<100ms & errors<1%")
OPEN = Settings(SLO, "open", Grid.rate(1, 100), 2.0)
USERS = Settings(SLO, "closed", Grid.users(1, 100), 2.0)
FOUND = Capacity(50.0, 48.0, 52.0, 49.0)
DOC = Path(__file__).parents[2] / "docs" / "reference" / "capacity-json.md"


def trial(number=1, load=50.0, verdict=Verdict.PASS, flows=(), cohorts=(), excised=(), reason=""):
    probe = Probe(load, Purpose.REFINE, 0.5, 5.0, 10.0)
    measurement = Measurement(0.01, tuple(flows), tuple(cohorts), settle=1, excised=tuple(excised))
    return Trial(number, probe, measurement, verdict, reason, 0.0, 1.5)


def facts(settings=OPEN, trials=(), flows=(), stalls=(), **ending):
    fold = Fold(Header(settings, "adaptive", 1, "2026-11-22T10:15:00Z"))
    fold.add(Started(0.0, 2), [])
    for flow in flows:
        fold.add(FlowArrived(1.0, 1, flow), [])
    conclusion = Conclusion(**{"verdict": "resolved", "reason": "converged", "capacity": FOUND, **ending})
    fold.add(FlowArrived(2.0, 1, Flow(9)), [*stalls, *(Judged(t) for t in trials), Done(conclusion)])
    return fold


def test_what_is_one_request_an_arrival_is_requests_per_second():
    capacity = result(facts(flows=[Flow(0, intended=2000, tasks=1999)]))["capacity"]
    assert (capacity["unit"], capacity["rps"], capacity["rps_low"]) == ("rps", 50.0, 48.0)
    assert result(facts())["load"]["requests_per_arrival"] == 1


def test_arrivals_of_several_requests_have_the_requests_beside_them():
    outcome = result(facts(flows=[Flow(0, intended=250, tasks=100)]))
    capacity = outcome["capacity"]
    assert (capacity["unit"], capacity["value"], capacity["rps"], capacity["rps_low"]) == (
        "arrivals",
        50.0,
        125.0,
        120.0,
    )
    assert outcome["load"]["requests_per_arrival"] == 2.5


def test_users_have_the_throughput_measured_with_them():
    def measured(load, done, verdict=Verdict.PASS):
        flows = [Flow(0, completions={0: 999}), Flow(1, completions={0: done}), Flow(2, completions={0: done})]
        return trial(load=load, flows=flows, verdict=verdict)

    trials = [measured(4, 20), measured(8, 30), measured(8, 32), measured(8, 5000, Verdict.INVALID)]
    assert throughput_at(trials, 4) == 40
    assert throughput_at(trials, 8) == 62
    assert throughput_at(trials, 5) == pytest.approx(45.5)
    assert throughput_at(trials, 9) is None
    assert throughput_at([], 9) is None
    capacity = result(facts(USERS, trials, capacity=Capacity(8, 4, 9)))["capacity"]
    assert (capacity["unit"], capacity["value"], capacity["rps"], capacity["rps_low"]) == ("users", 8, 62, 40)


def cohort(index, fast, slow=0, unanswered=0, errors=0):
    hist = {index_of(0.05): fast, index_of(0.4): slow}
    names = {"/a": NameCounts(fast + slow + unanswered, unanswered, {"http 503": errors} if errors else {}, hist)}
    row = [fast, 0, 0, 0, 0, 0, slow, 0, unanswered]
    return Cohort(index, [row, list(row), [fast + slow - errors, unanswered + errors]], names)


def test_a_trial_counts_what_counts():
    flows = [
        Flow(i, arrivals={0: 100}, completions={0: 99}, area=50.0, residence=50.0 + 9 * (i == 2)) for i in range(3)
    ]
    cohorts = [cohort(0, 0, 100), cohort(1, 97, 3, errors=2), cohort(2, 0, 100)]
    cut = Excision(1.2, 1e9, "stall", 1.1)
    part = trial_part(trial(flows=flows, cohorts=cohorts, excised=[cut]), OPEN)
    assert part["misses"] == {"p99<250ms": [3, 100], "p90{/a}<100ms": [3, 100], "errors<1%": [2, 100]}
    assert part["latency_ms"] == {
        "p50": pytest.approx(50, rel=0.01),
        "p99": pytest.approx(400, rel=0.01),
        "p90{/a}": pytest.approx(50, rel=0.01),
    }
    assert part["errors"] == {"http 503": 2}
    assert part["throughput"] == 198
    assert part["little_breach"]
    assert part["excised"] == [{"start_s": 1.2, "end_s": 1.5, "cause": "stall", "length_s": 1.1}]


@pytest.mark.parametrize("reason", ["target_gone", "errors_surge", "target_unreachable", "every_request_fails"])
def test_failures_that_ended_a_trial_are_named_before_the_counts_hold_them(reason):
    flows = [Flow(i, completions={0: 99}) for i in range(2)] + [
        Flow(2, errors={"refused": 31}),
        Flow(3, errors={"refused": 4, "reset": 1}),
    ]
    cohorts = [cohort(0, 97), cohort(1, 97)]
    ended = trial(flows=flows, cohorts=cohorts, verdict=Verdict.INVALID, reason=reason)
    assert trial_part(ended, OPEN)["errors"] == {"refused": 35, "reset": 1}
    assert "  failures: 35 refused, 1 reset" in probe_line(ended, OPEN)
    assert trial_part(replace(ended, reason="overload"), OPEN)["errors"] == {}


def test_an_unanswered_request_is_slower_than_any_answered_one():
    part = trial_part(trial(cohorts=[cohort(1, 95, 0, unanswered=5)]), OPEN)
    assert part["latency_ms"] == {
        "p50": pytest.approx(50, rel=0.01),
        "p99": None,
        "p90{/a}": pytest.approx(50, rel=0.01),
    }
    nothing = trial_part(trial(), OPEN)
    assert nothing["latency_ms"] == {"p50": None, "p99": None, "p90{/a}": None}
    assert nothing["throughput"] is None


def test_strict_is_the_capacity_where_nothing_was_left_out():
    assert result(facts())["strict"] == result(facts())["capacity"]
    counted, left_out = Stall(1.0, 0.5, 1, False), Stall(1.0, 0.5, 1, True)
    assert result(facts(stalls=[counted]))["strict"]["value"] == 50.0
    assert result(facts(stalls=[left_out]))["strict"] is None
    lower = result(facts(stalls=[left_out], strict=Capacity(40.0, 38.0, 42.0)))
    assert (lower["capacity"]["value"], lower["strict"]["value"]) == (50.0, 40.0)
    none = result(facts(strict_reason="no load meets it"))
    assert (none["strict"], none["strict_reason"]) == (None, "no load meets it")


def test_the_generator_is_reported_as_it_is_judged():
    flows = [Flow(i, cpu=cpu, hub_lag=0.002 * i, lag={index_of(0.003): 10}) for i, cpu in enumerate([0.9, 0.5, 0.3])]
    late = [Excision(0.4, 1.0, "generator", 0.1), Excision(0.8, 1.5, "generator", 0.1), Excision(0, 1, "stall", 1)]
    outcome = result(facts(trials=[trial(flows=flows, excised=late), trial(2, verdict=Verdict.INVALID)]))
    generator = outcome["generator"]
    assert generator["workers"] == 2
    assert generator["cpu_max"] == pytest.approx(0.4)
    assert generator["send_lag_p99_ms"] == pytest.approx(3, rel=0.01)
    assert generator["hub_lag_max_ms"] == 4
    assert generator["late_s"] == 1.1
    assert generator["invalid_probes"] == 1


def test_validity_is_the_worst_of_the_probes_that_count():
    calm = trial(1, flows=[Flow(i, cpu=0.2, intended=10) for i in range(9)])
    busy = trial(2, flows=[Flow(i, cpu=0.6, intended=10, host={"steal": 0.25}) for i in range(9)])
    void = trial(3, verdict=Verdict.INVALID, flows=[Flow(i, cpu=0.99, intended=10) for i in range(9)])
    outcome = result(facts(trials=[calm, busy, void]))
    rules = {r["id"]: r for r in outcome["validity"]}
    assert rules["V1"] == {
        "id": "V1",
        "rule": "generator CPU",
        "value": 0.6,
        "bound": 0.7,
        "unit": "share",
        "effect": "void",
        "ok": True,
    }
    assert (rules["V2"]["bound"], rules["V19"]["value"], rules["V19"]["ok"]) == (0.0125, 0.25, False)
    assert list(rules) == [rule.id for rule in RULES]
    assert [[b["id"] for b in t["broken"]] for t in outcome["trials"]] == [[], ["V19"], ["V1", "V1b"]]
    assert outcome["trials"][2]["broken"][0]["value"] == 0.99
    assert outcome["trials"][2]["broken"][0]["advice"].startswith("add workers")
    assert outcome["probes"] == {"judged": 3, "valid": 2, "invalid": 1, "repeated": 0}
    ended = result(facts(trials=[calm, void], verdict="unresolved", reason="measurement_invalid"))
    assert {r["id"]: r["value"] for r in ended["validity"]}["V1"] == 0.99
    assert result(facts())["validity"] == []


def test_users_that_are_missing_break_their_rule():
    here = trial(1, load=5, flows=[Flow(i, users=5) for i in range(3)])
    missing = trial(2, load=5, verdict=Verdict.INVALID, flows=[Flow(i, users=3) for i in range(3)])
    missing = replace(missing, reason="users_not_reached")
    (part,) = result(facts(USERS, [here, missing]))["trials"][1]["broken"]
    assert (part["id"], part["value"]) == ("V10", 2)


def test_a_run_without_an_end_is_aborted_with_what_it_has():
    fold = Fold(Header(OPEN, "adaptive", 1, "now"))
    fold.add(FlowArrived(3.0, 1, Flow(0, arrivals={0: 7})), [Judged(trial())])
    outcome = result(fold)
    assert (outcome["verdict"], outcome["reason"]) == ("aborted", "journal_ends")
    assert outcome["capacity"]["value"] is outcome["strict"] is None
    assert (outcome["requests"], outcome["elapsed_s"], len(outcome["trials"])) == (7, 3.0, 1)


def test_what_comes_after_the_end_does_not_count():
    fold = facts()
    fold.add(FlowArrived(9.0, 1, Flow(0, arrivals={0: 7})), [])
    assert (fold.requests, fold.elapsed_s) == (0, 2.0)


@pytest.mark.parametrize("name", list(SEARCHES))
def test_each_field_is_documented(name):
    outcome = result(live_fold(*SEARCHES[name]()))
    text = DOC.read_text()
    documented = set(re.findall(r"`([a-z0-9_.]+)`", text))
    for field, value in outcome.items():
        assert field in documented or any(d.startswith(field + ".") for d in documented), field
        if field in ("environment", "options") or not value:
            continue
        inner = value[0] if isinstance(value, list) and isinstance(value[0], dict) else value
        if isinstance(inner, dict):
            assert {k for k in inner if k not in documented and f"{field}.{k}" not in documented} == set()


def test_it_is_standard_json_and_reads_back(tmp_path):
    outcome = result(live_fold(*SEARCHES["ceiling"]()))
    write(outcome, tmp_path / "capacity.json")
    assert from_json((tmp_path / "capacity.json").read_text()) == outcome
    outcome["warmup_s"] = math.nan
    assert json.loads(to_json(outcome), parse_constant=pytest.fail)["warmup_s"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no capacity.json"), ("[]", "no capacity.json"), ("{}", "'schema'"), ('{"schema":2}', "schema 2.*upgrade")],
)
def test_what_is_no_result_is_refused(text, message):
    with pytest.raises(ResultError, match=message):
        from_json(text)
