"""One hash of all that a trace holds: the bodies by their own hashes, everything else by its rows."""

import json
import sqlite3
from hashlib import blake2b

_CONTENT = (
    "SELECT key, value FROM meta WHERE key != 'digest' ORDER BY key",
    "SELECT id, session, hash FROM session ORDER BY id",
    "SELECT id, name FROM name ORDER BY id",
    "SELECT id, method, path, headers FROM template ORDER BY id",
    "SELECT id, lower(hex(hash)) FROM body ORDER BY id",
    "SELECT id, due_ns, session, name, template, body, size, expect FROM request ORDER BY id",
)


def digest(db: sqlite3.Connection) -> str:
    """128 bits of BLAKE2b, in hexadecimal; `TypeError` for a value that no trace has."""
    hashed = blake2b(digest_size=16)
    for select in _CONTENT:
        for row in db.execute(select):
            hashed.update(json.dumps(row).encode())
    return hashed.hexdigest()
