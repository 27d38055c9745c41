"""The page of the trace commands is what the code says: commands, options, and what each example prints."""

import os
import re
import shlex
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from locust_adaptive.cli import main

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reference" / "trace.md").read_text("utf-8")
GROUP = main.commands["trace"]
SECTIONS = {text.split("\n")[0].removeprefix("trace "): text for text in PAGE.split("\n## ")[1:]}


def test_every_command_has_a_section() -> None:
    assert set(SECTIONS) == set(GROUP.commands)


@pytest.mark.parametrize("name", GROUP.commands)
def test_a_section_has_the_options_of_its_command(name: str) -> None:
    cells = [re.split(r"(?<!\\)\|", line)[1] for line in SECTIONS[name].splitlines() if line.startswith("| `-")]
    rows = [re.findall(r"`(-[^ `]*)", cell) for cell in cells]
    options = [p for p in GROUP.commands[name].params if isinstance(p, click.Option) and not p.hidden]
    assert rows == [option.opts for option in options]


def test_the_examples_print_what_they_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the page, in one folder, beside a copy of the demo's trace. `...` stands for anything."""
    (tmp_path / "traces").mkdir()
    shutil.copy(ROOT / "traces" / "demo.trace", tmp_path / "traces")
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"^\$ locust-adaptive (trace .*)\n((?:(?!```|\$ ).*\n)*)", PAGE, re.MULTILINE)
    assert {shlex.split(command)[1] for command, _ in examples} == set(GROUP.commands) - {"seal", "record"}
    for command, shown in examples:
        printed = CliRunner().invoke(main, shlex.split(command)).output
        pattern = ".*".join(map(re.escape, shown.split("...")))
        assert re.fullmatch(pattern, printed, re.DOTALL), f"{command}\n{printed}"
    assert os.path.exists("small.trace")
