"""Locust's web UI with our door, by Flask's test client: what it refuses changes nothing, what it serves."""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import locust
import pytest
from locust import FastHttpUser, HttpUser, LoadTestShape, task
from locust.argument_parser import get_parser
from locust.env import Environment

from locust_adaptive import OpenLoop
from locust_adaptive.plugin import session
from locust_adaptive.plugin.register import on_init
from locust_adaptive.plugin.webform import LOCUST_FIELDS
from tests.support.scripted import Shape
from tests.support.searches import free_port

HOST = "localhost"  # what Flask's test client asks for


class Arriving(OpenLoop, FastHttpUser):
    @task
    def rank(self) -> None: ...

    @task
    def other(self) -> None: ...


class Visiting(HttpUser):
    pass


class Plain(LoadTestShape):
    abstract = True

    def tick(self) -> None: ...


class Here:
    """A process with a web UI, and a browser before it. `starts` counts the tests that Locust was told to start."""

    def __init__(self, environment: Environment) -> None:
        self.environment: Any = environment
        self.client = environment.web_ui.app.test_client()
        self.starts = 0
        environment.runner.start_shape = self._started

    def _started(self) -> None:
        self.starts += 1

    def post(self, path: str = "/swarm", data: Any = None, **form: Any) -> Any:
        headers = {key[1:].replace("_", "-"): form.pop(key) for key in [k for k in form if k.startswith("_")]}
        return self.client.post(path, data=form if data is None else data, headers=headers)

    def start(self, **form: Any) -> dict[str, Any]:
        answer = self.post(**form)
        assert answer.status_code == 200, answer.text
        return dict(answer.json)

    @property
    def all(self) -> dict[str, Any]:
        """Everything that a form could change."""
        e = self.environment
        state = session.adaptive_of(e)
        return copy.deepcopy(vars(e.parsed_options)) | {
            "": (e.host, e.user_classes, e.shape_class, e.profile, state.max_users, self.starts)
        }


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Here]]:
    made: list[Environment] = []

    def make(
        *arguments: str,
        classes: tuple[Any, ...] = (Arriving,),
        shape: Any = Shape,
        master: bool = False,
        picker: bool = False,
        login: bool = False,
        base: str = "",
    ) -> Here:
        monkeypatch.setattr(sys, "argv", ["locust", *arguments])
        monkeypatch.setattr(session, "shape_class", shape)
        one, other = shape(), Plain()
        environment = Environment(
            user_classes=list(classes),
            host="http://model:8000",
            shape_class=one,
            parsed_options=get_parser().parse_args(),
            available_user_classes={c.__name__: c for c in classes},
            available_shape_classes={"Shape": one, "Plain": other} if picker else {"Shape": one},
            available_user_tasks={c.__name__: c.tasks for c in classes},
        )
        environment.parsed_options.web_base_path = base
        runner = (
            environment.create_master_runner("127.0.0.1", free_port()) if master else environment.create_local_runner()
        )
        environment.create_web_ui(
            delayed_start=True, userclass_picker_is_active=picker, web_login=login, web_base_path=base
        )
        made.append(environment)
        on_init(environment, runner)
        return Here(environment)

    yield make
    for environment in made:
        environment.runner.quit()


# -- the start form --------------------------------------------------------------------------------------------------

GOOD = {"user_count": "10000", "spawn_rate": "1", "host": "http://model:8000", "run_time": "1200", "slo": "p95<1s"}

REFUSED = {
    "hidden": ({"html_file": "x.html"}, 400, "'html_file'"),
    "hidden, ours": ({"adaptive_out": "x"}, 400, "'adaptive_out'"),
    "prior": ({"adaptive_prior": "/etc/passwd"}, 400, "'adaptive_prior'"),
    "hosts": ({"adaptive_web_hosts": "evil.example"}, 400, "'adaptive_web_hosts'"),
    "core": ({"stop_timeout": "0"}, 400, "'stop_timeout'"),
    "unknown": ({"<img src=x>": "1"}, 400, "'<img src=x>'"),
    "no picker": ({"user_classes": "Arriving"}, 400, "'user_classes'"),
    "no picker, shape": ({"shape_class": "Default"}, 400, "'shape_class'"),
    "twice": ({"slo": ["p99<1s", "p95<1s"]}, 400, "twice"),
    "long": ({"host": "h" * 5000}, 400, "5000 characters"),
    "large": ({"slo": "x" * 70_000}, 413, "65536"),
}

MISTAKES = {
    "slo": ({"slo": "p99<250"}, "did you mean p99<250ms?"),
    "long slo": ({"slo": "p99<250ms & " * 900}, "--slo: a text of 10800 characters"),
    "no load": ({"adaptive_max": "0"}, "--adaptive-max '0': must be a number above 0"),
    "nan": ({"adaptive_max": "nan"}, "--adaptive-max 'nan'"),
    "infinite": ({"adaptive_precision": "inf"}, "--adaptive-precision 'inf'"),
    "profile": ({"adaptive_profile": "slow"}, "--adaptive-profile 'slow': is none of fast, standard, thorough"),
    "-u": ({"user_count": "some"}, "-u 'some'"),
    "-u 0": ({"user_count": "0"}, "-u 0"),
    "-r": ({"spawn_rate": "nan"}, "-r 'nan'"),
    "-t": ({"run_time": "tomorrow"}, "-t 'tomorrow'"),
    "more load": ({"adaptive_max": "10001"}, "--adaptive-max 10001 is above 10000"),
    "more in flight": ({"adaptive_cap": "2001"}, "--adaptive-cap 2001 is above 2000"),
    "more time": ({"run_time": "21m"}, "-t 1260 is above 1200"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_changes_nothing(name: str, here: Callable[..., Here]) -> None:
    form, status, said = REFUSED[name]
    page = here()
    before = page.all
    answer = page.post(**(GOOD | form))
    assert (answer.status_code, answer.mimetype) == (status, "text/plain")
    assert said in answer.text
    assert page.all == before
    assert page.start(**GOOD)["success"], "the next good one works"
    assert page.starts == 1


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_and_changes_nothing(name: str, here: Callable[..., Here]) -> None:
    form, said = MISTAKES[name]
    page = here()
    before = page.all
    answer = page.start(**(GOOD | form))
    assert answer["success"] is False
    assert said in answer["message"]
    assert page.all == before
    assert page.start(**GOOD)["success"]
    assert page.starts == 1


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (json.dumps(GOOD), "application/json", 415),
        ("slo=p95<1s", "text/plain", 415),
        ("slo=p95<1s", "multipart/form-data; boundary=x", 415),
        ("slo=p95%3C1s", "application/x-www-form-urlencoded; charset=utf-8", 200),
        ("", "application/json", 415),
    ],
)
def test_only_a_form_is_read(body: str, kind: str, status: int, here: Callable[..., Here]) -> None:
    page = here()
    answer = page.client.post("/swarm", data=body, content_type=kind)
    assert answer.status_code == status
    assert page.starts == (status == 200)


def test_a_good_form_is_what_locust_applies(here: Callable[..., Here]) -> None:
    page = here("--adaptive-max", "300")
    form = {
        "user_count": "70",
        "host": "http://other:9",
        "run_time": "2m",
        "adaptive_max": "200",
        "adaptive_soak": "5s",
    }
    assert page.start(**(GOOD | form)) == {
        "success": True,
        "message": "Swarming started using shape class 'Shape'",
        "host": "http://other:9",
    }
    options = page.environment.parsed_options
    assert (options.slo, options.adaptive_max, options.adaptive_soak) == ("p95<1s", "200", "5s")
    assert (options.run_time, page.environment.host) == (120, "http://other:9")
    assert session.adaptive_of(page.environment).max_users == 70


def test_each_form_is_laid_over_the_start_and_not_over_the_form_before(here: Callable[..., Here]) -> None:
    page = here("--adaptive-max", "300", "-t", "60", "-u", "90", "--slo", "p99<2s")
    assert page.start(user_count=5, run_time="10s", slo="p95<1s", adaptive_max=20, adaptive_seed=7)["success"]
    assert page.start(slo="", adaptive_max="", run_time="")["success"]
    options = page.environment.parsed_options
    assert (options.adaptive_max, options.run_time, options.slo, options.adaptive_seed) == ("300", 60, "p99<2s", "1")
    assert session.adaptive_of(page.environment).max_users == 90


def test_a_lowered_cap_may_rise_again_to_where_it_was(here: Callable[..., Here]) -> None:
    page = here("--adaptive-max", "300", "-u", "200")
    for most, users, success in (
        ("100", "50", True),
        ("300", "200", True),
        ("301", "200", False),
        ("300", "201", False),
    ):
        assert page.start(adaptive_max=most, user_count=users)["success"] is success


def test_a_cap_of_the_class_is_held_too(here: Callable[..., Here]) -> None:
    class Careful(Shape):
        abstract = True
        adaptive_max = 50

    page = here(shape=Careful)
    assert "is above 50" in page.start(adaptive_max="51")["message"]
    assert page.start(adaptive_max="49")["success"]


def test_the_form_corrects_what_the_command_line_had_wrong(here: Callable[..., Here]) -> None:
    page = here("--adaptive-max", "many", "--slo", "p99<250", "--adaptive-web-hosts", "x" * 2000)
    assert "2000 characters" in page.start(slo="p99<1s", adaptive_max="10")["message"]
    page = here("--adaptive-max", "many", "--slo", "p99<250")
    assert "did you mean" in page.start()["message"]
    assert "'many'" in page.start(slo="p99<1s")["message"]
    assert page.start(slo="p99<1s", adaptive_max="10")["success"]


def test_locusts_page_has_the_fields_that_are_read() -> None:
    (bundle,) = (Path(locust.__file__).parent / "webui" / "dist" / "assets").glob("*.js")
    text = bundle.read_text("utf-8")
    at = text.index("Start new load test")
    named = set(re.findall(r"name:`(\w+)`", text[at : text.index("quickstart-locust", at)]))
    assert {re.sub("([A-Z])", r"_\1", name).lower() for name in named} == {*LOCUST_FIELDS, "shape_class"}


def test_the_form_shows_what_holds(here: Callable[..., Here]) -> None:
    def shown(page: Here) -> tuple[Any, Any]:
        assert page.client.get("/").status_code == 200
        arguments = page.environment.web_ui.template_args
        assert arguments["user_count"] == 0
        return arguments["num_users"], arguments["run_time"]

    assert shown(here()) == (10_000, 1200)
    assert shown(here(classes=(Visiting,))) == (1000, 1200)
    page = here("--adaptive-max", "80.5", "-u", "90", "-t", "60")
    assert shown(page) == (81, 60)
    page.start(user_count=5, run_time="10s")
    assert shown(page) == (81, 60)
    assert shown(here(classes=(Arriving, Visiting))) == (10_000, 1200)


def test_a_shape_that_hides_the_common_fields_is_not_held_to_their_zeros(here: Callable[..., Here]) -> None:
    class Hiding(Shape):
        abstract = True
        use_common_options = False

    page = here(shape=Hiding)
    assert page.start(user_count=0, spawn_rate=0)["success"]
    assert session.adaptive_of(page.environment).max_users is None


def test_classes_that_do_not_mix_are_named(here: Callable[..., Here]) -> None:
    page = here(classes=(Arriving, Visiting))
    assert "mixes open loop (Arriving) and closed loop (Visiting)" in page.start(**GOOD)["message"]
    assert page.starts == 0


def test_the_folder_that_is_there_is_named(here: Callable[..., Here], tmp_path: Any) -> None:
    page = here("--adaptive-out", str(tmp_path))
    assert "never overwritten" in page.start(**GOOD)["message"]
    assert page.starts == 0


def test_a_master_without_workers_says_so(here: Callable[..., Here]) -> None:
    page = here(master=True)
    before = page.all
    answer = page.start(**GOOD)
    assert answer["success"] is False
    assert answer["message"] == "no worker has connected to this master; start `locust --worker` first"
    assert page.all == before


def test_while_a_search_runs_nothing_is_changed(here: Callable[..., Here]) -> None:
    page = here()
    page.environment.runner.shape_greenlet = SimpleNamespace(kill=lambda block: None)
    before = page.all
    answer = page.start(**GOOD, adaptive_max="3")
    assert (answer["success"], "stop it first" in answer["message"]) == (False, True)
    assert page.all == before


class Ended:
    """A search that is over, which Locust has still to stop: at the third look it has."""

    over = True

    def __init__(self) -> None:
        self.looks = 0

    def __bool__(self) -> bool:
        self.looks += 1
        return self.looks < 3

    def kill(self, block: bool) -> None: ...


def test_the_next_search_waits_for_the_end_of_the_last(here: Callable[..., Here]) -> None:
    page, ended = here(), Ended()
    page.environment.runner.shape_greenlet = ended
    session.adaptive_of(page.environment).session = ended  # type: ignore[assignment]
    try:
        assert page.start(**GOOD)["success"]
        assert ended.looks >= 3
    finally:
        session.adaptive_of(page.environment).session = None


# -- the class picker ------------------------------------------------------------------------------------------------


def test_the_picked_classes_are_checked_together(here: Callable[..., Here]) -> None:
    page = here(classes=(Arriving, Visiting), picker=True)
    before = page.all
    for form, said in (
        ({"user_classes": ["Arriving", "Visiting"]}, "mixes"),
        ({"user_classes": ["Gone"]}, "no user class 'Gone'"),
        ({"user_classes": ["Visiting"], "adaptive_max": "1.5"}, "whole number"),
    ):
        answer = page.start(shape_class="Shape", **form)
        assert (answer["success"], said in answer["message"]) == (False, True)
        assert page.all == before
    assert page.start(shape_class="Shape", user_classes="Visiting", user_count=1)["success"]
    assert page.environment.user_classes == [Visiting]
    assert session.adaptive_of(page.environment).max_users is None, "1 is what the page shows for plain tests"


def test_a_strange_shape_is_refused(here: Callable[..., Here]) -> None:
    page = here(picker=True)
    assert "no shape 'Gone'" in page.start(shape_class="Gone")["message"]


def test_a_plain_test_may_be_picked_within_the_users_given(here: Callable[..., Here]) -> None:
    page = here("-u", "20", picker=True)
    assert "-u 21 is above 20" in page.start(user_count=21, spawn_rate=1, shape_class="Plain")["message"]
    assert page.start(user_count=20, spawn_rate=1, shape_class="Plain")["success"]
    assert page.start(shape_class="Shape")["success"], "and then a search again"


def test_user_settings_are_the_pages_own(here: Callable[..., Here]) -> None:
    def change(page: Here, kind: str = "application/json", **settings: Any) -> int:
        return int(page.client.post("/user", data=json.dumps(settings), content_type=kind).status_code)

    assert change(here(), user_class_name="Arriving", weight=2) == 400
    page = here(picker=True)
    assert change(page, user_class_name="Arriving", weight=2, tasks=["rank"]) == 201
    assert change(page, user_class_name="Arriving", weight=1, tasks=["rank", "other"]) == 201
    assert change(page, user_class_name="Arriving", on_start="x") == 400
    assert not isinstance(Arriving.on_start, str)
    assert change(page, "text/plain", user_class_name="Arriving", weight=3) == 415
    page.environment.runner.shape_greenlet = SimpleNamespace(kill=lambda block: None)
    assert change(page, user_class_name="Arriving", weight=3) == 409
    assert Arriving.weight == 1


# -- who asks --------------------------------------------------------------------------------------------------------

CHANGING = ["/swarm", "/stop", "/stats/reset", "/user"]


@pytest.mark.parametrize("path", [*CHANGING, "/adaptive/state"])
@pytest.mark.parametrize(
    "headers",
    [
        {"_Origin": "http://evil.example"},
        {"_Origin": "null"},
        {"_Referer": "http://evil.example/x"},
        {"_Sec_Fetch_Site": "cross-site"},
        {"_Host": "evil.example"},
        {"_Host": "evil.example", "_Origin": "http://evil.example"},
    ],
    ids=str,
)
def test_strangers_change_nothing(path: str, headers: dict[str, str], here: Callable[..., Here]) -> None:
    page = here()
    stopped: list[int] = []
    page.environment.runner.stop = lambda: stopped.append(1)
    page.environment.events.reset_stats.add_listener(lambda **_: stopped.append(2))
    before = page.all
    assert page.post(path, **headers, **GOOD).status_code == 403
    assert (page.all, stopped) == (before, [])


def test_every_route_of_locust_that_changes_something_is_known(here: Callable[..., Here]) -> None:
    rules = here().environment.web_ui.app.url_map.iter_rules()
    changing = {rule.rule for rule in rules if not (rule.methods or set()) <= {"GET", "HEAD", "OPTIONS"}}
    assert changing == set(CHANGING), "a new one: is it guarded, and what may it change?"


def test_its_own_page_may_ask(here: Callable[..., Here]) -> None:
    page = here()
    own = {"_Origin": f"http://{HOST}", "_Sec_Fetch_Site": "same-origin"}
    assert page.post("/stats/reset", **own).text == "ok"
    assert page.post(**own, **GOOD).json["success"]


def test_a_strange_name_is_told_on_the_page(here: Callable[..., Here]) -> None:
    page = here("--adaptive-web-hosts", "load.example.com,bench")
    assert page.client.get("/", headers={"Host": "bench:8089"}).status_code == 200
    answer = page.client.get("/", headers={"Host": "evil.example"})
    assert answer.status_code == 403
    assert "--adaptive-web-hosts evil.example" in answer.text
    assert page.client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200, "a link to it"


def test_refusals_do_not_fill_the_log(here: Callable[..., Here], caplog: pytest.LogCaptureFixture) -> None:
    page = here()
    for n in range(60):
        page.post(_Origin=f"http://evil{n}.example")
        page.post(_Origin="http://evil0.example")
    assert 1 <= caplog.text.count("refused POST") <= 20


def test_an_environment_without_our_shape_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["locust"])
    environment = Environment(user_classes=[Visiting], parsed_options=get_parser().parse_args())
    runner = environment.create_local_runner()
    environment.create_web_ui(delayed_start=True)
    on_init(environment, runner)
    client = environment.web_ui.app.test_client()
    assert client.post("/stop", headers={"Origin": "http://evil.example"}).status_code == 200
    assert client.get("/adaptive/state").status_code == 404
    runner.quit()


# -- what is told ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["", "/below"])
def test_the_state_and_its_headers(base: str, here: Callable[..., Here]) -> None:
    page = here("--slo", "p95<2s", base=base)
    answer = page.client.get(f"{base}/adaptive/state", headers={"Origin": f"http://{HOST}"})
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.json["phase"] == "idle"
    assert answer.json["options"]["slo"] == "p95<2s"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    asked = page.client.options(f"{base}/adaptive/state", headers={"Origin": f"http://{HOST}"})
    for each in (answer, asked, page.client.get(f"{base}/adaptive/nothing")):
        assert not [name for name, _ in each.headers if name.lower().startswith("access-control-")]
    assert page.client.get(f"{base}/adaptive/nothing").status_code == 404
    for method in ("post", "put", "delete", "patch"):
        assert getattr(page.client, method)(f"{base}/adaptive/state").status_code == 405


class Looping:
    """A search that was started and last took a step `age` seconds ago."""

    over = False

    def __init__(self, age: float) -> None:
        self.facts = SimpleNamespace(workers=1, elapsed_s=100.0)
        self.conductor = SimpleNamespace(now=100.0 + age)


@pytest.mark.parametrize(("age", "status"), [(0.5, 200), (4.0, 200), (9.0, 503)])
def test_health_is_that_the_search_goes_on(age: float, status: int, here: Callable[..., Here]) -> None:
    page = here()
    assert page.client.get("/adaptive/healthz").text == "ok\n"
    session.adaptive_of(page.environment).session = Looping(age)  # type: ignore[assignment]
    try:
        assert page.client.get("/adaptive/healthz").status_code == status
    finally:
        session.adaptive_of(page.environment).session = None


def test_behind_the_login(here: Callable[..., Here]) -> None:
    page = here(login=True)
    app = page.environment.web_ui.app
    app.secret_key = "for this test"
    users = {"me": SimpleNamespace(is_authenticated=True, is_active=True, get_id=lambda: "me")}
    page.environment.web_ui.login_manager.user_loader(users.get)
    before = page.all
    for answer in (page.client.get("/adaptive/state"), page.post(**GOOD), page.post(**(GOOD | {"slo": "?"}))):
        assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (302, "/login")
    assert page.all == before
    assert page.client.get("/adaptive/healthz").status_code == 200
    with page.client.session_transaction() as cookie:
        cookie["_user_id"] = "me"
    assert page.client.get("/adaptive/state").json["phase"] == "idle"
    assert "did you mean" in page.start(slo="p99<250")["message"]
    assert page.post(_Origin="http://evil.example", **GOOD).status_code == 403
    assert page.start(**GOOD)["success"]
