"""What a link to a film opens: its segments while it is made, and of the finished film.

Owns which of them are within the time that a link shows. Both answer the same questions, so whoever serves them need
not know which it is (`service/playback.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from tapedeck.core.errors import NotFoundError, UnavailableError
from tapedeck.core.fmp4 import TrackHead, init_segment
from tapedeck.core.hls import Segment
from tapedeck.core.liveindex import Anchor, Fragment, segments_of, time_of
from tapedeck.core.mp4film import FilmTable, heads_of
from tapedeck.core.times import to_ms

__all__ = ["WAIT_S", "Finished", "Growing", "LiveFilms", "NotBegunError", "Span"]

WAIT_S = 2
"""After which a player may ask again for what is not there yet."""


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
        self, film: FilmTable, anchors: Sequence[Anchor], span: Span, read: Callable[[int, int], Awaitable[bytes]]
    ) -> None:
        self._film = film
        self._anchors = anchors
        self._read = read
        self._span = span

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
        data = await self._read(piece.start, piece.end)
        if len(data) < piece.end - piece.start:
            raise UnavailableError("The film cannot be read now", retry_after_s=WAIT_S)
        return piece.build(data), piece.end_ns - piece.start_ns
