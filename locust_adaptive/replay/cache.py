"""Records kept in memory, up to so many bytes: a read from the file costs more than sending the request."""

from .record import Record
from .store import Trace

KEPT_BYTES = 32 * 1024 * 1024
_OVERHEAD = 400
"""Bytes of a record in memory beside its body, about; path and headers are shared."""


class RecordCache:
    """The records of a trace by their row. What came first stays: a replay goes through all before it repeats any, so
    that what is thrown out for something newer would always be what is needed next."""

    def __init__(self, trace: Trace, kept_bytes: int = KEPT_BYTES) -> None:
        self._trace, self._left = trace, kept_bytes
        self._kept: dict[int, Record] = {}

    def record(self, row: int) -> Record:
        kept = self._kept.get(row)
        if kept is not None:
            return kept
        record = self._trace.record(row)
        self._left -= _OVERHEAD + len(record.body)
        if self._left >= 0:
            self._kept[row] = record
        return record
