"""Answers of searches beside each other, and beside the truth where it is known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median

from .block import LABEL, UNITS
from .numbers import number, percent, seconds, three
from .result import CapacityPart, Result

MISLED = 0.05
"""An answer that is too high by more than this share is an over-estimate."""


def repeats(outcomes: Sequence[Result], truths: Sequence[float] = ()) -> str:
    """Several searches of the same thing, summed up; each line ended. `truths`: the true capacity for each, or none."""
    unit = UNITS[outcomes[0]["capacity"]["unit"]]
    ends = Counter(o["verdict"] + f" ({o['reason']})" * (o["verdict"] != "resolved") for o in outcomes)
    rows = [("SEARCHES", f"{len(outcomes)}:  {', '.join(f'{n} {end}' for end, n in ends.most_common())}")]
    if found := sorted(value for o in outcomes if (value := o["capacity"]["value"]) is not None):
        rows.append(
            ("capacity", f"median {three(median(found))} {unit};  from {three(found[0])} to {three(found[-1])}")
        )
    times = [o["elapsed_s"] for o in outcomes]
    middle, most, longest = map(seconds, (median(times), quantile(times, 0.9), max(times)))
    rows.append(("time", f"median {middle};  9 of 10 within {most};  longest {longest}"))
    requests = [o["requests"] for o in outcomes]
    rows.append(("requests", f"median {number(median(requests))};  most {number(max(requests))}"))
    if truths and found:
        rows.append(("errors", _errors([o["capacity"] for o in outcomes], truths)))
    return _lines(rows)


def _errors(answers: Sequence[CapacityPart], truths: Sequence[float]) -> str:
    """median 0.8 %, 9 of 10 within 3 %;  1 of 20 more than 5 % too high;  19 of 20 intervals hold the truth"""
    known = [(c["value"], _holds(c, truth), truth) for c, truth in zip(answers, truths, strict=True)]
    errors = [(value / truth - 1, held) for value, held, truth in known if value is not None]
    sizes = [abs(error) for error, _ in errors]
    of = f"of {len(errors)}"
    return (
        f"median {100 * median(sizes):.1f} %, 9 of 10 within {100 * quantile(sizes, 0.9):.1f} %;  "
        f"{sum(error > MISLED for error, _ in errors)} {of} more than {percent(MISLED)} too high;  "
        f"{sum(held for _, held in errors)} {of} intervals hold the truth"
    )


def against(outcome: Result, truth: float, se: float, whose: str = "") -> str:
    """The answer of a search beside the truth, with its standard error. `whose` truth, if there are several."""
    c = outcome["capacity"]
    rows = [("truth", f"{three(truth)} {UNITS[c['unit']]}{whose} (standard error {se:.2g}), by long simulated runs")]
    if c["value"] is not None:
        error = c["value"] / truth - 1
        held = "holds" if _holds(c, truth) else "DOES NOT HOLD"
        rows.append(
            ("error", f"{100 * abs(error):.1f} % too {'high' if error > 0 else 'low'};  the interval {held} the truth")
        )
    return _lines(rows)


def unknown(why: str) -> str:
    """The line where the truth could not be found."""
    return _lines([("truth", f"not known: {why}")])


def _holds(c: CapacityPart, truth: float) -> bool:
    return c["low"] is not None and c["high"] is not None and c["low"] <= truth <= c["high"]


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest of the values that a share `q` of them does not exceed."""
    return sorted(values)[max(math.ceil(q * len(values) - 1e-9), 1) - 1]


def _lines(rows: Sequence[tuple[str, str]]) -> str:
    return "".join(f" {label:<{LABEL - 1}}{text}\n" for label, text in rows)
