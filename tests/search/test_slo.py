import pickle
import re
from decimal import localcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.search.slo import SIGNALS, TIMINGS, Objective, Slo, SloError

DOCS = Path(__file__).parents[2] / "docs/reference/slo.md"


def only(text: str) -> Objective:
    (objective,) = Slo.parse(text).objectives
    return objective


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("p99<250ms & errors<1%", "p99<250ms & errors<1%"),
        ("p99:250ms,errors:1%", "p99<250ms & errors<1%"),
        (" p99 < 250 ms ,\n errors < 1 % ", "p99<250ms & errors<1%"),
        ("latency.p99<250ms", "p99<250ms"),
        ("p99.9<=1s", "p99.9<=1s"),
        ("p099.90<=1000ms", "p99.9<=1s"),
        ("p50<0.0005s", "p50<500us"),
        ("p50<.1us", "p50<0.1us"),
        ("p99<1500ms", "p99<1.5s"),
        ("p99<90s", "p99<90s"),
        ("ttft.p95<500ms, itl.p99<60ms", "ttft.p95<500ms & itl.p99<60ms"),
        ("errors<0.001", "errors<0.1%"),
        ("rps>=50", "rps>=50"),
        ("rps>0.5", "rps>0.5"),
        ("queue.mean<8", "queue.mean<8"),
        ("kv_cache.max<0.9", "kv_cache.max<90%"),
        ("gpu.utilization.p95<90%", "gpu.utilization.p95<90%"),
        ("gpu.memory<95%", "gpu.memory<95%"),
        ("gpu.memory<80GiB", "gpu.memory<80GiB"),
        ("gpu.memory<80GB", "gpu.memory<80GB"),
        ("gpu.memory<1500MB", "gpu.memory<1.5GB"),
        ("gpu.memory<0.5KiB", "gpu.memory<512B"),
        ("p99{/v1/rank}<50ms", "p99{/v1/rank}<50ms"),
        (r"errors{a\}b\\c\d & e}<0.1%", r"errors{a\}b\\c\\d & e}<0.1%"),
        ("gpu.throttle<1% (flag)", "gpu.throttle<1%"),
        ("gpu.throttle<1%(veto)", "gpu.throttle<1% (veto)"),
        ("gpu.throttle<1% & gpu.throttle<10% (veto)", "gpu.throttle<1% & gpu.throttle<10% (veto)"),
        ("p99<250ms & p99<100ms (report) & p95<250ms", "p99<250ms & p99<100ms (report) & p95<250ms"),
        ("gpu.utilization>50% & gpu.utilization<90%", "gpu.utilization>50% & gpu.utilization<90%"),
    ],
)
def test_canonical_text(text: str, canonical: str) -> None:
    assert str(Slo.parse(text)) == canonical
    assert Slo.parse(canonical) == Slo.parse(text)


@pytest.mark.parametrize(
    ("text", "limit", "unit", "role"),
    [
        ("p99<250ms", 0.25, "seconds", "constraint"),
        ("p99<1.1ms", 0.0011, "seconds", "constraint"),
        ("ttft.p50<7us", 7e-6, "seconds", "constraint"),
        ("errors<0.3%", 0.003, "ratio", "constraint"),
        ("rps>=50", 50.0, "count", "constraint"),
        ("queue<8", 8.0, "count", "constraint"),
        ("kv_cache<90%", 0.9, "ratio", "constraint"),
        ("preemptions<1", 1.0, "count", "flag"),
        ("gpu.memory<95%", 0.95, "ratio", "report"),
        ("gpu.memory<3MiB", 3 * 2.0**20, "bytes", "report"),
        ("gpu.memory<3kB", 3000.0, "bytes", "report"),
        ("gpu.utilization<90%", 0.9, "ratio", "report"),
        ("gpu.throttle<=1%", 0.01, "ratio", "flag"),
        ("gpu.power_cap<=5%", 0.05, "ratio", "flag"),
        ("gpu.xid<1", 1.0, "count", "veto"),
        ("gpu.ecc<1", 1.0, "count", "veto"),
        ("gpu.ecc<1 (report)", 1.0, "count", "report"),
        ("telemetry.coverage>=80%", 0.8, "ratio", "flag"),
    ],
)
def test_limit_is_the_nearest_float_in_base_units(text: str, limit: float, unit: str, role: str) -> None:
    objective = only(text)
    assert (objective.limit, objective.unit, objective.role) == (limit, unit, role)


@pytest.mark.parametrize(
    ("text", "quantile", "budget", "label", "is_telemetry"),
    [
        ("p99<250ms", 0.99, 0.01, "p99 latency", False),
        ("p99.9<1s", 0.999, 0.001, "p99.9 latency", False),
        ("p99.99{/v1/rank}<1s", 0.9999, 0.0001, "p99.99 latency of /v1/rank", False),
        ("ttft.p95<1s", 0.95, 0.05, "p95 ttft", False),
        ("itl.p70<1s", 0.7, 0.3, "p70 itl", False),
        ("p99.999999<1s", 0.99999999, 1e-8, "p99.999999 latency", False),
        ("errors{a}<0.1%", None, 0.001, "errors of a", False),
        ("rps>=50", None, None, "rps", False),
        ("queue.mean<8", None, None, "mean queue", True),
        ("gpu.utilization.p95<90%", 0.95, None, "p95 gpu.utilization", True),
        ("gpu.memory<95%", None, None, "gpu.memory", True),
    ],
)
def test_derived(text: str, quantile: float | None, budget: float | None, label: str, is_telemetry: bool) -> None:
    objective = only(text)
    assert (objective.quantile, objective.budget) == (quantile, budget)
    assert (objective.label, objective.is_telemetry) == (label, is_telemetry)


def test_the_decimal_context_of_the_caller_rounds_nothing() -> None:
    text = "p99.999<123456us & gpu.memory<1234567B"
    with localcontext(prec=2):
        slo = Slo.parse(text)
        assert str(slo) == text
        assert (slo.objectives[0].limit, slo.objectives[0].quantile) == (0.123456, 0.99999)
        assert slo.objectives[0].budget == 0.00001


@pytest.mark.parametrize(
    ("text", "column", "reason"),
    [
        ("", 0, "the SLO is empty"),
        (" \n", 0, "the SLO is empty"),
        ("p99<250", 7, "did you mean p99<250ms?"),
        ("p99<0.25", 8, "did you mean p99<0.25s?"),
        ("errors<1% & ttft.p95{a b}<=500", 30, "did you mean ttft.p95{a b}<=500ms?"),
        ("p(99)<250", 0, "did you mean p99<250ms?"),
        ("p ( 99.9 ) <= 2s", 0, "did you mean p99.9<=2s?"),
        ("errors<1% & ttft.p(95)", 12, "did you mean ttft.p95<250ms?"),
        ("p(100)<250", 0, "a percentile is written without brackets"),
        ("p42x<1ms", 0, "'p42x' is no percentile"),
        ("ttft.p42x<1ms", 5, "'p42x' is no percentile"),
        ("p100<1ms", 0, "above 0 and below 100"),
        ("p0<1ms", 0, "above 0 and below 100"),
        ("p0.0<1ms", 0, "above 0 and below 100"),
        ("p99.9.9<1ms", 0, "'p99.9.9' is no percentile"),
        ("p99.9999999<1ms", 0, "at most 6 decimals"),
        ("mean<200ms", 0, "only by a percentile: requests over the limit are counted exactly"),
        ("itl.max<200ms", 0, "cannot be limited by its max"),
        ("latency<200ms", 0, "latency needs a percentile"),
        ("ttft<200ms", 0, "write for example ttft.p99<250ms"),
        ("errors.p99<1%", 0, "without p99: write errors"),
        ("rps.mean>5", 0, "without mean: write rps"),
        ("gpu.memroy<95%", 0, "did you mean gpu.memory?"),
        ("latencyy.p99<1s", 0, "did you mean latency?"),
        ("P99<1s", 0, "did you mean p99?"),
        ("xyz<1s", 0, "known are latency, ttft, itl, errors, rps, queue"),
        ("p99{/v1<1s", 3, "} is missing"),
        ("p99{a\\}<1s", 3, "} is missing"),
        ("p99{}<1s", 3, "the request name is empty"),
        ("queue.mean{a}<8", 10, "it takes no request name"),
        ("p99", 3, "expected <, <=, > or >=, found the end"),
        ("p99=1s", 3, "expected <, <=, > or >=, found '='"),
        ("p99<", 4, "found the end"),
        ("p99<  x", 6, "expected a limit, such as 250ms or 1%, found 'x'"),
        ("p99<=:1s", 5, "expected a limit, such as 250ms or 1%, found ':'"),
        ("p99<0ms", 4, "a finite number above zero"),
        ("p99<-1ms", 4, "a finite number above zero"),
        ("errors<0.0%", 7, "a finite number above zero"),
        ("p99<nan", 4, "a finite number above zero"),
        ("p99<-Inf", 4, "a finite number above zero"),
        ("p99<0.0001us", 4, "between 1e-9 and 1e18"),
        ("rps>1000000000000000001000", 4, "between 1e-9 and 1e18"),
        ("rps>" + "9" * 5000, 4, "between 1e-9 and 1e18"),
        ("p99<1m", 5, "a limit of latency is written in s, ms, us, not with 'm'"),
        ("p99<1e3ms", 5, "not with 'e3ms'"),
        ("p99<5%", 5, "not with '%'"),
        ("errors<5ms", 8, "a limit of errors is written in %, not with 'ms'"),
        ("rps>5%", 5, "a limit of rps is written as a plain number, not with '%'"),
        ("gpu.memory<5ms", 12, "in % or in B, kB, MB, GB, KiB, MiB, GiB, not with 'ms'"),
        ("gpu.memory<70", 13, "did you mean gpu.memory<70%?"),
        ("errors<1", 8, "did you mean errors<1%?"),
        ("errors<100%", 7, "a limit of errors is below 100%"),
        ("gpu.utilization<101%", 16, "at most 100%"),
        ("errors>5%", 6, "errors has a ceiling, not a floor: did you mean errors<5%?"),
        ("p99 >= 250 ms", 4, "did you mean p99<=250ms?"),
        ("rps<50", 3, "rps has a floor, not a ceiling: did you mean rps>50?"),
        ("rps:50", 3, "did you mean rps>50?"),
        ("p99<1s & p99<2s", 9, "a second limit for p99 with the role constraint"),
        ("p99<1s & latency.p99.0<=2s", 9, "a second limit"),
        ("p99{a}<1s & p99{a}<2s", 12, "a second limit for p99{a}"),
        ("p99<1s &", 8, "expected an objective such as p99<250ms, found the end"),
        ("p99<1s,,errors<1%", 7, "found ','"),
        ("& p99<1s", 0, "found '&'"),
        ("p99<1s errors<1%", 7, "expected & or , before the next objective, found 'e'"),
        ("queue<8 (flg)", 9, "'flg' is no role: did you mean flag?"),
        ("queue<8 (xyz)", 9, "known are constraint, veto, flag, report"),
        ("queue<8 ()", 9, "expected a role (constraint, veto, flag, report), found ')'"),
        ("queue<8 (flag", 13, "expected ) after the role, found the end"),
    ],
)
def test_errors_say_where_and_why(text: str, column: int, reason: str) -> None:
    with pytest.raises(SloError) as caught:
        Slo.parse(text)
    assert reason in caught.value.reason
    assert (caught.value.text, caught.value.column) == (text, column)


def test_error_points_below_its_text() -> None:
    with pytest.raises(SloError) as caught:
        Slo.parse("errors<1%,\np99<5%")
    assert str(caught.value) == (
        "SLO: errors<1%, p99<5%\n"
        "                     ^ a limit of latency is written in s, ms, us, not with '%'"
    )  # fmt: skip
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_several_texts_are_one_slo_and_the_wrong_one_is_named() -> None:
    assert Slo.parse(["p99<250ms & errors<1%", "rps>=5"]) == Slo.parse("p99<250ms & errors<1% & rps>=5")
    with pytest.raises(SloError, match=r"^SLO 2 of 3: errors>1%\n {18}\^ ") as caught:
        Slo.parse(["p99<250ms", "errors>1%", "rps>=5"])
    assert caught.value.text == "errors>1%"
    with pytest.raises(SloError, match=r"^SLO 2 of 2: p99<2s\n {12}\^ a second limit"):
        Slo.parse(("p99<1s", "p99<2s"))
    with pytest.raises(SloError, match=r"^SLO 2 of 2: \n.*empty"):
        Slo.parse(["p99<1s", ""])
    with pytest.raises(SloError, match="empty"):
        Slo.parse([])


percentiles = st.integers(1, 99_999_999).map(lambda millionths: f"p{millionths / 1e6:.6f}".rstrip("0").rstrip("."))
LIMITS = {
    "seconds": st.floats(1e-9, 1e18),
    "ratio": st.floats(1e-9, 1, exclude_max=True),
    "count": st.floats(1e-9, 1e18),
    "bytes": st.floats(1e-9, 1e18) | st.integers(1, 10**6).map(lambda gib: gib * 2.0**30),
}


@st.composite
def objectives(draw: st.DrawFn) -> Objective:
    name = draw(st.sampled_from(list(SIGNALS)))
    signal = SIGNALS[name]
    telemetry = only_telemetry(name)
    anything = percentiles | st.sampled_from(["mean", "max", "min", None])
    unit = draw(st.sampled_from(signal.units))
    return Objective(
        signal=name,
        aggregate=draw(percentiles if name in TIMINGS else anything if telemetry else st.none()),
        scope=draw(st.none() if telemetry else st.none() | st.text(min_size=1)),
        op=draw(st.sampled_from([op for op in ("<", "<=", ">", ">=") if op[0] in (signal.bound or "<>")])),
        limit=draw(LIMITS[unit]),
        unit=unit,
        role=draw(st.sampled_from(["constraint", "veto", "flag", "report"])),
    )


def only_telemetry(name: str) -> bool:
    return name not in (*TIMINGS, "errors", "rps")


slos = st.lists(
    objectives(),
    min_size=1,
    max_size=5,
    unique_by=lambda one: (one.signal, one.aggregate, one.scope, one.op[0], one.role),
).map(lambda parts: Slo(tuple(parts)))


@given(slos)
def test_parse_is_the_inverse_of_str(slo: Slo) -> None:
    assert Slo.parse(str(slo)) == slo
    assert Slo.parse([str(objective) for objective in slo.objectives]) == slo


TOKENS = [*SIGNALS, *"pPmns &,<>:={}()%\\.-1059\n\t", "p99", "p(99)", ".mean", ".p95", "<=", "250ms", "1%", "(flag)"]


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """The text of an SLO with one span replaced, so that errors come late in it too."""
    text = str(draw(slos))
    start, stop = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
    token: str = draw(st.sampled_from(["", *TOKENS]))
    return text[:start] + token + text[stop:]


@given(st.text() | st.lists(st.sampled_from(TOKENS)).map("".join) | damaged())
def test_any_text_parses_or_is_refused_with_a_place(text: str) -> None:
    try:
        parsed: Slo | SloError = Slo.parse(text)
    except SloError as error:
        parsed = error
    if isinstance(parsed, Slo):
        assert Slo.parse(str(parsed)) == parsed
        return
    assert 0 <= parsed.column <= len(text)
    assert parsed.text == text
    assert len(str(parsed).splitlines()) == 2
    if proposed := re.search("did you mean (.*[<>].*)\\?$", parsed.reason, re.DOTALL):
        assert Slo.parse(proposed[1]).objectives


def test_reference_page_shows_what_the_parser_says() -> None:
    page = DOCS.read_text()
    shown = re.findall(r"^SLO: (.*)\n( *\^ .*)$", page, re.MULTILINE)
    assert len(shown) >= 15
    for text, pointer in shown:
        with pytest.raises(SloError) as caught:
            Slo.parse(text)
        assert str(caught.value) == f"SLO: {text}\n{pointer}"
    for text, canonical in re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", page, re.MULTILINE):
        assert str(Slo.parse(text)) == canonical
    for name in SIGNALS:
        assert re.search(rf"^\| `{re.escape(name)}` \|.*\| {SIGNALS[name].role} \|", page, re.MULTILINE), name
