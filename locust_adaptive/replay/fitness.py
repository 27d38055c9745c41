"""Is a trace fit to be replayed in its own time? Pure, from the index."""

import math

from .index import Index
from .profile import dispersion

STRETCHES = 50
"""Stretches into which a trace is cut, to see whether they are alike. Fewer would say little about their variance."""
RISING = 2.0
"""Dispersion that is so much larger in a stretch than in a quarter of one still rises: it is four times as large where
the rate drifts, and no larger where bursts are short. Chance makes it so large in about one trace of a thousand."""
UNEVEN = 0.1
"""Stretches whose rates differ by less, in standard deviations, are alike whatever the reason."""
NO_TIMES = "it has no arrival times"
_BY_QUALITY = {
    "none": NO_TIMES,
    "send_time": "its times are when requests were sent on, not when they arrived (time quality send_time)",
    "s": "its times are whole seconds: all that came within one would be sent at once (time quality s)",
}


def unfit(index: Index, time_quality: str) -> str | None:
    """Why recorded arrivals of this trace would not be those of its traffic; None where they would.

    Besides times that are not those of the arrivals, it is *too short for its slowest burst*: a fiftieth of the trace
    still has `RISING` times the index of dispersion of a quarter of that, and the rates of these stretches vary by more
    than `UNEVEN`. What happens once or twice in a trace is no sample of what happens.
    """
    if time_quality in _BY_QUALITY:
        return _BY_QUALITY[time_quality]
    stretch = (int(index.due_ns[-1]) + 1) // STRETCHES
    if stretch < 4:
        return "all its requests are due at once"
    long, short = dispersion(index.due_ns, stretch), dispersion(index.due_ns, stretch // 4)
    assert long is not None
    assert short is not None
    variation = math.sqrt(long * STRETCHES / len(index))
    if long > RISING * short and variation > UNEVEN:
        return (
            f"it is too short for its slowest burst: the rates of stretches of {stretch / 1e9:.3g} s differ by "
            f"{variation:.0%}, the longer the more (index of dispersion {long:.3g}; in a quarter of one {short:.3g})"
        )
    return None
