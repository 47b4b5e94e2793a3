"""One decoder per track for several films of one meeting that are made in step, in one process.

Owns what makes sharing safe: a place in a track is known by all that was decoded since a key frame, so a film gets a
picture of another only if it would have made the same. A film that is where no decoder is gets one of its own, from its
last key frame on; where two meet, one goes on. Refuses to know films and times: it sees frames in the order in which
each film takes them. Not thread-safe.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from tapedeck.core.frames import EncodedFrame, FrameFlags
from tapedeck.media.decode import DecodeStats, Picture, VideoDecoder

__all__ = ["Decoders", "Replay", "SharedDecoder"]

Replay = Callable[[EncodedFrame, EncodedFrame], Iterator[EncodedFrame]]
"""The frames of the track from one to another, both included, read once more."""

_DISCONTINUITY = int(FrameFlags.DISCONTINUITY)
_MOST_KEPT = 16
"""Results per track. Films that are made in step are some five frames apart; each may be a 720p picture of 1.4 MB."""

_FrameId = tuple[int, int]
_Place = tuple[_FrameId, int, _FrameId]
"""The key frame, how many frames were decoded after it, and the last of them."""


@dataclass(slots=True)
class _Result:
    place: _Place | None
    picture: Picture | None
    taken: int = 1


class _Track:
    def __init__(self) -> None:
        self.decoders: dict[_Place, VideoDecoder] = {}
        self.users: list[SharedDecoder] = []
        self._results: OrderedDict[tuple[_Place | None, _FrameId], _Result] = OrderedDict()

    def keep(self, at: tuple[_Place | None, _FrameId], result: _Result) -> None:
        if len(self.users) < 2:
            return
        self._results[at] = result
        if len(self._results) > _MOST_KEPT:
            self._results.popitem(last=False)

    def take(self, at: tuple[_Place | None, _FrameId]) -> _Result | None:
        result = self._results.get(at)
        if result is not None:
            result.taken += 1
            if result.taken >= len(self.users):
                del self._results[at]
        return result

    def tidy(self) -> None:
        """Let go of decoders where no film is any more; of pictures too when there is none at all."""
        if not self.users:
            self.decoders.clear()
            self._results.clear()
        elif len(self.decoders) > 1:
            places = {user.place for user in self.users}
            for place in [place for place in self.decoders if place not in places]:
                del self.decoders[place]


class Decoders:
    """The decoders of all tracks of one log."""

    def __init__(self) -> None:
        self._tracks: dict[str, _Track] = {}

    def open(self, track_id: str, replay: Replay) -> SharedDecoder:
        """A film's decoder of a track; to be closed when the film needs it no more."""
        track = self._tracks.setdefault(track_id, _Track())
        decoder = SharedDecoder(track, replay)
        track.users.append(decoder)
        return decoder


class SharedDecoder:
    """Decodes one track for one film, as `VideoDecoder`."""

    def __init__(self, track: _Track, replay: Replay) -> None:
        self.stats = DecodeStats()
        "`decoded`: by this film; not what another one had decoded before it."
        self.place: _Place | None = None
        "None: nothing can be decoded before a key frame."
        self._track = track
        self._replay = replay
        self._key: EncodedFrame | None = None

    @property
    def waiting(self) -> bool:
        """Whether frames are being dropped until a key frame comes."""
        return self.place is None

    def reset(self) -> None:
        """The next frames do not follow the last ones: wait for a key frame."""
        self.place = None

    def decode(self, frame: EncodedFrame) -> Picture | None:
        """The picture of a frame; None when it cannot be shown. Never raises for the content of the frame."""
        if frame.has(_DISCONTINUITY):
            self.place = None
        if frame.is_key:
            self._key = frame
        elif self.place is None:
            self.stats.skipped += 1
            return None
        name = (frame.arrival_ns, frame.media_time)
        at = (None if frame.is_key else self.place, name)
        result = self._track.take(at)
        if result is None:
            result = self._make(frame, name)
            self._track.keep(at, result)
        self.place = result.place
        self._track.tidy()
        return result.picture

    def close(self) -> None:
        """The film needs it no more. Again is no error."""
        if self in self._track.users:
            self._track.users.remove(self)
            self._track.tidy()

    def _make(self, frame: EncodedFrame, name: _FrameId) -> _Result:
        decoder = None if self.place is None else self._track.decoders.pop(self.place, None)
        frames: Iterable[EncodedFrame] = (frame,)
        if decoder is None:
            decoder = VideoDecoder()
            if not frame.is_key and self._key is not None:
                frames = self._replay(self._key, frame)
        before = replace(decoder.stats)
        picture = None
        for each in frames:
            picture = decoder.decode(each)
        self._count(before, decoder.stats)
        if decoder.waiting:
            return _Result(None, picture)
        place = (name, 0, name) if frame.is_key or self.place is None else (self.place[0], self.place[1] + 1, name)
        self._track.decoders[place] = decoder
        return _Result(place, picture)

    def _count(self, before: DecodeStats, after: DecodeStats) -> None:
        self.stats.decoded += after.decoded - before.decoded
        self.stats.skipped += after.skipped - before.skipped
        self.stats.errors += after.errors - before.errors
        self.stats.unsupported += after.unsupported - before.unsupported
