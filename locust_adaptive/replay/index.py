"""What is known of a trace without its bodies: one row a request, in columns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """The columns of a trace with n requests in s sessions, in order of `due_ns`; about 20 bytes a request.

    `session` and `name` are codes: the session's row in `session_hash`, the place in `names`. The texts of the sessions
    stay in the trace; their stable hashes (`sharding.session_hash`) are enough to share them out.
    """

    due_ns: NDArray[np.int64]  # (n,) nanoseconds after the start of the trace
    session: NDArray[np.int32]  # (n,)
    name: NDArray[np.int32]  # (n,)
    size: NDArray[np.int32]  # (n,) body bytes
    session_hash: NDArray[np.uint64]  # (s,)
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.due_ns)
