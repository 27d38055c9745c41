"""What the class picker may change of a user class, by POST /user. Locust would set any attribute of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .webguard import Refused

NAME = "user_class_name"


def check(body: bytes, user_classes: Mapping[str, Iterable[Any]]) -> None:
    """Raise Refused unless this is what Locust's page sends, for one of these classes, named with all their tasks."""
    try:
        plain = json.loads(body)
    except ValueError:
        raise Refused(400, "The body is no JSON. Nothing changed") from None
    name = plain.get(NAME) if isinstance(plain, dict) else None
    if not isinstance(name, str) or name not in user_classes:
        known = ", ".join(sorted(user_classes))
        raise Refused(400, f"{NAME} {str(name)[:100]!r}: there is no such user class; there are {known}")
    tasks = {task.__name__ for task in user_classes[name]}
    fits: dict[str, Callable[[Any], bool]] = {
        NAME: lambda v: True,
        "host": lambda v: v is None or isinstance(v, str),
        "weight": _is_count,
        "fixed_count": _is_count,
        "tasks": lambda v: isinstance(v, list) and set(map(str, v)) <= tasks,
    }
    for key, value in plain.items():
        if key not in fits:
            raise Refused(400, f"The page offers no setting {key[:100]!r} of a user class. Nothing changed")
        if not fits[key](value):
            raise Refused(400, f"{key} {str(value)[:100]!r} does not fit {name}. Nothing changed")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1_000_000
