"""The prior: what is taken from the capacity.json of an earlier run, what is warned of, and what a mistake is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from locust import FastHttpUser, HttpUser, task
from locust.argument_parser import get_empty_argument_parser

from locust_adaptive import AdaptiveShape, OpenLoop
from locust_adaptive.plugin.options import ConfigError, Plan, add_arguments, resolve
from locust_adaptive.report.fold import Fold
from locust_adaptive.report.journal import Header
from locust_adaptive.report.result import result, to_json
from locust_adaptive.search.grid import Grid
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.slo import Slo
from tests.support.lab import Backend
from tests.support.scripted import Rig, Script

HOST = "http://model:8000"
SLO = "p99<250ms & errors<1%"
Write = Callable[..., Path]


class Arriving(OpenLoop, FastHttpUser):
    @task
    def rank(self) -> None:
        self.client.get("/rank")


class Visiting(HttpUser):
    pass


class Shape(AdaptiveShape):
    abstract = True
    slo = SLO


def before() -> dict[str, Any]:
    """What an earlier run left behind, with a capacity of 80.5 req/s."""
    settings = Settings(Slo.parse(SLO), "open", Grid.rate(0.5, 500), 2.0)
    header = Header(settings, "adaptive", 1, "2026-11-21T10:15:00Z", arrivals="poisson", environment={"host": HOST})
    plain = json.loads(to_json(result(Fold(header))))
    plain["capacity"] |= {"value": 80.5, "unit": "rps", "low": 78.0, "high": 83.0}
    return plain


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes an earlier run's file, with this in its capacity and that in all else."""

    def written(capacity: dict[str, Any] | None = None, **more: Any) -> Path:
        plain = before() | more
        plain["capacity"] |= capacity or {}
        file = tmp_path / "capacity.json"
        file.write_text(json.dumps(plain))
        return file

    return written


def plan(file: Any, *arguments: str, users: Any = (Arriving,), shape: Any = Shape, host: str = HOST) -> Plan:
    parser = get_empty_argument_parser()
    parser.add_argument("-H", "--host")
    add_arguments(parser, shape)
    given = () if file is None else ("--adaptive-prior", str(file))
    return resolve(shape, parser.parse_args(["-H", host, *given, *arguments]), users, None)


def test_without_one_there_is_none() -> None:
    found = plan(None)
    assert (found.settings.prior, found.doubts) == (None, ())


@pytest.mark.parametrize(
    ("unit", "value", "users"), [("rps", 80.5, Arriving), ("arrivals", 33, Arriving), ("users", 12, Visiting)]
)
def test_the_capacity_that_was_found_is_taken(unit: str, value: float, users: Any, write: Write) -> None:
    found = plan(write({"unit": unit, "value": value}), users=(users,))
    assert found.settings.prior == value
    assert found.settings.start == plan(None, users=(users,)).settings.start
    assert found.doubts == ()


def test_the_class_attribute_and_the_environment_name_one_too(write: Write, monkeypatch) -> None:
    file = str(write())

    class Given(Shape):
        abstract = True
        adaptive_prior = file

    assert plan(None, shape=Given).settings.prior == 80.5
    monkeypatch.setenv("LOCUST_ADAPTIVE_PRIOR", f" {file} ")
    assert plan(None).settings.prior == 80.5


MISTAKES = {
    "open in closed": (Visiting, {"unit": "rps"}, {}, ["in rps", "closed loop, where it is in users"]),
    "closed in open": (Arriving, {"unit": "users"}, {}, ["in users", "open loop, where it is in rps or arrivals"]),
    "a unit of tomorrow": (Arriving, {"unit": "tokens"}, {}, ["in tokens"]),
    "null, with a bound": (
        Arriving,
        {"value": None, "low": 20.0},
        {"verdict": "unresolved", "reason": "ceiling_reached"},
        ["ended unresolved (ceiling_reached) without a capacity", "--adaptive-start 20.0"],
    ),
    "null": (
        Arriving,
        {"value": None, "low": None},
        {"verdict": "aborted", "reason": "stopped"},
        ["ended aborted (stopped) without a capacity", "leave the option out"],
    ),
    "too high": (Arriving, {"value": 501.0}, {}, ["501 is not within --adaptive-min 0.5 and -max 500"]),
    "too low": (Arriving, {"value": 0.4}, {}, ["0.4 is not within --adaptive-min 0.5 and -max 500"]),
    "not finite": (Arriving, {"value": float("inf")}, {}, ["inf is not within"]),
    "no number": (Arriving, {"value": float("nan")}, {}, ["nan is not within"]),
    "a word": (Arriving, {"value": "much"}, {}, ["no capacity.json", "much"]),
    "endless": (Arriving, {"value": 10**400}, {}, ["no capacity.json"]),
    "tomorrow's": (Arriving, {}, {"schema": 2}, ["schema 2", "upgrade locust-adaptive"]),
    "another environment": (Arriving, {}, {"environment": [1]}, ["no capacity.json"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_capacity_that_is_none_for_this_search_is_refused(name: str, write: Write) -> None:
    users, capacity, more, said = MISTAKES[name]
    file = write(capacity, **more)
    with pytest.raises(ConfigError) as caught:
        plan(file, "--adaptive-min", "0.5" if users is Arriving else "1", "--adaptive-max", "500", users=(users,))
    told = str(caught.value)
    assert told.startswith(f"--adaptive-prior '{file}': ")
    for words in said:
        assert words in told


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"7", b"null", b'"schema"', b"{}", b'{"schema": 1}', b"\xff\xfe", b'{"schema":1}\n{}']
)
def test_a_file_that_is_no_result_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "some.json"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"--adaptive-prior .*no capacity\.json: .*; name the capacity\.json of"):
        plan(file)


@pytest.mark.parametrize("capacity", [None, [], 5, "x", {}, {"value": 5}, {"unit": "rps"}])
def test_a_result_without_its_capacity_is_refused(capacity: Any, tmp_path: Path) -> None:
    file = tmp_path / "some.json"
    file.write_text(json.dumps(before() | {"capacity": capacity}))
    with pytest.raises(ConfigError, match=r"no capacity\.json: "):
        plan(file)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.json': cannot be read \(No such file or directory\); name the"):
        plan(tmp_path / "gone.json")
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\)"):
        plan(tmp_path)


def test_another_slo_or_host_is_a_doubt_and_no_error(write: Write) -> None:
    file = write()
    other = plan(file, "--slo", "p95<1s", host="http://other:9")
    assert other.settings.prior == 80.5
    slo, host = other.doubts
    assert slo.startswith(f"--adaptive-prior '{file}': it was found under the SLO {SLO}, and this run's is p95<1s")
    assert f"at the host {HOST}, and this run's is http://other:9" in host
    assert len(plan(file, "--slo", "p95<1s").doubts) == 1


def test_what_the_file_does_not_say_is_no_doubt(write: Write) -> None:
    assert plan(write(slo=None, environment={"host": None})).doubts == ()
    assert plan(write(environment=None)).doubts == ()


@pytest.fixture
def backend() -> Iterator[Backend]:
    server = Backend()
    yield server
    server.close()


def test_a_session_says_its_doubts_once_and_keeps_the_prior_in_the_journal(
    write: Write, tmp_path: Path, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    file = str(write(slo="p95<2s"))
    with Rig(tmp_path, backend.url, Arriving, adaptive_prior=file) as rig:
        rig.start(Script([(5, 0.5)]))
        rig.ends()
        header = rig.journal.header
    assert [r.levelname for r in caplog.records if "found under the SLO p95<2s" in r.message] == ["WARNING"]
    assert header.settings.prior == 80.5
    assert header.options["adaptive_prior"] == file
