import pytest

from locust_adaptive.report.block import block
from locust_adaptive.report.exitcode import exit_code, gates
from locust_adaptive.report.lines import probe_line, stall_line
from locust_adaptive.report.result import result
from locust_adaptive.report.words import NOTES, REASONS
from locust_adaptive.search.events import Stall
from locust_adaptive.search.rules import RULES
from tests.journals.record import live_fold
from tests.report.conftest import SEARCHES


def probe(number, load, verdict, p99, repeats=None, reason="", purpose="refine", misses=(0, 1000), errors=None):
    return {
        "number": number,
        "load": load,
        "purpose": purpose,
        "verdict": verdict,
        "reason": reason,
        "repeats": repeats,
        "misses": {"p99<250ms": list(misses), "errors<1%": [2, 1000]},
        "latency_ms": {"p50": 20.0, "p99": p99},
        "errors": errors or {},
    }


def capacity(value, low, high, unit="rps", rps=None, verified=None):
    return {
        "value": value,
        "unit": unit,
        "rps": value if rps is None else rps,
        "low": low,
        "high": high,
        "confidence": 0.95,
        "verified": verified,
    }


def stall(at, length=1.0, excised=True):
    return {"at_s": at, "length_s": length, "probe": 7, "excised": excised}


PROBES = [
    probe(1, 40.0, "PASS", 143.2),
    probe(2, 60.0, "PASS", 199.0),
    probe(3, 80.0, "FAIL", 1900.0),
    probe(4, 70.0, "FAIL", 268.0),
    probe(5, 64.0, "PASS", 238.0),
    probe(6, 67.0, "UNDECIDED", 251.0),
    probe(7, 67.0, "FAIL", 255.0, repeats=6),
    probe(8, 65.0, "PASS", 246.0),
    probe(9, 70.0, "FAIL", 271.0),
]


def rule(id_, value, bound, unit="share", effect="void", ok=True):
    name = next(r.name for r in RULES if r.id == id_)
    return {"id": id_, "rule": name, "value": value, "bound": bound, "unit": unit, "effect": effect, "ok": ok}


def outcome(**changes):
    found = capacity(65.5, 63.9, 66.8)
    return {
        "verdict": "resolved",
        "reason": "converged",
        "capacity": found,
        "strict": found,
        "strict_reason": None,
        "limit": {"objective": "p99<250ms", "signal": "latency", "next": "errors<1%"},
        "slo": "p99<250ms & errors<1%",
        "load": {"kind": "open", "arrivals": "poisson", "requests_per_arrival": 1.0},
        "warmup_s": 21.0,
        "elapsed_s": 192.0,
        "requests": 11870,
        "trials": PROBES,
        "stalls": [stall(45.0)],
        "generator": {
            "workers": 2,
            "cpu_max": 0.41,
            "send_lag_p99_ms": 1.2,
            "hub_lag_max_ms": 3.0,
            "late_s": 0.0,
            "invalid_probes": 0,
        },
        "validity": [
            rule("V1", 0.41, 0.7),
            rule("V2", 0.0012, 0.0125, "s"),
            rule("V3", 1.0, 0.98),
            rule("V19", None, 0.01),
        ],
        "notes": [],
        **changes,
    }


def row(text, label):
    """The text of a row, its further lines joined."""
    lines = iter(text.splitlines())
    found = next(line for line in lines if line.startswith(f" {label} "))[11:]
    for line in lines:
        if not line.startswith(" " * 11):
            break
        found += " " + line.strip()
    return found


def labels(text):
    return [line[1:11].strip() for line in text.splitlines() if line[1] != " "]


DESIGNED = """\
 CAPACITY  65.5 req/s  (95% CI 63.9 .. 66.8)     SLO p99<250ms & errors<1%          resolved
 strict    65.5 req/s  (95% CI 63.9 .. 66.8), with its stalls counted
 arrivals  Poisson, open loop, 1 request each
 limit     p99 latency (250 ms at 65.5 req/s);  next: errors 0.2 % (limit 1 %)
 search    9 probes, 1 repeated;  one stall of 1.0 s forgiven;  warm-up of 21 s detected;  3 m 12 s;  11 870 requests
 probes    40 pass 143 ms | 60 pass 199 | 80 FAIL 1900 | 70 FAIL 268 | 64 pass 238 |
           67 ? 251 -> FAIL 255 | 65 pass 246 | 70 FAIL 271    (? undecided)
 stalls    1.0 s at 0:45
 generator 2 workers
 validity  VALID: CPU at most 41 % (70 %), send lag p99 1.2 ms (12.5 ms), sent 100 % (98 %)
 report    adaptive-results/2026-11-22T10-15-00Z/  capacity.json  capacity.html  journal.jsonl                    exit 0
"""


def test_the_block_of_the_design():
    folder = "adaptive-results/2026-11-22T10-15-00Z/"
    text = block(outcome(), [], 0, folder, ["capacity.json", "capacity.html", "journal.jsonl"])
    assert text == DESIGNED


def test_three_stalls_are_the_servers_own():
    stalls = [stall(45.0 * i) for i in (1, 2, 3, 4)]
    strict = capacity(51.2, 49.0, 53.0)
    lower = block(outcome(stalls=stalls, strict=strict))
    assert lower.splitlines()[:2] == [
        " CAPACITY  65.5 req/s  (95% CI 63.9 .. 66.8)     SLO NOT MET with its stalls (1.0 s each 48 s)     resolved",
        " slo       p99<250ms & errors<1%",
    ]
    assert row(lower, "strict") == "51.2 req/s  (95% CI 49.0 .. 53.0), with its stalls counted"
    assert "four stalls, 4.0 s in all, forgiven" in row(lower, "search")
    none = block(outcome(stalls=stalls, strict=None, strict_reason="no load meets p99<250ms"))
    assert "SLO NOT MET with its stalls (1.0 s each 48 s)" in none
    assert row(none, "strict") == "no load meets p99<250ms"
    assert "NOT MET" not in block(outcome(stalls=stalls))
    assert "NOT MET" not in block(outcome(stalls=stalls[:2], strict=strict))


def test_every_stall_is_listed():
    stalls = [stall(30.0 * i, 0.5 + i / 10, excised=i < 15) for i in range(40)]
    text = block(outcome(stalls=stalls))
    assert row(text, "stalls").count(" at ") == 15
    assert row(text, "+ counted").count(" at ") == 25
    assert row(text, "+ counted").endswith("4.4 s at 19:30")


def test_stalls_beyond_the_tolerance_are_not_called_forgiven():
    notes = ["stalls_exceed_tolerance"]
    nothing = capacity(None, None, None)
    text = block(
        outcome(
            verdict="unresolved",
            reason="stalls_exceed_tolerance",
            capacity=nothing,
            strict=None,
            strict_reason="no load meets p99<250ms: its stalls alone are too much",
            stalls=[stall(10.0 * i) for i in range(1, 9)],
            notes=notes,
        )
    )
    assert text.startswith(" CAPACITY  none     SLO NOT MET with its stalls (1.0 s each 24 s)")
    assert "forgiven" not in row(text, "search")
    assert row(text, "note") == NOTES["stalls_exceed_tolerance"].meaning
    assert row(text, "do next").startswith("find what stops the target")


def test_slow_phases_are_told_from_what_lies_between_them():
    slow = block(outcome(undisturbed=capacity(80, 78.0, 82.0), stalls=[], notes=["slow_phases"]))
    assert row(slow, "between") == "80.0 req/s  (95% CI 78.0 .. 82.0), between its slow phases"
    assert "strict" not in labels(slow)
    strict = capacity(60, 55.0, 65.0)
    rare = block(outcome(strict=strict, stalls=[], notes=["slow_phases_left_out"]))
    assert row(rare, "strict") == "60.0 req/s  (95% CI 55.0 .. 65.0), with its slow phases counted"
    both = block(outcome(strict=strict, stalls=[stall(45.0)], notes=["slow_phases_left_out"]))
    assert row(both, "strict").endswith("with its stalls and slow phases counted")


def test_the_headline_breaks_before_it_is_too_long():
    slo = "p99{/v1/rank}<250ms & p99{/v1/embed}<400ms & ttft.p95<500ms & errors<1%"
    limit = {"objective": None, "signal": None, "next": None}
    text = block(outcome(slo=slo, trials=[], limit=limit, stalls=[]))
    assert text.splitlines()[0] == " CAPACITY  65.5 req/s  (95% CI 63.9 .. 66.8)     resolved"
    assert row(text, "slo") == slo
    assert "probes" not in labels(text)


@pytest.mark.parametrize(
    ("reason", "known", "headline"),
    [
        ("ceiling_reached", capacity(None, 80.0, None), "at least 80 req/s  (the highest load allowed)"),
        ("below_minimum", capacity(None, None, 70.0), "below 67 req/s  (the lowest load tried)"),
        ("target_does_not_recover", capacity(None, 65.0, 70.0), "not known;  65 req/s passed, 70 failed"),
        ("budget_spent", capacity(None, 65.0, None), "not known;  65 req/s passed"),
        ("budget_spent", capacity(65.5, 60.0, 70.0), "65.5 req/s  (95% CI 60.0 .. 70.0)"),
        ("budget_spent", capacity(None, None, None), "not known"),
        ("journal_ends", capacity(None, None, None), "not known"),
    ],
)
def test_what_is_known_without_an_answer_and_what_to_do(reason, known, headline):
    verdict = "aborted" if reason == "journal_ends" else "unresolved"
    text = block(outcome(verdict=verdict, reason=reason, capacity=known), exit_code=3)
    assert text.splitlines()[0].startswith(f" CAPACITY  {headline}     SLO")
    assert text.splitlines()[0].endswith(verdict)
    assert row(text, "why") == f"{reason}: {REASONS[reason].meaning}"
    assert row(text, "do next") == REASONS[reason].advice
    assert row(text, "report") == "exit 3"


def test_a_stop_is_told_in_the_words_of_who_stopped_it():
    text = block(outcome(verdict="aborted", reason="stopped by the deploy script", capacity=capacity(None, None, None)))
    assert row(text, "why") == "stopped by the deploy script"


def test_an_unfit_generator_is_named_with_its_cure():
    def unfit(number, id_, value, bound, unit="share"):
        broken = {**rule(id_, value, bound, unit, ok=False), "advice": "add workers"}
        reason = f"{broken['rule']} {value} (bound {bound}): add workers"
        return {**probe(number, 2.0, "INVALID", None, repeats=number - 1 or None, reason=reason), "broken": [broken]}

    nothing = capacity(None, None, None)
    ended = {"verdict": "unresolved", "reason": "measurement_invalid", "capacity": nothing}
    trials = [unfit(1, "V1", 0.95, 0.7), unfit(2, "V1", 0.981, 0.7), unfit(3, "V2", 0.031, 0.0125, "s")]
    text = block(outcome(**ended, trials=trials, generator={**outcome()["generator"], "late_s": 4.2}))
    assert row(text, "probes") == "2 invalid -> invalid -> invalid"
    assert row(text, "search").startswith("3 probes (0 valid, 3 invalid), 2 repeated;")
    assert row(text, "generator") == "2 workers, 4 s of late sending left out"
    assert row(text, "validity") == (
        "INVALID: generator CPU 98.1 % (at most 70 %): add workers; send lag p99 31 ms (at most 12.5 ms): add workers"
    )
    workers = [probe(1, 2.0, "INVALID", None, reason="no_report")]
    text = block(outcome(**ended, trials=workers))
    assert row(text, "validity") == (
        "INVALID: a worker did not report for 8 s: see whether the worker is alive and not overloaded"
    )


def test_what_is_only_flagged_has_a_row_of_its_own():
    stolen = rule("V19", 0.031, 0.01, effect="flag", ok=False)
    text = block(outcome(validity=[*outcome()["validity"], stolen]))
    assert row(text, "validity").startswith("VALID: CPU at most 41 %")
    assert row(text, "flagged") == (
        "CPU stolen from the host 3.1 % (at most 1 %): run the generator on a host that is not overbooked"
    )
    assert "flagged" not in labels(block(outcome()))


def test_a_result_of_an_earlier_version_says_nothing_of_validity():
    earlier = outcome()
    del earlier["validity"]
    assert "validity" not in labels(block(earlier))


def test_cells_say_what_decided():
    trials = [
        probe(1, 10.0, "FAIL", None, reason="overload"),
        probe(2, 10.0, "UNDECIDED", 99.0, reason="stall"),
        probe(3, 10.0, "PASS", 99.0, reason="stall", repeats=2),
        probe(4, 20.0, "FAIL", None, reason="p99<250ms", misses=(50, 1000)),
        probe(5, 30.0, "FAIL", 90.0, reason="errors<1%"),
        probe(6, 40.0, "FAIL", 90.0, reason="p99<250ms", misses=(204, 1000), errors={"http 503": 200}),
        probe(7, 50.0, "FAIL", 90.0, reason="hang", misses=(0, 0)),
        probe(8, 60.0, "UNDECIDED", None, misses=(0, 0)),
    ]
    assert row(block(outcome(trials=trials)), "probes") == (
        "10 FAIL overload | 10 stall -> pass 99 ms | 20 FAIL >250 | 30 FAIL errors 0.2 % | "
        "40 FAIL 20.4 % failed | 50 FAIL hang | 60 ?    (? undecided)"
    )


def test_a_long_search_is_summed_up_without_losing_a_probe():
    light = [probe(100 + n, 31.4, "PASS", 50.0, purpose="canary") for n in range(4)]
    dwells = [probe(200 + n, 60.0 + n / 10, "PASS" if n < 17 else "UNDECIDED", 200.0) for n in range(20)]
    ramp = [probe(n + 1, 2.0**n, "PASS", 20.0, purpose="ramp") for n in range(5)]
    text = block(outcome(trials=[*ramp, *light, *dwells]))
    assert row(text, "probes") == "1 pass 20 ms | 2 pass 20 | 4 pass 20 | 8 pass 20 | 16 pass 20"
    assert row(text, "refine") == "20 probes at 60 .. 61.9 req/s: 17 pass, 3 undecided"
    assert row(text, "look back") == "4 probes at 31.4 req/s: 4 pass"
    assert row(text, "search").startswith("29 probes;")


def test_failures_that_break_a_latency_objective_are_named():
    trials = [probe(1, 65.0, "FAIL", 90.0, misses=(30, 1000), errors={"http 503": 29})]
    assert row(block(outcome(trials=trials)), "limit").startswith(
        "p99 latency (250 ms at 65.5 req/s), broken by failures (http 503), not by slow answers;  next: "
    )


def test_users_and_arrivals_have_the_requests_beside_them():
    closed = {"kind": "closed", "arrivals": None, "requests_per_arrival": 1.0}
    text = block(outcome(load=closed, capacity=capacity(21, 20, 22, "users", 100.4)))
    assert text.startswith(" CAPACITY  21 users = 100 req/s  (95% CI 20 .. 22) ")
    assert row(text, "load").startswith("users, closed loop")
    assert "at 21 users" in row(text, "limit")
    several = {"kind": "open", "arrivals": "recorded", "requests_per_arrival": 2.5}
    text = block(outcome(load=several, capacity=capacity(40.0, 38.0, 42.0, "arrivals", 100.0)))
    assert text.startswith(" CAPACITY  40.0 arrivals/s = 100 req/s  (95% CI 38.0 .. 42.0) ")
    assert row(text, "arrivals") == "recorded, open loop, 2.5 requests each"


@pytest.mark.parametrize("name", list(SEARCHES))
def test_the_block_of_a_search_fits_a_screen(name):
    found = result(live_fold(*SEARCHES[name]()))
    demands = gates(found, 1.0)
    text = block(found, demands, exit_code(found, demands), "adaptive-results/x/", ["capacity.json", "journal.jsonl"])
    assert max(map(len, text.splitlines())) <= 122
    assert text.replace("\n", "").isascii()
    assert labels(text)[0] == "CAPACITY"
    assert labels(text)[-2:] == ["gate", "report"]
    assert ("why" in labels(text)) == (found["verdict"] != "resolved")
    total = sum(len(chain.split(" -> ")) for chain in row(text, "probes").split(" | "))
    summed = sum(int(row(text, label).split()[0]) for label in ("refine", "look back") if label in labels(text))
    assert total + summed == len(found["trials"])


def test_a_line_a_probe():
    settings, run = SEARCHES["stalls"]()
    lines = [probe_line(trial, settings) for trial in run.controller.trials]
    assert all(
        f"probe {t.number}  {t.load:g} /s  {t.purpose}  " in line
        for t, line in zip(run.controller.trials, lines, strict=True)
    )
    slow = next(line for line in lines if "late or failed" in line)
    assert "p95 " in slow
    assert "(limit 1 s), " in slow
    settings, run = SEARCHES["unfit"]()
    assert "INVALID  generator CPU 0.95" in probe_line(run.controller.trials[1], settings)
    assert probe_line(run.controller.trials[1], settings).endswith("repeats probe 1")


def test_a_line_a_stall():
    assert stall_line(Stall(45.2, 1.04, 7, True)) == (
        "stall of 1.0 s at 0:45 in probe 7: left out of the counts, measured again"
    )
    assert stall_line(Stall(45.2, 1.04, 7, False)) == "stall of 1.0 s at 0:45 in probe 7: counted"
