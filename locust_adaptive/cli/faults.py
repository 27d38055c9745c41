"""What every command shares: errors that the person can mend, values of options, and being terminated."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

import click

T = TypeVar("T")


class Fault(click.ClickException):
    """What the person can mend: one line, exit code 2."""

    exit_code = 2


@contextmanager
def faults() -> Iterator[None]:
    """Turn the errors of bad input into a `Fault`."""
    try:
        yield
    except BrokenPipeError:  # who reads our output has seen enough; click ends quietly
        raise
    except (ValueError, OSError) as fault:
        raise Fault(str(fault)) from fault


def parsed(option: str, text: str, parse: Callable[[str], T]) -> T:
    """The value of an option; a ValueError of `parse`, as those of `search.quantities` are, gets its subject."""
    try:
        return parse(text)
    except ValueError as fault:
        raise ValueError(f"{option} {text!r} {fault}") from None


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that no half-written file stays behind."""

    def stop(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
