"""Every option: its texts and what they mean, what stands over what, and what a mistake is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from locust import FastHttpUser, HttpUser
from locust.argument_parser import get_empty_argument_parser

from locust_adaptive import AdaptiveShape, OpenLoop
from locust_adaptive.plugin.options import (
    BY_PROFILE,
    LONGEST_TEXT,
    OPTIONS,
    ConfigError,
    Plan,
    add_arguments,
    caps,
    check_lowered,
    loop_of,
    resolve,
    texts_of,
)
from locust_adaptive.search.profiles import PROFILES, STANDARD


class Arriving(OpenLoop, FastHttpUser):
    pass


class Visiting(HttpUser):
    pass


class Shape(AdaptiveShape):
    abstract = True
    slo = "p99<250ms"


def plan(*arguments: str, shape: Any = Shape, users: Any = (Arriving,), max_users: int | None = None) -> Plan:
    """What these arguments of the command line come to."""
    parser = get_empty_argument_parser()
    parser.add_argument("-t", "--run-time", type=int)
    add_arguments(parser, shape)
    return resolve(shape, parser.parse_args(list(arguments)), users, max_users)


MEANING = [
    ("--adaptive-start", "20", lambda p: p.settings.start, 20.0),
    ("--adaptive-start", " 2e1 ", lambda p: p.settings.start, 20.0),
    ("--adaptive-min", "0.5", lambda p: p.settings.grid.minimum, 0.5),
    ("--adaptive-max", "400", lambda p: p.settings.grid.maximum, 400.0),
    ("--adaptive-profile", "fast", lambda p: p.settings.dwells, PROFILES["fast"]["dwells"]),
    ("--adaptive-profile", " thorough ", lambda p: p.settings.precision, PROFILES["thorough"]["precision"]),
    ("--adaptive-precision", "5%", lambda p: p.settings.precision, 0.05),
    ("--adaptive-precision", "5 %", lambda p: p.settings.precision, 0.05),
    ("--adaptive-precision", "0.05", lambda p: p.settings.precision, 0.05),
    ("--adaptive-soak", "45s", lambda p: p.settings.soak_s, 45.0),
    ("--adaptive-soak", "45", lambda p: p.settings.soak_s, 45.0),
    ("--adaptive-soak", "2m", lambda p: p.settings.soak_s, 120.0),
    ("--adaptive-soak", "1.5 m", lambda p: p.settings.soak_s, 90.0),
    ("--adaptive-soak", "500ms", lambda p: p.settings.soak_s, 0.5),
    ("--adaptive-spike-tolerance", "10%", lambda p: p.settings.spike_tolerance, 0.1),
    ("--adaptive-spike-tolerance", "0%", lambda p: p.settings.spike_tolerance, 0.0),
    ("--adaptive-min-capacity", "60.5", lambda p: p.min_capacity, 60.5),
    ("--adaptive-cap", "300", lambda p: p.cap, 300),
    ("--adaptive-seed", "7", lambda p: p.seed, 7),
    ("--adaptive-seed", "0", lambda p: p.seed, 0),
    ("--adaptive-out", " here ", lambda p: p.out, "here"),
    ("--adaptive-web-hosts", "load.example.com", lambda p: p.texts["adaptive_web_hosts"], "load.example.com"),
    ("--slo", "p95<1s", lambda p: str(p.settings.slo), "p95<1s"),
    ("-t", "90", lambda p: p.settings.budget_s, 90.0),
]


@pytest.mark.parametrize(("flag", "text", "read", "meant"), MEANING, ids=lambda x: x if isinstance(x, str) else "")
def test_what_a_text_means(flag, text, read, meant) -> None:
    assert read(plan(flag, text)) == meant


def test_every_option_has_a_meaning_above() -> None:
    told_elsewhere = {"--adaptive-prior"}  # test_prior.py
    assert {option.flag for option in OPTIONS} <= {flag for flag, *_ in MEANING} | told_elsewhere


def test_defaults() -> None:
    open_loop, closed = plan(), plan(users=(Visiting,))
    assert (open_loop.settings.grid.minimum, open_loop.settings.start, open_loop.settings.grid.maximum) == (0.1, 2, 1e4)
    assert (closed.settings.grid.minimum, closed.settings.start, closed.settings.grid.maximum) == (1, 1, 1000)
    assert (open_loop.settings.loop, closed.settings.loop) == ("open", "closed")
    for each in (open_loop, closed):
        assert (each.settings.budget_s, each.settings.precision, each.settings.soak_s) == (1200, 0.07, 30)
        assert (each.settings.spike_tolerance, each.min_capacity, each.cap, each.seed) == (0.03, None, 2000, 1)


BAD = [
    ("--adaptive-start", "soon", "not a number"),
    ("--adaptive-start", "1e6", "not within"),
    ("--adaptive-min", "-1", "above 0"),
    ("--adaptive-min", "20000", "no load is left"),
    ("--adaptive-max", "0", "above 0"),
    ("--adaptive-max", "nan", "above 0"),
    ("--adaptive-max", "inf", "above 0"),
    ("--adaptive-max", "100rps", "not a number"),
    ("--adaptive-profile", "slow", "is none of fast, standard, thorough"),
    ("--adaptive-profile", "Fast", "is none of"),
    ("--adaptive-precision", "100%", "below 100 %"),
    ("--adaptive-precision", "6", "such as 5% or 0.05"),
    ("--adaptive-precision", "0", "above 0"),
    ("--adaptive-soak", "a while", "not a time"),
    ("--adaptive-soak", "1.2.3s", "not a number"),
    ("--adaptive-spike-tolerance", "-3%", "from 0 to below 100 %"),
    ("--adaptive-min-capacity", "much", "not a number"),
    ("--adaptive-cap", "1.5", "whole"),
    ("--adaptive-seed", "-1", "above 0"),
    ("--slo", "p99<250", "did you mean p99<250ms?"),
    ("--slo", "p42x<1ms", "no percentile"),
    ("--slo", "rps>=50", "no term of it can fail a load"),
    ("--slo", "p99<1s & gpu.memory<95%", "no source for the signal 'gpu.memory'"),
    ("--slo", "p99<1s & queue.mean<8", "no source"),
]


@pytest.mark.parametrize(("flag", "text", "why"), BAD)
def test_a_mistake_is_told_with_its_flag_its_text_and_why(flag, text, why) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(f"{flag}={text}")
    said = str(caught.value)
    assert flag in said
    assert why in said
    assert text.split(" & ")[-1] in said or f"{float(text):g}" in said


def test_the_slo_is_pointed_into() -> None:
    with pytest.raises(ConfigError) as caught:
        plan("--slo", "errors<1% & p42x<1ms")
    _, quoted, pointing = str(caught.value).splitlines()
    assert quoted[pointing.index("^") :].startswith("p42x")


def test_no_slo_says_how_to_give_one() -> None:
    class Without(AdaptiveShape):
        abstract = True

    with pytest.raises(ConfigError, match="--slo 'p99<250ms & errors<1%'"):
        plan(shape=Without)


def test_repeated_slos_all_hold() -> None:
    assert str(plan("--slo", "p99<250ms", "--slo", "errors<1%").settings.slo) == "p99<250ms & errors<1%"


# -- what stands over what -------------------------------------------------------------------------------------------


class Fussy(Shape):
    abstract = True
    adaptive_precision = "10%"
    adaptive_max = 500
    slo = ("p99<1s", "errors<2%")


def test_a_class_attribute_stands_over_the_default() -> None:
    given = plan(shape=Fussy)
    assert (given.settings.precision, given.settings.grid.maximum) == (0.1, 500.0)
    assert str(given.settings.slo) == "p99<1s & errors<2%"


@pytest.mark.parametrize("text", ["5%", "6%"])  # 6% is the default: given, it still stands over the attribute
def test_an_option_stands_over_the_class_attribute(text: str) -> None:
    given = plan("--adaptive-precision", text, "--slo", "p95<1s", shape=Fussy)
    assert given.settings.precision == float(text[:-1]) / 100
    assert str(given.settings.slo) == "p95<1s"


def test_an_empty_option_is_one_not_given() -> None:
    assert plan("--adaptive-max", "", shape=Fussy).settings.grid.maximum == 500.0
    assert plan("--adaptive-precision", " ").settings.precision == 0.07


def test_without_a_command_line_the_attributes_hold() -> None:
    assert resolve(Fussy, None, (Arriving,), None).settings.precision == 0.1
    assert resolve(Fussy, SimpleNamespace(), (Arriving,), None).settings.grid.maximum == 500.0


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_the_environment_is_asked(option, monkeypatch) -> None:
    monkeypatch.setenv(option.env, "some text")
    parser = get_empty_argument_parser()
    add_arguments(parser, Shape)
    assert option.env == "LOCUST_" + option.flag[2:].upper().replace("-", "_")
    assert texts_of(Shape, parser.parse_args([]))[option.name] == "some text"


def test_the_command_line_stands_over_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("LOCUST_ADAPTIVE_MAX", "30")
    assert plan("--adaptive-max", "40").settings.grid.maximum == 40


def test_paths_and_hosts_are_not_in_the_web_form() -> None:
    parser = get_empty_argument_parser()
    add_arguments(parser, Shape)
    hidden = {a.dest for a in parser._actions if getattr(a, "include_in_web_ui", True) is False}
    assert hidden == {"adaptive_out", "adaptive_prior", "adaptive_web_hosts"}
    assert hidden == {option.name for option in OPTIONS if option.web == "no"}


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_an_endless_text_is_not_read(option) -> None:
    with pytest.raises(ConfigError, match=f"{option.flag}: a text of {LONGEST_TEXT + 1} characters"):
        plan(option.flag, "9" * (LONGEST_TEXT + 1))


# -- profiles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_sets_what_is_not_given(name: str) -> None:
    settings = plan("--adaptive-profile", name).settings
    assert {field: getattr(settings, field) for field in PROFILES[name]} == pytest.approx(dict(PROFILES[name]))


@pytest.mark.parametrize("name", PROFILES)
def test_what_is_given_stands_over_the_profile(name: str, monkeypatch) -> None:
    profile = PROFILES[name]
    assert plan("--adaptive-profile", name, "--adaptive-soak", "7s").settings.soak_s == 7
    of_the_class = plan("--adaptive-profile", name, shape=Fussy).settings
    assert (of_the_class.precision, of_the_class.soak_s) == (0.1, profile["soak_s"])
    monkeypatch.setenv("LOCUST_ADAPTIVE_PRECISION", "11%")
    settings = plan("--adaptive-profile", name).settings
    assert (settings.precision, settings.dwells) == (0.11, profile["dwells"])


def test_the_class_attribute_names_a_profile() -> None:
    class Quick(Shape):
        abstract = True
        adaptive_profile = "fast"

    assert plan(shape=Quick).settings.dwells == PROFILES["fast"]["dwells"]
    assert plan("--adaptive-profile", STANDARD, shape=Quick).settings.dwells == PROFILES[STANDARD]["dwells"]


@pytest.mark.parametrize("name", PROFILES)
def test_the_texts_that_hold_are_those_of_the_profile(name: str) -> None:
    found = plan("--adaptive-profile", name)
    assert {option: found.texts[option] for option in BY_PROFILE[name]} == dict(BY_PROFILE[name])
    texts = [f"--{option.replace('_', '-')}={text}" for option, text in BY_PROFILE[name].items()]
    given = plan(*texts).settings
    assert (given.precision, given.soak_s) == (found.settings.precision, found.settings.soak_s)


def test_a_profile_that_is_none_stands_in_for_nothing() -> None:
    assert texts_of(Shape, SimpleNamespace(adaptive_profile="slow"))["adaptive_precision"] == ""


# -- caps ------------------------------------------------------------------------------------------------------------


def held(users: Any = (Arriving,), max_users: int | None = None, **options: Any) -> dict[str, float]:
    return caps(Shape, SimpleNamespace(**options), loop_of(users), max_users)


def test_the_options_that_may_only_be_lowered_are_caps() -> None:
    flags = {option.flag for option in OPTIONS if option.web == "lower only"}
    assert flags | {"-t", "-u"} == set(held(max_users=5))


def test_the_caps_without_options_are_what_a_search_takes() -> None:
    for users in ((Arriving,), (Visiting,)):
        p, found = plan(users=users), held(users)
        assert found == {
            "--adaptive-max": p.settings.grid.maximum,
            "--adaptive-cap": p.cap,
            "-t": p.settings.budget_s,
        }


def test_caps_are_read_as_given() -> None:
    given = held(max_users=40, adaptive_max="300", adaptive_cap="70", run_time=90)
    assert given == {"--adaptive-max": 300, "--adaptive-cap": 70, "-t": 90, "-u": 40}


@pytest.mark.parametrize("text", ["many", "inf", "nan", "0", "-5", "1e999"])
def test_a_cap_that_cannot_be_read_is_none_to_have_more_by(text: str) -> None:
    assert held(adaptive_max=text, adaptive_cap=text)["--adaptive-max"] == 10_000


@given(st.floats(0.1, 1e6), st.floats(0.1, 1e6))
def test_a_cap_is_lowered_and_never_raised(one: float, other: float) -> None:
    low, high = sorted((one, other))
    check_lowered({"--adaptive-max": high}, {"--adaptive-max": low})
    if low < high:
        with pytest.raises(ConfigError, match=r"--adaptive-max .* is above .* start locust with --adaptive-max"):
            check_lowered({"--adaptive-max": low}, {"--adaptive-max": high})


def test_a_cap_that_nobody_asks_for_stands() -> None:
    check_lowered({"-u": 5}, {})


# -- Locust's own options --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("users", "given", "maximum"), [((Visiting,), 30, 30), ((Visiting,), None, 1000), ((Arriving,), 30, 30)]
)
def test_u_lowers_the_ceiling_when_given(users, given, maximum) -> None:
    assert plan(users=users, max_users=given).settings.grid.maximum == maximum


def test_u_never_raises_the_ceiling() -> None:
    assert plan("--adaptive-max", "20", max_users=30).settings.grid.maximum == 20


@pytest.mark.parametrize("users", [0, -3])
def test_u_must_leave_something(users: int) -> None:
    with pytest.raises(ConfigError, match=f"-u {users}"):
        plan(max_users=users)


def test_whole_users() -> None:
    with pytest.raises(ConfigError, match=r"--adaptive-max '20\.5': must be a whole number"):
        plan("--adaptive-max", "20.5", users=(Visiting,))


def test_a_low_ceiling_takes_the_start_and_the_floor_with_it() -> None:
    low = plan("--adaptive-max", "0.05").settings
    assert (low.grid.minimum, low.start, low.grid.maximum) == (0.05, 0.05, 0.05)


# -- user classes ----------------------------------------------------------------------------------------------------


def test_mixed_loops_are_refused_and_named() -> None:
    with pytest.raises(ConfigError, match=r"Arriving.*Visiting.*OpenLoop"):
        plan(users=(Arriving, Visiting))


def test_the_mixin_switched_off_is_closed_loop() -> None:
    class Off(OpenLoop, FastHttpUser):
        load = "closed"

    assert plan(users=(Off, Visiting)).settings.loop == "closed"


def test_no_users_no_load() -> None:
    with pytest.raises(ConfigError, match="no user class"):
        plan(users=())


@given(st.floats(0.2, 1e9))
def test_at_most_a_thousand_users_stand_for_an_open_load(highest: float) -> None:
    p = plan("--adaptive-max", repr(highest), "--adaptive-min", "0.1")
    assert p.settings.grid.maximum / p.unit <= 1000
    assert p.unit == 1 or p.settings.grid.maximum / p.unit > 1000 / 2.5
