"""What the machine does to the generator, as far as Linux tells: stolen time, a CPU quota, open descriptors.

What cannot be asked here is not there: unknown is never zero.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


class HostMeter:
    """Shares since the last reading. `root` is where /proc and /sys are found."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._quota_file = next(self._quota_files(), None)
        self._jiffies = self._periods = (0, 0)
        self.read()

    def read(self) -> dict[str, float]:
        """`steal`: CPU time of the host taken by others under it. `throttled`: periods in which our control group had
        used up its quota. `descriptors`: open ones of those this process may open."""
        found = {}
        if (jiffies := self._read_jiffies()) is not None:
            found["steal"] = _grown(self._jiffies, jiffies)
            self._jiffies = jiffies
        if (periods := self._read_periods()) is not None:
            found["throttled"] = _grown(self._periods, periods)
            self._periods = periods
        if (descriptors := self._descriptors()) is not None:
            found["descriptors"] = descriptors
        return found

    def _read_jiffies(self) -> tuple[int, int] | None:
        """Stolen, and all."""
        try:
            with (self._root / "proc/stat").open() as stat:
                # user nice system idle iowait irq softirq steal; what guests used is in user and nice.
                times = [int(word) for word in stat.readline().split()[1:9]]
        except (OSError, ValueError):
            return None
        return (times[7], sum(times)) if len(times) == 8 else None

    def _read_periods(self) -> tuple[int, int] | None:
        """Throttled, and all."""
        if self._quota_file is None:
            return None
        try:
            pairs = dict(line.split() for line in self._quota_file.read_text().splitlines())
            return int(pairs["nr_throttled"]), int(pairs["nr_periods"])
        except (OSError, ValueError, KeyError):
            return None

    def _quota_files(self) -> Iterator[Path]:
        """Candidates for our control group's cpu.stat, of both versions, its own path first: within a container the
        mount is the group itself."""
        mounts = self._root / "sys/fs/cgroup"
        try:
            lines = (self._root / "proc/self/cgroup").read_text().splitlines()
        except OSError:
            return
        for line in lines:
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            for mount in (mounts / controllers if controllers else mounts, mounts / "cpu" if controllers else mounts):
                for file in (mount / path.lstrip("/") / "cpu.stat", mount / "cpu.stat"):
                    try:
                        if "nr_throttled" in file.read_text():
                            yield file
                    except OSError:
                        continue

    def _descriptors(self) -> float | None:
        """The size of this directory is the number of its entries since Linux 6.2; before, and elsewhere, 0."""
        try:
            open_ = os.stat(self._root / "proc/self/fd").st_size
        except OSError:
            return None
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return open_ / most if open_ and most > 0 else None


def _grown(before: tuple[int, int], now: tuple[int, int]) -> float:
    part, whole = now[0] - before[0], now[1] - before[1]
    return max(part, 0) / whole if whole > 0 else 0.0
