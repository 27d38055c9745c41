"""Real model servers: each answers as its model does in this process, and a short search against it ends honestly.

Skipped, with what is missing, where the group `targets` is not installed. Shapes, not numbers: what else the machine
does, it takes from the server.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from benchmarks.cases import live, traces
from benchmarks.cases.targets import TARGETS, Served, language, ranker, v2, vision
from benchmarks.cases.targets.catalogue import JSON, complete, infer, post
from locust_adaptive.replay.store import Trace
from locust_adaptive.report.fold import fold
from locust_adaptive.report.result import result, to_json

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

SHORT = (
    *("--adaptive-profile", "fast", "--adaptive-precision", "20%", "--adaptive-soak", "5s"),
    *("--adaptive-start", "64", "-t", "130s"),
)
"""In virtual time 100 to 150 s, mostly less than 130: a ramp, a look whether the server is warm, the four longer probes
that an interval needs at least, the checks at the end."""
MODELS = {"triton": (vision, ranker), "fastapi": (vision,)}
HONEST = {"not_precise", "not_verified", "budget_spent", "measurement_invalid", "stalls_exceed_tolerance"}
"""Reasons for no answer that are the machine's."""


def skip_unless_installed(name: str) -> None:
    if missing := TARGETS[name].missing():
        pytest.skip(f"{name} is not installed here (missing: {', '.join(missing)}); make test-targets installs it")


def serve(name: str, factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The target on one core, for all tests of this file that want it."""
    skip_unless_installed(name)
    with Served(name, core=max(os.sched_getaffinity(0)), log=factory.mktemp(name) / "log") as server:
        yield server


@pytest.fixture(scope="module", params=MODELS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from serve(request.param, tmp_path_factory)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from serve("llama", tmp_path_factory)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_it_answers_as_the_models_in_this_process(served: Served, binary: bool) -> None:
    for model in MODELS[served.target.name]:
        inputs = model.inputs(np.random.default_rng(5), 9)
        answer = infer(served.url, model, inputs, binary=binary)
        np.testing.assert_allclose(answer, model.Model()(inputs), rtol=1e-4, atol=1e-6)
        assert np.ptp(answer, axis=0).max() > 1e-3, "other inputs have other scores"


def test_what_is_no_request_is_refused_and_the_next_is_answered(served: Served) -> None:
    with pytest.raises(ValueError, match=r"HTTP [45]00"):
        post(served.url + v2.path(vision.NAME), (), b"{}")
    assert infer(served.url, vision, vision.inputs(np.random.default_rng(5), 1)).shape == (1, vision.CLASSES)


def test_its_recorded_requests_are_good_ones(served: Served) -> None:
    assert send_each_kind(served) == {"triton": 4, "fastapi": 2}[served.target.name]


def test_llama_completes_and_streams(llama: Served) -> None:
    reply = complete(llama.url, f"{language.word(5)} {language.word(900)}", 16)
    assert reply["usage"]["completion_tokens"] == 16
    request = {"messages": [{"role": "user", "content": language.word(7)}], "max_tokens": 5, "stream": True}
    said = post(f"{llama.url}/v1/chat/completions", JSON, json.dumps({**request, "ignore_eos": True}).encode())
    events = [line.removeprefix(b"data: ") for line in said.splitlines() if line.startswith(b"data: ")]
    assert events[-1] == b"[DONE]"
    assert sum("content" in json.loads(event)["choices"][0]["delta"] for event in events[:-1]) >= 5


def test_the_recorded_requests_for_llama_are_good_ones(llama: Served) -> None:
    assert send_each_kind(llama) == 1


def send_each_kind(server: Served) -> int:
    """Send a recorded request of each name and encoding; how many that are."""
    sent = set()
    with Trace.open(traces.made(server.target.name)) as trace:
        for record in map(trace.record, range(300)):
            kind = (record.name, record.headers[0])
            if kind not in sent:
                post(server.url + record.path, record.headers, record.body)
                sent.add(kind)
    return len(sent)


@pytest.mark.parametrize(
    ("module", "needs"), [(vision, "onnx"), (ranker, "lightgbm"), (language, "gguf")], ids=["onnx", "lightgbm", "gguf"]
)
def test_a_model_is_the_same_each_time_it_is_built(module: ModuleType, needs: str, tmp_path: Path) -> None:
    pytest.importorskip(needs, reason="make test-targets installs it")
    files = [tmp_path / "first", tmp_path / "second"]
    for file in files:
        module._write(file)
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("name", live.CASES)
def test_a_short_search_that_replays_a_trace_ends_honestly(name: str, tmp_path: Path) -> None:
    skip_unless_installed(name)
    found = live.find(name, tmp_path, *SHORT)
    outcome, capacity = found.outcome, found.outcome["capacity"]
    assert outcome["load"] == {"kind": "open", "arrivals": "poisson", "requests_per_arrival": 1}
    assert outcome["requests"] > 100
    verdicts = [trial["verdict"] for trial in outcome["trials"]]
    assert "PASS" in verdicts or outcome["reason"] == "measurement_invalid", found.ended.stderr[-2000:]
    assert not any(trial["errors"] for trial in outcome["trials"] if trial["verdict"] == "PASS")
    if outcome["verdict"] == "resolved":
        assert (outcome["reason"], found.ended.code) == ("converged", 0)
        assert 1 < capacity["low"] <= capacity["value"] <= capacity["high"] < 1000
        assert (capacity["unit"], outcome["limit"]["objective"]) == ("rps", "p99<250ms")
        assert "FAIL" in verdicts
    else:
        assert outcome["reason"] in HONEST, found.ended.stdout
        assert found.ended.code == 3
    assert to_json(result(fold(found.journal))) == found.text
    assert "Traceback" not in (tmp_path / "server.log").read_text()
