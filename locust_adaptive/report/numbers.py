"""Numbers as a person reads them: three significant digits, thousands grouped by a blank from five digits on."""

from __future__ import annotations

from decimal import Decimal

SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def number(value: float) -> str:
    """65.5, 0.00012, 1900, 11 900."""
    return _grouped(format(Decimal(f"{value:.3g}"), "f"))


def three(value: float) -> str:
    """With the zeros that say how exact it is: 59.0, 0.500, 1900."""
    return _grouped(format(Decimal(f"{value:#.3g}"), "f").rstrip("."))


def count(n: int) -> str:
    """Exactly: 1900, 11 870."""
    return _grouped(str(n))


def _grouped(text: str) -> str:
    whole, point, rest = text.partition(".")
    return f"{int(whole):,}".replace(",", " ") + point + rest if len(whole.lstrip("-")) > 4 else text


def percent(ratio: float) -> str:
    return f"{number(100 * ratio)} %"


def seconds(s: float) -> str:
    """21 s, 3 m 12 s, 1 h 05 m."""
    whole = round(s)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} m {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} m"


def clock(s: float) -> str:
    """Time into the search: 0:45, 12:03."""
    minutes, rest = divmod(int(s), 60)
    return f"{minutes}:{rest:02}"


def things(n: int, name: str) -> str:
    """one probe, 8 probes."""
    return f"{count(n)} {name}{'' if n == 1 else 's'}"


def spelled(n: int) -> str:
    """A small number in a sentence."""
    return SMALL[n] if 0 <= n < len(SMALL) else count(n)
