"""What a link to a film opens: its segments while it is made, and of the finished film.

Owns which of them are within the time that a link shows. Both answer the same questions, so whoever serves them need
not know which it is (`service/playback.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from tapedeck.core.errors import NotFoundError, UnavailableError
from tapedeck.core.fmp4 import TrackHead, codec_of, init_segment
from tapedeck.core.hls import Segment, Variant, growing_target_s, main_playlist, media_playlist
from tapedeck.core.liveindex import Anchor, Fragment, segments_of, time_of
from tapedeck.core.mp4film import FilmTable, heads_of
from tapedeck.core.times import to_ms

__all__ = ["WAIT_S", "Finished", "Growing", "LiveFilms", "NotBegunError", "Playlist", "Playlists", "Span", "entity_tag"]

WAIT_S = 2
"""After which a player may ask again for what is not there yet."""
_LEAST_BPS = 600_000
_MOST_BYTES = 64 << 20
"""Of a film that are read for a segment. Others than ours may have all sound behind all pictures, or one key frame."""
_MOST_LISTS = 64
"""That are kept at hand; one of eight hours has half a megabyte."""


class NotBegunError(UnavailableError):
    """There is nothing to play yet, which is no fault: players ask until there is."""

    def __init__(self) -> None:
        super().__init__("The stream has not begun yet: there is nothing to play", retry_after_s=WAIT_S)


class LiveFilms(Protocol):
    """What there is on this machine of films in the making."""

    async def fragments(self, recording_id: str) -> Sequence[Fragment]:
        """Those that can be read, in order; empty while there are none."""

    async def head(self, recording_id: str, run: int) -> bytes:
        """What is read before fragments of a run. NotFoundError."""

    async def media(self, recording_id: str, fragment: Fragment) -> bytes:
        """One fragment. NotFoundError when it is gone."""

    async def drop(self, recording_id: str) -> None:
        """Free them all."""

    async def film(self, path: str, start: int, end: int) -> bytes:
        """Bytes of a finished film that no store has yet. NotFoundError."""


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a recording that a link shows: segments wholly captured in `since <= t < until`; None: no limit."""

    since: datetime | None = None
    until: datetime | None = None


class Growing:
    """A film in the making, as far as a link shows it."""

    def __init__(self, films: LiveFilms, recording_id: str, fragments: Sequence[Fragment], span: Span) -> None:
        self._films = films
        self._recording_id = recording_id
        self._all = fragments
        self._since = None if span.since is None else to_ms(span.since)
        self._until = None if span.until is None else to_ms(span.until)

    @property
    def state(self) -> Hashable:
        """What a playlist of a recording and span depends on: fragments are only added."""
        return len(self._all), self._all[-1]

    @property
    def is_ended(self) -> bool:
        """Whether nothing is added any more."""
        last = self._all[-1].at_ms
        return self._until is not None and last is not None and last > self._until

    def segments(self) -> list[Segment]:
        shown = [number for number in range(len(self._all)) if self._is_in(number)]
        return segments_of(self._all[shown[0] : shown[-1] + 1], shown[0]) if shown else []

    def _is_in(self, number: int) -> bool:
        if self._since is None and self._until is None:
            return True
        at = self._all[number].at_ms
        if at is None or (self._since is not None and at < self._since):
            return False
        if self._until is None:
            return True
        # There may be a pause in it, so when its end was captured is known by what follows.
        end = self._all[number + 1].at_ms if number + 1 < len(self._all) else None
        return end is not None and end <= self._until

    def peak_bps(self) -> int:
        return max(one.size * 8_000_000_000 // max(one.end_ns - one.start_ns, 1) for one in self._all)

    async def heads(self) -> Sequence[TrackHead]:
        return heads_of(await self.init(self._all[-1].run))

    async def init(self, run: int) -> bytes:
        return await self._films.head(self._recording_id, run)

    async def segment(self, number: int) -> tuple[bytes, int]:
        if number >= len(self._all) or not self._is_in(number):
            raise NotFoundError("There is no such segment")
        one = self._all[number]
        return await self._films.media(self._recording_id, one), one.end_ns - one.start_ns


class Finished:
    """A finished film, as far as a link shows it."""

    is_ended = True

    def __init__(
        self,
        film: FilmTable,
        crc32c: str,
        size_bytes: int,
        anchors: Sequence[Anchor],
        span: Span,
        read: Callable[[int, int], Awaitable[bytes]],
    ) -> None:
        """`crc32c` tells this film from another of the same recording; `size_bytes` is how long its file is."""
        self._crc32c = crc32c
        self._size_bytes = size_bytes
        self._film = film
        self._anchors = anchors
        self._read = read
        self._span = span

    @property
    def state(self) -> Hashable:
        """What a playlist of a recording and span depends on."""
        return self._crc32c, tuple(self._anchors)

    def _is_in(self, number: int) -> bool:
        since, until = self._span.since, self._span.until
        if since is None and until is None:
            return True
        start, end = (time_of(self._anchors, film_ns) for film_ns in self._film.times(number))
        if start is None or (since is not None and start < since):
            return False  # or nobody knows whether it was to be shown: the film may be longer than what fragments told
        return until is None or (end is not None and end <= until)

    def segments(self) -> list[Segment]:
        found: list[Segment] = []
        before: datetime | None = None
        for number in filter(self._is_in, range(self._film.count)):
            start_ns, end_ns = self._film.times(number)
            at = time_of(self._anchors, start_ns)
            follows = at is not None and before is not None and abs((at - before).total_seconds()) < 0.04
            found.append(Segment(f"{number}.m4s", end_ns - start_ns, None if follows else at, "init-0.mp4"))
            before = None if at is None else at + timedelta(microseconds=(end_ns - start_ns) / 1000)
        return found

    def peak_bps(self) -> int:
        return self._film.peak_bps

    async def heads(self) -> Sequence[TrackHead]:
        return self._film.heads

    async def init(self, run: int) -> bytes:
        return init_segment(self._film.heads)  # one for all runs: a player may ask for what a live playlist named

    async def segment(self, number: int) -> tuple[bytes, int]:
        if number >= self._film.count or not self._is_in(number):
            raise NotFoundError("There is no such segment")
        try:
            piece = self._film.piece(number)
        except ValueError as exc:  # of a film that somebody else made
            raise NotFoundError(f"This part of the film cannot be played over HLS: {exc}") from exc
        if piece.end > self._size_bytes:
            raise NotFoundError("This part of the film cannot be played over HLS: it lies behind the end of the file")
        if piece.end - piece.start > _MOST_BYTES:
            raise NotFoundError("This part of the film cannot be played over HLS: it lies too far apart in the file")
        data = await self._read(piece.start, piece.end)
        if len(data) < piece.end - piece.start:
            raise UnavailableError("The film cannot be read now", retry_after_s=WAIT_S)
        return piece.build(data), piece.end_ns - piece.start_ns


@dataclass(frozen=True, slots=True)
class Playlist:
    """A playlist as it is sent. Empty: there is no segment in it."""

    data: bytes
    etag: str


class Playlists:
    """Playlists that were built, the newest of each recording and span: they are asked for again and again."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, tuple[Hashable, asyncio.Task[Playlist]]] = OrderedDict()

    async def media(self, place: Hashable, source: Growing | Finished) -> Playlist:
        """The media playlist of a source; `place` is the recording and the span.

        Built once for all who ask, and in a thread: that of eight hours takes long enough to be heard in a capture.
        """
        return await self._of(place, source, lambda: asyncio.to_thread(_build, source))

    async def main(self, place: Hashable, source: Growing | Finished) -> Playlist:
        """The main playlist of a source; `place` is its own for each recording."""
        return await self._of(place, source, lambda: _build_main(source))

    async def _of(
        self, place: Hashable, source: Growing | Finished, build: Callable[[], Coroutine[Any, Any, Playlist]]
    ) -> Playlist:
        state, task = self._known.get(place, (None, None))
        if task is None or state != source.state or (task.done() and (task.cancelled() or task.exception())):
            task = asyncio.create_task(build())
            self._known[place] = source.state, task
        self._known.move_to_end(place)
        while len(self._known) > _MOST_LISTS:
            self._known.popitem(last=False)
        return await asyncio.shield(task)


def _build(source: Growing | Finished) -> Playlist:
    segments = source.segments()
    if not segments:
        return Playlist(b"", "")
    kind = "EVENT" if isinstance(source, Growing) else "VOD"
    text = media_playlist(segments, growing_target_s(segments), kind=kind, is_ended=source.is_ended)
    data = text.encode()
    return Playlist(data, entity_tag(data))


async def _build_main(source: Growing | Finished) -> Playlist:
    heads = await source.heads()
    video = next((head for head in heads if head.is_video), None)
    codecs = ",".join(codec_of(head.stsd) for head in heads)
    size = (0, 0) if video is None else (video.width, video.height)
    peak_bps = await asyncio.to_thread(source.peak_bps)
    data = main_playlist(Variant("media.m3u8", max(peak_bps, _LEAST_BPS), codecs, *size)).encode()
    return Playlist(data, entity_tag(data))


def entity_tag(data: bytes) -> str:
    """Of what is sent whole (RFC 9110, 8.8.3)."""
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'
