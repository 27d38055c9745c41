"""A session keeps its answer whatever becomes of the disk, says why it ended, and leaves Locust as it was."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from locust import FastHttpUser, task

from locust_adaptive import OpenLoop
from locust_adaptive.plugin import session
from locust_adaptive.plugin.options import ConfigError
from locust_adaptive.plugin.signals import ENDING
from locust_adaptive.plugin.worker import GRACE_S
from locust_adaptive.report.exitcode import exit_code
from locust_adaptive.report.fold import fold
from locust_adaptive.report.result import result, to_json
from locust_adaptive.report.words import EXIT_CODES, NOTES, REASONS
from tests.support.lab import Backend
from tests.support.scripted import Rig, Script, Shape
from tests.support.wait import wait_until


class Arriving(OpenLoop, FastHttpUser):
    @task
    def rank(self) -> None:
        self.client.get("/rank")


@pytest.fixture
def rig(tmp_path):
    backend = Backend()
    with Rig(tmp_path, backend.url, Arriving) as made:
        yield made
    backend.close()


def capacity(rig: Rig) -> dict[str, Any]:
    return json.loads((rig.out / "capacity.json").read_text())


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def begun(rig: Rig) -> None:
    """A search with a trial that goes on for long."""
    rig.start(Script([(5, 0.5), (6, 60)]))
    rig.begins()
    wait_until(lambda: rig.session.conductor.controller.trials, "the first trial", 15)


# -- the disk --------------------------------------------------------------------------------------------------------


def test_a_journal_that_cannot_be_written_any_more_costs_the_journal_only(rig: Rig, monkeypatch, caplog) -> None:
    begun(rig)
    monkeypatch.setattr(rig.session._journal._writer, "_file", SimpleNamespace(write=full, flush=full))
    known = len(rig.journal.steps)
    wait_until(lambda: "without its journal" in caplog.text, "the message", 5)
    rig.runner.stop()
    found = capacity(rig)
    assert (found["verdict"], found["reason"]) == ("aborted", "stopped")
    assert "journal_lost" in found["notes"]
    assert [trial["load"] for trial in found["trials"]] == [5]
    assert rig.environment.process_exit_code == 2
    assert caplog.text.count("No space left on device") == 1
    assert len(rig.journal.steps) == known
    assert NOTES["journal_lost"].meaning.split(":")[0] in " ".join(str(rig.session.block).split())


def test_a_result_that_cannot_be_saved_is_said_in_full(rig: Rig, monkeypatch, caplog) -> None:
    monkeypatch.setattr(session, "write", full)
    rig.start(Script([(5, 0.5)]))
    rig.ends()
    text, block = str(rig.session.block).split("\n CAPACITY ")
    assert json.loads(text)["notes"] == ["result_not_saved"]
    assert json.loads(text)["trials"]
    assert block.rstrip().endswith("exit 2")
    assert "capacity.json: No space left on device" in caplog.text


def test_a_place_where_no_folder_can_be_is_said_before_any_load(rig: Rig, tmp_path: Path, caplog) -> None:
    (tmp_path / "run1").write_text("")
    rig.start(Script([]))
    rig.environment.parsed_options.adaptive_out = str(tmp_path / "run1" / "deeper")
    rig.ends()
    assert "cannot make the folder" in caplog.text
    assert "Not a directory" in caplog.text
    assert rig.environment.process_exit_code == 2


def test_a_place_that_cannot_hold_results_is_refused_at_the_door(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = session.resolve(Shape(), None, [Arriving], None)
    session.check_out(plan)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(ConfigError, match=r"nothing may be written to .*--adaptive-out"):
        session.check_out(plan)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    Path("adaptive-results").write_text("")
    with pytest.raises(ConfigError, match="adaptive-results is a file"):
        session.check_out(plan)
    with pytest.raises(ConfigError, match="adaptive-results is a file"):
        session.check_out(dataclasses.replace(plan, out="adaptive-results/mine"))


def test_a_journal_that_cannot_be_begun_is_an_error_before_any_load(rig: Rig, monkeypatch) -> None:
    monkeypatch.setattr(session.JournalFile, "__init__", full)
    rig.environment.parsed_options.adaptive_out = str(rig._folder / "out")
    with pytest.raises(ConfigError, match=r"cannot write .*journal.jsonl: No space left"):
        session.Session(rig.environment, session.adaptive_of(rig.environment).side, Shape(), None)


# -- ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ENDING, ids=lambda n: n.name)
def test_a_signal_names_itself_and_makes_the_exit_code(number: Any, rig: Rig) -> None:
    begun(rig)
    reason = f"stopped by {number.name}"
    rig.session.end(reason, int(number))
    rig.runner.stop()
    assert capacity(rig)["reason"] == reason
    assert reason in REASONS
    code = rig.environment.process_exit_code
    assert code == 128 + number == exit_code(result(fold(rig.journal)), [], int(number))
    assert code in EXIT_CODES


def test_a_signal_after_the_end_changes_nothing(rig: Rig) -> None:
    rig.start(Script([(5, 0.5)]))
    rig.ends()
    rig.session.end("stopped by SIGTERM", 15)
    assert capacity(rig)["verdict"] == "resolved"
    assert rig.environment.process_exit_code == 0


def test_one_that_never_began_has_a_report(rig: Rig) -> None:
    """A master that waits for its workers."""
    rig.environment.parsed_options.adaptive_out = str(rig._folder / "out")
    made = session.Session(rig.environment, session.adaptive_of(rig.environment).side, Shape(), None)
    made.end("stopped by SIGTERM", 15)
    found = json.loads((rig._folder / "out" / "capacity.json").read_text())
    assert (found["verdict"], found["reason"], found["requests"]) == ("aborted", "stopped by SIGTERM", 0)
    assert rig.environment.process_exit_code == 143


def test_two_that_end_it_at_once_both_wait_for_the_report(rig: Rig, monkeypatch) -> None:
    """Locust reads the exit code when its `quitting` event returns, while a signal is at work."""
    begun(rig)
    send = session.MasterSide.send

    def slowly(*arguments: Any) -> None:
        gevent.sleep(0.1)
        send(*arguments)

    monkeypatch.setattr(session.MasterSide, "send", slowly)
    first = gevent.spawn(rig.session.end, "stopped by SIGTERM", 15)
    gevent.sleep(0)
    rig.environment.events.quitting.fire(environment=rig.environment)
    assert rig.session.over
    assert rig.environment.process_exit_code == 143
    first.get()
    assert capacity(rig)["reason"] == "stopped by SIGTERM"


# -- what it leaves --------------------------------------------------------------------------------------------------


def test_stop_timeout_is_raised_shortened_and_given_back(rig: Rig) -> None:
    rig.environment.stop_timeout = 2.5
    begun(rig)
    assert rig.environment.stop_timeout == 10.0
    seen = []
    rig.environment.events.test_stopping.add_listener(lambda **_: seen.append(rig.environment.stop_timeout))
    rig.runner.stop()
    assert seen == [GRACE_S]
    assert rig.environment.stop_timeout == 2.5


def test_reset_is_a_note_and_no_more(rig: Rig) -> None:
    begun(rig)
    rig.environment.events.reset_stats.fire()
    rig.environment.stats.reset_all()
    rig.runner.stop()
    found = capacity(rig)
    assert ["statistics were reset" in note for note in found["notes"]] == [True]
    assert found["requests"] == sum(flow.sent for flow in rig.flows)
    assert to_json(result(fold(rig.journal))) == (rig.out / "capacity.json").read_text()
