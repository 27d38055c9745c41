"""Every journal in tests/journals folds, renders, and is decided again where its policy version is at hand."""

import pytest

from locust_adaptive.report.again import POLICIES, decide_again
from locust_adaptive.report.block import block
from locust_adaptive.report.exitcode import exit_code, gates
from locust_adaptive.report.fold import fold
from locust_adaptive.report.journal import read
from locust_adaptive.report.lines import probe_line
from locust_adaptive.report.result import from_json, result, to_json
from locust_adaptive.search.events import Judged
from tests.journals.record import FOLDER, RECORDED

JOURNALS = sorted(FOLDER.glob("*.jsonl"))


def journal(path):
    return read(path.read_text().splitlines(keepends=True))


def policy_of(path):
    header = journal(path).header
    return header.policy, header.policy_version


@pytest.mark.parametrize("path", JOURNALS, ids=lambda path: path.stem)
def test_it_folds_and_renders(path):
    recorded = journal(path)
    facts = fold(recorded)
    outcome = result(facts)
    assert recorded.finished
    assert recorded.torn is None
    assert facts.conclusion is not None
    assert [t["number"] for t in outcome["trials"]] == [
        c.trial.number for step in recorded.steps for c in step.commands if isinstance(c, Judged)
    ]
    assert from_json(to_json(outcome)) == outcome
    found = gates(outcome, 1.0)
    text = block(outcome, found, exit_code(outcome, found), "out/", ["capacity.json"])
    assert text.startswith(" CAPACITY ")
    assert facts.conclusion.verdict in text.splitlines()[0]
    assert all(str(t.number) in probe_line(t, recorded.header.settings) for t in facts.trials)


@pytest.mark.parametrize("path", [p for p in JOURNALS if policy_of(p) in POLICIES], ids=lambda path: path.stem)
def test_its_policy_decides_as_it_did(path):
    difference = decide_again(journal(path))
    assert difference is None, (
        f"{path.name}: the policy decides otherwise than it did under this version.\n{difference}\n"
        "Give it a new version; or, if this version was never released, run python -m tests.journals.record"
    )


def test_the_journals_here_are_small_and_cover_the_policy_at_hand():
    assert {path.stem for path in JOURNALS} >= set(RECORDED)
    assert {policy_of(path) for path in JOURNALS} >= set(POLICIES)
    assert max(path.stat().st_size for path in JOURNALS) < 400_000
