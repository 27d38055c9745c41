"""The door to the web UI of a process with an adaptive shape: guards Locust's routes, and adds those under /adaptive.

Only wiring: who may ask is decided in webguard.py, what a form may hold in webform.py and options.py, and what the
state says in webstate.py. docs/reference/web.md describes it all.
"""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import gevent
from flask import Blueprint, Response, jsonify, request
from locust.argument_parser import default_args_dict, get_parser
from werkzeug.datastructures import ImmutableMultiDict

from . import session, webform, webguard, webuser
from .checks import before_load
from .guards import clock
from .options import OPTIONS, ConfigError, caps, check_lowered, loop_of, texts_of
from .shape import AdaptiveShape
from .webguard import Refused
from .webstate import Seen, StateText

logger = logging.getLogger("locust_adaptive")

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
ENDING_S = 8.0
"""What Locust and its workers get to be ready again after a search."""
ALIVE_S = 5.0
"""A search that has not taken a step for this long hangs: it takes one at least every half second."""
NAME_LOOKUP_S = 1.0
LOGGED = 20
"""Kinds of refusal that go to Locust's log, each once: a hostile page could fill it."""

NO_WORKER = "no worker has connected to this master; start `locust --worker` first"
RUNNING = "a search is running, and what it was started with cannot be changed: stop it first. Nothing changed"


def shapes(environment: Any) -> list[AdaptiveShape]:
    """The adaptive shapes that a test of this environment may run."""
    all_ = [environment.shape_class, *(environment.available_shape_classes or {}).values()]
    return [shape for shape in dict.fromkeys(all_) if isinstance(shape, AdaptiveShape)]


class Door:
    """Guards the web UI of one environment. To be made when Locust's web UI is there and does not serve yet."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._ui = environment.web_ui
        # What held when the process started: a form is laid over it, not over the form before.
        self._start = dict(vars(environment.parsed_options))
        self._max_users: int | None = self._start.get("num_users")
        self._base = self._start.get("web_base_path") or ""
        texts = texts_of(environment.shape_class or shapes(environment)[0], environment.parsed_options)
        self._names = webguard.known_names(texts["adaptive_web_hosts"], self._own_names())
        self._texts = StateText()
        self._said: set[str] = set()
        self._install()

    def _install(self) -> None:
        app = self._ui.app
        routes = Blueprint("adaptive", __name__, url_prefix=f"{self._base}/adaptive")
        routes.add_url_rule("/state", "state", self._ui.auth_required_if_enabled(self.state))
        routes.add_url_rule("/healthz", "healthz", self.healthz)
        app.register_blueprint(routes)
        app.before_request(self.guard)
        # Behind Locust's login, and before its handler.
        for endpoint, check in (("locust.swarm", self._check_start), ("locust.update_user", self._check_user)):
            app.view_functions[endpoint] = self._ui.auth_required_if_enabled(
                _checked(check, app.view_functions[endpoint])
            )
        app.wsgi_app = _Private(app.wsgi_app, f"{self._base}/adaptive/")
        self._ui.update_template_args = _followed(self._ui.update_template_args, self._show_what_holds)

    def _own_names(self) -> Iterable[str | None]:
        host = socket.gethostname()
        yield from (host, host.partition(".")[0], f"{host.partition('.')[0]}.local")
        full = None
        with gevent.Timeout(NAME_LOOKUP_S, False):
            full = socket.getfqdn()
        yield full
        yield from (self._start.get("web_host"), self._start.get("web_host_display_name"))

    # -- every request -----------------------------------------------------------------------------------------------

    def guard(self) -> Response | None:
        """Refuse what must not reach a handler, before anybody is asked to log in."""
        ours = request.path.startswith(f"{self._base}/adaptive/")
        changes = request.method not in SAFE and (request.endpoint or "").startswith("locust.")
        if not (ours or changes or request.endpoint == "locust.index"):
            return None
        headers = dict(request.headers)
        try:
            webguard.check_host(headers, self._names)
            if ours or changes:
                webguard.check_origin(headers)
                webguard.check_size(headers)
        except Refused as e:
            return self._refuse(e)
        return None

    def _refuse(self, refused: Refused) -> Response:
        if refused.message not in self._said and len(self._said) < LOGGED:
            self._said.add(refused.message)
            logger.warning("refused %s %r: %s", request.method, request.path[:100], refused.message)
        return _plain(refused.message, refused.status)

    # -- the start form ----------------------------------------------------------------------------------------------

    @cached_property
    def _offer(self) -> webform.Offer:
        """Found at the first form: locustfiles may add options until then."""
        shown, own = get_parser().args_included_in_web_ui, default_args_dict()
        custom = {name: action for name, action in shown.items() if name not in own}
        if not self._ui.userclass_picker_is_active:
            return webform.Offer(custom)
        classes, shapes_ = self._environment.available_user_classes, self._environment.available_shape_classes
        return webform.Offer(custom, frozenset(classes or ()), frozenset(shapes_ or ()))

    def _check_start(self) -> Response | None:
        """Refuse a form, or lay it over what held at the start, so that Locust's handler finds all of it valid."""
        environment = self._environment
        try:
            webguard.check_type(dict(request.headers), webguard.FORM)
            fields = self._offer.fields(list(request.form.items(multi=True)))
            if isinstance(environment.shape_class, AdaptiveShape):
                self._wait_for_the_end()
            asked = webform.read(fields, self._offer, {**vars(environment.parsed_options), **self._held})
            max_users = self._check(asked)
        except Refused as e:
            return self._refuse(e)
        except ConfigError as e:
            logger.error("not started: %s", e)
            return jsonify({"success": False, "message": str(e), "host": environment.host})
        vars(environment.parsed_options).update(self._held)
        session.adaptive_of(environment).max_users = max_users
        request.form = ImmutableMultiDict(asked.pairs)
        return None

    def _wait_for_the_end(self) -> None:
        """A search that is over takes Locust a moment to stop, and its workers to be ready again: whoever asks for the
        next one waits. Raises ConfigError while one runs."""
        runner, state = self._environment.runner, session.adaptive_of(self._environment)
        current = state.session
        deadline = clock() + ENDING_S
        while current is not None and current.over and clock() < deadline:
            if not runner.shape_greenlet and not state.stopping and state.side.workers():
                return
            gevent.sleep(0.05)  # Locust has no event for a worker that is ready
        if runner.shape_greenlet:
            raise ConfigError(RUNNING)

    @property
    def _held(self) -> dict[str, Any]:
        """Options of the start that a search reads: a form before this one is forgotten."""
        names = {*(option.name for option in OPTIONS), "run_time"}
        return {name: value for name, value in self._start.items() if name in names}

    def _check(self, asked: webform.Asked) -> int | None:
        """The -u of a search that the form can start. Raises ConfigError if it cannot be, or is above what held."""
        environment, picker = self._environment, self._ui.userclass_picker_is_active
        shape, classes = environment.shape_class, environment.user_classes
        if picker:
            available = environment.available_user_classes
            classes = [c for name, c in available.items() if name in (asked.user_classes or available)]
            classes = [c for c in classes if c.weight or c.fixed_count]
            shape = None if asked.shape == webform.NO_SHAPE else environment.available_shape_classes[asked.shape]
        max_users = self._max_users if asked.max_users is None else asked.max_users
        if not isinstance(shape, AdaptiveShape):  # a plain test of Locust
            if self._max_users is not None and max_users is not None:
                check_lowered({"-u": float(self._max_users)}, {"-u": float(max_users)})
            return self._max_users
        if picker or not shape.use_common_options:  # the field is there for plain tests, or shows a 0
            max_users = self._max_users
        options = SimpleNamespace(**asked.options)
        before_load(environment, shape, options, classes, max_users)
        loop = loop_of(classes)
        held = caps(shape, SimpleNamespace(**self._start), loop, self._max_users)
        check_lowered(held, caps(shape, options, loop, max_users))
        if not session.adaptive_of(environment).side.workers():
            raise ConfigError(NO_WORKER)
        return max_users

    def _show_what_holds(self) -> None:
        """The form's first fields, with what holds if they are left alone: Locust would show 1 user, or the last."""
        shape = self._environment.shape_class
        if not isinstance(shape, AdaptiveShape) or self._ui.userclass_picker_is_active:
            return
        try:
            loop = loop_of(self._environment.user_classes)
        except ConfigError:  # said when a search is started
            loop = "open"
        held = caps(shape, SimpleNamespace(**self._start), loop, self._max_users)
        self._ui.template_args.update(
            num_users=max(1, math.ceil(min(held["--adaptive-max"], held.get("-u", math.inf)))),
            user_count=0,
            run_time=int(held["-t"]),
        )

    def _check_user(self) -> Response | None:
        try:
            webguard.check_type(dict(request.headers), webguard.JSON)
            if not self._ui.userclass_picker_is_active:
                raise Refused(400, "Users are changed from the web with --class-picker only. Nothing changed")
            if self._environment.runner.shape_greenlet:
                raise Refused(409, RUNNING)
            webuser.check(request.get_data(), self._environment.available_user_tasks)
        except Refused as e:
            return self._refuse(e)
        return None

    # -- what it tells -----------------------------------------------------------------------------------------------

    def state(self) -> Response:
        """GET /adaptive/state."""
        current = session.of(self._environment)
        shape = self._environment.shape_class
        options: Mapping[str, str] = {}
        if current is None and isinstance(shape, AdaptiveShape):
            options = texts_of(shape, SimpleNamespace(**self._start))
        seen = None if current is None else self._seen(current)
        return Response(self._texts.of(seen, options), mimetype="application/json")

    def _seen(self, current: session.Session) -> Seen:
        return Seen(
            current.facts,
            current.conductor.held,
            int(self._environment.runner.user_count),
            current.over,
            current.folder.name,
        )

    def healthz(self) -> Response:
        """GET /adaptive/healthz: that this is answered says that the event loop lives; a search must go on, too."""
        current = session.of(self._environment)
        if current is not None and not current.over and current.facts.workers:
            age = current.conductor.now - current.facts.elapsed_s
            if age > ALIVE_S:
                return _plain(f"the search has not taken a step for {age:.0f} s\n", 503)
        return _plain("ok\n", 200)


def _checked(check: Callable[[], Response | None], view: Callable[..., Any]) -> Callable[..., Any]:
    """A view that runs only if the check answers nothing."""

    def checked(*args: Any, **kwargs: Any) -> Any:
        return check() or view(*args, **kwargs)

    return checked


def _followed(first: Callable[[], None], then: Callable[[], None]) -> Callable[[], None]:
    def both() -> None:
        first()
        then()

    return both


def _plain(text: str, status: int) -> Response:
    return Response(text, status, {"X-Content-Type-Options": "nosniff"}, mimetype="text/plain")


class _Private:
    """WSGI: answers under a prefix are for this origin only, and not kept. Flask-CORS, which Locust has for all routes,
    comes after every hook of Flask's."""

    def __init__(self, app: Any, prefix: str) -> None:
        self._app, self._prefix = app, prefix

    def __call__(self, environ: Mapping[str, Any], start_response: Any) -> Any:
        if not str(environ.get("PATH_INFO", "")).startswith(self._prefix):
            return self._app(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            kept = [
                (name, value)
                for name, value in headers
                if not name.lower().startswith(("access-control-", "cache-control", "x-content-type-options"))
            ]
            kept += [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]
            return start_response(status, kept, *rest)

        return self._app(environ, start)
