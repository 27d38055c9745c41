"""What is known of a trace without its bodies: one row a request, in columns."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """The columns of a trace with n requests in s sessions, in order of `due_ns`; about 20 bytes a request.

    `session` and `name` are codes: the session's row in `session_hash`, the place in `names`. The texts of the sessions
    stay in the trace; their stable hashes (`sharding.session_hash`) are enough to share them out. Every request is an
    arrival; those in `bodyless` cannot be sent, because only a sample of the bodies was kept.
    """

    due_ns: NDArray[np.int64]  # (n,) nanoseconds after the start of the trace
    session: NDArray[np.int32]  # (n,)
    name: NDArray[np.int32]  # (n,)
    size: NDArray[np.int32]  # (n,) body bytes as they arrived, also of a body that was not kept
    session_hash: NDArray[np.uint64]  # (s,)
    names: tuple[str, ...]
    bodyless: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))  # rows, ascending

    def __len__(self) -> int:
        return len(self.due_ns)

    def playable(self) -> NDArray[np.bool_]:
        """(s,) which sessions can be played: those of which every body was kept."""
        whole = np.ones(len(self.session_hash), dtype=np.bool_)
        whole[self.session[self.bodyless]] = False
        return whole
