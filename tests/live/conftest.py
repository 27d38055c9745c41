"""The searches of this folder, a few at a time, all begun when the first answer is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.live.cases import CASES, Answer

AT_ONCE = 7
"""On two cores; one search with its server takes a sixth of a core."""


@pytest.fixture(scope="session")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Answer]]:
    """The answer of a case, by name; waits until it is there."""
    folder: Path = tmp_path_factory.mktemp("searches")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running: dict[str, Future[Answer]] = {name: pool.submit(case, folder / name) for name, case in CASES.items()}
        yield lambda name: running[name].result()
        for future in running.values():
            future.cancel()
