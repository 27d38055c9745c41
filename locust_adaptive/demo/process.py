"""A server as a child process of its own: start it, wait until it is ready, and never leave it behind.

Imports neither gevent nor Locust, and works the same where gevent has patched the standard library.
"""

from __future__ import annotations

import atexit
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self


class ServerProcess:
    """A child that prints `ready URL` on standard output and ends when its standard input does.

    A context manager; or call `start` and `stop`. The child ends with this process however it ends, since its standard
    input is a pipe from here. It has a session of its own: Ctrl-C reaches this process only, which may still need it.
    """

    grace_s = 5.0  # between asking the child to end and killing it

    def __init__(self, command: Sequence[str], ready_timeout_s: float = 20.0) -> None:
        self._command = list(command)
        self._ready_timeout_s = ready_timeout_s
        self._child: subprocess.Popen[bytes] | None = None
        self._url: str | None = None
        self._owner = 0

    @property
    def url(self) -> str:
        """Where it serves, without a slash at the end; RuntimeError when it is not running."""
        if self._url is None:
            raise RuntimeError("the server is not running: use it as a context manager, or call start() first")
        return self._url

    @property
    def pid(self) -> int:
        """The child's process id; RuntimeError when it is not running."""
        if self._child is None:
            raise RuntimeError("the server is not running: use it as a context manager, or call start() first")
        return self._child.pid

    def start(self) -> Self:
        """Start the child and wait for its ready line; RuntimeError when it ends or stays silent before that."""
        if self._child is not None:
            raise RuntimeError("the server is running already")
        # One thread for BLAS: threads that spin would take cores from the load generator beside it.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._child = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
        )
        self._owner = os.getpid()
        atexit.register(self.stop)
        try:
            self._url = self._wait_until_ready(self._child)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the child and wait for it. Does nothing when it is not running, or in a fork of the process that did."""
        child, self._child, self._url = self._child, None, None
        if child is None or os.getpid() != self._owner:
            return
        atexit.unregister(self.stop)
        child.terminate()
        try:
            child.wait(self.grace_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_until_ready(self, child: subprocess.Popen[bytes]) -> str:
        assert child.stdout is not None
        stdout = child.stdout.fileno()
        deadline = time.monotonic() + self._ready_timeout_s
        said = b""
        command = " ".join(self._command)
        while b"\n" not in said:
            left = deadline - time.monotonic()
            # Read by the descriptor: a buffered readline has no timeout, under gevent or without.
            if left <= 0 or not select.select([stdout], [], [], left)[0]:
                raise RuntimeError(
                    f"{command}: not ready after {self._ready_timeout_s:g} s; is the machine overloaded?"
                )
            read = os.read(stdout, 4096)
            if not read:
                raise RuntimeError(
                    f"{command}: ended with exit code {child.wait()} before it was ready; its own message is above"
                )
            said += read
        word, _, url = said.partition(b"\n")[0].decode(errors="replace").strip().partition(" ")
        if word != "ready" or not url:
            raise RuntimeError(f"{command}: expected a line 'ready URL', got {said[:200]!r}")
        return url


class DemoServer(ServerProcess):
    """The demo's model server: `with DemoServer() as server: ... server.url`."""

    def __init__(self, port: int = 0) -> None:
        """`port` 0 takes a free one."""
        super().__init__(
            [sys.executable, "-m", "locust_adaptive.demo.server", "--port", str(port), "--until-stdin-eof"]
        )
