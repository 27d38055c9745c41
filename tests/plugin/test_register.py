"""Locust's events, wired: what is checked before any load and where, and the verdict as the last words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from locust import FastHttpUser, HttpUser, events
from locust.env import Environment

from locust_adaptive import OpenLoop, ReplayUser
from locust_adaptive.plugin import register as register_again
from locust_adaptive.plugin import session
from locust_adaptive.plugin.register import _add_arguments, _on_quit, on_init
from tests.support.lab import Backend
from tests.support.scripted import Rig, Script, Shape
from tests.support.searches import free_port


class Arriving(OpenLoop, FastHttpUser):
    pass


class Visiting(HttpUser):
    pass


class Lost(ReplayUser):
    trace = "none.trace"


def parsed(**options: Any) -> SimpleNamespace:
    known = {"headless": True, "autostart": False, "processes": None, "num_users": None, "run_time": None}
    return SimpleNamespace(**{**known, **options})


def local(options: Any, *classes: Any, shape: Any = Shape) -> Any:
    environment = Environment(user_classes=list(classes), shape_class=shape() if shape else None)
    environment.parsed_options = options
    environment.create_local_runner()
    return environment


def test_registering_again_does_nothing() -> None:
    before = [len(hook._handlers) for hook in (events.init, events.quit, events.init_command_line_parser)]
    register_again()
    assert [len(hook._handlers) for hook in (events.init, events.quit, events.init_command_line_parser)] == before
    assert on_init in events.init._handlers


@pytest.mark.parametrize(
    ("options", "classes", "said"),
    [
        ({"slo": "p99<250"}, [Arriving], "--slo cannot be read"),
        ({"adaptive_max": "0"}, [Arriving], "--adaptive-max '0'"),
        ({"num_users": 0}, [Arriving], "-u 0"),
        ({}, [Arriving, Visiting], "mixes open loop (Arriving) and closed loop (Visiting)"),
        ({}, [Lost], "Lost: there is no trace 'none.trace'"),
        ({"headless": False, "autostart": True, "adaptive_max": "0"}, [Arriving], "--adaptive-max '0'"),
    ],
)
def test_a_run_that_cannot_work_ends_before_any_load(options, classes, said, capsys) -> None:
    environment = local(parsed(**options), *classes)
    with pytest.raises(SystemExit) as ended:
        on_init(environment, environment.runner)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("locust-adaptive: ")
    assert said in told


@pytest.mark.parametrize("options", [{"headless": False, "adaptive_max": "0"}, {"headless": False, "slo": "p99<250"}])
def test_the_web_form_can_still_correct_it(options) -> None:
    environment = local(parsed(**options), Arriving)
    on_init(environment, environment.runner)
    assert session.of(environment) is None


@pytest.mark.parametrize("options", [None, parsed(adaptive_max="0")])
def test_without_an_adaptive_shape_nothing_is_asked(options) -> None:
    environment = local(options, Arriving, Visiting, shape=None)
    on_init(environment, environment.runner)
    assert not hasattr(environment, "_adaptive")


def test_a_master_alone_needs_no_trace_but_forks_do() -> None:
    environment = Environment(user_classes=[Lost], shape_class=Shape())
    environment.parsed_options = parsed()
    runner = environment.create_master_runner("127.0.0.1", free_port())
    try:
        on_init(environment, runner)
        environment.parsed_options.processes = 2
        with pytest.raises(SystemExit):
            on_init(environment, runner)
    finally:
        runner.quit()


def test_a_start_without_workers_says_so(caplog: pytest.LogCaptureFixture) -> None:
    environment = Environment(user_classes=[Arriving], shape_class=Shape())
    environment.parsed_options = parsed(headless=False)
    runner = environment.create_master_runner("127.0.0.1", free_port())
    try:
        on_init(environment, runner)
        assert environment.shape_class.runner is runner
        assert environment.shape_class.tick() is None
        assert "no worker has connected" in caplog.text
        assert environment.process_exit_code == 2
    finally:
        runner.quit()


@pytest.mark.parametrize(("given", "maximum"), [(30, 30.0), (None, 10_000.0)])
def test_u_is_a_ceiling_as_given_before_locust_fills_it_in(given, maximum, tmp_path) -> None:
    backend = Backend()
    try:
        with Rig(tmp_path, backend.url, Arriving, num_users=given) as rig:
            rig.environment.parsed_options.num_users = given or 1  # as Locust does later
            rig.start(Script([(5, 60)]))
            rig.begins()
            assert rig.session.plan.settings.grid.maximum == maximum
            rig.runner.stop()
    finally:
        backend.close()


@pytest.mark.parametrize("headless", [True, False])
def test_the_verdict_is_the_last_word(headless: bool, tmp_path, capsys, caplog) -> None:
    caplog.set_level("INFO")
    backend = Backend()
    try:
        with Rig(tmp_path, backend.url, Arriving) as rig:
            rig.start(Script([(5, 60)]))
            rig.begins()
            rig.environment.parsed_options.headless = headless
            rig.runner.stop()
            rig.runner.stop()
    finally:
        backend.close()
    assert caplog.text.count(" CAPACITY ") == (0 if headless else 1)
    capsys.readouterr()
    _on_quit()
    _on_quit()
    assert capsys.readouterr().out.count(" CAPACITY ") == (1 if headless else 0)


def test_the_options_are_there_with_the_shapes_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    from locust.argument_parser import get_empty_argument_parser

    class Named(Shape):
        abstract = True
        slo = "p50<1s"

    monkeypatch.setattr(session, "shape_class", Named)
    parser = get_empty_argument_parser()
    _add_arguments(parser)
    assert parser.parse_args([]).slo == "p50<1s"
    assert parser.parse_args(["--slo", "p90<1s"]).slo == "p90<1s"
