"""Which arrivals the open-loop users of a process get, by their classes and their trace."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from ..replay.arrivals import Constant, Pacer, Pacing, Poisson
from ..replay.fitness import NO_TIMES
from .openloop import is_open_loop
from .options import ConfigError
from .replayuser import ReplayUser

KINDS = ("poisson", "recorded", "constant")


def chosen(user_classes: Iterable[Any]) -> tuple[str, str | None]:
    """The kind of arrivals of these classes, and what to warn of. Raises ConfigError for what cannot be.

    A `ReplayUser` that asks for none gets recorded arrivals where its trace is fit for them and it is alone, else
    Poisson's; on a host without the trace it is taken for fit, and a worker that knows better says so.
    """
    classes = [cls for cls in user_classes if is_open_loop(cls)]
    asked = {cls.__name__: cls.arrivals for cls in classes if cls.arrivals is not None}
    for name, kind in asked.items():
        if kind not in KINDS:
            raise ConfigError(f"{name}: arrivals is {kind!r}; known are {', '.join(KINDS)}")
    if len(set(asked.values())) > 1:
        kinds = ", ".join(f"{name} {kind}" for name, kind in asked.items())
        raise ConfigError(f"one run has one kind of arrivals, and these classes ask for several: {kinds}")
    kind = next(iter(asked.values()), None)
    if kind not in (None, "recorded"):
        return str(kind), None
    if len(classes) > 1 or not issubclass(classes[0], ReplayUser):
        if kind is None:
            return "poisson", "arrivals are Poisson's: recorded ones are those of one trace, and there are several"
        raise ConfigError(
            "recorded arrivals are those of one trace, and need one ReplayUser and no other open-loop class; name it "
            f"on the command line, or set arrivals = 'poisson' in {', '.join(asked)}"
        )
    (cls,) = classes
    why = cls.unfit()
    if why is None:
        return "recorded", None
    if kind is None:
        return "poisson", (
            f"{cls.__name__}: arrivals are Poisson's, and not those of the trace: {why}. To say so, or to have the "
            "recorded ones all the same, set arrivals = 'poisson' or 'recorded' in the class"
        )
    if why == NO_TIMES:
        raise ConfigError(f"{cls.__name__}: the trace cannot say when arrivals come: {why}. Set arrivals = 'poisson'")
    return kind, f"{cls.__name__}: recorded arrivals may mislead here: {why}. Without that: arrivals = 'poisson'"


def check_search(user_classes: Iterable[Any]) -> None:
    """Raise ConfigError for what makes no sense in a search."""
    for cls in user_classes:
        if issubclass(cls, ReplayUser) and cls.in_order():
            raise ConfigError(
                f"{cls.__name__}: order = 'recorded' is for runs at a fixed rate; each probe of a search has to draw "
                "from the whole trace, and would only ever play its beginning. Remove it"
            )


def check_bodies(user_classes: Iterable[Any], kind: str | None) -> None:
    """Raise ConfigError where users of this process would draw sessions, as all do but those with recorded arrivals,
    and none of theirs has its bodies. `kind` is that of the open-loop users."""
    for cls in user_classes:
        drawn = kind != "recorded" or not is_open_loop(cls)
        if drawn and issubclass(cls, ReplayUser) and (why := cls.prepare()[0].undrawn):
            raise ConfigError(f"{cls.__name__}: {why}")


def pacing(kind: str, user_classes: Iterable[Any], seed: str, part: int = 0, parts: int = 1) -> Pacing:
    """The arrivals of one worker, the `part`-th of so many that share the load. ValueError where they cannot be."""
    if kind == "constant":
        return Pacer(Constant((part + 1) / parts))
    if kind == "poisson":
        return Pacer(Poisson(random.Random(seed)))
    (cls,) = (cls for cls in user_classes if is_open_loop(cls))
    there, why = chosen([cls])
    if there != kind:
        raise ConfigError(f"recorded arrivals were asked for by a master that does not have the trace. {why}")
    return cls.prepare()[0].pacing(parts, cls.speed)
