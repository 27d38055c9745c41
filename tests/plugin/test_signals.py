"""The watch on signals, in processes of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

BEGIN = """
import os, signal, sys
import locust, gevent
from locust_adaptive.plugin.signals import SignalWatch, interrupt_main
def first(number):
    print("first", number, flush=True)
    {first}
watch = SignalWatch(first)
{before}
watch.arm()
{after}
try:
    print("armed", flush=True)
    gevent.sleep(20)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


class Child:
    def __init__(self, first: str = "pass", before: str = "", after: str = "") -> None:
        text = BEGIN.format(first=first, before=before, after=after)
        self._child = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.line() == "armed"

    def line(self) -> str:
        assert self._child.stdout is not None
        return self._child.stdout.readline().decode().strip()

    def send(self, number: int) -> None:
        self._child.send_signal(number)

    def end(self) -> int:
        return self._child.wait(10)

    def close(self) -> None:
        self._child.kill()
        self._child.communicate()


@pytest.fixture
def children() -> Iterator[list[Child]]:
    made: list[Child] = []
    yield made
    for child in made:
        child.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_is_told_and_the_next_ends_at_once(number: signal.Signals, children: list[Child]) -> None:
    child = Child(first="gevent.sleep(0.6); print('long enough', flush=True); gevent.sleep(20)")
    children.append(child)
    child.send(number)
    assert child.line() == f"first {int(number)}"
    assert child.line() == "long enough"
    child.send(number)
    assert child.end() == 128 + number


def test_two_close_together_are_one(children: list[Child]) -> None:
    child = Child(first="interrupt_main()")
    children.append(child)
    child.send(signal.SIGTERM)
    child.send(signal.SIGTERM)
    child.send(signal.SIGTERM)
    assert child.line() == "first 15"
    assert child.line() == "interrupted"
    assert child.end() == 0


def test_a_signal_that_was_ignored_stays_ignored(children: list[Child]) -> None:
    child = Child(first="interrupt_main()", before="signal.signal(signal.SIGHUP, signal.SIG_IGN)")
    children.append(child)
    child.send(signal.SIGHUP)
    child.send(signal.SIGINT)
    assert child.line() == "first 2"
    assert child.end() == 0


def test_disarmed_ctrl_c_is_pythons_again(children: list[Child]) -> None:
    child = Child(after="watch.disarm(); watch.disarm()")
    children.append(child)
    child.send(signal.SIGINT)
    assert child.line() == "interrupted"
    assert child.end() == 0


def test_disarming_leaves_the_handler_of_another(children: list[Child]) -> None:
    """Locust's own for SIGTERM."""
    other = "gevent.signal_handler(signal.SIGTERM, lambda: print('other', flush=True)); watch.disarm()"
    child = Child(after=other)
    children.append(child)
    child.send(signal.SIGTERM)
    assert child.line() == "other"


def test_once_taken_it_stays_armed(children: list[Child]) -> None:
    child = Child(first="watch.disarm(); gevent.sleep(0.6); print('disarmed', flush=True)")
    children.append(child)
    child.send(signal.SIGINT)
    assert [child.line(), child.line()] == ["first 2", "disarmed"]
    child.send(signal.SIGINT)
    assert child.end() == 130


def test_what_is_passed_on_reaches_the_other_and_is_no_second_signal(children: list[Child]) -> None:
    other = "gevent.signal_handler(signal.SIGTERM, lambda: (print('other', flush=True), interrupt_main()))"
    child = Child(first="gevent.sleep(0.6); watch.pass_on()", after=other)
    children.append(child)
    child.send(signal.SIGINT)
    assert [child.line() for _ in range(3)] == ["first 2", "other", "interrupted"]
    assert child.end() == 0
