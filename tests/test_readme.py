"""What the README shows is true: the diff, the locustfile in it, the targets and options that it names."""

import ast
import difflib
import re
from pathlib import Path

import pytest
from locust import HttpUser

from locust_adaptive import AdaptiveShape, OpenLoop
from locust_adaptive.demo.accelerator import Device
from locust_adaptive.plugin import session
from locust_adaptive.plugin.options import OPTIONS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
GUIDES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])

PLAIN = """\
from locust import HttpUser, task


class Visitor(HttpUser):
    def on_start(self):
        self.item = 0

    @task(3)
    def rank(self):
        self.item += 1
        self.client.post("/v1/rank", json={"user": self.item % 50, "items": [1, 2, 3]}, name="rank")

    @task(1)
    def health(self):
        with self.client.get("/v1/health", name="health", catch_response=True) as response:
            if response.status_code != 200:
                response.failure("not healthy")
"""


@pytest.fixture(autouse=True)
def _no_shape_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defining an adaptive shape makes it the process's shape: undone after each test."""
    monkeypatch.setattr(session, "shape_class", session.shape_class)


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def code(path: Path) -> str:
    """A file without its first docstring."""
    text = path.read_text("utf-8")
    first = ast.parse(text).body[0]
    assert ast.get_docstring(ast.parse(text)) is not None
    return "".join(text.splitlines(keepends=True)[first.end_lineno :]).lstrip("\n")


def classes(text: str) -> list[type]:
    names: dict[str, object] = {"__name__": "shown"}
    exec(compile(text, "shown", "exec"), names)
    return [value for value in names.values() if isinstance(value, type) and value.__module__ == "shown"]


def test_the_diff_is_the_difference() -> None:
    (shown,) = blocks("diff")
    adaptive = code(ROOT / "locustfiles" / "http_user.py")
    _, _, *real = difflib.unified_diff(PLAIN.splitlines(keepends=True), adaptive.splitlines(keepends=True))
    assert shown == "".join(real)
    assert not any(line.startswith("-") for line in real), "nothing of the plain file is taken away"


def test_the_plain_file_is_plain_locust() -> None:
    assert "adaptive" not in PLAIN
    (visitor,) = classes(PLAIN)
    assert issubclass(visitor, HttpUser)
    assert len(visitor.tasks) == 4


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_the_python_that_is_shown_runs(page: str) -> None:
    shown = [classes(text) for text in blocks("python", (ROOT / page).read_text("utf-8"))]
    assert shown
    for found in shown:
        assert sorted(issubclass(cls, AdaptiveShape) for cls in found) == [False, True], "a shape and a user class"
        assert all(issubclass(cls, AdaptiveShape | OpenLoop) for cls in found)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_the_targets_and_options_that_are_named_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", text, re.MULTILINE)) <= {
        pair for target in targets for pair in ((target, ""), ("", target))
    }
    assert set(re.findall(r"--adaptive-[a-z]+(?:-[a-z]+)*", text)) <= {option.flag for option in OPTIONS}


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_the_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"(?:locustfiles|traces|benchmarks|tests)/[\w./-]*\w", page.read_text("utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_demo_server_is_as_told() -> None:
    device = Device()
    text = " ".join(README.split())
    assert f"{1e3 * device.overhead_s:g} ms + {1e6 * device.per_candidate_s:g} us for each candidate" in text
    assert f"up to {device.max_batch} requests" in text


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def table(section: str) -> list[list[str]]:
    """The cells of the first table in it, without its head."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_tools_beside_are_as_the_suite_measured_them() -> None:
    """And it is the first table: whoever asks for the best search looks there."""
    beside = README.partition("\n## Beside other tools\n")[2].partition("\n## ")[0]
    assert "\n|" not in README.partition("\n## Beside other tools\n")[0]
    results = (ROOT / "benchmarks" / "search" / "RESULTS.md").read_text("utf-8")
    measured = {
        name: [median, p90, over, covered, seconds]
        for name, median, p90, _, over, _, seconds, _, covered, _ in table(
            results.partition("\n## Each tool\n")[2].partition("\n## ")[0]
        )
    }
    shown = table(beside)
    assert {name for name, *_ in shown} <= set(measured)
    assert [row for row in shown if row[1:] != measured[row[0]]] == []
    ahead = re.findall(r"faster and more accurate than ours: (.*)\.\*\*", results)
    assert set(", ".join(ahead).split(", ")) - {""} <= {name for name, *_ in shown}
