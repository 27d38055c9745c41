"""Scenarios in real time, a few at once: a test names the one it judges with `@pytest.mark.scenario(function)`.

A scenario is a function of a new folder; it starts servers and searches, ends them, and returns what there is to judge.
Those that collected tests ask for begin when the first result is wanted, the longest first (`seconds=`, a guess). Tests
that name the same function judge the same run. A search that says that the machine was too busy to measure is run once
more, unless it is about that (`unfit`). Load goes to a `Loaded` target, which judges it; a scenario without one
says why (`no_target=`).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.faults.loaded import Scenario, measured

AT_ONCE = 6
"""On two cores; one search with its server takes a sixth of a core."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "scenario(function, seconds=60, no_target='', unfit=False): the run in real time that a test judges",
    )


@pytest.fixture(scope="session")
def _running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Scenario, Any]]:
    wanted: dict[Scenario, dict[str, Any]] = {}
    for item in request.session.items:
        for mark in item.iter_markers("scenario"):
            wanted.setdefault(mark.args[0], {"seconds": 60, "no_target": "", "unfit": False, **mark.kwargs})
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running: dict[Scenario, Future[Any]] = {}
        for scenario in sorted(wanted, key=lambda s: -wanted[s]["seconds"]):
            name = getattr(scenario, "__name__", "scenario").strip("_<>")
            folder, how = tmp_path_factory.mktemp(name), wanted[scenario]
            running[scenario] = pool.submit(measured, scenario, folder, how["no_target"], how["unfit"])
        yield running
        for future in running.values():
            future.cancel()


@pytest.fixture
def found(request: pytest.FixtureRequest, _running: dict[Scenario, Future[Any]]) -> Any:
    """What the scenario of this test returned."""
    mark = request.node.get_closest_marker("scenario")
    assert mark is not None, "the test names no scenario"
    return _running[mark.args[0]].result()
