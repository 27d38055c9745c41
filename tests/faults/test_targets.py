"""Targets that misbehave: whatever they do, the answer is true, and the load ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from locust_adaptive.simulation.mischief import Mischief
from tests.faults.loaded import Loaded
from tests.faults.oracle import honest
from tests.support.searches import LOCUSTFILES, QUICK, LocustRun, Search, free_port, read_search, to_results
from tests.support.truth import SMALL

CAP = 130.0
"""The ramp's doubling from 16 comes to 128."""
ABOVE = 40.0
"""Requests a second above which a server misbehaves that could take about 65."""


@dataclass(frozen=True)
class Found:
    """A search, and its target's counts after it (None if nobody was there to ask)."""

    search: Search
    stats: dict[str, Any] | None

    @property
    def end(self) -> tuple[str, str, int]:
        return self.search.outcome["verdict"], self.search.outcome["reason"], self.search.ended.code

    @property
    def failed(self) -> list[tuple[float, str]]:
        return [(t["load"], t["reason"]) for t in self.search.outcome["trials"] if t["verdict"] == "FAIL"]

    @property
    def kinds(self) -> set[str]:
        """Kinds of error in the report."""
        return {kind for t in self.search.outcome["trials"] for kind in t["errors"]}


def run(folder: Path, *arguments: str) -> Search:
    quick = ["--headless", *QUICK, *to_results(folder), *arguments]
    with LocustRun(folder, LOCUSTFILES / "open_loop.py", *quick) as locust:
        return read_search(folder, locust.over(360))  # the longest budget asked for here, and a minute


def against(mischief: Mischief, *arguments: str, cap: float = CAP, ask: bool = True) -> Callable[[Path], Found]:
    """A scenario: a search against a server of this mischief. `ask`: it is there at the end."""

    def scenario(folder: Path) -> Found:
        with Loaded(folder, SMALL.service, cap, mischief=mischief) as target:
            search = run(folder, *target.aim, *arguments)
            return Found(search, target.stats() if ask else None)

    scenario.__name__ = f"{mischief.mode} {arguments}".replace(" ", "_").replace("/", "_")
    return scenario


def nobody(url: Callable[[], str]) -> Callable[[Path], Found]:
    """A scenario: a search where nobody is."""
    return lambda folder: Found(run(folder, "-H", url()), None)


def true(found: Found, **truth: float) -> None:
    """What must hold of every one of these."""
    honest(found.search, **truth)
    assert "Traceback" not in found.search.ended.stdout + found.search.ended.stderr
    if found.stats is not None:
        # What came is what the report says.
        assert found.stats["received"] - found.search.outcome["requests"] <= 100


A_MINUTE = ("--adaptive-start", "16", "-t", "70s")
OVER = {
    "hang": against(Mischief("hang", ABOVE), *A_MINUTE),
    "slow": against(Mischief("slow", ABOVE), *A_MINUTE),
    "http 503": against(Mischief("http 503", ABOVE), *A_MINUTE),
    "http 429": against(Mischief("http 429", ABOVE), *A_MINUTE),
    "reset": against(Mischief("reset", ABOVE), *A_MINUTE),
    "half": against(Mischief("half", ABOVE), *A_MINUTE),
}


@pytest.mark.parametrize("mode", [pytest.param(m, marks=pytest.mark.scenario(s, seconds=75)) for m, s in OVER.items()])
def test_above_a_load_it_misbehaves_and_the_answer_is_below(mode: str, found: Found) -> None:
    true(found, capacity=ABOVE)
    verdict, reason, code = found.end
    assert (verdict, code) in (("resolved", 0), ("unresolved", 3)), found.end
    if verdict == "unresolved":
        assert reason in ("budget_spent", "not_precise", "stalls_exceed_tolerance")
    assert any(load > 16 for load, _ in found.failed), "the bad load failed"
    known = found.search.outcome["capacity"]
    # What stood still for longer than is tolerated leaves no capacity, and says so.
    assert known["low"] or "stalls_exceed_tolerance" in found.search.outcome["notes"], known
    if mode.startswith("http"):
        assert mode in found.kinds
    if mode in ("reset", "half"):
        assert "reset" in found.kinds
    if mode == "http 429":
        assert "rate_limited" in found.search.outcome["notes"]


NOBODY = {
    "refused": nobody(lambda: f"http://127.0.0.1:{free_port()}"),
    "dns": nobody(lambda: "http://nobody.invalid"),
}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(k, marks=pytest.mark.scenario(s, seconds=15, no_target="nobody is there to be loaded"))
        for k, s in NOBODY.items()
    ],
)
def test_nobody_there(kind: str, found: Found) -> None:
    true(found)
    assert found.end == ("invalid", "target_unreachable", 3)
    assert found.search.ended.seconds < 15
    assert kind in found.kinds
    assert "target_unreachable" in found.search.ended.stdout


ALWAYS = {
    "http 503": (against(Mischief("http 503", 0.0), cap=8), ("unresolved", "below_minimum", 3)),
    "http 404": (against(Mischief("http 404", 0.0), cap=8), ("invalid", "every_request_fails", 3)),
    "hang": (against(Mischief("hang", 0.0), cap=8), ("unresolved", "below_minimum", 3)),
    "reset": (
        against(Mischief("reset", share=0.05), "--adaptive-start", "8", "-t", "100s"),
        ("unresolved", "below_minimum", 3),
    ),
}


@pytest.mark.parametrize(
    "mode", [pytest.param(m, marks=pytest.mark.scenario(s, seconds=90)) for m, (s, _) in ALWAYS.items()]
)
def test_it_misbehaves_at_any_load(mode: str, found: Found) -> None:
    true(found)
    assert found.end == ALWAYS[mode][1]
    assert found.search.outcome["capacity"]["value"] is None
    if mode == "hang":
        assert [reason for _, reason in found.failed] in (["hang"], ["overload"])
    else:
        assert mode in found.kinds


LATER = ("--adaptive-start", "16", "-t", "300s")


@pytest.mark.scenario(against(Mischief(gone=(25.0, 33.0)), *LATER), seconds=300)
def test_it_goes_away_and_comes_back(found: Found) -> None:
    true(found, capacity=SMALL.capacity, served=SMALL.served)
    trials = found.search.outcome["trials"]
    gone = [t for t in trials if t["reason"] == "target_gone"]
    assert [t["verdict"] for t in gone] == ["INVALID"]
    after = [t for t in trials if t["number"] > gone[0]["number"]]
    assert any(t["repeats"] == gone[0]["number"] for t in after), "measured again"
    assert found.end == ("resolved", "converged", 0)
    assert found.search.outcome["capacity"]["value"] == pytest.approx(SMALL.capacity, rel=0.08)


@pytest.mark.scenario(against(Mischief(gone=(25.0, math.inf)), *LATER, ask=False), seconds=100)
def test_it_goes_away_for_good(found: Found) -> None:
    true(found, capacity=SMALL.capacity)
    assert found.end == ("unresolved", "target_gone", 3)
    assert "refused" in found.kinds or "reset" in found.kinds
    assert found.search.outcome["capacity"]["low"]


@pytest.mark.scenario(against(Mischief(), "--adaptive-start", "16", cap=30), seconds=40)
def test_no_load_above_the_cap(found: Found) -> None:
    true(found, capacity=SMALL.capacity)
    assert found.end == ("unresolved", "ceiling_reached", 3)
    assert found.search.outcome["capacity"]["low"] == 30
