"""Which recorded request comes next, for the replaying users of this process: one playlist a trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..replay.cache import RecordCache
from ..replay.population import Play, Population
from ..replay.record import Record
from ..replay.sharding import Shard
from ..replay.store import Trace

_seed = 1
_shard: Shard | None = None
_probe = 0
_playlists: dict[Path, Playlist] = {}


class Playlist:
    """The plays of one trace in this process. Every probe draws anew from the same population."""

    def __init__(self, path: Path) -> None:
        self.trace = Trace.open(path)
        self._records = RecordCache(self.trace)
        self.wraps = 0
        """How often, at most, a probe came to the end of the population and began again."""
        self._population = Population(self.trace.index(), _seed, _shard)
        self._plays: Iterator[Play] = self._population.plays(_probe)

    def begin(self, probe: int) -> None:
        """The next plays are those of `probe`."""
        self._plays = self._population.plays(probe)

    def next(self) -> tuple[Record, Play]:
        """The next recorded request, and which lap of which session it is."""
        play = next(self._plays)
        self.wraps = max(self.wraps, play.lap)
        return self._records.record(play.row), play

    def reshard(self) -> None:
        """Play another part of the trace, after the workers changed. ValueError when no session is for this process."""
        self._population = Population(self.trace.index(), _seed, _shard)
        self._plays = self._population.plays(_probe)


def playlist_of(path: Path) -> Playlist:
    """The playlist of a trace, opened when first asked for."""
    if path not in _playlists:
        _playlists[path] = Playlist(path)
    return _playlists[path]


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
