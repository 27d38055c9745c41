"""Is a trace fit to be replayed in its own time? Pure, from the index."""

import math

import numpy as np

from .index import Index
from .profile import dispersion

STRETCHES = 50
"""Stretches into which a trace is cut, to see whether they are alike. Fewer would say little about their variance."""
UNEVEN = 0.1
"""Stretches whose rates differ by less, in standard deviations, are alike whatever the reason."""
RISING = 2.0
"""Dispersion that is so much larger in a stretch than in a quarter of one still rises: it is four times as large where
the rate drifts, and no larger where bursts are short. Chance makes it so large in about one trace of a thousand."""
FEW = 4.0
"""If the variance is that of fewer stretches (its squared sum over the sum of squares), it is that of a few bursts; of
independent stretches it is that of a third of them."""
NO_TIMES = "it has no arrival times"
_BY_QUALITY = {
    "none": NO_TIMES,
    "send_time": "its times are when requests were sent on, not when they arrived (time quality send_time)",
    "s": "its times are whole seconds: all that came within one would be sent at once (time quality s)",
}


def unfit(index: Index, time_quality: str) -> str | None:
    """Why recorded arrivals of this trace would not be those of its traffic; None where they would.

    Besides times that are not those of the arrivals, it is *too short for its slowest burst*: the rates of a fiftieth
    of the trace each vary by more than `UNEVEN`, and either the index of dispersion there is still `RISING` times that
    of a quarter of one, or the variance is that of a `FEW` of them. What happens once or twice in a trace is no sample
    of what happens.
    """
    if time_quality in _BY_QUALITY:
        return _BY_QUALITY[time_quality]
    stretch = (int(index.due_ns[-1]) + 1) // STRETCHES
    if stretch < 4:
        return "all its requests are due at once"
    counts = np.bincount(np.minimum(index.due_ns // stretch, STRETCHES - 1), minlength=STRETCHES)
    squares = np.square(counts - counts.mean())
    variation = math.sqrt(squares.mean()) / counts.mean()
    if variation <= UNEVEN:
        return None
    long, short = float(squares.sum() / (STRETCHES - 1) / counts.mean()), dispersion(index.due_ns, stretch // 4)
    matter = float(squares.sum() ** 2 / np.square(squares).sum())
    said = f"it is too short for its slowest burst: the rates of stretches of {stretch / 1e9:.3g} s differ by "
    if matter < FEW:
        return f"{said}{variation:.0%}, most of it in {matter:.1f} of them"
    if short is not None and long > RISING * short:
        return f"{said}{variation:.0%}, the longer the more (index of dispersion {long:.3g}; in a quarter {short:.3g})"
    return None
