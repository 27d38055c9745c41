"""Which requests belong together, without saying whose they are; and which sessions' bodies are kept."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from ..sharding import session_hash


@dataclass(frozen=True, slots=True)
class Sessions:
    """Names sessions by a keyed hash of the value of `header` or `cookie` or, without it, of the client's connection.

    `salt` makes the hash useless to who has not got it; it is never stored. `share` of the sessions, 0 to 1, keep their
    bodies: the same ones for the same `seed`, whatever the salt.
    """

    salt: bytes
    header: str = ""
    cookie: str = ""
    share: float = 1.0
    seed: int = 0

    def identify(self, headers: Iterable[tuple[str, str]], connection: str) -> tuple[str, bool]:
        """The session's name in the trace, 16 hexadecimal digits; and whether its bodies are kept."""
        key = self._key(headers) if self.header or self.cookie else ""
        identity = f"id {key}" if key else f"connection {connection}"
        name = hashlib.blake2b(identity.encode(errors="replace"), digest_size=8, key=self.salt).hexdigest()
        if self.share >= 1.0:
            return name, True
        return name, session_hash(f"{self.seed} {identity.encode(errors='replace').hex()}") < self.share * 2.0**64

    def _key(self, headers: Iterable[tuple[str, str]]) -> str:
        header, cookie = self.header.lower(), self.cookie
        for name, value in headers:
            lower = name.lower()
            if header and lower == header:
                return value
            if cookie and lower == "cookie":
                for pair in value.split(";"):
                    found, _, text = pair.strip().partition("=")
                    if found == cookie:
                        return text
        return ""
