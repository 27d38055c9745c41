"""The start form, read into a copy: what it offers, what each field means, what a mistake is told; user settings."""

from __future__ import annotations

import argparse
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.plugin.options import OPTIONS, ConfigError
from locust_adaptive.plugin.webform import LONGEST_FIELD, Offer, read
from locust_adaptive.plugin.webguard import Refused
from locust_adaptive.plugin.webuser import check as check_user


def action(name: str, *, choices: Any = None, is_multiple: bool = False) -> argparse.Action:
    made = argparse.Action(["--" + name.replace("_", "-")], name, choices=choices)
    made.is_multiple = is_multiple  # type: ignore[attr-defined]  # as Locust's parser adds it
    return made


CUSTOM = {o.name: action(o.name) for o in OPTIONS if o.web != "no"} | {
    "batch": action("batch"),
    "verbose": action("verbose"),
    "sizes": action("sizes", is_multiple=True),
    "colour": action("colour", choices=["red", "blue"]),
    "note": action("note"),
}
PLAIN = Offer(CUSTOM)
PICKER = Offer(CUSTOM, frozenset({"Ranker", "Other"}), frozenset({"Capacity"}))
NOW = {
    "num_users": 1,
    "run_time": None,
    "slo": "p99<250ms",
    "adaptive_max": "",
    "html_file": None,
    "batch": 3,
    "verbose": False,
    "sizes": [1, 2],
    "colour": "red",
    "note": None,
}


def asked(*pairs: tuple[str, str], offer: Offer = PLAIN) -> Any:
    return read(offer.fields(pairs), offer, NOW)


@pytest.mark.parametrize(
    "name",
    [
        *("html_file", "stop_timeout", "adaptive_out", "adaptive_prior", "adaptive_web_hosts", "host ", "", "_slo"),
        *("user_classes", "a" * 500),
    ],
)
def test_what_the_form_does_not_offer_is_named(name: str) -> None:
    with pytest.raises(Refused, match="not to be set from the web") as caught:
        asked((name, "x"))
    assert caught.value.status == 400
    assert repr(name[:100]) in caught.value.message


@pytest.mark.parametrize("name", ["slo", "user_count", "host", "shape_class", "batch"])
def test_a_field_that_is_there_twice_is_refused(name: str) -> None:
    with pytest.raises(Refused, match=f"'{name}' is there twice"):
        asked((name, "1"), (name, "1"), offer=PICKER)


@pytest.mark.parametrize(("name", "text"), [("host", "h" * (LONGEST_FIELD + 1)), ("slo", "p99<\n1s"), ("host", "\0")])
def test_texts_that_are_not_read(name: str, text: str) -> None:
    with pytest.raises(Refused, match=f"^{name}: "):
        asked((name, text))


@pytest.mark.parametrize(
    ("name", "text", "option", "value"),
    [
        ("user_count", "50", "num_users", 50),
        ("spawn_rate", "1.5", "spawn_rate", 1.5),
        ("run_time", " 1h20m ", "run_time", 4800),
        ("host", "http://model:8000", "host", "http://model:8000"),
        ("profile", "", "profile", None),
        ("slo", "p95<1s", "slo", "p95<1s"),
        ("adaptive_max", "9", "adaptive_max", "9"),
        ("batch", "4", "batch", 4),
        ("verbose", "true", "verbose", True),
        ("sizes", "4,5", "sizes", [4, 5]),
        ("colour", "blue", "colour", "blue"),
        ("note", "x", "note", "x"),
    ],
)
def test_what_a_field_means(name: str, text: str, option: str, value: Any) -> None:
    found = asked((name, text))
    assert found.options[option] == value
    assert {k: v for k, v in found.options.items() if k != option} == {k: v for k, v in NOW.items() if k != option}


def test_what_is_asked_is_read_into_a_copy() -> None:
    before = dict(NOW)
    asked(("slo", "p95<1s"), ("batch", "9"))
    assert before == NOW


@pytest.mark.parametrize("name", ["slo", "adaptive_max", "run_time", "host"])
def test_a_blank_field_leaves_what_is_there(name: str) -> None:
    found = asked((name, ""))
    assert found.options == NOW
    assert found.pairs == []


def test_locust_gets_what_it_can_read() -> None:
    found = asked(("run_time", " 2m "), ("user_count", " 7 "), ("sizes", "4"), ("sizes", "5"))
    assert found.pairs == [("run_time", "120"), ("user_count", "7"), ("sizes", "4"), ("sizes", "5")]
    assert found.max_users == 7
    assert asked().max_users is None


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("user_count", "many", "-u 'many': is not a whole number"),
        ("user_count", "1.5", "-u '1.5'"),
        ("user_count", "nan", "-u 'nan'"),
        ("user_count", "", "-u ''"),
        ("spawn_rate", "inf", "-r 'inf'"),
        ("spawn_rate", "nan", "-r 'nan'"),
        ("spawn_rate", "-1", "-r '-1'"),
        ("spawn_rate", "quick", "-r 'quick': is not a number"),
        ("run_time", "soon", "-t 'soon'"),
        ("run_time", "0", "-t '0': must be above 0"),
        ("run_time", "9" * 40 + "h", "-t '999"),
        ("batch", "x", "--batch 'x'"),
        ("sizes", "4,x", "--sizes '4,x'"),
        ("colour", "green", "--colour 'green': is none of red, blue"),
    ],
)
def test_a_mistake_is_told_with_its_flag(name: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        asked((name, text))
    assert str(caught.value).startswith(said)


def test_the_class_picker() -> None:
    found = asked(("user_classes", "Ranker"), ("user_classes", "Other"), ("shape_class", "Capacity"), offer=PICKER)
    assert (found.user_classes, found.shape) == (["Ranker", "Other"], "Capacity")
    assert asked(offer=PICKER).shape == "Default", "as Locust has it"
    assert asked().shape is None
    with pytest.raises(ConfigError, match=r"no user class 'Gone'.*Other, Ranker"):
        asked(("user_classes", "Gone"), offer=PICKER)
    with pytest.raises(ConfigError, match=r"no shape 'Gone'"):
        asked(("shape_class", "Gone"), offer=PICKER)


names = st.sampled_from([*CUSTOM, "user_count", "spawn_rate", "run_time", "host", "profile", "html_file", "zzz"])


@given(st.lists(st.tuples(names, st.text(max_size=20)), max_size=6))
def test_any_form_is_read_or_refused(pairs: list[tuple[str, str]]) -> None:
    try:
        found = asked(*pairs)
    except (Refused, ConfigError):
        return
    assert found.options["html_file"] is None
    assert set(found.options) <= {*NOW, *CUSTOM, "spawn_rate", "host", "profile", "run_time"}


# -- POST /user ------------------------------------------------------------------------------------------------------


def rank() -> None: ...


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"user_class_name": "Ranker", "weight": 2, "fixed_count": 0, "host": None, "tasks": ["rank"]}, None),
        ({"user_class_name": "Gone"}, "no such user class; there are Ranker"),
        ({"weight": 2}, "no such user class"),
        ([], "no such user class"),
        ({"user_class_name": "Ranker", "on_start": "x"}, "no setting 'on_start'"),
        ({"user_class_name": "Ranker", "trace": "../../etc/passwd"}, "no setting 'trace'"),
        ({"user_class_name": "Ranker", "weight": -1}, "weight"),
        ({"user_class_name": "Ranker", "weight": True}, "weight"),
        ({"user_class_name": "Ranker", "fixed_count": "2"}, "fixed_count"),
        ({"user_class_name": "Ranker", "host": 5}, "host"),
        ({"user_class_name": "Ranker", "tasks": ["drop"]}, "tasks"),
        ({"user_class_name": "Ranker", "tasks": "rank"}, "tasks"),
    ],
)
def test_what_may_be_changed_of_a_user_class(body: Any, said: str | None) -> None:
    classes = {"Ranker": [rank]}
    if said is None:
        check_user(json.dumps(body).encode(), classes)
        return
    with pytest.raises(Refused) as caught:
        check_user(json.dumps(body).encode(), classes)
    assert caught.value.status == 400
    assert said in caught.value.message


def test_no_json_is_no_setting() -> None:
    with pytest.raises(Refused, match="no JSON"):
        check_user(b"\xff{", {})
