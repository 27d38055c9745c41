"""The web UI of a real process: what it refuses, and what it serves.

Facts of Locust that are answered here: any origin and any host name may start a test, with any option; half of a bad
form is applied.
"""

from __future__ import annotations

import itertools
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.faults.buttons import searches, web
from tests.faults.loaded import Loaded
from tests.faults.oracle import honest
from tests.faults.page import FORM, QUICK, SHAPE, Answer, Page
from tests.support.searches import HEADER, OPEN, LocustRun, Search, free_port, locustfile
from tests.support.truth import SMALL
from tests.support.wait import wait_until

# -- the matrix ------------------------------------------------------------------------------------------------------

BAD = {"slo": "p99<250"}
"""A form that is served, and starts nothing."""
REQUESTS = {
    "POST /swarm": (urlencode(BAD).encode(), 200),
    "POST /stop": (b"", 200),
    "POST /stats/reset": (b"", 200),
    "GET /adaptive/state": (b"", 200),
    "GET /adaptive/healthz": (b"", 200),
    "POST /adaptive/state": (b"", 405),
    "GET /swarm": (b"", 405),
}
NO_ORIGIN_NEEDED = {"GET /swarm"}
ORIGINS = ("none", "own", "foreign", "null", "cross-site", "foreign referer")
HOSTS = ("127.0.0.1", "localhost", "known.example", "evil.example")
MATRIX = list(itertools.product(REQUESTS, ORIGINS, HOSTS))

FORMS = {
    "hidden": ({"slo": "p99<1s", "html_file": "{folder}/stolen.html"}, 400, "html_file"),
    "core": ({"slo": "p99<1s", "stop_timeout": "<img src=x onerror=alert(1)>"}, 400, "stop_timeout"),
    "folder": ({"slo": "p99<1s", "adaptive_out": "{folder}/elsewhere"}, 400, "adaptive_out"),
    "hosts": ({"slo": "p99<1s", "adaptive_web_hosts": "evil.example"}, 400, "adaptive_web_hosts"),
    "classes": ({"slo": "p99<1s", "user_classes": "Ranker"}, 400, "user_classes"),
    "no slo": ({"slo": ""}, 200, "--slo cannot be read"),
    "endless slo": ({"slo": "p99<1s&" * 1500}, 200, "--slo: a text of 10500 characters"),
    "more load": ({"slo": "p99<1s", "adaptive_max": "41"}, 200, "--adaptive-max 41 is above 40"),
    "more users": ({"slo": "p99<1s", "user_count": "31"}, 200, "-u 31 is above 30"),
    "no load": ({"slo": "p99<1s", "user_count": "-3"}, 200, "-u -3"),
    "more time": ({"slo": "p99<1s", "run_time": "3m"}, 200, "-t 180 is above 120"),
    "nan": ({"slo": "p99<1s", "spawn_rate": "nan"}, 200, "-r 'nan'"),
}
BODIES = {
    "large": (b"slo=" + b"x" * 70_000, {"Content_Type": FORM}, 413),
    "endless": (b"", {"Content_Type": FORM, "Content_Length": "10000000000"}, 413),
    "in chunks": (b"", {"Content_Type": FORM, "Transfer_Encoding": "chunked"}, 411),
    "json": (b'{"slo": "p99<1s"}', {"Content_Type": "application/json"}, 415),
    "text": (b"slo=p99%3C1s", {"Content_Type": "text/plain"}, 415),
    "twice": (b"slo=p99%3C1s&slo=p95%3C1s", {"Content_Type": FORM}, 400),
    "user settings": (b'{"user_class_name": "Ranker", "weight": 5}', {"Content_Type": "application/json"}, 400),
}


def headers(origin: str, host: str, port: int) -> dict[str, str]:
    at = f"{host}:{port}"
    sent = {
        "none": {},
        "own": {"Origin": f"http://{at}", "Sec_Fetch_Site": "same-origin"},
        "foreign": {"Origin": "http://evil.example"},
        "null": {"Origin": "null"},
        "cross-site": {"Sec_Fetch_Site": "cross-site"},
        "foreign referer": {"Referer": f"http://evil.example/{at}"},
    }[origin]
    return {"Host": at, **sent}


@dataclass
class Tried:
    """What the web UI answered to each request, and what was there before and after all of them."""

    answers: dict[Any, Answer] = field(default_factory=dict)
    options: list[dict[str, Any]] = field(default_factory=list)
    received: int = -1
    files: set[str] = field(default_factory=set)
    page: Answer | None = None
    running: Answer | None = None
    held: list[Any] = field(default_factory=list)
    search: Search | None = None


def matrix(folder: Path) -> Tried:
    tried, page = Tried(), Page(free_port())
    caps = ["--adaptive-max", "40", "-u", "30", "-t", "120", "--adaptive-web-hosts", "known.example"]
    # Judged by the cap of the form, below that of the command line.
    with Loaded(folder, SMALL.service, 25) as target:
        arguments = ["-H", target.url, *web(page.port), *caps]
        with LocustRun(folder, locustfile(folder, HEADER + SHAPE + OPEN), *arguments) as run:
            page.comes_up()
            tried.options.append(page.state()["options"])
            tried.page = page.ask("GET", "/")
            for request, origin, host in MATRIX:
                method, path = request.split()
                sent = headers(origin, host, page.port) | ({"Content_Type": FORM} if path == "/swarm" else {})
                tried.answers[request, origin, host] = page.ask(method, path, REQUESTS[request][0], **sent)
            for name, (form, _, _) in FORMS.items():
                tried.answers[name] = page.start({k: v.format(folder=folder) for k, v in form.items()})
            for name, (body, sent, _) in BODIES.items():
                path = "/user" if name == "user settings" else "/swarm"
                tried.answers[name] = page.ask("POST", path, body, **sent)
            tried.options.append(page.state()["options"])
            tried.received = target.stats()["received"]
            tried.files = {path.name for path in folder.iterdir()}
            # A good one starts; another while it runs is refused and changes nothing.
            tried.answers["good"] = page.start({**QUICK, "adaptive_max": "25"}, Origin=page.own)
            wait_until(lambda: target.stats()["received"] > 5, "requests", 30)
            tried.held.append(page.state()["options"])
            tried.running = page.start({**QUICK, "adaptive_max": "40", "slo": "p50<1s"}, Origin=page.own)
            wait_until(lambda: page.state()["trials"], "the first trial", 60)
            tried.held.append(page.state()["options"])
            target.must_end()
            tried.answers["stop"] = page.ask("POST", "/stop", Origin=page.own)
            target.silence()
            run.interrupt(signal.SIGTERM)
            (tried.search,) = searches(folder, run.over(30))
    return tried


in_matrix = pytest.mark.scenario(matrix, seconds=20)


@in_matrix
@pytest.mark.parametrize("request_", REQUESTS)
def test_strangers_are_refused_and_others_served(request_: str, found: Tried) -> None:
    for origin, host in itertools.product(ORIGINS, HOSTS):
        answer = found.answers[request_, origin, host]
        welcome = host != "evil.example" and origin in ("none", "own")
        if request_ in NO_ORIGIN_NEEDED:
            assert answer.status == 405
            continue
        assert answer.status == (REQUESTS[request_][1] if welcome else 403), (origin, host, answer)
        if not welcome and host == "evil.example":
            assert "--adaptive-web-hosts evil.example" in answer.text


@in_matrix
@pytest.mark.parametrize("name", [*FORMS, *BODIES])
def test_what_the_form_does_not_offer_is_refused(name: str, found: Tried) -> None:
    answer = found.answers[name]
    status, said = FORMS[name][1:] if name in FORMS else (BODIES[name][2], "")
    assert answer.status == status, answer
    if status == 200:
        assert answer.plain["success"] is False
        assert said in answer.plain["message"]
    else:
        assert said in answer.text
        assert answer.headers["content-type"].startswith("text/plain"), "nothing of it is a page"


@in_matrix
def test_after_all_that_nothing_has_changed(found: Tried) -> None:
    assert found.received == 0
    assert found.options[0] == found.options[1]
    assert found.files == {"locustfile.py", "stdout", "stderr"}
    assert found.page is not None
    assert found.page.status == 200
    assert '"num_users": 30' in found.page.text
    assert '"run_time": 120' in found.page.text


@in_matrix
def test_the_state_is_for_its_own_page(found: Tried) -> None:
    for origin in ORIGINS:
        sent = found.answers["GET /adaptive/state", origin, "127.0.0.1"].headers
        assert not [name for name in sent if name.startswith("access-control-")]
        assert (sent["cache-control"], sent["x-content-type-options"]) == ("no-store", "nosniff")


@in_matrix
def test_a_good_form_starts_and_is_not_changed_on_the_way(found: Tried) -> None:
    assert found.answers["good"].plain["success"], found.answers["good"]
    assert found.running is not None
    assert found.running.plain["success"] is False
    assert "a search is running" in found.running.plain["message"]
    assert found.held[0] == found.held[1]
    assert (found.held[0]["adaptive_max"], found.held[0]["slo"]) == ("25", QUICK["slo"])


@in_matrix
def test_stop_ends_it_with_its_report(found: Tried) -> None:
    assert found.answers["stop"].plain["success"]
    assert found.search is not None
    assert (found.search.outcome["verdict"], found.search.outcome["reason"]) == ("aborted", "stopped")
    assert max(trial["load"] for trial in found.search.outcome["trials"]) <= 25
    honest(found.search, capacity=SMALL.capacity)


# -- the login -------------------------------------------------------------------------------------------------------

LOGIN = """
from flask import Blueprint, request
from flask_login import UserMixin, login_user
from locust import events

class Person(UserMixin):
    id = "me"

@events.init.add_listener
def _(environment, **_):
    ui = environment.web_ui
    ui.app.secret_key = "for this test"
    ui.login_manager.user_loader(lambda name: Person())
    @ui.app.route("/enter", methods=["POST"])
    def enter():
        login_user(Person())
        return "in"
"""


def login(folder: Path) -> Tried:
    """No load comes of it: its one good form is sent without having entered."""
    tried, page = Tried(), Page(free_port())
    base = "/bench"
    with Loaded(folder, SMALL.service, cap=0) as target:
        arguments = [*target.aim, *web(page.port), "--web-login", "--web-base-path", base]
        with LocustRun(folder, locustfile(folder, HEADER + SHAPE + OPEN + LOGIN), *arguments) as run:
            run.says("Starting web interface", timeout=30)
            requests = {
                "state": ("GET", "/adaptive/state", b""),
                "start": ("POST", "/swarm", urlencode(QUICK).encode()),
                "mistake": ("POST", "/swarm", urlencode(BAD).encode()),
                "stop": ("POST", "/stop", b""),
                "health": ("GET", "/adaptive/healthz", b""),
            }

            page.comes_up(base)
            for name, (method, path, body) in requests.items():
                tried.answers[name] = page.ask(method, base + path, body, **({"Content_Type": FORM} if body else {}))
            entered = page.ask("POST", "/enter")
            page.cookie = entered.headers["set-cookie"].partition(";")[0]
            for name in ("state", "mistake", "health"):
                method, path, body = requests[name]
                tried.answers["in", name] = page.ask(
                    method, base + path, body, **({"Content_Type": FORM} if body else {})
                )
            tried.answers["stranger"] = page.ask("GET", f"{base}/adaptive/state", Origin="http://evil.example")
            run.interrupt(signal.SIGTERM)
            run.over(30)
    return tried


@pytest.mark.scenario(login, seconds=5)
def test_behind_the_login(found: Tried) -> None:
    for name in ("state", "start", "mistake", "stop"):
        assert found.answers[name].status == 302, (name, found.answers[name])
        assert found.answers[name].headers["location"].startswith("/bench/login")
    assert found.answers["health"].status == found.answers["in", "health"].status == 200
    assert found.answers["in", "state"].plain["phase"] == "idle"
    assert "did you mean p99<250ms?" in found.answers["in", "mistake"].plain["message"]
    assert found.answers["stranger"].status == 403
