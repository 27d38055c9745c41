"""The traces for the targets: the same for the same seed, of sessions and sizes as they say, and sendable."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.arrivals import synthetic
from benchmarks.cases import traces
from benchmarks.cases.targets import TARGETS, ranker, v2, vision
from locust_adaptive.replay.fitness import unfit
from locust_adaptive.replay.record import Record
from locust_adaptive.replay.store import Trace

SECONDS = 40.0


def records(folder: Path, target: str, seed: int = 1) -> list[Record]:
    path = folder / f"{target}-{seed}-{len(list(folder.iterdir()))}.trace"
    traces.write(target, path, seed=seed, seconds=SECONDS, scale=0.75)
    with Trace.open(path) as trace:
        return [trace.record(i) for i in range(len(trace))]


def test_every_target_has_one() -> None:
    assert traces.CLIENTS.keys() == TARGETS.keys()


@pytest.mark.parametrize("target", TARGETS)
def test_it_is_the_same_for_the_same_seed(target: str, tmp_path: Path) -> None:
    first = records(tmp_path, target)
    assert first == records(tmp_path, target)
    assert [r.body for r in first] != [r.body for r in records(tmp_path, target, seed=2)]


@pytest.mark.parametrize("target", TARGETS)
def test_it_has_sessions_that_think(target: str, tmp_path: Path) -> None:
    found = records(tmp_path, target)
    sessions = {r.session for r in found}
    assert len(found) > 60
    assert 1.5 < len(found) / len(sessions) < 6
    assert all(r.method == "POST" and r.expect == 200 for r in found)


def test_the_requests_for_triton_are_of_both_models_and_both_encodings(tmp_path: Path) -> None:
    shapes: dict[tuple[str, bool], list[int]] = {}
    for record in records(tmp_path, "triton", seed=3):
        headers = {name.lower(): value for name, value in record.headers}
        ((name, tensor),) = v2.decode_request(headers, record.body).items()
        model = vision if record.name == vision.NAME else ranker
        assert (record.path, name) == (v2.path(model.NAME), model.INPUT)
        rest = (vision.SIDE, vision.SIDE, 3) if model is vision else (ranker.FEATURES,)
        assert tensor.shape[1:] == rest
        shapes.setdefault((record.name, v2.HEADER.lower() in headers), []).append(len(tensor))
    assert len(shapes) == 4
    assert np.ptp(shapes[ranker.NAME, True]) > 100
    assert {1, 2} <= set(shapes[vision.NAME, True]) <= {1, 2, 3, 4}


def test_their_times_are_fit_for_recorded_arrivals() -> None:
    index = synthetic.mixed(traces.SECONDS, np.random.default_rng(traces.SEED), traces.SCALE)
    assert 2000 < len(index.due_ns) < 4000
    assert unfit(index, "ns") is None


def test_what_is_made_is_kept_until_its_makers_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "BUILD", tmp_path / "build")
    monkeypatch.setattr(traces, "write", partial(traces.write, seconds=10.0))
    path = traces.made("llama")
    first = path.stat()
    assert traces.made("llama").stat() == first
    monkeypatch.setattr(traces, "_origin", lambda target: "another")
    assert traces.made("llama").stat().st_ino != first.st_ino
    assert list(path.parent.iterdir()) == [path]
