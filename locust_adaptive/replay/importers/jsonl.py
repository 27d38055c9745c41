"""JSON lines: one request an object. The fields are listed in docs/reference/trace-format.md."""

import base64
import binascii
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..record import Record, TraceError, portable
from .notes import Notes

TIMES = ("timestamp", "timestamp_ms", "timestamp_ns")
BODIES = ("body", "body_b64", "body_bytes")
FIELDS = (*TIMES, "session", "method", "path", "headers", *BODIES, "name", "expect")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = 1_000_000  # in ns; the distance of requests without times
_YEAR_2106 = 2.0**32  # in s; a larger number of seconds is one of milliseconds


def read(source: Path, notes: Notes) -> Iterator[Record]:
    """The requests of a file, in its order; `TraceError` names file, line, fault and remedy.

    Either every line has a time or none: then requests are due 1 ms apart and the notes say time quality "none". A line
    without a session is a session of its own. Memory holds one line.
    """
    timed: bool | None = None
    try:
        with source.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if not line.strip():
                    continue
                try:
                    fields = _parse(line)
                    due_ns = _due_ns(fields)
                    if timed is None:
                        timed = due_ns is not None
                        notes.time_quality = None if timed else "none"
                    elif timed != (due_ns is not None):
                        raise TraceError(
                            f"this line has {'no' if timed else 'a'} time, unlike those before; "
                            "give every line a timestamp, or none"
                        )
                    if due_ns is None:
                        due_ns = notes.requests * _MILLISECOND
                    record = _record(fields, due_ns, _session(fields, number), notes)
                    record.check()
                except TraceError as fault:
                    raise TraceError(f"{source}:{number}: {fault}") from None
                yield record
    except OSError as fault:
        raise TraceError(f"cannot read {source}: {fault.strerror}; check the path") from None


def _parse(line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line.decode())
    except UnicodeDecodeError as fault:
        raise TraceError(
            f"byte {fault.start + 1} is not UTF-8; convert the file, or put the body in body_b64"
        ) from None
    except json.JSONDecodeError as fault:
        raise TraceError(f"not JSON at column {fault.colno}: {fault.msg}; write one JSON object a line") from None
    except (RecursionError, ValueError) as fault:  # nested too deeply; an integer of thousands of digits
        raise TraceError(f"JSON that cannot be read ({fault}); put the body in body_b64") from None
    if not isinstance(fields, dict):
        raise TraceError(f"a JSON {type(fields).__name__}, not an object; write one object a line, no list around them")
    return {key: value for key, value in fields.items() if value is not None}


def _due_ns(fields: dict[str, Any]) -> int | None:
    """Nanoseconds on the source's clock, rounded to microseconds, where a float of Unix seconds ends; None without."""
    _at_most_one(fields, TIMES)
    if (ns := fields.get("timestamp_ns")) is not None:
        return _whole("timestamp_ns", ns, "of nanoseconds")
    if (ms := fields.get("timestamp_ms")) is not None:
        return _number("timestamp_ms", ms, 1e3 * _YEAR_2106, 1000)
    stamp = fields.get("timestamp")
    if not isinstance(stamp, str):
        return None if stamp is None else _number("timestamp", stamp, _YEAR_2106, 1_000_000)
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        raise TraceError(
            f"timestamp {stamp!r} is not ISO 8601; write seconds as a number, or such as 2026-11-22T10:15:00.25Z"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _number(field: str, value: object, limit: float, microseconds: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise TraceError(
            f"{field} is {json.dumps(value)[:60]}; write a number" + " or ISO 8601" * (field == "timestamp")
        )
    if abs(value) > limit:
        raise TraceError(
            f"{field} {json.dumps(value)[:60]} lies beyond the year 2106; check the unit (timestamp_ms: milliseconds)"
        )
    return round(value * microseconds) * 1000


def _session(fields: dict[str, Any], number: int) -> str:
    session = fields.get("session", f"line {number}")
    if isinstance(session, bool) or not isinstance(session, str | int):
        raise TraceError(f"session is {json.dumps(session)[:60]}; write a string")
    return str(session)


def _record(fields: dict[str, Any], due_ns: int, session: str, notes: Notes) -> Record:
    path = _text(fields, "path", None)
    headers, dropped = portable(_headers(fields.get("headers", {})))
    _at_most_one(fields, BODIES)
    omitted = _whole("body_bytes", fields.get("body_bytes", 0), "of bytes")
    body, is_json = _body(fields)
    if is_json and not any(name.lower() == "content-type" for name, _ in headers):
        headers = (*headers, ("Content-Type", "application/json"))
    notes.dropped.update(f"header {name}" for name in dropped)
    notes.dropped.update(f"field {name}" for name in fields if name not in FIELDS)
    expect = None if "expect" not in fields else _whole("expect", fields["expect"], "that is the expected HTTP status")
    method, name = _text(fields, "method", "POST"), _text(fields, "name", "")
    return Record(due_ns, session, method, path, headers, body, name, expect, omitted)


def _at_most_one(fields: dict[str, Any], names: tuple[str, ...]) -> None:
    if len(given := [name for name in names if name in fields]) > 1:
        raise TraceError(f"both {' and '.join(given)}; keep one")


def _whole(field: str, value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TraceError(f"{field} is {json.dumps(value)[:60]}; write a whole number {what}")
    return value


def _text(fields: dict[str, Any], field: str, default: str | None) -> str:
    value = fields.get(field, default)
    if value is None:
        raise TraceError(f"no {field}; add one (the line has {', '.join(fields) or 'nothing'})")
    if not isinstance(value, str):
        raise TraceError(f"{field} is {json.dumps(value)[:60]}; write a string")
    return value


def _headers(value: object) -> list[tuple[str, str]]:
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list):
        pairs = [None]
    headers: list[tuple[str, str]] = []
    for pair in pairs:
        match pair:
            case (str(name), str() | int() | float() as text) if not isinstance(text, bool):
                headers.append((name, str(text)))
            case _:
                raise TraceError('headers must be an object of strings, or a list of pairs such as [["Accept", "*/*"]]')
    return headers


def _body(fields: dict[str, Any]) -> tuple[bytes, bool]:
    """The body, and whether it was given as a JSON value."""
    if "body_b64" in fields:
        try:
            return base64.b64decode(_text(fields, "body_b64", None), validate=True), False
        except (binascii.Error, ValueError) as fault:
            if isinstance(fault, TraceError):
                raise
            raise TraceError(f"body_b64 is not base64 ({fault}); use the standard alphabet with padding") from None
    body = fields.get("body", "")
    is_json = not isinstance(body, str)
    try:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":")) if is_json else body
        return text.encode(), is_json
    except RecursionError:
        raise TraceError("body is nested too deeply; put it in body_b64") from None
    except UnicodeEncodeError:
        raise TraceError("body holds half a surrogate pair, which is no text; put the body in body_b64") from None
