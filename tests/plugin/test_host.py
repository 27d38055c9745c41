"""What the host says of itself, from files as Linux writes them."""

import os
import resource
from pathlib import Path

import pytest

from locust_adaptive.plugin.host import HostMeter


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def stat(steal: int, idle: int) -> str:
    return f"cpu  10 0 10 {idle} 0 0 0 {steal} 5 0\ncpu0 10 0 10 {idle} 0 0 0 {steal} 5 0\n"


def test_stolen_time_is_a_share_of_the_time_that_passed(tmp_path: Path) -> None:
    write(tmp_path, {"proc/stat": stat(steal=100, idle=100)})
    meter = HostMeter(tmp_path)
    write(tmp_path, {"proc/stat": stat(steal=110, idle=190)})
    assert meter.read() == {"steal": 0.1}
    assert meter.read() == {"steal": 0.0}, "no time has passed"


@pytest.mark.parametrize(
    ("group", "file"),
    [
        ("0::/user/run\n", "sys/fs/cgroup/user/run/cpu.stat"),
        ("0::/\n", "sys/fs/cgroup/cpu.stat"),
        ("0::/docker/abc\n", "sys/fs/cgroup/cpu.stat"),
        ("3:cpuset:/\n2:cpu,cpuacct:/job\n0::/\n", "sys/fs/cgroup/cpu,cpuacct/job/cpu.stat"),
        ("2:cpu,cpuacct:/docker/abc\n", "sys/fs/cgroup/cpu/cpu.stat"),
        ("2:cpu:/\n", "sys/fs/cgroup/cpu/cpu.stat"),
    ],
)
def test_a_quota_is_found_in_either_version_of_control_groups(tmp_path: Path, group: str, file: str) -> None:
    write(tmp_path, {"proc/self/cgroup": group, file: "usage_usec 1\nnr_periods 10\nnr_throttled 5\n"})
    meter = HostMeter(tmp_path)
    write(tmp_path, {file: "usage_usec 1\nnr_periods 30\nnr_throttled 8\n"})
    assert meter.read() == {"throttled": 0.15}


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/stat": "", "proc/self/cgroup": ""},
        {"proc/stat": "cpu  1 2 3\n", "proc/self/cgroup": "0::/x\n"},
        {"proc/stat": "cpu  a b\n", "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.stat": "usage_usec 1\n"},
    ],
)
def test_what_the_host_does_not_say_is_not_there(tmp_path: Path, files: dict[str, str]) -> None:
    write(tmp_path, files)
    assert HostMeter(tmp_path).read() == {}


def test_descriptors_of_this_process() -> None:
    meter = HostMeter()
    before = meter.read().get("descriptors")
    if before is None:
        pytest.skip("this kernel does not count them")
    more = [os.dup(0) for _ in range(50)]
    after = meter.read()["descriptors"]
    for descriptor in more:
        os.close(descriptor)
    assert after - before == pytest.approx(50 / resource.getrlimit(resource.RLIMIT_NOFILE)[0], rel=0.2)
