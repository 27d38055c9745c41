"""The web UI of real processes: what it refuses, what it serves, and searches started, watched and stopped in it.

Facts of Locust that are answered here: any origin and any host name may start a test, with any option; half of a bad
form is applied; a start without workers succeeds and never starts.
"""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from locust_adaptive.report.journal import read
from locust_adaptive.report.result import from_json
from tests.faults.oracle import honest
from tests.support.searches import HEADER, OPEN, Cluster, Ended, LocustRun, Search, free_port
from tests.support.target import Target
from tests.support.truth import SMALL
from tests.support.wait import wait_until

SHAPE = "class Capacity(AdaptiveShape):\n    pass\n"
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
QUICK = {"adaptive_precision": "12%", "adaptive_soak": "5s", "adaptive_start": "16", "slo": "p99<250ms & errors<1%"}
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def plain(self) -> Any:
        return json.loads(self.text)


class Page:
    """A client of the web UI on 127.0.0.1, with every header in its hand."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.own = f"http://127.0.0.1:{port}"
        self.cookie: str | None = None

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie:
            sent["Cookie"] = self.cookie
        connection = HTTPConnection("127.0.0.1", self.port, timeout=90)
        try:
            connection.request(method, path, body or None, sent)
            answer = connection.getresponse()
            got = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, got, answer.read().decode())
        finally:
            connection.close()

    def start(self, form: dict[str, str], **headers: str) -> Answer:
        return self.ask("POST", "/swarm", urlencode(form).encode(), Content_Type=FORM, **headers)

    def state(self) -> dict[str, Any]:
        return dict(self.ask("GET", "/adaptive/state").plain)

    def comes_up(self) -> None:
        def there() -> bool:
            try:
                return self.ask("GET", "/adaptive/healthz").status == 200
            except OSError:
                return False

        wait_until(there, "the web UI", 30)


def locustfile(folder: Path, text: str) -> Path:
    file = folder / "locustfile.py"
    file.write_text(HEADER + text)
    return file


def web(port: int, *more: str) -> list[str]:
    return ["--web-host", "127.0.0.1", "--web-port", str(port), *more]


def quiet(target: Target) -> bool:
    """Does no request reach the target for a second?"""
    before = target.stats()
    time.sleep(1.0)  # that nothing happens can only be waited out
    after = target.stats()
    return bool(before["received"] == after["received"] and after["open"] == 0)


def seconds_to_silence(target: Target) -> float:
    began = time.monotonic()
    wait_until(lambda: quiet(target), "silence at the target", 20)
    return time.monotonic() - began - 1.0


def found_in(folder: Path) -> Search:
    """A search by its folder."""
    text = (folder / "capacity.json").read_text()
    journal = read((folder / "journal.jsonl").read_text().splitlines(keepends=True))
    return Search(Ended(0, "", "", 0.0), from_json(text), text, journal, 0)


def ends(run: LocustRun) -> None:
    run.interrupt(15)
    run.wait(30)
    wait_until(lambda: not run.left_behind, "the end of every process", 10)


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
    silence_s: float = 99.0
    search: Search | None = None


def matrix(folder: Path) -> Tried:
    tried, port = Tried(), free_port()
    caps = ["--adaptive-max", "40", "-u", "30", "-t", "120", "--adaptive-web-hosts", "known.example"]
    with Target(SMALL.service) as target:
        arguments = ["-H", target.url, *web(port, *caps)]
        with LocustRun(folder, locustfile(folder, SHAPE + OPEN), *arguments) as run:
            page = Page(port)
            page.comes_up()
            tried.options.append(page.state()["options"])
            tried.page = page.ask("GET", "/")
            for request, origin, host in MATRIX:
                method, path = request.split()
                sent = headers(origin, host, port) | ({"Content_Type": FORM} if path == "/swarm" else {})
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
            tried.answers["stop"] = page.ask("POST", "/stop", Origin=page.own)
            tried.silence_s = seconds_to_silence(target)
            (made,) = (folder / "adaptive-results").iterdir()
            tried.search = found_in(made)
            ends(run)
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
    assert found.silence_s < 10
    assert found.search is not None
    assert (found.search.outcome["verdict"], found.search.outcome["reason"]) == ("aborted", "stopped")
    assert max(trial["load"] for trial in found.search.outcome["trials"]) <= 25
    honest(found.search, capacity=SMALL.capacity)


# -- the login -------------------------------------------------------------------------------------------------------


def login(folder: Path) -> Tried:
    tried, port = Tried(), free_port()
    base = "/bench"
    with Target(SMALL.service) as target:
        arguments = ["-H", target.url, *web(port, "--web-login", "--web-base-path", base)]
        with LocustRun(folder, locustfile(folder, SHAPE + OPEN + LOGIN), *arguments) as run:
            page = Page(port)
            wait_until(lambda: "Starting web interface" in run.said, "the start", 30)
            requests = {
                "state": ("GET", "/adaptive/state", b""),
                "start": ("POST", "/swarm", urlencode(QUICK).encode()),
                "mistake": ("POST", "/swarm", urlencode(BAD).encode()),
                "stop": ("POST", "/stop", b""),
                "health": ("GET", "/adaptive/healthz", b""),
            }

            def there() -> bool:
                try:
                    return page.ask("GET", f"{base}/adaptive/healthz").status == 200
                except OSError:
                    return False

            wait_until(there, "the web UI", 30)
            for name, (method, path, body) in requests.items():
                tried.answers[name] = page.ask(method, base + path, body, **({"Content_Type": FORM} if body else {}))
            tried.received = target.stats()["received"]
            entered = page.ask("POST", "/enter")
            page.cookie = entered.headers["set-cookie"].partition(";")[0]
            for name in ("state", "mistake", "health"):
                method, path, body = requests[name]
                tried.answers["in", name] = page.ask(
                    method, base + path, body, **({"Content_Type": FORM} if body else {})
                )
            tried.answers["stranger"] = page.ask("GET", f"{base}/adaptive/state", Origin="http://evil.example")
            ends(run)
    return tried


@pytest.mark.scenario(login, seconds=5)
def test_behind_the_login(found: Tried) -> None:
    for name in ("state", "start", "mistake", "stop"):
        assert found.answers[name].status == 302, (name, found.answers[name])
        assert found.answers[name].headers["location"].startswith("/bench/login")
    assert found.received == 0
    assert found.answers["health"].status == found.answers["in", "health"].status == 200
    assert found.answers["in", "state"].plain["phase"] == "idle"
    assert "did you mean p99<250ms?" in found.answers["in", "mistake"].plain["message"]
    assert found.answers["stranger"].status == 403


# -- master and workers ----------------------------------------------------------------------------------------------


@dataclass
class Watched:
    """Two searches of one master, by what their states said and what they left."""

    alone: Answer
    received_alone: int
    first: Search
    states: list[dict[str, Any]]
    received_between: tuple[int, int]
    second: Search
    last: dict[str, Any]
    silence_s: list[float]
    health: set[int]


def resolved(page: Page, folder: Path, health: set[int]) -> tuple[Search, list[dict[str, Any]]]:
    """Start a search and watch it to its end; `health` gets what the health check answered."""
    answer = page.start(QUICK, Origin=page.own)
    assert answer.plain["success"], answer
    states: list[dict[str, Any]] = []

    def done() -> bool:
        states.append(page.state())
        health.add(page.ask("GET", "/adaptive/healthz").status)
        time.sleep(0.4)  # as a page polls
        return bool(states[-1]["phase"] == "done")

    wait_until(lambda: page.state()["phase"] not in ("idle", "done"), "the search", 30)
    wait_until(done, "the end of the search", 240)
    return found_in(folder / "adaptive-results" / states[-1]["folder"]), states


def distributed(folder: Path) -> Watched:
    port = free_port()
    with Target(SMALL.service) as target:
        arguments = ["-H", target.url, *web(port)]
        with Cluster(folder, locustfile(folder, SHAPE + OPEN), *arguments, workers=0, expect=2) as cluster:
            page, silence, health = Page(port), [], set()
            page.comes_up()
            alone = page.start(QUICK, Origin=page.own)
            cluster.join()
            cluster.join()
            wait_until(lambda: page.ask("GET", "/worker-count").plain["worker_count"] == 2, "two workers", 30)
            received_alone = target.stats()["received"]
            first, states = resolved(page, folder, health)
            silence.append(seconds_to_silence(target))
            # A machine busy with other things voids measurements: that is no wrong answer, but none. Once more.
            if first.outcome["verdict"] != "resolved" and first.outcome["generator"]["invalid_probes"]:
                first, states = resolved(page, folder, health)
                silence.append(seconds_to_silence(target))
            before = target.stats()["received"]
            assert page.start(QUICK, Origin=page.own).plain["success"]
            wait_until(lambda: page.state()["started"] != states[-1]["started"], "the second search", 30)
            wait_until(lambda: page.state()["trials"], "its first trial", 60)
            page.ask("POST", "/stop", Origin=page.own)
            silence.append(seconds_to_silence(target))
            last = page.state()
            second = found_in(folder / "adaptive-results" / last["folder"])
            received = target.stats()["received"]
            # Locust forgets a worker while it stops; one that it has forgotten is not told to quit.
            wait_until(lambda: page.ask("GET", "/worker-count").plain["worker_count"] == 2, "the workers again", 30)
            ends(cluster.master)
            for worker in cluster.workers:
                worker.wait(20)
                wait_until(lambda run=worker: not run.left_behind, "the end of the worker", 10)
    return Watched(alone, received_alone, first, states, (before, received), second, last, silence, health)


by_workers = pytest.mark.scenario(distributed, seconds=170)


@by_workers
def test_a_start_without_workers_is_refused_and_one_with_them_resolves(found: Watched) -> None:
    assert found.alone.plain["success"] is False
    assert "no worker has connected to this master" in found.alone.plain["message"]
    assert found.received_alone == 0
    outcome = found.first.outcome
    assert (outcome["verdict"], outcome["reason"]) == ("resolved", "converged"), outcome
    assert outcome["capacity"]["value"] == pytest.approx(SMALL.capacity, rel=0.08)
    assert outcome["generator"]["workers"] == 2
    honest(found.first, capacity=SMALL.capacity)


@by_workers
def test_the_state_follows_the_search(found: Watched) -> None:
    numbers = [len(state["trials"]) for state in found.states]
    assert numbers == sorted(numbers)
    assert {"ramp", "refine", "done"} <= {state["phase"] for state in found.states}
    last, outcome = found.states[-1], found.first.outcome
    for name in ("verdict", "reason", "capacity", "trials", "slo", "requests"):
        assert last[name] == json.loads(found.first.text)[name], name
    assert last["options"]["adaptive_precision"] == "12%"
    assert all("/" not in state["folder"] for state in found.states)
    assert found.health == {200}
    assert outcome["elapsed_s"] == last["elapsed_s"]


@by_workers
def test_new_is_another_search_and_stop_leaves_its_report(found: Watched) -> None:
    outcome = found.second.outcome
    assert (outcome["verdict"], outcome["reason"]) == ("aborted", "stopped")
    assert outcome["trials"][0]["number"] == 1
    assert outcome["started"] > found.first.outcome["started"]
    assert found.last["folder"] != found.states[-1]["folder"]
    assert found.last["phase"] == "done"
    assert [trial["number"] for trial in found.last["trials"]] == [trial["number"] for trial in outcome["trials"]]
    before, after = found.received_between
    assert outcome["requests"] <= after - before, "requests of the first search are not counted again"
    honest(found.second, capacity=SMALL.capacity)


@by_workers
def test_each_end_is_the_end_of_the_load(found: Watched) -> None:
    assert max(found.silence_s) < 10
