"""The shape and its session inside Locust: a tick never raises, every end is clean, and the next search starts anew."""

from __future__ import annotations

import json
from typing import Any

import gevent
import pytest
from locust import FastHttpUser, constant, task

from locust_adaptive import OpenLoop
from locust_adaptive.plugin import session
from locust_adaptive.plugin.shape import PATIENCE_TICKS, SPAWN_RATE
from locust_adaptive.search.controller import Controller
from tests.support.lab import Backend
from tests.support.scripted import Rig, Script, Shape
from tests.support.wait import wait_until


class Visitor(FastHttpUser):
    wait_time = constant(0.01)

    @task
    def rank(self) -> None:
        self.client.get("/rank")


class Arriving(OpenLoop, Visitor):
    pass


@pytest.fixture
def backend():
    server = Backend()
    yield server
    server.close()


@pytest.fixture
def user_class():
    return Visitor


@pytest.fixture
def rig(user_class, tmp_path, backend):
    with Rig(tmp_path, backend.url, user_class) as made:
        yield made


in_both_loops = pytest.mark.parametrize("user_class", [Visitor, Arriving], ids=["closed", "open"])


def capacity(rig: Rig) -> dict[str, Any]:
    return json.loads((rig.out / "capacity.json").read_text())


def hold(load: float = 5.0, seconds: float = 60.0) -> Script:
    return Script([(load, seconds)])


def under_way(rig: Rig) -> None:
    wait_until(lambda: rig.environment.stats.total.num_requests > 3, "requests", 15)


class Broken:
    """A policy that fails at its n-th question; `too`: also when asked to give up."""

    name, version = "broken", 1

    def __init__(self, at: int, too: bool) -> None:
        self._at, self._too, self._inner = at, too, Script([(5, 0.5)] * 9)

    def ask(self, trials: Any, now: float, stalls: Any) -> Any:
        if len(trials) >= self._at:
            raise ZeroDivisionError("in the policy")
        return self._inner.ask(trials, now, stalls)

    def give_up(self, *arguments: Any) -> Any:
        if self._too:
            raise ZeroDivisionError("again")
        return self._inner.give_up(*arguments)


@in_both_loops
def test_a_search_runs_to_its_end(rig: Rig, backend: Backend) -> None:
    rig.start(Script([(5, 0.5), (8, 0.5)]))
    rig.ends()
    assert rig.session.over
    assert rig.environment.process_exit_code == 0
    assert capacity(rig)["verdict"] == "resolved"
    assert rig.journal.finished
    assert rig.runner.user_count == 0
    assert backend.received == rig.environment.stats.total.num_requests
    assert rig.session.block is not None
    assert " CAPACITY " in rig.session.block


@in_both_loops
def test_stopped_in_the_middle_it_says_what_it_knows(rig: Rig) -> None:
    rig.start(Script([(5, 0.5), (6, 60)]))
    rig.begins()
    wait_until(lambda: rig.session.conductor.controller.trials, "the first trial", 15)
    rig.runner.stop()
    found = capacity(rig)
    assert (found["verdict"], found["reason"]) == ("aborted", "stopped")
    assert [trial["load"] for trial in found["trials"]] == [5]
    assert rig.journal.finished
    assert rig.environment.process_exit_code == 3
    assert rig.runner.user_count == 0


def test_stopped_before_the_first_user_is_there(rig: Rig) -> None:
    rig.start(hold())
    rig.begins()
    rig.runner.stop()
    assert capacity(rig)["verdict"] == "aborted"


@in_both_loops
def test_another_search_starts_clean(rig: Rig, backend: Backend) -> None:
    rig.start(hold())
    under_way(rig)
    rig.runner.stop()
    first, received = rig.session, backend.received
    rig.start(Script([(5, 0.5)]))
    rig.begins()
    rig.ends()
    assert capacity(rig)["verdict"] == "resolved"
    assert rig.environment.process_exit_code == 0
    assert [trial["number"] for trial in capacity(rig)["trials"]] == [1]
    assert first.conductor.controller.trials == []
    # Locust clears its statistics at the start of a test.
    assert backend.received - received == rig.environment.stats.total.num_requests
    assert sum(flow.sent for flow in rig.flows) <= backend.received - received


def test_a_search_after_one_that_ended_by_itself(rig: Rig) -> None:
    for _ in range(2):
        rig.start(Script([(5, 0.5)]))
        rig.begins()
        rig.ends()
        assert capacity(rig)["verdict"] == "resolved"


@pytest.mark.parametrize("too", [False, True])
@pytest.mark.parametrize("at", [0, 2])
def test_an_error_of_ours_ends_the_load_with_exit_code_2(rig: Rig, at: int, too: bool) -> None:
    rig.start(Broken(at, too))
    rig.ends()
    assert rig.environment.process_exit_code == 2
    assert rig.runner.user_count == 0
    found = capacity(rig)
    assert found["verdict"] == "aborted"
    assert found["reason"] == "journal_ends" if too else "internal error: ZeroDivisionError: in the policy"
    # The event that broke it is in the journal, for the report.
    assert any(not step.commands for step in rig.journal.steps[-2:])


def test_an_error_after_that_a_search_works(rig: Rig) -> None:
    rig.start(Broken(0, False))
    rig.ends()
    assert rig.environment.process_exit_code == 2
    rig.start(Script([(5, 0.5)]))
    rig.begins()
    rig.ends()
    assert rig.environment.process_exit_code == 0


def test_a_result_that_cannot_be_written_is_exit_code_2(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(session, "write", full)
    rig.start(Script([(5, 0.5)]))
    rig.ends()
    assert rig.environment.process_exit_code == 2
    assert rig.runner.user_count == 0


# -- ticks -----------------------------------------------------------------------------------------------------------


def test_a_tick_never_raises_and_ends_the_load(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.start(hold())
    under_way(rig)

    def fault(_: Any) -> int:
        raise RuntimeError("a fault in a tick")

    monkeypatch.setattr(session.Session, "users", property(fault))
    assert rig.shape.tick() is None
    rig.ends()
    assert rig.environment.process_exit_code == 2
    assert capacity(rig)["reason"] == "internal error: RuntimeError: a fault in a tick"


def test_a_tick_without_a_runner_ends_the_load() -> None:
    assert Shape().tick() is None


def test_a_tick_never_raises_even_when_the_end_fails(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.start(hold())
    under_way(rig)

    def fault(*_: Any) -> Any:
        raise RuntimeError("all is broken")

    monkeypatch.setattr(Controller, "step", fault)
    monkeypatch.setattr(session.Session, "_finish", fault)
    monkeypatch.setattr(session.Session, "users", property(fault))
    assert rig.shape.tick() is None
    rig.ends()
    assert rig.environment.process_exit_code == 2


class Overriding(Shape):
    """A locustfile's own tick, which fails when told to."""

    abstract = True
    fails = False

    def tick(self) -> tuple[int, float] | None:
        if self.fails:
            raise RuntimeError("a fault of the locustfile")
        return super().tick()


def test_a_tick_of_the_locustfile_that_raises_ends_the_load(tmp_path, backend: Backend) -> None:
    with Rig(tmp_path, backend.url, Arriving, shape=Overriding) as rig:
        rig.start(hold())
        under_way(rig)
        rig.shape.fails = True
        rig.ends()
        assert rig.environment.process_exit_code == 2
        assert capacity(rig)["reason"] == "internal error: RuntimeError: a fault of the locustfile"
        assert rig.runner.user_count == 0
        rig.shape.fails = False
        rig.start(Script([(5, 0.5)]))
        rig.begins()
        rig.ends()
        assert capacity(rig)["verdict"] == "resolved"


# -- others at the wheel ---------------------------------------------------------------------------------------------


@in_both_loops
def test_keys_change_nothing_while_a_search_runs(rig: Rig, caplog) -> None:
    rig.start(hold())
    under_way(rig)
    wait_until(lambda: rig.runner.user_count == rig.session.users, "the users", 15)
    users = rig.runner.user_count
    for change in (1, 10, -1, -10):  # w, W, s, S, as Locust has them
        rig.runner.start(max(0, users + change), 100)
    assert rig.runner.target_user_count == rig.runner.user_count == users
    assert caplog.text.count("change nothing") == 4
    rig.runner.start(users, 100)  # as Locust does for a worker that came or went
    assert caplog.text.count("change nothing") == 4
    rig.runner.stop()
    rig.runner.start(2, 100)
    wait_until(lambda: rig.runner.user_count == 2, "users without a search")


class Lingering(Visitor):
    def on_stop(self) -> None:
        gevent.sleep(0.5)


@pytest.mark.parametrize("user_class", [Lingering])
def test_a_new_test_waits_until_the_old_one_has_stopped(rig: Rig) -> None:
    """Locust takes it at once, and would stop it with the old one."""
    rig.start(hold(3))
    under_way(rig)
    first = rig.session
    stop = gevent.spawn(rig.runner.stop)
    wait_until(lambda: rig.runner.shape_greenlet is None, "the stop under way")
    assert session.adaptive_of(rig.environment).stopping
    rig.start(Script([(5, 0.5)]))
    stop.get(timeout=15)
    rig.begins()
    assert rig.session is not first
    rig.ends()
    assert capacity(rig)["verdict"] == "resolved"
    assert rig.runner.user_count == 0


def test_stop_twice_is_stop_once(rig: Rig) -> None:
    rig.start(hold())
    under_way(rig)
    gevent.joinall([gevent.spawn(rig.runner.stop) for _ in range(3)], timeout=15)
    assert capacity(rig)["reason"] == "stopped"
    assert not session.adaptive_of(rig.environment).stopping
    rig.start(Script([(5, 0.5)]))
    rig.begins()
    rig.ends()
    assert capacity(rig)["verdict"] == "resolved"


def test_a_bad_option_at_the_start_of_a_test_ends_it(rig: Rig, backend: Backend, caplog) -> None:
    rig.environment.parsed_options.adaptive_max = "many"
    rig.start(hold())
    rig.ends()
    assert "--adaptive-max 'many': is not a number" in caplog.text
    assert rig.environment.process_exit_code == 2
    assert backend.received == 0
    assert not rig.out.exists()


def test_results_are_never_overwritten(rig: Rig, tmp_path, caplog) -> None:
    (tmp_path / "run1").mkdir()
    rig.start(hold())
    rig.ends()
    assert "never overwritten" in caplog.text
    assert list((tmp_path / "run1").iterdir()) == []
    assert rig.environment.process_exit_code == 2


def test_folders_named_by_the_time_never_meet(rig: Rig, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = session.resolve(Shape(), None, [Visitor], None)
    made = {session._new_folder(plan) for _ in range(3)}
    assert len(made) == 3
    assert all(folder.is_dir() for folder in made)


def test_users_that_stay_away_make_locust_dispatch_again(tmp_path, backend: Backend) -> None:
    """Locust can undershoot for good after a fast down and up; only a tuple that differs makes it look again."""
    with Rig(tmp_path, backend.url, Visitor) as rig:
        rig.start(hold(20.0))
        wait_until(lambda: rig.runner.user_count == 20, "20 users", 15)
        assert rig.shape.tick() == (20, SPAWN_RATE)
        for user in list(rig.runner.user_greenlets)[:5]:
            user.args[0].stop(force=True)  # gone behind the dispatcher's back
        asked = [rig.shape.tick() for _ in range(PATIENCE_TICKS + 1)]
        assert {users for users, _ in asked} == {20}
        assert asked[-1] != asked[0]
        assert asked[-1][1] == pytest.approx(SPAWN_RATE, abs=1e-3)
        wait_until(lambda: rig.runner.user_count == 20, "20 users again", 15)


def test_users_that_finish_late_are_made_up_for(tmp_path, backend: Backend) -> None:
    """The real thing: 20 -> 1 with work of 2 s, and up again before it is done."""

    class Slow(FastHttpUser):
        @task
        def rank(self) -> None:
            self.client.get("/sleep/2")

    with Rig(tmp_path, backend.url, Slow) as rig:
        rig.start(hold(20.0))
        wait_until(lambda: rig.runner.user_count == 20, "20 users", 15)
        conductor = rig.session.conductor
        conductor.users = 1
        wait_until(lambda: rig.runner.target_user_count == 1, "the way down", 15)
        conductor.users = 20
        wait_until(lambda: rig.runner.target_user_count == 20, "the way up", 15)
        wait_until(lambda: rig.runner.user_count < 20, "the late ones", 15)
        wait_until(lambda: rig.runner.user_count == 20, "20 users again", 15)
