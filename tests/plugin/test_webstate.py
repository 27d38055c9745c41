"""The state of a search as text: what it says at every step of recorded runs, and that it is made only when needed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from locust_adaptive.plugin import webstate
from locust_adaptive.plugin.webstate import Seen, StateText, bracket
from locust_adaptive.report.fold import Fold
from locust_adaptive.report.journal import read
from locust_adaptive.report.result import result
from locust_adaptive.search.events import Hold

JOURNALS = sorted((Path(__file__).parents[1] / "journals").glob("*.jsonl"))


PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "web.md").read_text("utf-8")


def no_constants(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def states(journal: Path) -> Iterator[tuple[Fold, dict[str, Any]]]:
    """The state at each step of a recorded run, and the facts that it is of."""
    recorded = read(journal.read_text().splitlines(keepends=True))
    facts, hold, texts = Fold(recorded.header), None, StateText()
    for step in recorded.steps:
        facts.add(step.event, step.commands)
        hold = next((c for c in reversed(step.commands) if isinstance(c, Hold)), hold)
        text = texts.of(Seen(facts, hold, 3, facts.conclusion is not None, "run"), {})
        yield facts, json.loads(text, parse_constant=no_constants)


@pytest.mark.parametrize("journal", JOURNALS, ids=lambda path: path.stem)
def test_every_step_of_a_search(journal: Path) -> None:
    seen, number, facts, last = set(), 0, None, {}
    for facts, last in states(journal):
        seen.add(last["phase"])
        assert [t["number"] for t in last["trials"]] == [t.number for t in facts.trials]
        assert last["elapsed_s"] == round(facts.elapsed_s, 3)
        assert 0 <= last["left_s"] <= facts.header.settings.budget_s
        if last["probe"]:
            assert last["probe"]["number"] >= number
            number = last["probe"]["number"]
            assert last["phase"] == last["probe"]["purpose"]
        low, high = last["bracket"]["low"], last["bracket"]["high"]
        assert low is None or high is None or low < high
        assert (last["verdict"] is None) == (last["phase"] != "done")
    assert {"ramp", "done"} <= seen
    assert facts is not None
    outcome = result(facts)
    for name in ("verdict", "reason", "capacity", "limit", "trials", "stalls", "notes", "requests", "slo"):
        assert last[name] == json.loads(json.dumps(outcome[name])), name  # type: ignore[literal-required]
    assert (last["probe"], last["left_s"], last["folder"]) == (None, 0.0, "run")
    rows = [line.split("|")[1] for line in PAGE.partition("## GET /adaptive/state")[2].splitlines() if "|" in line]
    assert set(last) == {name for row in rows for name in re.findall(r"`(\w+)`", row)}, "as the page has it"


def test_paths_and_names_of_hosts_are_not_told() -> None:
    facts, _ = next(states(JOURNALS[0]))
    facts.header.options.update(adaptive_out="/secret/path", adaptive_web_hosts="inside.example")  # type: ignore[attr-defined]
    facts.header.environment.update(host="http://user:secret@model", command=["locust", "/secret"])  # type: ignore[attr-defined]
    text = StateText().of(Seen(facts, None, 0, False, "run"), {})
    assert "secret" not in text
    assert "inside.example" not in text
    assert set(json.loads(text)["options"]) == {"slo"}


def test_before_the_first_search() -> None:
    found = json.loads(StateText().of(None, {"slo": "p99<1s", "adaptive_out": "/secret"}))
    assert found == {"schema": 1, "phase": "idle", "options": {"slo": "p99<1s"}}


def test_before_the_first_load() -> None:
    facts = Fold(read(JOURNALS[0].read_text().splitlines(keepends=True)).header)
    found = json.loads(StateText().of(Seen(facts, None, 0, False, "run"), {}))
    assert (found["phase"], found["probe"], found["trials"]) == ("starting", None, [])
    assert found["bracket"] == bracket(facts) == {"low": None, "high": None}


def test_a_search_that_broke_without_a_conclusion_is_done() -> None:
    facts, _ = next(states(JOURNALS[0]))
    found = json.loads(StateText().of(Seen(facts, None, 0, True, "run"), {}))
    assert (found["phase"], found["verdict"], found["reason"]) == ("done", "aborted", "journal_ends")


def test_the_text_is_made_once_a_step_and_a_trial_once(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = read(JOURNALS[-1].read_text().splitlines(keepends=True))
    described: list[int] = []
    part = webstate.trial_part
    monkeypatch.setattr(webstate, "trial_part", lambda trial, o: described.append(trial.number) or part(trial, o))
    texts, facts = StateText(), Fold(recorded.header)
    for step in recorded.steps:
        facts.add(step.event, step.commands)
        seen = Seen(facts, None, 0, False, "run")
        assert texts.of(seen, {}) is texts.of(seen, {})
    assert described == [trial.number for trial in facts.trials]


def test_another_search_is_another_state() -> None:
    texts = StateText()
    (first, _), second = next(states(JOURNALS[0])), Fold(read(JOURNALS[1].read_text().splitlines(keepends=True)).header)
    texts.of(Seen(first, None, 0, True, "one"), {})
    found = json.loads(texts.of(Seen(second, None, 0, False, "two"), {}))
    assert (found["folder"], found["trials"], found["phase"]) == ("two", [], "starting")
