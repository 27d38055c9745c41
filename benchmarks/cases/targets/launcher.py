"""`Served`: a model server beside this process: started, checked by an inference, pinned to a core, and ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

from .cached import BUILD, ROOT
from .catalogue import TARGETS, Target

KEEPER = Path(__file__).with_name("keeper.py")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
SAID = 3000
"""Characters of the end of the log that an error quotes."""


class NotServed(RuntimeError):
    """The server did not come up. The message says why, with the end of its log."""


class Served:
    """A server on 127.0.0.1, a context manager: inside the block it answers at `url`, after it nothing of it is left,
    nor when this process is killed. What it says is in the file `log`.

    A keeper runs between the two (keeper.py); `pid` is its process id.
    """

    def __init__(
        self,
        target: str | Target,
        *,
        port: int = 0,
        core: int | None = None,
        log: Path | None = None,
        ready_s: float = 60.0,
        grace_s: float = 20.0,
    ) -> None:
        """`target`: one of TARGETS, or its name. `port` 0 takes a free one. `core`: the only one that the server may
        use. `log` (build/cases/NAME.log) is written anew. `ready_s`: how long it may take until it answers right.
        `grace_s`: how long it may take to end before it is killed (Triton takes 5 s, and killed leaves files)."""
        self.target = TARGETS[target] if isinstance(target, str) else target
        self.port = port or _free_port()
        self.core = core
        self.log = log or BUILD / f"{self.target.name}.log"
        self.ready_s, self.grace_s = ready_s, grace_s
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        if self._child is None:
            raise RuntimeError(f"{self.target.name} is not running: use it in a with block")
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def __enter__(self) -> Self:
        """Raises NotServed; ValueError for a core that this process may not use."""
        if self._child is not None:
            raise RuntimeError(f"{self.target.name} is running already")
        if self.core is not None and self.core not in (may := os.sched_getaffinity(0)):
            raise ValueError(f"core {self.core} is none of those that this process may use: {sorted(may)}")
        if missing := self.target.missing():
            raise NotServed(f"{self.target.name}: not installed: {', '.join(missing)}; they are in the group targets")
        with socket.socket() as probe:
            # Else whoever is there would answer in the name of ours.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError as fault:
                raise NotServed(f"{self.target.name}: port {self.port}: {fault.strerror}") from None
        try:
            self._start()
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it and wait until all of it is gone; nothing to do when it is not running."""
        child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None
        child.stdin.close()
        child.terminate()  # a fork of this process may hold the pipe open
        try:
            child.wait(self.grace_s + 5)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def _start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        core = "-" if self.core is None else str(self.core)
        with self.log.open("wb") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-I", str(KEEPER), str(self.grace_s), core, *self.target.command(self.port)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.log.parent,
                env={**os.environ, **ONE_THREAD, **self.target.environment(), "PYTHONPATH": path},
                start_new_session=True,
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.ready_s
        while (fault := self._fault()) is not None:
            assert self._child is not None
            if not self.running:
                raise self._not_served(f"ended with exit code {self._child.returncode} before it was ready")
            if time.monotonic() > deadline:
                raise self._not_served(f"no right answer in {self.ready_s:g} s ({fault!r})")
            time.sleep(0.05)

    def _fault(self) -> Exception | None:
        """What an inference shows to be wrong."""
        try:
            self.target.check(self.url)
        except (OSError, HTTPException, ValueError) as fault:
            return fault
        return None

    def _not_served(self, what: str) -> NotServed:
        said = self.log.read_text(errors="replace").strip()[-SAID:] or "(it said nothing)"
        return NotServed(f"{self.target.name}: {what}. The end of {self.log}:\n{said}")


@contextmanager
def elsewhere(core: int | None) -> Iterator[None]:
    """Keep this thread, and the processes it starts meanwhile, off a core, unless it is the only one."""
    before = os.sched_getaffinity(0)
    others = before - {core}
    os.sched_setaffinity(0, others or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
