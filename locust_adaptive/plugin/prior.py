"""The prior: what a search takes from the capacity.json of an earlier run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ..report.result import ResultError, from_json
from ..search.settings import Loop

UNITS = {"open": ("rps", "arrivals"), "closed": ("users",)}
"""Units of a capacity by the loop that it was found in: in open loop both are arrivals/s."""
ADVICE = "name the capacity.json of an earlier run, or leave the option out"


@dataclass(frozen=True)
class Prior:
    """A capacity found before: `value` in arrivals/s (open loop) or users (closed), under `slo` (text) at `host`; None
    where the file does not say."""

    value: float
    slo: str | None
    host: str | None

    @classmethod
    def read(cls, file: Path, loop: Loop) -> Self:
        """ValueError, with a message that says what to do, if the file has no capacity for a search in this loop."""
        try:
            plain: Any = from_json(file.read_text("utf-8"))
        except OSError as e:
            raise ValueError(f"cannot be read ({e.strerror}); {ADVICE}") from None
        except UnicodeDecodeError:
            raise ValueError(f"no capacity.json: it is no text; {ADVICE}") from None
        except ResultError as e:
            raise ValueError(f"{e}; {ADVICE}") from None
        try:
            found, environment = plain["capacity"], plain.get("environment") or {}
            value, unit = found["value"], found["unit"]
            prior = cls(0.0 if value is None else float(value), plain.get("slo"), environment.get("host"))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as e:
            raise ValueError(f"no capacity.json: {type(e).__name__}: {e}; {ADVICE}") from None
        if unit not in UNITS[loop]:
            raise ValueError(
                f"that capacity is in {unit}, and this search is in {loop} loop, where it is in "
                f"{' or '.join(UNITS[loop])}; name one that was found in {loop} loop, or leave the option out"
            )
        if value is None:
            ending = f"that run ended {plain.get('verdict')} ({plain.get('reason')}) without a capacity"
            if low := found.get("low"):
                raise ValueError(f"{ending}; leave the option out, and begin at what passed: --adaptive-start {low}")
            raise ValueError(f"{ending}; name one that found a capacity, or leave the option out")
        return prior

    def differences(self, slo: str, host: str | None) -> list[str]:
        """In what a run under this SLO, at this host, is another than the one that found the prior; in words."""
        pairs = (("under the SLO", self.slo, slo), ("at the host", self.host, host))
        return [
            f"it was found {where} {then}, and this run's is {now}: the search starts from it all the same"
            for where, then, now in pairs
            if then and now and then != now
        ]
