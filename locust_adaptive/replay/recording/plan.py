"""What a recording is to keep, hide and bound: the same for every door."""

from dataclasses import dataclass

from ..redact import Redactor
from .heads import ADDRESSES
from .sessions import Sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Sizes in bytes, times in seconds.

    `bodies` is the share of the sessions whose bodies are kept, 0 to 1, drawn by `seed`; every arrival is logged. A
    body above `max_body` is not kept. At `max_size` (of the file) or `max_time` the recording ends. `queue_bytes` of
    bodies and `queue_arrivals` may wait for the disk; more is dropped, and counted. Raises `ValueError` for a value out
    of range.
    """

    bodies: float = 1.0
    seed: int = 0
    redact_headers: tuple[str, ...] = ()
    redact_query: tuple[str, ...] = ()
    redact_fields: tuple[str, ...] = ()
    session_header: str = ""
    session_cookie: str = ""
    max_size: int = 2_000_000_000
    max_time: float = 3600.0
    max_body: int = 16_000_000
    queue_bytes: int = 64_000_000
    queue_arrivals: int = 20_000

    def __post_init__(self) -> None:
        if not 0.0 <= self.bodies <= 1.0:
            raise ValueError(f"a share of bodies of {self.bodies:g} is not between 0 and 1")
        for name in ("max_size", "max_time", "max_body", "queue_bytes", "queue_arrivals"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        self.redactor()

    def redactor(self) -> Redactor:
        """What to take out. The header that names the session goes too: the trace has its hash."""
        named = [self.session_header] if self.session_header else []
        return Redactor([*ADDRESSES, *self.redact_headers, *named], self.redact_query, self.redact_fields)

    def sessions(self, salt: bytes) -> Sessions:
        """How requests are joined, and which keep their bodies."""
        return Sessions(salt, self.session_header, self.session_cookie, self.bodies, self.seed)
