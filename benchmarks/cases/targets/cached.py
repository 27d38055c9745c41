"""Where what the cases need is built: once, outside of git, and again when the code that makes it changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILD = ROOT / "build" / "cases"


def digest(*sources: str | Path) -> str:
    """Of these source files."""
    return blake2b(b"".join(Path(source).read_bytes() for source in sources), digest_size=6).hexdigest()


def built(name: str, source: str, make: Callable[[Path], None]) -> Path:
    """The file `name` that `make` writes, a function of the module `source`; made if that has changed since, or never
    did it. Two processes may ask at once."""
    stem, suffix = os.path.splitext(name)
    path = BUILD / f"{stem}-{digest(source)}{suffix}"
    if not path.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        beside = BUILD / f"{stem}-{os.getpid()}{suffix}"
        try:
            make(beside)
            beside.rename(path)
        finally:
            beside.unlink(missing_ok=True)
    return path
