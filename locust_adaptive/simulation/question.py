"""What is asked of a simulated server: the options of a search in, its `Settings` out.

The defaults are those of a run, which a test compares; what is not given is left to `Settings`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..search import quantities
from ..search.grid import Grid
from ..search.profiles import PROFILES, STANDARD
from ..search.settings import Loop, Settings
from ..search.slo import Slo
from .describe import flag

LOADS: Mapping[Loop, tuple[float, float, float]] = {"open": (0.1, 2.0, 10_000.0), "closed": (1.0, 1.0, 1000.0)}
"""Lowest load, first load, highest load: arrivals/s, or users."""

_PARSERS: Mapping[str, tuple[str, Callable[[str], float]]] = {
    "budget": ("budget_s", quantities.seconds),
    "precision": ("precision", quantities.ratio),
    "soak": ("soak_s", quantities.seconds),
    "spike_tolerance": ("spike_tolerance", quantities.share),
    "prior": ("prior", quantities.positive),
}
"""Options that are one field of the settings."""


def settings(texts: Mapping[str, str]) -> Settings:
    """The settings of the search. ValueError says which option is wrong and why."""
    loop = loop_of(texts)
    lowest_usual, start_usual, highest_usual = LOADS[loop]
    load = quantities.whole if loop == "closed" else quantities.positive
    highest = _read(texts, "max", load, highest_usual)
    lowest = _read(texts, "min", load, min(lowest_usual, highest))
    if lowest > highest:
        raise ValueError(f"--min {lowest:g} is above --max {highest:g}: no load is left to try")
    start = _read(texts, "start", load, min(max(start_usual, lowest), highest))
    if not lowest <= start <= highest:
        raise ValueError(f"--start {start:g} is not within --min {lowest:g} and --max {highest:g}")
    given: dict[str, Any] = dict(_profile(texts))
    for name, (field, parser) in _PARSERS.items():
        if texts.get(name, "").strip():
            given[field] = _read(texts, name, parser)
    prior = given.get("prior")
    if prior is not None and not lowest <= prior <= highest:
        raise ValueError(f"--prior {prior:g} is not within --min {lowest:g} and --max {highest:g}")
    grid = Grid.rate(lowest, highest) if loop == "open" else Grid.users(int(lowest), int(highest))
    return Settings(_slo(texts.get("slo", "")), loop, grid, start, **given)


def _profile(texts: Mapping[str, str]) -> Mapping[str, float]:
    name = texts.get("profile", "").strip() or STANDARD
    if name not in PROFILES:
        raise ValueError(f"--profile {name!r}: is none of {', '.join(PROFILES)}")
    return PROFILES[name]


def loop_of(texts: Mapping[str, str]) -> Loop:
    """Open or closed loop; open unless told."""
    match texts.get("mode", "").strip():
        case "" | "open":
            return "open"
        case "closed":
            return "closed"
        case other:
            raise ValueError(f"--mode {other!r}: must be open or closed")


def _slo(text: str) -> Slo:
    """The SLO, if a simulated server can be judged by it."""
    if not text.strip():
        raise ValueError("what must the server hold? Say for example --slo 'p99<250ms & errors<1%'")
    slo = Slo.parse(text)
    for objective in slo.objectives:
        if objective.signal != "rps" and objective not in slo.counted:
            raise ValueError(
                f"--slo {text!r}: a simulated server has no {objective.signal}; it can be judged by latency "
                "percentiles, errors and rps"
            )
        if objective.scope is not None:
            raise ValueError(
                f"--slo {text!r}: a simulated server has one kind of request: leave {{{objective.scope}}} out"
            )
    if not any(o.role == "constraint" for o in slo.counted):
        raise ValueError(f"--slo {text!r}: no term of it can fail a load; add a latency percentile or errors")
    return slo


def _read(texts: Mapping[str, str], name: str, parse: Callable[[str], float], usual: float = 0.0) -> float:
    text = texts.get(name, "").strip()
    if not text:
        return usual
    try:
        return parse(text)
    except ValueError as e:
        raise ValueError(f"{flag(name)} {text!r}: {e}") from None


def seeds(texts: Mapping[str, str]) -> range:
    """The seeds of `runs` searches, from `seed` on."""
    first = int(_read(texts, "seed", quantities.seed, 1))
    return range(first, first + int(_read(texts, "runs", quantities.whole, 1)))
