"""One request on its way to the recorder: its head is known, its body is still coming."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .recorder import Recorder

Headers = tuple[tuple[str, str], ...]


class Arrival:
    """A request whose body is still coming: `feed` its pieces, then `end` it, or `abandon` it when the client goes."""

    __slots__ = ("_head", "_pieces", "_recorder", "held", "size", "why")

    def __init__(self, recorder: "Recorder", head: tuple[int, str, str, str, Headers], kept: bool) -> None:
        self._recorder, self._head = recorder, head
        self._pieces: list[bytes] = []
        self.size = 0  # bytes of the body so far
        self.held = 0  # of these, bytes that wait in memory
        self.why = "" if kept else "not sampled"  # the body is not kept

    def feed(self, piece: bytes) -> None:
        """A piece of the body."""
        self.size += len(piece)
        if self.why:
            return
        if self.size > self._recorder.plan.max_body:
            self.leave_out("larger than the limit")
        elif not self._recorder.hold(self, len(piece)):
            self.leave_out("queue full")
        else:
            self._pieces.append(piece)

    def end(self) -> None:
        """The request is complete."""
        if not self.size:
            self.why = ""  # there was nothing to leave out
        self._recorder.put(self, *self._head, None if self.why else b"".join(self._pieces))

    def abandon(self) -> None:
        """The rest of the body will not come. The arrival counts; the body is no request to replay."""
        self.size = max(self.size, 1)  # it was to have a body, or it would be complete
        if not self.why:
            self.leave_out("incomplete")
        self.end()

    def leave_out(self, why: str) -> None:
        """Do not keep the body."""
        self.why = why
        self._pieces.clear()
        self._recorder.release(self)
