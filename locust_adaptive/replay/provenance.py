"""What happened between the traffic and the trace, as the trace tells it, in notes under three keys.

`redactions`: what was taken out of the requests, by name ("header cookie"), with counts. `sampling`: the steps by which
a part was kept, in their order. `dropped`: requests that arrived and are not in the trace, by reason, with counts.
"""

import json
from collections.abc import Mapping
from typing import Any, TypedDict

from .record import TraceError


class Sampling(TypedDict):
    """One step by which a part was kept: `share` of `of` (sessions, bodies, time, ...), chosen as `how` says."""

    of: str
    share: float | None  # of what there was before this step, in [0, 1]; None where it is no share
    how: str


EMPTY: dict[str, Any] = {"redactions": {}, "sampling": [], "dropped": {}}
NOTES = tuple(EMPTY)


def encode(key: str, value: Any) -> str:
    """A note as the trace stores it; `TraceError` when it is none."""
    return json.dumps(_checked(key, value))


def decode(key: str, text: Any) -> Any:
    """Inverse of `encode`; `ValueError` when it is none."""
    if not isinstance(text, str):
        raise ValueError(f"{key} is no text")
    try:
        return _checked(key, json.loads(text))
    except RecursionError:
        raise ValueError(f"{key} is nested too deeply") from None


def sentence(step: Sampling) -> str:
    """10 % of the sessions: by hash, seed 1."""
    share = "" if step["share"] is None else f"{100 * step['share']:.4g} % of the "
    return f"{share}{step['of']}: {step['how']}"


def _checked(key: str, value: Any) -> Any:
    if key not in NOTES:
        raise TraceError(f"a trace has no note {key!r}; known are {', '.join(NOTES)}")
    fine = isinstance(value, list) and all(map(_is_step, value)) if key == "sampling" else _is_counts(value)
    if not fine:
        wanted = "a list of {of, share, how}" if key == "sampling" else "names with counts"
        raise TraceError(f"{key} must be {wanted}, not {value!r:.200}")
    return value


def _is_counts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and type(count) is int and count >= 0 for name, count in value.items()
    )


def _is_step(value: Any) -> bool:
    match value:
        case {"of": str(), "share": None | int() | float() as share, "how": str(), **rest}:
            return not rest and (share is None or 0 <= share <= 1)
    return False
