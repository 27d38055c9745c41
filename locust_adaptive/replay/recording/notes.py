"""What a recording says of itself in the trace: one function, so that there is one way in."""

import json

from ..layout import named
from ..store import TraceWriter


def note(writer: TraceWriter, key: str, value: object) -> None:
    """Write down `value` under `key` in the trace, over what is there. Call it between commits."""
    with named(writer.path):
        writer._db.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (key, json.dumps(value, sort_keys=True)))
