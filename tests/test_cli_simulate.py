import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from locust_adaptive.cli import main
from locust_adaptive.cli.simulate import OPTIONS, simulate
from locust_adaptive.report.fold import fold
from locust_adaptive.report.journal import read
from locust_adaptive.report.result import from_json, result
from locust_adaptive.simulation import describe, question

# A search of some seconds of real time: few requests, low demands.
QUICK = ("--slo", "p95<1s", "--service", "80ms", "--precision", "20%", "--max", "200", "--budget", "4m")


def run(*arguments):
    return CliRunner().invoke(main, ["simulate", *map(str, arguments)])


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A search that was written to a file of each kind; its output is that of the first."""
    folder = tmp_path_factory.mktemp("simulated")
    runs = [run(*QUICK, "--out", folder / f"x{suffix}") for suffix in (".txt", ".json", ".jsonl", ".svg")]
    assert [(r.exit_code, r.stderr) for r in runs] == [(0, "")] * 4
    assert len({r.stdout for r in runs}) == 1
    return runs[0].stdout, folder


def test_it_shows_the_server_the_search_and_the_answer(done):
    stdout, _ = done
    server, picture, answer = stdout.split("\n\n")
    assert server == " SERVER    --service 80ms"
    assert "● pass" in picture
    assert answer.startswith(" CAPACITY  ")
    assert "SLO p95<1s" in answer


def test_the_files_tell_the_same(done):
    stdout, folder = done
    assert (folder / "x.txt").read_text("utf-8") == stdout
    outcome = from_json((folder / "x.json").read_text("utf-8"))
    assert outcome["environment"] == {"simulated": "--service 80ms"}
    assert outcome["options"]["slo"] == "p95<1s"
    told = result(fold(read((folder / "x.jsonl").read_text("utf-8").splitlines(keepends=True))))
    assert json.loads(json.dumps({**told, "started": outcome["started"]})) == outcome
    assert ElementTree.parse(folder / "x.svg").getroot().tag.endswith("svg")


def test_the_seed_decides(done):
    assert run(*QUICK).stdout == done[0]
    assert run(*QUICK, "--seed", "2").stdout != done[0]


def test_options_of_a_run_are_known_by_their_names_there(done):
    renamed = ["--adaptive-max" if a == "--max" else "--adaptive-precision" if a == "--precision" else a for a in QUICK]
    assert run(*renamed).stdout == done[0]


def test_an_slo_may_be_given_in_parts():
    shown = run("--slo", "p95<1s", "--slo", "errors<1%", *QUICK[2:], "--budget", "10s").stdout
    assert "slo       p95<1s & errors<1%" in shown or "SLO p95<1s & errors<1%" in shown


def test_several_searches_are_summed_up(tmp_path):
    done = run(*QUICK, "--runs", "3", "--seed", "5", "--out", tmp_path / "x.json")
    assert done.exit_code == 0
    outcomes = json.loads((tmp_path / "x.json").read_text("utf-8"))
    assert [o["options"]["seed"] for o in outcomes] == ["5", "6", "7"]
    assert len({o["requests"] for o in outcomes}) == 3
    assert " SEARCHES  3:" in done.stdout
    assert done.stdout.startswith(run(*QUICK, "--seed", "5").stdout)


def test_the_truth_stands_beside_the_answer(monkeypatch):
    from locust_adaptive.simulation import truth

    monkeypatch.setattr(truth, "LOOK", 5000)
    monkeypatch.setattr(truth, "REQUESTS", 20_000)
    monkeypatch.setattr(truth, "MISSES", 100)
    shown = run(*QUICK, "--check").stdout
    assert "by long simulated runs" in shown
    assert " error     " in shown
    leaking = run(*QUICK, "--leak", "30%", "--check")
    assert (leaking.exit_code, "another capacity each hour" in leaking.stdout) == (0, True)
    paused = run(*QUICK, "--pauses", "1.5s:20s", "--spike-tolerance", "20%", "--check").stdout
    assert "req/s without its pauses, " in paused


def test_no_answer_is_exit_0_and_says_why():
    done = run(*QUICK, "--budget", "10s", "--check")
    assert done.exit_code == 0
    assert "budget_spent" in done.stdout
    assert "truth     not known: no search found a capacity" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--slo 'p99<250ms & errors<1%'"),
        (("--slo", "p99<250ms"), "--service 13ms"),
        ((*QUICK, "--workers", "0"), "--workers '0': must be a number above 0"),
        ((*QUICK, "--cold", "3x"), "--cold '3x': must be factor:time, such as 3x:60s"),
        ((*QUICK, "--start", "900"), "--start 900 is not within --min 0.1 and --max 200"),
        ((*QUICK, "--mode", "closed", "--queue", "3"), "--queue is for --mode open"),
        ((*QUICK, "--runs", "x"), "--runs 'x': is not a number"),
        ((*QUICK, "--out", "x.png"), "--out x.png: must end in one of .svg, .txt, .json, .jsonl"),
        ((*QUICK, "--out", "no/x.svg"), "there is no folder no"),
        ((*QUICK, "--out", "x.jsonl", "--runs", "2"), "a journal is of one search"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_only_by_force(tmp_path):
    out = tmp_path / "x.txt"
    out.write_text("precious")
    refused = run(*QUICK, "--out", out)
    assert (refused.exit_code, out.read_text()) == (2, "precious")
    assert "--force replaces it" in refused.stderr
    assert run(*QUICK, "--budget", "10s", "--out", out, "--force").exit_code == 0
    assert "CAPACITY" in out.read_text("utf-8")


def test_a_terminal_without_unicode_gets_ascii():
    command = [sys.executable, "-c", "from locust_adaptive.cli import main; main()", "simulate", *QUICK]
    shown = subprocess.run(
        command, capture_output=True, timeout=120, check=True, env={"PYTHONIOENCODING": "ascii"}
    ).stdout.decode("ascii")
    assert "o pass   x FAIL" in shown
    assert "CAPACITY" in shown


def test_it_imports_no_gevent():
    script = (
        "import sys; from click.testing import CliRunner; from locust_adaptive.cli import main;"
        "assert CliRunner().invoke(main, ['simulate', *sys.argv[1:], '--budget', '5s']).exit_code == 0;"
        "print([m for m in ('gevent', 'locust') if m in sys.modules])"
    )
    command = [sys.executable, "-c", script, *QUICK]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == "[]\n"


def test_its_help_imports_nothing_heavy_and_names_every_option():
    script = (
        "import sys; from click.testing import CliRunner; from locust_adaptive.cli import main;"
        "done = CliRunner().invoke(main, ['simulate', '--help']); assert done.exit_code == 0; print(done.stdout);"
        "print([m for m in ('numpy', 'gevent', 'locust') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    *shown, loaded = done.stdout.splitlines()
    assert loaded == "[]"
    assert all(any(name in line for line in shown) for name, _, _ in OPTIONS)


def test_the_examples_in_the_help_are_read():
    """All but those that exclude each other."""
    texts = {name[2:].replace("-", "_"): example for name, example, _ in OPTIONS}
    assert set(describe.OPTIONS) <= set(texts)
    given = {name: text for name, text in texts.items() if name != "rate_limit"}
    assert describe.parse(given).server.cold == (3.0, 60.0)
    assert describe.parse({**given, "errors": "", "rate_limit": texts["rate_limit"]}).mischief is not None
    assert question.settings({"slo": "p99<1s", **texts}).prior == 120
    assert question.seeds(texts) == range(1, 21)


@pytest.mark.parametrize("loop", ["open", "closed"])
@pytest.mark.parametrize("profile", ["fast", "standard", "thorough"])
def test_the_usual_search_is_that_of_a_run(loop, profile):
    from locust import HttpUser

    from locust_adaptive import OpenLoop
    from locust_adaptive.plugin.options import resolve

    kinds = {"open": type("Open", (OpenLoop, HttpUser), {}), "closed": type("Closed", (HttpUser,), {})}
    shape = SimpleNamespace(slo="p99<250ms", adaptive_profile=profile)
    plan = resolve(shape, SimpleNamespace(), [kinds[loop]], None)
    assert question.settings({"slo": "p99<250ms", "mode": loop, "profile": profile}) == plan.settings


def test_what_the_page_shows_is_understood():
    text = (Path(__file__).parents[1] / "docs/how-to/simulate.md").read_text("utf-8").replace("\\\n", " ")
    commands = re.findall(r"^locust-adaptive simulate (.*)$", text, re.MULTILINE)
    examples = re.findall(r"\| `(--[^`]*)` \|$", text, re.MULTILINE)
    assert commands
    assert examples
    for line in [*commands, *(f"--slo p99<1s --service 9ms {example}" for example in examples)]:
        given = simulate.make_context("simulate", shlex.split(line)).params
        texts = {**given, "slo": " & ".join(given["slo"])}
        assert question.settings(texts).slo.objectives
        assert describe.parse(texts) != describe.parse({"service": "1s"})
