"""Runs a command until its own standard input ends, and leaves nothing of it: `keeper.py GRACE_S CORE COMMAND...`.

A process of its own, since the one that wants the server may be killed at any moment; then the pipe from it ends. And
since servers put processes into sessions of their own, which no signal to a group reaches: as their subreaper
(prctl(2), Linux) it becomes the parent of whatever they leave. CORE is a number, or - for any. Ends with the exit code
of the command, 128 + n for one that signal n ended. Only the standard library: it runs isolated (-I).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
HEEDED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LEFTOVERS_S = 1.0
"""For what outlives the command, to tidy up."""


def keep(command: list[str], grace_s: float, scratch: str) -> int:
    """Run it. When standard input ends, or a signal comes, ask it to end, and kill it `grace_s` later; then kill all
    that is left of it. `scratch` is its folder for temporary files. Returns its exit code, -n for signal n."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot become a subreaper")
    signal.pthread_sigmask(signal.SIG_BLOCK, HEEDED)
    child = os.posix_spawnp(
        command[0],
        command,
        {**os.environ, "TMPDIR": scratch},
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
        setsigmask=(),
        setsigdef=HEEDED,  # whoever started us may ignore some
    )
    threading.Thread(target=_until_stdin_ends, daemon=True).start()
    code = None
    while code is None and signal.sigwait(HEEDED) == signal.SIGCHLD:
        code = _reap(child)
    if code is None:
        os.kill(child, signal.SIGTERM)
        code = _wait(child, grace_s)
    if code is not None:
        _wait(None, LEFTOVERS_S)
    return _kill(child, code)


def _until_stdin_ends() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _reap(child: int | None) -> int | None:
    """Take leave of those that have ended: the exit code of `child` if it has; without one 0 when none is left."""
    code = None
    try:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                code = os.waitstatus_to_exitcode(ended[1])
    except ChildProcessError:
        return 0 if child is None else code
    return code


def _wait(child: int | None, seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while (code := _reap(child)) is None and (left := deadline - time.monotonic()) > 0:
        signal.sigtimedwait((signal.SIGCHLD,), left)
    return code


def _kill(child: int, code: int | None) -> int:
    """Kill all children, then theirs, which become ours; the exit code of `child`."""
    while True:
        # All are of the first thread: it starts the command, and orphans are given to it.
        for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            os.kill(int(pid), signal.SIGKILL)  # ours until we wait for it
        try:
            ended, status = os.waitpid(-1, 0)
        except ChildProcessError:
            assert code is not None
            return code
        if ended == child:
            code = os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    grace_s, core, *rest = sys.argv[1:]
    if core != "-":
        os.sched_setaffinity(0, {int(core)})
    with tempfile.TemporaryDirectory(prefix="target-", ignore_cleanup_errors=True) as folder:
        ended_with = keep(rest, float(grace_s), folder)
    sys.exit(ended_with if ended_with >= 0 else 128 - ended_with)
