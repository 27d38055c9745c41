"""What must hold of every run, whatever died, hung, lied or was stopped in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from locust_adaptive.report.again import decide_again
from locust_adaptive.report.fold import fold
from locust_adaptive.report.result import result, to_json
from tests.support.searches import Search

TOLERANCE = 1.08
"""A load this far above the truth is surely a bad one."""


def honest(found: Search, *, capacity: float = math.inf) -> None:
    """The journal is the run; no load above `capacity` passed; none is believed to."""
    assert found.journal.finished
    assert to_json(result(fold(found.journal))) == found.text
    assert decide_again(found.journal) is None
    bad = TOLERANCE * capacity
    wrong = [(t["number"], t["load"]) for t in found.outcome["trials"] if t["verdict"] == "PASS" and t["load"] > bad]
    assert not wrong, f"passed above {capacity:g}: {wrong}"
    believed = found.outcome["capacity"]
    for name in ("value", "low", "verified"):
        assert (believed[name] or 0.0) <= bad, (name, believed)  # type: ignore[literal-required]


def within_cap(stats: Mapping[str, Any], cap: float) -> None:
    """Poisson arrivals of rate `cap` at the target: no second holds more than chance allows (one in a million)."""
    assert max(stats["per_second"], default=0) <= cap + 5 * math.sqrt(cap) + 2, stats["per_second"]
