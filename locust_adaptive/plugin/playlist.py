"""Which recorded request comes next, for the replaying users of this process: one playlist a trace and order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from ..replay.cache import RecordCache
from ..replay.fitness import unfit
from ..replay.population import Play, Population
from ..replay.record import Record, TraceError
from ..replay.recorded import Recorded
from ..replay.sharding import Shard
from ..replay.store import Trace
from ..replay.timeline import Draw, Timeline

_seed = 1
_shard: Shard | None = None
_probe = 0
_playlists: dict[tuple[Path, bool], Playlist] = {}


class Playlist:
    """The plays of one trace in this process. Every probe draws anew from the same population; or, `in_order`, plays
    the trace as it was recorded, from the start. Raises ValueError where no arrivals could be played here."""

    def __init__(self, path: Path, in_order: bool = False) -> None:
        self.trace = Trace.open(path)
        self._records = RecordCache(self.trace)
        self.wraps = 0
        """How often, at most, a probe came to the end of the population and began again."""
        self._in_order = in_order
        self._population: Population | None = None
        self._plays: Iterator[Play] = iter(())
        self.undrawn: str | None = None
        """Why no session can be drawn here: every one borrows bodies, as it may at the trace's own arrivals alone."""
        self._pacing: Recorded | None = None
        self.reshard()

    def begin(self, probe: int) -> None:
        """The next plays are those of `probe`."""
        if self._pacing is not None:
            self._pacing.begin(Draw((_seed, probe), self._in_order))
        elif self._population is None:
            self._plays = iter(())
        elif self._in_order:
            self._plays = self._population.in_order()
        else:
            self._plays = self._population.plays(probe)

    def next(self) -> Play:
        """What to send next, where the arrivals do not say. ValueError when it is `undrawn`."""
        try:
            return next(self._plays)
        except StopIteration:  # plays of a population are endless
            raise TraceError(self.undrawn) from None

    def record(self, play: Play) -> Record:
        """The recorded request that is played."""
        self.wraps = max(self.wraps, play.lap)
        return self._records.record(play.row)

    def reshard(self) -> None:
        """Play another part of the trace, after the workers changed. ValueError when no session is for this process."""
        self._pacing = self._population = self.undrawn = None
        index = self.trace.index()
        try:
            self._population = Population(index, _seed, _shard)
        except ValueError as fault:
            try:
                Timeline(index, _seed, _shard)
            except ValueError:
                raise fault from None
            self.undrawn = f"{fault}. Or play it with arrivals = 'recorded', where sessions borrow bodies"
        self.begin(_probe)

    def pacing(self, parts: int, speed: float) -> Recorded:
        """The trace's own arrivals, each with its play, for one of as many `parts`. ValueError when it has no times."""
        timeline = Timeline(self.trace.index(), _seed, _shard)
        self._pacing = Recorded(timeline, Draw((_seed, _probe), self._in_order), parts, speed)
        return self._pacing

    @cached_property
    def unfit(self) -> str | None:
        """Why the trace's own arrivals would not be those of its traffic."""
        return unfit(self.trace.index(), self.trace.info().time_quality)


def playlist_of(path: Path, in_order: bool = False) -> Playlist:
    """The playlist of a trace, opened when first asked for."""
    if (path, in_order) not in _playlists:
        _playlists[path, in_order] = Playlist(path, in_order)
    return _playlists[path, in_order]


def configure(seed: int, shard: Shard | None) -> None:
    """Which part of each trace this process plays, in which order."""
    global _seed, _shard
    _seed, _shard = seed, shard
    for playlist in _playlists.values():
        playlist.reshard()


def begin(probe: int) -> None:
    """A probe begins."""
    global _probe
    _probe = probe
    for playlist in _playlists.values():
        playlist.begin(probe)
