"""Who may ask: names, origins, bodies. A pure table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.plugin.webguard import (
    FORM,
    LARGEST_BODY,
    Refused,
    check_host,
    check_origin,
    check_size,
    check_type,
    known_names,
)

NAMES = known_names("load.example.com, Bench:8089 ,", ["box", None, "http://shown.example.com:80/x", ""])


def refused(check, *arguments) -> int | None:
    try:
        check(*arguments)
    except Refused as e:
        return e.status if len(e.message) < 600 else -1
    return None


def test_the_names_that_are_known() -> None:
    assert {"localhost", "load.example.com", "bench", "box", "shown.example.com"} == NAMES


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8089", None),
        ("LOCALHOST", None),
        ("localhost.:8089", None),
        ("127.0.0.1:8089", None),
        ("10.0.3.7", None),
        ("[::1]:8089", None),
        ("[fe80::1]", None),
        ("box:8089", None),
        ("load.example.com", None),
        ("bench", None),
        ("", None),
        ("evil.example", 403),
        ("evil.example:8089", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("box.evil.example", 403),
        ("user@localhost:8089@evil.example", 403),
        ("[::1", 403),
        ("2130706433.evil", 403),
        ("a b", 403),
        ("x" * 100_000, 403),
    ],
)
def test_hosts(host: str, status: int | None) -> None:
    assert refused(check_host, {"Host": host} if host else {}, NAMES) == status


def test_a_strange_name_is_told_how_to_become_known() -> None:
    with pytest.raises(Refused, match=r"'bench2:8089'.*--adaptive-web-hosts bench2$"):
        check_host({"Host": "bench2:8089"}, NAMES)


HOST = {"Host": "box:8089"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, None),
        ({"Origin": "http://box:8089"}, None),
        ({"Origin": "https://box:8089"}, None),
        ({"Origin": "HTTP://BOX:8089"}, None),
        ({"Origin": "http://box:8089", "Referer": "http://evil.example/"}, None),
        ({"Referer": "http://box:8089/?tab=charts"}, None),
        ({"Origin": "http://box:8089", "Sec-Fetch-Site": "same-origin"}, None),
        ({"Sec-Fetch-Site": "none"}, None),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://box:9000"}, 403),
        ({"Origin": "http://box"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "box:8089"}, 403),
        ({"Origin": "http://box:8089.evil.example"}, 403),
        ({"Origin": "http://box:8089@evil.example"}, 403),
        ({"Origin": "http://[::1"}, 403),
        ({"Referer": "http://evil.example/box:8089"}, 403),
        ({"Origin": "http://evil.example", "Referer": "http://box:8089/"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://box:8089", "Sec-Fetch-Site": "Cross-Site"}, 403),
    ],
)
def test_origins(headers: dict[str, str], status: int | None) -> None:
    assert refused(check_origin, HOST | headers) == status


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("https://load.example.com", "load.example.com", None),
        ("https://load.example.com:443", "load.example.com", None),
        ("http://load.example.com:80", "load.example.com", None),
        ("http://load.example.com:443", "load.example.com", 403),
        ("http://[::1]:8089", "[::1]:8089", None),
        ("http://load.example.com", "127.0.0.1:8089", 403),  # a proxy that does not pass on Host
    ],
)
def test_default_ports_and_proxies(origin: str, host: str, status: int | None) -> None:
    assert refused(check_origin, {"Host": host, "Origin": origin}) == status


@given(st.text(max_size=50), st.text(max_size=50))
def test_whatever_the_headers_hold_they_are_judged(origin: str, host: str) -> None:
    headers = {"Host": host, "Origin": origin, "Sec-Fetch-Site": origin, "Content-Length": host, "Content-Type": origin}
    for check, arguments in (
        (check_host, (headers, NAMES)),
        (check_origin, (headers,)),
        (check_size, (headers,)),
        (check_type, (headers, FORM)),
    ):
        assert refused(check, *arguments) in (None, 403, 411, 413, 415)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, None),
        ({"Content-Length": ""}, None),
        ({"Content-Length": str(LARGEST_BODY)}, None),
        ({"Content-Length": str(LARGEST_BODY + 1)}, 413),
        ({"Content-Length": "9" * 5000}, 413),
        ({"Content-Length": "-1"}, 413),
        ({"Content-Length": "much"}, 413),
        ({"Transfer-Encoding": "chunked"}, 411),
    ],
)
def test_sizes(headers: dict[str, str], status: int | None) -> None:
    assert refused(check_size, headers) == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, None),
        ({"Content-Length": "0"}, None),
        ({"Content-Length": "9", "Content-Type": FORM}, None),
        ({"Content-Length": "9", "Content-Type": f"{FORM.title()}; charset=utf-8"}, None),
        ({"Content-Length": "9"}, 415),
        ({"Content-Length": "9", "Content-Type": "application/json"}, 415),
        ({"Content-Type": "application/json"}, 415),
        ({"Content-Length": "9", "Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content-Length": "9", "Content-Type": "text/plain"}, 415),
    ],
)
def test_types(headers: dict[str, str], status: int | None) -> None:
    assert refused(check_type, headers, FORM) == status
