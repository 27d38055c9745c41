"""Who a process is: its versions, its user classes, and what is in its traces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from locust import HttpUser

from locust_adaptive import ReplayUser
from locust_adaptive.plugin.identity import identity, versions
from locust_adaptive.plugin.options import ConfigError
from locust_adaptive.replay.record import Record
from locust_adaptive.replay.store import TraceWriter


class Visiting(HttpUser):
    pass


def replaying(path: Path, body: bytes) -> Any:
    with TraceWriter(path, origin="a test") as writer:
        writer.append(Record(0, "s", "POST", "/", (), body, "/"))
    return type("Replaying", (ReplayUser,), {"trace": str(path)})


def test_it_has_the_versions_and_the_user_classes() -> None:
    assert identity([Visiting]) == versions() | {"user classes": "Visiting"}


def test_equal_traces_are_equal_and_others_differ(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    here = replaying(tmp_path / "day.trace", b"body")
    (tmp_path / "there" / "day.trace").write_bytes((tmp_path / "day.trace").read_bytes())
    copy = type("Replaying", (ReplayUser,), {"trace": str(tmp_path / "there" / "day.trace")})
    other = replaying(tmp_path / "other.trace", b"bode")
    digests = [list(identity([c]).values())[-1] for c in (here, copy, other)]
    assert digests[0] == digests[1] != digests[2]


def test_a_trace_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigError, match="there is no trace"):
        identity([type("Lost", (ReplayUser,), {"trace": "none.trace"})])
