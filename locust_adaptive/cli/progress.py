"""How far long work is: a bar on standard error, for a person who watches."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

import click

Item = TypeVar("Item")


def progress(items: Iterable[Item], length: int, label: str) -> Iterator[Item]:
    """The items, with a bar where standard error is a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    with click.progressbar(
        items, length=length, label=label, file=sys.stderr, update_min_steps=max(1, length // 500)
    ) as bar:
        yield from bar
