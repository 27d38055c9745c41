"""Who a worker is: what must be the same everywhere for its requests to mean the same; and how workers differ."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gevent
import locust

from .. import __version__
from .replayuser import ReplayUser

Identity = Mapping[str, str]
"""What is compared, and its value: plain texts, for a message."""

VERSIONS = ("locust-adaptive", "Locust")
"""What the master must share, too. It needs no trace: it sends nothing."""


def versions() -> dict[str, str]:
    return dict(zip(VERSIONS, (__version__, locust.__version__), strict=True))


def has_trace(user_classes: Iterable[Any]) -> bool:
    """Does one of these replay one?"""
    return any(issubclass(user_class, ReplayUser) for user_class in user_classes)


def identity(user_classes: Iterable[Any]) -> dict[str, str]:
    """This process's. Reads each trace once, in a thread. Raises ValueError (ConfigError) for one that is not there."""
    classes = sorted(user_classes, key=lambda c: str(c.__name__))
    found = versions() | {"user classes": ", ".join(c.__name__ for c in classes)}
    for user_class in classes:
        if issubclass(user_class, ReplayUser):
            user_class.prepare()
            path = user_class.trace_path()
            stat = path.stat()
            digest = gevent.get_hub().threadpool.apply(_digest, (path, stat.st_size, stat.st_mtime_ns))
            found[f"trace {user_class.trace!r} of {user_class.__name__}"] = f"with digest {digest}"
    return found


@functools.lru_cache
def _digest(path: Path, _size: int, _changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def differences(found: Mapping[str, Identity], ours: Identity) -> dict[str, str]:
    """Which workers differ, and in what. A value must be as in `ours`; where that has none, as with most workers."""
    most = dict(ours)
    for key in dict.fromkeys(key for who in found.values() for key in who if key not in ours):
        most[key] = Counter(who.get(key, "none") for who in found.values()).most_common(1)[0][0]
    return {
        worker: "; ".join(differing)
        for worker, who in found.items()
        if (differing := [f"{k} {who.get(k, 'none')}, not {v}" for k, v in most.items() if who.get(k, "none") != v])
    }
