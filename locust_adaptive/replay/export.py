"""A trace as text, a request a line: JSON lines, which `trace import` reads again, and vegeta's targets."""

import base64
import json
from collections.abc import Callable
from typing import Any

from .record import Record, TraceError
from .store import TraceInfo

Line = Callable[[Record], str | None]
"""A request as a line without its end; None for one that the format cannot hold, because its body was not kept."""


def start_of(info: TraceInfo) -> int | None:
    """What times count from in an export; None for a trace that has none."""
    return None if info.time_quality == "none" else info.start_ns


def jsonl(record: Record, start_ns: int | None) -> str:
    """The line from which an import makes the same record; `start_ns` None: without a time.

    Times are those of the origin, so `start_ns` is added to the record's.
    """
    fields: dict[str, Any] = {} if start_ns is None else {"timestamp_ns": start_ns + record.due_ns}
    fields |= {"session": record.session, "method": record.method, "path": record.path}
    if record.headers:
        fields["headers"] = record.headers
    if record.omitted:
        fields["body_bytes"] = record.omitted
    elif record.body:
        try:
            fields["body"] = record.body.decode()
        except UnicodeDecodeError:
            fields["body_b64"] = base64.b64encode(record.body).decode()
    if record.name != record.path.partition("?")[0]:
        fields["name"] = record.name
    if record.expect is not None:
        fields["expect"] = record.expect
    return json.dumps(fields, ensure_ascii=False)


def vegeta(record: Record, target: str) -> str | None:
    """A line for `vegeta attack -format=json`, sent to `target`, the URL of a server without a path."""
    if record.omitted:
        return None
    header: dict[str, list[str]] = {}
    for name, value in record.headers:
        header.setdefault(name, []).append(value)
    fields: dict[str, Any] = {"method": record.method, "url": target.rstrip("/") + record.path}
    if record.body:
        fields["body"] = base64.b64encode(record.body).decode()
    return json.dumps(fields | ({"header": header} if header else {}))


def line_of(format: str, start_ns: int | None, target: str | None) -> Line:
    """How requests become lines of a format; `TraceError` when it is unknown or vegeta lacks its target."""
    match format:
        case "jsonl":
            return lambda record: jsonl(record, start_ns)
        case "vegeta":
            if target is None or not target.startswith(("http://", "https://")):
                raise TraceError("vegeta's format has whole URLs; say where to, such as --target http://127.0.0.1:8000")
            return lambda record: vegeta(record, target)
    raise TraceError(f"unknown export format {format!r}; known are jsonl, vegeta")
