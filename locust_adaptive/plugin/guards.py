"""The generator must not disturb what it measures: its clock, repairs to Locust and its client, garbage collection,
limits, and the monitors that notice when it is the bottleneck.

Every repair is idempotent and leans on internals that `missing_internals` names, so that a new Locust fails in the
tests and not in a measurement.
"""

import functools
import gc
import resource
import select
import time
from pathlib import Path
from typing import Any

import gevent
from gevent import monkey
from geventhttpclient import connectionpool
from locust import argument_parser, runners

clock = time.perf_counter
"""The plug-in's only clock, in seconds: monotonic, and the one Locust takes response times from."""

_poll = monkey.get_original("select", "poll") if hasattr(select, "poll") else None


def missing_internals() -> list[str]:
    """What the repairs need and this Locust or geventhttpclient has not: empty when all is well."""
    needed = [(argument_parser, "default_args_dict"), (connectionpool.ConnectionPool, "_is_socket_alive")]
    missing = [f"{owner.__name__}.{name}" for owner, name in needed if not hasattr(owner, name)]
    if getattr(runners, "argument_parser", None) is not argument_parser:
        missing.append("locust.runners.argument_parser")
    return missing


def protect() -> None:
    """All repairs that hold for the life of a process. To be called before the load starts; again does nothing."""
    cache_default_arguments()
    poll_for_liveness()
    raise_file_limit()


def cache_default_arguments() -> None:
    """Keep a spawn message from stopping the hub for 60 to 95 ms: a worker builds 56 argument parsers for each."""
    original = argument_parser.default_args_dict
    if not hasattr(original, "cache_info"):
        argument_parser.default_args_dict = functools.lru_cache(1)(original)
        argument_parser.default_args_dict()


def poll_for_liveness() -> None:
    """Keep FastHttpUser's connections above file descriptor 1023, where `select` fails and each is thought dead."""
    if _poll is not None and connectionpool.ConnectionPool._is_socket_alive is not _is_socket_alive:
        connectionpool.ConnectionPool._is_socket_alive = _is_socket_alive


def _is_socket_alive(_pool: Any, sock: Any) -> bool:
    # An idle connection that is readable was closed by the server, or holds an answer nobody asked for.
    if sock is None:
        return False
    try:
        poll = _poll()  # type: ignore[misc]  # only installed where poll exists
        poll.register(sock.fileno(), select.POLLIN)
        return not poll.poll(0)
    except (OSError, ValueError):  # closed under our hands
        return False


def raise_file_limit() -> int:
    """Allow as many open files as the system lets us; the limit now in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 1 << 20) if hard != resource.RLIM_INFINITY else 1 << 20
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):  # not ours to raise (containers): the pool's cap still holds
            return soft
        return wanted
    return soft


class Collector:
    """Python's garbage collector, kept out of the measurement: full collections cost 35 to 108 ms with 2 000 users.

    Young objects are still collected after very many allocations, so that a client which leaks cycles cannot eat the
    memory.
    """

    _THRESHOLDS = (100_000, 50, 1000)

    def __init__(self) -> None:
        self._before: tuple[int, int, int] | None = None

    def freeze(self) -> None:
        """Once all that lives long is built: collect, and set the survivors aside. Again: also what came since."""
        if self._before is None:
            self._before = gc.get_threshold()
            gc.set_threshold(*self._THRESHOLDS)
        gc.collect()
        gc.freeze()

    def between_probes(self) -> None:
        """Collect now, while nothing is measured."""
        gc.collect()

    def thaw(self) -> None:
        """Back to Python's ways."""
        if self._before is not None:
            gc.set_threshold(*self._before)
            gc.unfreeze()
            self._before = None


class HubLag:
    """How long the event loop was held up: a greenlet that sleeps and sees how much later than asked it wakes."""

    def __init__(self, period: float = 0.01) -> None:
        self._period = period
        self._worst = 0.0
        self._sleeper: gevent.Greenlet | None = None

    def start(self) -> None:
        """Begin to watch; does nothing when already watching."""
        if not self._sleeper:
            self._sleeper = gevent.spawn(self._watch)

    def stop(self) -> None:
        """End the watch."""
        if self._sleeper:
            self._sleeper.kill(block=False)
            self._sleeper = None

    def read(self) -> float:
        """The longest delay since the last reading, in seconds. About 1 ms when idle: loop timers are that coarse."""
        worst, self._worst = self._worst, 0.0
        return worst

    def _watch(self) -> None:
        while True:
            asked = clock() + self._period
            gevent.sleep(self._period)  # what is measured
            self._worst = max(self._worst, clock() - asked)


class CpuMeter:
    """The share of one core that this process uses, or waits for while another process has it; above 1 with threads.

    A process that gets only half of a core is at its end at 50 %: what it waits for counts as used. Linux tells that of
    the main thread, which is the event loop's; elsewhere only what is used is known.
    """

    def __init__(self, schedstat: Path = Path("/proc/self/schedstat")) -> None:
        self._schedstat = schedstat
        self._waited = 0.0
        self._wall, self._cpu = clock(), self._wanted()

    def read(self) -> float:
        """CPU seconds per second since the last reading, or since the start."""
        wall, cpu = clock(), self._wanted()
        share = (cpu - self._cpu) / max(wall - self._wall, 1e-9)
        self._wall, self._cpu = wall, cpu
        return share

    def _wanted(self) -> float:
        """Seconds used and waited for."""
        try:
            self._waited = int(self._schedstat.read_text().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            pass  # not Linux, or no descriptor left: as far as it is known
        return time.process_time() + self._waited
