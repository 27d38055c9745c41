"""Searches over all cores, each on file as soon as it is over."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

Job = TypeVar("Job")
Row = dict[str, Any]


def lines(jobs: Sequence[Job], of: Callable[[Job], Row], file: Path | None, processes: int) -> list[Row]:
    """What `of` says of each job, in the order in which they end; a line of the file each."""
    rows = []
    # In a log, a line each half minute is enough.
    every = 0.1 if sys.stderr.isatty() else 30.0
    with (
        ProcessPoolExecutor(processes, get_context("fork")) as pool,
        tqdm(total=len(jobs), unit="search", mininterval=every) as bar,
    ):
        for done in as_completed([pool.submit(of, job) for job in jobs]):
            rows.append(row := done.result())
            if file is not None:
                with file.open("a") as out:
                    out.write(json.dumps(row) + "\n")
            bar.update()
    return rows
