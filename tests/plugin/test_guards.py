"""The generator's repairs hold and undo what they claim; its monitors see what they should."""

import gc
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import gevent
import pytest
from geventhttpclient.connectionpool import ConnectionPool
from locust import argument_parser, runners

from locust_adaptive.plugin import guards
from locust_adaptive.plugin.guards import Collector, CpuMeter, HubLag, clock


def test_internals_are_there() -> None:
    assert guards.missing_internals() == []


def test_missing_internals_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ConnectionPool, "_is_socket_alive")
    monkeypatch.delattr(runners, "argument_parser")
    assert guards.missing_internals() == ["ConnectionPool._is_socket_alive", "locust.runners.argument_parser"]


def test_default_arguments_are_made_once() -> None:
    guards.cache_default_arguments()
    cached = argument_parser.default_args_dict
    guards.cache_default_arguments()
    assert runners.argument_parser.default_args_dict is cached
    assert "expect_workers" in cached()
    started = clock()
    for _ in range(56):
        runners.argument_parser.default_args_dict()
    assert clock() - started < 0.005


def test_liveness_of_connections_at_any_descriptor() -> None:
    guards.poll_for_liveness()
    guards.poll_for_liveness()
    alive = ConnectionPool("h", 1, "h", 1)._is_socket_alive
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert guards.raise_file_limit() >= 1100, "this test needs that many files"
    near, far = socket.socketpair()
    try:
        high = 1090
        os.dup2(near.fileno(), high)
        with socket.socket(fileno=high) as above:
            assert above.fileno() > 1023
            assert alive(above)
            assert alive(near)
            far.send(b"x")
            assert not alive(above), "readable while idle"
        far.close()
        assert not alive(near)
    finally:
        near.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert not alive(near)
    assert not alive(None)


def test_the_file_limit_is_raised_as_far_as_allowed() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        raised = guards.raise_file_limit()
        assert raised == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256
        assert guards.raise_file_limit() == raised
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_collector_freezes_and_thaws() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    collector = Collector()
    collector.freeze()
    assert gc.get_freeze_count() > frozen
    assert gc.get_threshold()[0] > before[0]
    collector.freeze()
    collector.between_probes()
    collector.thaw()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
    collector.thaw()
    assert gc.get_threshold() == before


def test_hub_lag_sees_a_blocked_loop_and_forgets_what_was_read() -> None:
    lag = HubLag(period=0.005)
    lag.start()
    lag.start()
    gevent.sleep(0.02)
    lag.read()
    blocked = clock()
    while clock() - blocked < 0.1:
        pass
    gevent.sleep(0.01)
    assert 0.08 < lag.read() < 1.0
    assert lag.read() == 0
    lag.stop()
    lag.stop()
    gevent.sleep(0.02)
    lag.read()
    gevent.sleep(0.02)
    assert lag.read() == 0


def burn(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_cpu_meter(tmp_path: Path) -> None:
    meter = CpuMeter(tmp_path / "none")
    gevent.sleep(0.1)
    assert meter.read() < 0.7
    began, used = clock(), time.process_time()
    burn(0.1)
    assert meter.read() == pytest.approx((time.process_time() - used) / (clock() - began), rel=0.2)


def test_what_a_process_waits_for_counts_as_used(tmp_path: Path) -> None:
    schedstat = tmp_path / "schedstat"
    schedstat.write_text("1000 0 7\n")
    meter, began = CpuMeter(schedstat), clock()
    gevent.sleep(0.1)
    schedstat.write_text(f"1000 {int((clock() - began) * 0.8e9)} 7\n")
    assert 0.7 < meter.read() < 1.1
    schedstat.unlink()
    gevent.sleep(0.05)
    assert 0 <= meter.read() < 0.7, "what is not told any more was not waited for"


@pytest.mark.parametrize("text", ["", "a b c", "1"])
def test_a_kernel_that_does_not_tell_is_no_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "schedstat").write_text(text)
    meter = CpuMeter(tmp_path / "schedstat")
    burn(0.02)
    assert meter.read() > 0


def test_other_processes_on_the_core_are_seen() -> None:
    """Two that want the same core: each is at its end at half of it."""
    if not Path("/proc/self/schedstat").exists() or not hasattr(os, "sched_setaffinity"):
        pytest.skip("only Linux tells")
    ours = os.sched_getaffinity(0)
    core = {min(ours)}
    os.sched_setaffinity(0, core)
    other = subprocess.Popen(
        [sys.executable, "-S", "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE
    )
    try:
        assert other.stdout is not None
        other.stdout.readline()
        meter, used, wall = CpuMeter(), time.process_time(), clock()
        while clock() < wall + 0.5:
            pass
        share, used = meter.read(), (time.process_time() - used) / (clock() - wall)
        assert share > 0.9
        assert share > used + 0.2
    finally:
        other.kill()
        other.wait()
        os.sched_setaffinity(0, ours)
