"""Quantities as a person writes them: numbers, shares, times. Text at the edges, values inside.

Each parser raises a ValueError that ends the sentence "--option 'text' ..."; `number_text`, `share_text` and
`time_text` are the inverses of `number`, `share` and `seconds`. Units are applied in decimal, or 7 % would be
0.07000000000000001.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

_TIME_UNITS = {"ms": Decimal("0.001"), "s": Decimal(1), "": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}


def number(text: str) -> float:
    """Any number that Python reads: 2, 0.5, 1e3."""
    try:
        return float(text)
    except ValueError:
        raise ValueError("is not a number") from None


def positive(text: str) -> float:
    """A finite number above 0."""
    return _positive(number(text))


def whole(text: str) -> float:
    """1, 2, 3, ..."""
    value = positive(text)
    if value != int(value):
        raise ValueError("must be a whole number")
    return value


def seed(text: str) -> float:
    """0, 1, 2, ..."""
    return 0.0 if number(text) == 0 else whole(text)


def share(text: str) -> float:
    """5% or 0.05: from 0 to below 1."""
    percent = re.fullmatch(r"(.*\S)\s*%", text)
    value = number(percent[1] if percent else text)
    if percent:
        value = float(Decimal(percent[1]).scaleb(-2))
    if not 0 <= value < 1:
        raise ValueError("must be a share from 0 to below 100 %, such as 5% or 0.05")
    return value


def ratio(text: str) -> float:
    """A share above 0."""
    value = share(text)
    if value == 0:
        raise ValueError("must be above 0")
    return value


def seconds(text: str) -> float:
    """30s, 13ms, 2m, 1h, or 30: a time above 0, in seconds."""
    parts = re.fullmatch(r"([\d.]+)\s*(ms|s|m|h|)", text)
    if not parts:
        raise ValueError("is not a time such as 30s or 2m")
    number(parts[1])
    return _positive(float(Decimal(parts[1]) * _TIME_UNITS[parts[2]]))


def _positive(value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError("must be a number above 0")
    return value


def number_text(value: float) -> str:
    """16, 0.4: exactly, and without an exponent."""
    return _plain(Decimal(repr(value)))


def share_text(value: float) -> str:
    """5%."""
    return _plain(Decimal(repr(value)).scaleb(2)) + "%"


def time_text(value: float) -> str:
    """13ms, 60s: in ms below a second."""
    exact = Decimal(repr(value))
    return f"{_plain(exact)}s" if value >= 1 else f"{_plain(exact.scaleb(3))}ms"


def _plain(value: Decimal) -> str:
    return format(value.normalize(), "f")
