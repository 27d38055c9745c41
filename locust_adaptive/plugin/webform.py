"""The start form: what it offers, and the options that a filled-in one asks for. Pure; nothing is applied here.

Locust writes every field into the process's options as it comes, before it looks at the next. Here all of it is read
into a copy first: a form with one mistake changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from locust.util.timespan import parse_timespan

from .options import OPTIONS, ConfigError
from .webguard import Refused

LOCUST_FIELDS = frozenset({"user_count", "spawn_rate", "host", "run_time", "profile"})
"""What the form of Locust 2.47 has for every test; `user_classes` and `shape_class` come with --class-picker."""
OURS = frozenset(option.name for option in OPTIONS)
NO_SHAPE = "Default"
LONGEST_FIELD = 2000
"""Characters. Options of ours are held to less where they are read."""

Fields = Mapping[str, list[str]]


@dataclass(frozen=True)
class Offer:
    """What the form offers. `custom`: the custom parameters, as argparse's actions by name. `user_classes` and
    `shapes`: names to pick from, None without --class-picker."""

    custom: Mapping[str, Any]
    user_classes: frozenset[str] | None = None
    shapes: frozenset[str] | None = None

    def fields(self, pairs: Iterable[tuple[str, str]]) -> Fields:
        """The fields of a form by name. Raises Refused for what the form does not offer."""
        found: dict[str, list[str]] = {}
        for name, text in pairs:
            if not self._offers(name):
                raise Refused(
                    400,
                    f"The start form has no field {name[:100]!r}: it is not to be set from the web. Nothing changed",
                )
            if name in found and not self._repeats(name):
                raise Refused(400, f"The field {name!r} is there twice: say which one is meant. Nothing changed")
            if len(text) > LONGEST_FIELD and name not in OURS:
                raise Refused(400, f"{name}: a text of {len(text)} characters; {LONGEST_FIELD} at most are read")
            if any(ord(c) < 32 for c in text):
                raise Refused(400, f"{name}: control characters are not read")
            found.setdefault(name, []).append(text)
        return found

    def _offers(self, name: str) -> bool:
        picked = (name == "user_classes" and self.user_classes is not None) or (
            name == "shape_class" and self.shapes is not None
        )
        return picked or name in LOCUST_FIELDS or name in self.custom

    def _repeats(self, name: str) -> bool:
        return name == "user_classes" or bool(getattr(self.custom.get(name), "is_multiple", False))


@dataclass(frozen=True)
class Asked:
    """What a form asks for. `options`: all options of the process, as they would be. `pairs`: the fields to hand on to
    Locust. `max_users`: what it says on users, None if nothing. Classes and shape are names, None if not picked."""

    options: dict[str, Any]
    pairs: list[tuple[str, str]]
    max_users: int | None
    user_classes: list[str] | None
    shape: str | None


def read(fields: Fields, offer: Offer, options: Mapping[str, Any]) -> Asked:
    """What a form asks for, on top of `options`: a blank field leaves what is there. Raises ConfigError."""
    filled = dict(options)
    pairs: list[tuple[str, str]] = []
    for name, texts in fields.items():
        text = texts[0]
        if not any(texts) and (name in OURS or name in ("run_time", "host")):
            continue
        match name:
            case "user_count":
                filled["num_users"] = _whole("-u", text)
                texts = [str(filled["num_users"])]
            case "spawn_rate":
                filled[name] = _rate(text)
            case "run_time":
                filled[name] = _time(text)
                texts = [str(filled[name])]
            case "profile":
                filled[name] = text or None
            case "host":
                filled[name] = text
            case "user_classes":
                filled[name] = _known("user class", texts, offer.user_classes or frozenset())
            case "shape_class":
                _known("shape", texts, (offer.shapes or frozenset()) | {NO_SHAPE})
            case _:
                filled[name] = _as_locust_reads(name, filled.get(name), texts, offer.custom[name])
        pairs += [(name, each) for each in texts]
    shape = None if offer.shapes is None else fields.get("shape_class", [NO_SHAPE])[0]
    classes = fields.get("user_classes") if offer.user_classes is not None else None
    return Asked(filled, pairs, filled["num_users"] if "user_count" in fields else None, classes, shape)


def _whole(flag: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{flag} {text[:100]!r}: is not a whole number") from None


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ConfigError(f"-r {text[:100]!r}: is not a number") from None
    if not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"-r {text[:100]!r}: must be a number, 0 or above")
    return value


def _time(text: str) -> int:
    try:
        seconds = parse_timespan(text.strip())
    except (ValueError, OverflowError) as e:
        raise ConfigError(f"-t {text[:100]!r}: {e}") from None
    if seconds <= 0:
        raise ConfigError(f"-t {text[:100]!r}: must be above 0")
    return int(seconds)


def _known(what: str, names: list[str], known: frozenset[str]) -> list[str]:
    if strangers := sorted(set(names) - known):
        raise ConfigError(f"there is no {what} {strangers[0][:100]!r}; the locustfile has {', '.join(sorted(known))}")
    return names


def _as_locust_reads(name: str, current: Any, texts: list[str], action: Any) -> Any:
    """The value that Locust makes of a custom parameter: of the type that the option has now."""
    text = texts[0]
    parts = text.split(",") if isinstance(current, list) and "," in text else texts
    flag = next(iter(action.option_strings), name)
    if action.choices and (strange := [part for part in parts if part not in map(str, action.choices)]):
        raise ConfigError(f"{flag} {strange[0][:100]!r}: is none of {', '.join(map(str, action.choices))}")
    if isinstance(current, bool):
        return text == "true"
    if current is None:
        return text
    try:
        if isinstance(current, list):
            return [int(part) for part in parts] if all(isinstance(item, int) for item in current) else parts
        return type(current)(text)
    except (ValueError, TypeError, ArithmeticError) as e:
        raise ConfigError(f"{flag} {text[:100]!r}: {e}") from None
