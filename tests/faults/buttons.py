"""What a person does at the web UI, and what is to be seen of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.support.searches import Ended, Search, read_results
from tests.support.wait import wait_until


def web(port: int) -> list[str]:
    return ["--web-host", "127.0.0.1", "--web-port", str(port)]


def press(port: int, button: str, **fields: Any) -> dict[str, Any]:
    """POST to `swarm`, `stop` or `stats/reset`; the answer, if it is JSON."""
    with urlopen(f"http://127.0.0.1:{port}/{button}", urlencode(fields).encode(), timeout=30) as response:
        text = response.read()
    return json.loads(text) if text.startswith(b"{") else {}


def start(port: int, **fields: Any) -> None:
    """Press Start as soon as there is one, until it is taken."""

    def taken() -> bool:
        try:
            return bool(press(port, "swarm", **fields)["success"])
        except OSError:
            return False

    wait_until(taken, "a start by the web UI", 30)


def seen(port: int) -> dict[str, Any]:
    """What Locust's web UI shows: `state`, `user_count`, `stats`."""
    with urlopen(f"http://127.0.0.1:{port}/stats/requests", timeout=10) as response:
        shown: dict[str, Any] = json.load(response)
    return shown


def stopped(port: int, timeout: float = 10.0) -> None:
    """Wait until the web UI shows that nothing runs."""
    wait_until(lambda: seen(port)["state"] == "stopped", "the state stopped", timeout)


def requests_seen(port: int) -> int:
    """Requests in Locust's statistics, as the web UI shows them."""
    return sum(int(entry["num_requests"]) for entry in seen(port)["stats"] if entry["name"] == "Aggregated")


def searches(folder: Path, ended: Ended) -> list[Search]:
    """The searches of a process whose results have folders named by the time, the first first."""
    return [read_results(each, ended) for each in sorted((folder / "adaptive-results").iterdir())]
