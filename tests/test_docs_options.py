"""The page of options is what the code says: its table, the defaults in brackets, and the sentences on -u and -t."""

import argparse
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
from locust import FastHttpUser, HttpUser
from locust.argument_parser import get_empty_argument_parser

from locust_adaptive import OpenLoop
from locust_adaptive.plugin.options import DEFAULT_BUDGET_S, OPTIONS, add_arguments, resolve

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
PAGE = (FOLDER / "options.md").read_text("utf-8")
MAKER = runpy.run_path(str(FOLDER / "make_options.py"))
ROWS = {name: row for name, *row in (line.strip("| ").split(" | ") for line in MAKER["table"]().splitlines()[2:])}


class Open(OpenLoop, FastHttpUser):
    abstract = True


class Closed(HttpUser):
    abstract = True


def plan(user_class: type, max_users: int | None = None, **options: object):
    return resolve(SimpleNamespace(slo="p99<250ms"), argparse.Namespace(**options), [user_class], max_users)


def test_the_table_is_up_to_date() -> None:
    assert MAKER["updated"](PAGE) == PAGE, "run: python docs/reference/make_options.py"


@pytest.mark.parametrize("mark", [MAKER["BEGIN"], MAKER["END"]])
def test_a_page_without_its_marks_is_an_error(mark: str) -> None:
    with pytest.raises(ValueError, match="lacks the mark"):
        MAKER["updated"](PAGE.replace(mark, ""))


def test_the_table_has_what_locust_is_given() -> None:
    parser = get_empty_argument_parser(add_help=False)
    add_arguments(parser, None)
    given = {a.option_strings[0]: a for a in parser._actions if a.dest in {o.name for o in OPTIONS}}
    assert {row.strip("`") for row in ROWS} == set(given)
    for row, (attribute, env, default, web, meaning) in ROWS.items():
        action = given[row.strip("`")]
        assert (attribute, env) == (f"`{action.dest}`", f"`{action.env_var}`")
        assert default.strip("`") == action.default
        assert web in ("no", "lower only", "yes")
        assert (web != "no") == action.include_in_web_ui
        assert "%%" not in meaning


def test_the_defaults_in_brackets_hold() -> None:
    arrivals, users = plan(Open).settings, plan(Closed).settings
    meanings = {row.strip("`"): cells[-1] for row, cells in ROWS.items()}
    assert f"({arrivals.start:g}), users in closed loop ({users.start:g})" in meanings["--adaptive-start"]
    assert f"({arrivals.grid.minimum:g} arrivals/s, or {users.grid.minimum:g} user)" in meanings["--adaptive-min"]
    assert f"({arrivals.grid.maximum:g} arrivals/s, or {users.grid.maximum:g} users)" in meanings["--adaptive-max"]


@pytest.mark.parametrize("user_class", [Open, Closed])
def test_users_and_run_time_of_locust_are_read(user_class: type) -> None:
    assert f"{DEFAULT_BUDGET_S / 60:g} minutes without it" in PAGE
    assert plan(user_class).settings.budget_s == DEFAULT_BUDGET_S
    assert plan(user_class, run_time=90).settings.budget_s == 90
    assert plan(user_class, max_users=50).settings.grid.maximum == 50
    assert plan(user_class, max_users=50, adaptive_max="20").settings.grid.maximum == 20
