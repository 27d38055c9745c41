"""The words of the code, of words.py and of docs/reference/reasons.md are the same."""

import ast
import re
from pathlib import Path

import pytest

import locust_adaptive
from locust_adaptive.report import words
from locust_adaptive.search.rules import RULES
from locust_adaptive.search.trial import GONE, STALLS, SURGE, Verdict

SEARCH = Path(locust_adaptive.__file__).parent / "search"
DOC = Path(locust_adaptive.__file__).parents[1] / "docs" / "reference" / "reasons.md"
# Calls that take the reason of a conclusion, or of a trial, as a text; and the place of the text among the arguments.
CONCLUDING = {"give_up": 3, "_conclude": 3, "Conclusion": 1}
JUDGING = {"_close": 2, "_judge": 2}


def calls(name):
    for path in sorted(SEARCH.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", None)) == name:
                yield node


def texts(node):
    return {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def said(table):
    """Texts that the search passes to those calls, at that place or as `reason=`."""
    found = set()
    for name, place in table.items():
        for call in calls(name):
            found |= set().union(*(texts(k.value) for k in call.keywords if k.arg == "reason"))
            found |= texts(call.args[place]) if len(call.args) > place else set()
    return found


def noted():
    """Texts in what is assigned to `notes`."""
    found = set()
    for path in sorted(SEARCH.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and any(getattr(t, "id", None) == "notes" for t in node.targets):
                found |= texts(node.value)
    return found


def assigned(name):
    """Texts that policy and controller assign to a variable of that name, alone or in a tuple."""
    found = set()
    for file in ("policy.py", "controller.py"):
        for node in ast.walk(ast.parse((SEARCH / file).read_text())):
            if not isinstance(node, ast.Assign):
                continue
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id == name:
                    found |= texts(node.value)
                elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    for t, value in zip(target.elts, node.value.elts, strict=True):
                        found |= texts(value) if getattr(t, "id", None) == name else set()
    return found


def test_every_reason_of_a_conclusion_is_explained():
    found = said(CONCLUDING) | assigned("reason") - set(words.TRIAL_REASONS)
    assert "budget_spent" in found
    assert "stalls_exceed_tolerance" in found
    assert found <= set(words.REASONS)


def test_every_reason_of_a_trial_is_explained():
    found = said(JUDGING) - {""} | {rule.name for rule in RULES if rule.effect == "void"}
    assert {"overload", "no_report", "generator CPU"} <= found
    assert found <= set(words.TRIAL_REASONS)


def test_every_reason_that_has_a_name_is_explained():
    assert {GONE, STALLS, SURGE, "target_unreachable", "every_request_fails"} <= set(words.TRIAL_REASONS)
    assert {GONE, "target_unreachable", "every_request_fails"} <= set(words.REASONS)


def test_every_note_is_explained():
    assert "not_stationary" in noted()
    assert noted() <= set(words.NOTES)


def test_every_verdict_is_explained():
    assert set(words.TRIAL_VERDICTS) == set(Verdict)
    verdicts = set().union(
        *(texts(call.args[2]) for name in ("give_up", "_conclude") for call in calls(name) if len(call.args) > 2)
    )
    assert verdicts >= {"resolved", "unresolved", "aborted"}
    assert verdicts <= set(words.VERDICTS)


def rows(heading):
    """`{word: (meaning, advice)}` of the table under a heading of the page."""
    section = re.split(rf"^## {re.escape(heading)}$", DOC.read_text(), flags=re.MULTILINE)[1].split("\n## ")[0]
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): (*row[1:], "")[:2] for row in cells}


@pytest.mark.parametrize(
    ("heading", "table"),
    [
        ("Verdicts of a search", words.VERDICTS),
        ("Reasons of a search", words.REASONS),
        ("Notes", words.NOTES),
        ("Verdicts of a probe", words.TRIAL_VERDICTS),
        ("Reasons of a probe", words.TRIAL_REASONS),
        ("Exit codes", {str(code): words.Word(text) for code, text in words.EXIT_CODES.items()}),
    ],
)
def test_the_page_is_the_table(heading, table):
    assert rows(heading) == {word: tuple(entry) for word, entry in table.items()}
