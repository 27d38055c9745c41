"""A simulated server as a person describes it: options in, a `Target` out, and back.

A value is one quantity, or several joined by colons. A time is 13ms, 60s or 2m, a factor 3x, a share 15% or 0.15::

    service      time                   of a request; of a batch, what it takes beside its requests
    per_request  time                   that each request adds to its batch
    workers      count                  that serve side by side
    batch        count                  requests in a batch, at most
    batch_delay  time                   that a batch waits for more
    sigma        number                 spread of the service time: standard deviation of its logarithm
    queue        count                  that may wait; more are refused
    cold         factor:time            slower at first, and for so long
    pauses       time:time              nothing is served for so long, each so often, as regular as a clock
                 time..time:time        from so long to so long, at random, so far apart on average
    tenant       factor:time:time       a neighbour: slower for a mean time, at a mean distance
    drift        share:time             slower in the end, with that time constant
    leak         share                  slower each hour
    bimodal      share:factor           of the requests take so much longer
    modes        factor:share:time      slower for that share of the time, in phases of that mean length
    metastable   share:factor           from a queue of that share of its bound on slower, until it is empty
    scale        count:share:time       workers at most; one more after each period that was busier than that share
    errors       share                  of the requests fail at once
    rate_limit   number                 requests/s that are let through; more are answered 429
    gone         time..time             nobody there between these times of the search; then as new
    bursts       factor:time:time       traffic: so much more in bursts of a mean length, at a mean distance

`parse` and `arguments` are each other's inverse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from ..search.quantities import number, number_text, positive, ratio, seconds, share_text, time_text, whole
from .arrivals import Bursts
from .mischief import Mischief
from .server import Server

FAILED, LIMITED = "http 503", "http 429"


@dataclass(frozen=True)
class Target:
    """A simulated server, what it does wrong, and how its traffic comes (None: nothing; Poisson)."""

    server: Server
    mischief: Mischief | None = None
    bursts: Bursts | None = None


class _Kind(NamedTuple):
    """How a part of a value is called, read and written."""

    name: str
    example: str
    parse: Callable[[str], Any]
    text: Callable[[Any], str]


def _factor(text: str) -> float:
    return positive(text.removesuffix("x"))


def _spread(text: str) -> float:
    value = number(text)
    if not 0 <= value <= 3:
        raise ValueError("must be a number from 0 (always the same) to 3")
    return value


def _range(text: str) -> tuple[float, float]:
    first, dots, last = text.partition("..")
    if not dots:
        raise ValueError("is not a range of times such as 150s..158s")
    span = seconds(first.strip()), seconds(last.strip())
    if span[0] > span[1]:
        raise ValueError("ends before it begins")
    return span


def _range_text(span: tuple[float, float]) -> str:
    return "..".join(map(time_text, span))


TIME = _Kind("time", "60s", seconds, time_text)
SHORT = TIME._replace(example="1s")
FACTOR = _Kind("factor", "3x", _factor, lambda value: number_text(value) + "x")
SHARE = _Kind("share", "20%", ratio, share_text)
COUNT = _Kind("count", "3", lambda text: int(whole(text)), str)
NUMBER = _Kind("number", "120", positive, number_text)
SPREAD = _Kind("number", "0.4", _spread, number_text)
RANGE = _Kind("time..time", "0.5s..2s", _range, _range_text)

_SERVER: Mapping[str, tuple[str, tuple[_Kind, ...]]] = {
    "service": ("base", (TIME,)),
    "per_request": ("per_request", (TIME,)),
    "workers": ("workers", (COUNT,)),
    "batch": ("batch", (COUNT,)),
    "batch_delay": ("delay", (TIME,)),
    "sigma": ("sigma", (SPREAD,)),
    "queue": ("queue", (COUNT,)),
    "cold": ("cold", (FACTOR, TIME)),
    "tenant": ("tenant", (FACTOR, TIME, TIME)),
    "drift": ("drift", (SHARE, TIME)),
    "leak": ("leak", (SHARE,)),
    "bimodal": ("bimodal", (SHARE, FACTOR)),
    "modes": ("modes", (FACTOR, SHARE, TIME)),
    "metastable": ("metastable", (SHARE, FACTOR)),
    "scale": ("scale", (COUNT, SHARE, TIME)),
}
"""Options that are one field of the server: the field, and the parts of the value."""
_BEAT, _PAUSES, _BURSTS = (SHORT, TIME), (RANGE, TIME), (FACTOR, SHORT, TIME)

OPTIONS = (*_SERVER, "pauses", "errors", "rate_limit", "gone", "bursts")
OPEN_ONLY = ("queue", "errors", "rate_limit", "gone", "bursts")
"""What the simulated users of a closed loop do not cope with: refused requests, failures and a rate of their own."""


def parse(texts: Mapping[str, str], *, closed: bool = False) -> Target:
    """The target that the options describe; those not given, or blank, do nothing. ValueError says which is wrong, why,
    and how it is written."""
    given = {name: text for name in OPTIONS if (text := texts.get(name, "").strip())}
    if "service" not in given:
        raise ValueError("how long does the server take for a request? Say for example --service 13ms")
    if closed and (refused := [name for name in OPEN_ONLY if name in given]):
        raise ValueError(f"{flag(refused[0])} is for --mode open: simulated users wait for an answer, and get one")
    found: dict[str, Any] = {}
    for name, (field, kinds) in _SERVER.items():
        if name in given:
            values = _values(name, given[name], kinds)
            found[field] = values if len(kinds) > 1 else values[0]
    if "pauses" in given:
        text = given["pauses"]
        if ".." in text:
            (shortest, longest), gap = _values("pauses", text, _PAUSES)
            found["pauses"] = (shortest, longest, gap)
        else:
            found["beat"] = _values("pauses", text, _BEAT)
    server = Server(**found)
    _check(server, given)
    bursts = Bursts(*_values("bursts", given["bursts"], _BURSTS)) if "bursts" in given else None
    return Target(server, _mischief(given), bursts)


def _check(server: Server, given: Mapping[str, str]) -> None:
    """What the parts have to do with each other."""
    if server.beat is not None and server.beat[0] >= server.beat[1]:
        raise _fault("pauses", given["pauses"], "a pause must be shorter than the time from one to the next")
    if server.scale is not None and server.scale[0] < server.workers:
        raise _fault("scale", given["scale"], f"there are {server.workers} workers from the start")
    if "batch_delay" in given and server.batch == 1:
        why = "a batch of one waits for nobody: say with --batch how many there may be"
        raise _fault("batch_delay", given["batch_delay"], why)


def _mischief(given: Mapping[str, str]) -> Mischief | None:
    if "errors" in given and "rate_limit" in given:
        raise ValueError("--errors and --rate-limit: a simulated server does one of the two; leave one out")
    found: dict[str, Any] = {}
    if "errors" in given:
        (share,) = _values("errors", given["errors"], (SHARE,))
        found = {"mode": FAILED, "share": share}
    if "rate_limit" in given:
        (above,) = _values("rate_limit", given["rate_limit"], (NUMBER,))
        found = {"mode": LIMITED, "above": above}
    if "gone" in given:
        (found["gone"],) = _values("gone", given["gone"], (RANGE,))
    return Mischief(**found) if found else None


def _values(name: str, text: str, kinds: tuple[_Kind, ...]) -> tuple[Any, ...]:
    """The parts of a value."""
    parts = [part.strip() for part in text.split(":")]
    if len(parts) != len(kinds):
        form, example = (":".join(getattr(kind, field) for kind in kinds) for field in ("name", "example"))
        raise _fault(name, text, f"must be {form}, such as {example}")
    values = []
    for part, kind in zip(parts, kinds, strict=True):
        try:
            values.append(kind.parse(part))
        except ValueError as e:
            raise _fault(name, text, f"{e}" if len(kinds) == 1 else f"the {kind.name} {part!r} {e}") from None
    return tuple(values)


def _fault(name: str, text: str, why: str) -> ValueError:
    return ValueError(f"{flag(name)} {text!r}: {why}")


def flag(name: str) -> str:
    """--batch-delay for batch_delay."""
    return "--" + name.replace("_", "-")


def arguments(target: Target) -> str:
    """The options that describe a target, as they would be typed: --service 13ms --workers 2."""
    return " ".join(f"{flag(name)} {text}" for name, text in _texts(target))


def _texts(target: Target) -> Iterator[tuple[str, str]]:
    server = target.server
    usual = {field.name: field.default for field in fields(Server)}
    for name, (field, kinds) in _SERVER.items():
        value = getattr(server, field)
        if name == "service" or value != usual[field]:
            yield name, _joined(value if len(kinds) > 1 else (value,), kinds)
    if server.pauses is not None:
        shortest, longest, gap = server.pauses
        yield "pauses", _joined(((shortest, longest), gap), _PAUSES)
    if server.beat is not None:
        yield "pauses", _joined(server.beat, _BEAT)
    if (mischief := target.mischief) is not None:
        if mischief.share:
            yield "errors", share_text(mischief.share)
        if mischief.above < math.inf:
            yield "rate_limit", number_text(mischief.above)
        if mischief.gone is not None:
            yield "gone", _range_text(mischief.gone)
    if (bursts := target.bursts) is not None:
        yield "bursts", _joined((bursts.factor, bursts.length, bursts.gap), _BURSTS)


def _joined(values: tuple[Any, ...], kinds: tuple[_Kind, ...]) -> str:
    return ":".join(kind.text(value) for value, kind in zip(values, kinds, strict=True))
