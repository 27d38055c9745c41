"""A new file, whole or not at all: written beside its place, then moved there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .record import TraceError
from .writer import SIDECARS


def mode_of(source: Path) -> int:
    """Who may read what is made of a file: those who can read it."""
    return source.stat().st_mode & 0o666 | 0o600


@contextmanager
def whole(out: Path, force: bool = False) -> Iterator[Path]:
    """A path to write to. It becomes `out` when the block ends well and is removed when it does not.

    `force` replaces an existing file; without it, nothing that exists is touched, also when it came meanwhile.
    Raises `TraceError` when `out` exists, is no place for a file, or the block raises one or an `OSError`.
    """
    if out.exists() and not out.is_file():
        raise TraceError(f"{out} is no regular file; choose another name")
    if out.exists() and not force:
        raise _exists(out)
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        yield unfinished
        _sync(unfinished)
        _move(unfinished, out, force)
        _sync(out.parent)
    except TraceError as fault:
        # What the person asked for is `out`; the other name is ours.
        raise type(fault)(str(fault).replace(str(unfinished), str(out))) from None
    except BrokenPipeError:
        raise
    except OSError as fault:
        raise TraceError(f"cannot write {out}: {fault.strerror}; check the folder and its free space") from None
    finally:
        for suffix in ("", *SIDECARS):
            unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)


def _move(unfinished: Path, out: Path, force: bool) -> None:
    if not force:
        try:
            os.link(unfinished, out)  # unlike a rename, this never replaces
        except FileExistsError:
            raise _exists(out) from None
        except OSError:  # a file system without links
            if out.exists():
                raise _exists(out) from None
        else:
            return
    unfinished.replace(out)


def _exists(out: Path) -> TraceError:
    return TraceError(f"{out} exists; choose another name, or --force to replace it")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
