"""How bursty a trace is, as recorded and at another rate: rows for `trace info`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..replay.profile import Profile, Rescaled


def rows(recorded: "Profile", then: "Rescaled | None") -> list[tuple[str, str]]:
    """Label and text, one row each: the windows, the trace, the trace at another rate if asked, Poisson arrivals."""
    rows = [("burstiness", _row("0.1 s", "1 s", "10 s", "60 s") + "index of dispersion"), ("  recorded", _of(recorded))]
    if then is not None:
        rows.append((f"  at {then.rate:.5g}/s", _of(then) + _made_of(then.multiple)))
    return [*((label, text.rstrip()) for label, text in rows), ("  Poisson", _row("1", "1", "1", "1").rstrip())]


def _of(figures: "Profile | Rescaled") -> str:
    values = figures.dispersion_100ms, figures.dispersion_1s, figures.dispersion_10s, figures.dispersion_60s
    return _row(*("-" if value is None else f"{value:.4g}" for value in values))


def _row(*cells: str) -> str:
    return "".join(f"{cell:<8}" for cell in cells)


def _made_of(multiple: float) -> str:
    copies, part = divmod(round(multiple, 3), 1)
    words = [f"{copies:.0f} copies" if copies > 1 else "the whole"] if copies else []
    words += [f"{part:.1%} of the sessions"] if part else []
    return " and ".join(words)
