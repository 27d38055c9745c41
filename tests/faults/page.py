"""A client of the web UI that sends what it wants, and the words of the locustfiles and forms behind it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode

from tests.support.wait import wait_until

SHAPE = "class Capacity(AdaptiveShape):\n    pass\n"
QUICK = {"adaptive_precision": "12%", "adaptive_soak": "5s", "adaptive_start": "16", "slo": "p99<250ms & errors<1%"}
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def plain(self) -> Any:
        return json.loads(self.text)


class Page:
    """A client of the web UI on 127.0.0.1, with every header in its hand."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.own = f"http://127.0.0.1:{port}"
        self.cookie: str | None = None

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie:
            sent["Cookie"] = self.cookie
        connection = HTTPConnection("127.0.0.1", self.port, timeout=90)
        try:
            connection.request(method, path, body or None, sent)
            answer = connection.getresponse()
            got = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, got, answer.read().decode())
        finally:
            connection.close()

    def start(self, form: dict[str, str], **headers: str) -> Answer:
        return self.ask("POST", "/swarm", urlencode(form).encode(), Content_Type=FORM, **headers)

    def state(self) -> dict[str, Any]:
        return dict(self.ask("GET", "/adaptive/state").plain)

    def comes_up(self, base: str = "") -> None:
        def there() -> bool:
            try:
                return self.ask("GET", f"{base}/adaptive/healthz").status == 200
            except OSError:
                return False

        wait_until(there, "the web UI", 30)
