"""Films as players load them over HLS: while they are made from the fragments on this machine, then from the film.

A link is a path that carries its own signature, so that whatever a playlist names is found beside it and a player needs
no header. Owns who may have a link, what one still opens, and when a stream becomes a film. Refuses to know HTTP and
where fragments lie (`workers/playback.py`).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tapedeck.core.errors import ConflictError, DeniedError, NotFoundError
from tapedeck.core.ids import is_uuid
from tapedeck.core.library import main_file
from tapedeck.core.liveindex import anchors_of
from tapedeck.core.mp4film import FilmTable
from tapedeck.core.output import outputs_of
from tapedeck.core.recording import ACTIVE, FilmFile, Recording, RecordingKind, RecordingState
from tapedeck.core.signing import expiry_seconds, sign_link, verify_link
from tapedeck.core.times import from_ms
from tapedeck.db import playbacks as table
from tapedeck.db.engine import Database
from tapedeck.ports.clock import Clock
from tapedeck.ports.storage import ObjectStore
from tapedeck.service.watching import Finished, Growing, LiveFilms, NotBegunError, Playlist, Playlists, Span

__all__ = ["LiveFilms", "Pass", "PlaybackLink", "PlaybackService", "Span"]

LONGEST_LIFE = timedelta(days=7)
_MOST_WEIGHT = 64 << 20
"""Bytes of tables that are kept at hand."""
_MOST_INDEX = 128 << 20
_MOST_BOXES = 100
"""Of a film before its index: a look at each is a request to a store. Ours have two, others a few."""
_GROWING = ACTIVE | {RecordingState.CLOSING, RecordingState.RENDERING}
_MAIN = "main"
_UNPLAYABLE = "Only MP4 films (H264), or sound alone in AAC, can be played over HLS; those with timed metadata cannot"


_ALL = Span()


@dataclass(frozen=True, slots=True)
class Pass:
    """What a link opens."""

    recording_id: str
    span: Span = _ALL
    livestream_id: str | None = None


@dataclass(frozen=True, slots=True)
class PlaybackLink:
    """Where a recording can be played."""

    url: str
    page_url: str
    "The same in a page with a player."
    expires_at: datetime
    is_live: bool


class PlaybackService:
    """Use cases of playing."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        store: ObjectStore,
        films: LiveFilms,
        key: bytes,
        public_url: str,
        *,
        is_live: bool,
    ) -> None:
        """`key` signs links; `is_live`: whether films are played while they are made."""
        self._db = db
        self._clock = clock
        self._store = store
        self._films = films
        self._key = key
        self._public_url = public_url.rstrip("/")
        self.is_live = is_live
        self._tables: OrderedDict[tuple[str, str], FilmTable] = OrderedDict()
        self._lists = Playlists()
        self._reading: dict[tuple[str, str], asyncio.Task[FilmTable]] = {}
        self.on_watched: Callable[[str, int], None] = lambda *_: None
        "Hears how much of a livestream was loaded (ms)."
        self.livestream: Callable[[str], Pass] | None = None
        "Finds what the link to a livestream opens. NotFoundError."

    # Links

    async def link(self, recording_id: str, life: timedelta) -> PlaybackLink:
        """A link to a recording that the caller may see. NotFoundError; ConflictError: it cannot be played, and why."""
        played = self._played(recording_id)
        if reason := self._why_not(played):
            raise ConflictError(reason)
        recording = played.recording
        until = self._clock.now() + min(life, LONGEST_LIFE)
        if recording.state is RecordingState.DONE and played.imported_at is None and recording.expires_at is not None:
            until = min(until, recording.expires_at)
        url = self.address("r", recording.id, until)
        until = from_ms(expiry_seconds(until) * 1000)
        return PlaybackLink(url, url.replace("index.m3u8", "watch"), until, recording.state in _GROWING)

    def can_stream(self, recording: Recording) -> bool:
        """Whether a recording can be played while it is made."""
        return self._why_not(table.Played(recording, (), False, False, None)) is None and recording.state in ACTIVE

    def address(self, kind: str, subject: str, until: datetime) -> str:
        """The address of the main playlist of something (`r`: a recording, `l`: a livestream) until a moment."""
        seconds = expiry_seconds(until)
        signature = sign_link(self._key, f"{kind}/{subject}", "hls", seconds)
        return f"{self._public_url}/hls/{kind}{subject}.{seconds}.{signature}/index.m3u8"

    def check(self, link: str) -> tuple[str, str]:
        """What a link names: its kind and id. DeniedError unless it is ours, untouched and alive."""
        subject, _, rest = link.partition(".")
        seconds, _, signature = rest.partition(".")
        kind, subject = subject[:1], subject[1:]
        genuine = len(link) < 256 and is_uuid(subject) and seconds.isascii() and seconds.isdecimal()
        until = int(seconds[:12]) if genuine else 0
        if not genuine or not verify_link(self._key, f"{kind}/{subject}", "hls", until, signature, self._clock.now()):
            raise DeniedError("Forbidden: the link is not valid or has expired")
        return kind, subject

    def enter(self, link: str) -> Pass:
        """What a link opens. DeniedError, NotFoundError."""
        kind, subject = self.check(link)
        if kind == "l" and self.livestream is not None:
            return self.livestream(subject)
        return Pass(subject)

    # What players load. NotFoundError when there is nothing (any more), UnavailableError when there is nothing yet.

    async def main(self, entry: Pass) -> Playlist:
        """The main playlist."""
        source = await self._source(entry)
        return await self._lists.main((entry.recording_id, _MAIN), source)

    async def media(self, entry: Pass) -> Playlist:
        """The media playlist."""
        source = await self._source(entry)
        found = await self._lists.media((entry.recording_id, entry.span), source)
        if not found.data and source.is_ended:
            raise NotFoundError("The stream ended before there was anything to play")
        if not found.data:
            raise NotBegunError
        return found

    async def init(self, entry: Pass, run: int) -> bytes:
        """What a player reads before segments."""
        return await (await self._source(entry)).init(run)

    async def segment(self, entry: Pass, number: int, *, is_loaded: bool = True) -> bytes:
        """One segment. `is_loaded`: whether a viewer gets it, which counts as watched."""
        source = await self._source(entry)
        data, length_ns = await source.segment(number)
        if is_loaded and entry.livestream_id is not None:
            self.on_watched(entry.livestream_id, length_ns // 1_000_000)
        return data

    # The worker

    async def finished(self, recording: Recording) -> None:
        """The film is finished on this machine: what has to be known of its fragments is kept, and they are freed."""
        fragments = await self._films.fragments(recording.id)
        if fragments:
            async with self._db.write() as session:
                await table.keep_anchors(session, recording.id, anchors_of(fragments))
        await self._films.drop(recording.id)

    # Inside

    def _played(self, recording_id: str) -> table.Played:
        played = table.find_played(self._db, recording_id)
        if played is None or played.is_deleted:
            raise NotFoundError(f"Recording not found: {recording_id}")
        return played

    def _why_not(self, played: table.Played) -> str | None:
        """Why a recording cannot be played; None when it can, or will."""
        recording = played.recording
        if recording.kind is not RecordingKind.COMPOSITE:
            return "A recording of tracks cannot be played as one: it has no film"
        if recording.state is RecordingState.FAILED:
            return "The recording failed: there is nothing to play"
        if recording.state in _GROWING:
            if not self.is_live:
                return "This server makes films after the meeting (RENDER_MODE): it can be played when it is UPLOADED"
            if recording.options.provider != "local":
                return "Another recorder makes this film: it can be played when it is UPLOADED"
            if not outputs_of(recording.options, recording.file_name)[0].is_playable:
                return _UNPLAYABLE
            return None
        if played.is_archived:
            return "The recording is archived and is not played: restored, it can be downloaded"
        file = _playable(recording)
        if file is None:
            return _UNPLAYABLE
        if recording.state is RecordingState.DONE:
            if file.key is None:
                return "The files of this recording are in a storage of your own"
            if played.imported_at is None and recording.expires_at is not None:
                if recording.expires_at <= self._clock.now():
                    return "The files of this recording were deleted when their links ended"
        return None

    async def _source(self, entry: Pass) -> Growing | Finished:
        played = self._played(entry.recording_id)
        if reason := self._why_not(played):
            raise NotFoundError(reason)
        recording = played.recording
        file = _playable(recording)
        if recording.state not in _GROWING and file is not None:
            found = await self._table(recording, file)

            async def read(start: int, end: int) -> bytes:
                return await self._read(file, start, end)

            return Finished(found, file.crc32c, file.size_bytes, played.anchors, entry.span, read)
        fragments = await self._films.fragments(recording.id)
        if not fragments:
            raise NotBegunError
        return Growing(self._films, recording.id, fragments, entry.span)

    async def _table(self, recording: Recording, file: FilmFile) -> FilmTable:
        """The index of a film, read once for all who play it."""
        place = (recording.id, file.crc32c)
        if (known := self._tables.get(place)) is not None:
            self._tables.move_to_end(place)
            return known
        task = self._reading.get(place)
        if task is None:
            task = self._reading[place] = asyncio.create_task(self._load(file))
            task.add_done_callback(lambda _: self._reading.pop(place, None))
        found = await asyncio.shield(task)
        self._tables[place] = found
        while len(self._tables) > 1 and sum(one.weight for one in self._tables.values()) > _MOST_WEIGHT:
            self._tables.popitem(last=False)
        return found

    async def _load(self, file: FilmFile) -> FilmTable:
        at = 0
        for _ in range(_MOST_BOXES):
            if at >= file.size_bytes:
                break
            head = await self._read(file, at, min(at + 16, file.size_bytes))
            size, kind = int.from_bytes(head[:4]), head[4:8]
            size = int.from_bytes(head[8:16]) if size == 1 else size or file.size_bytes - at
            if kind == b"moov" and size <= _MOST_INDEX:
                moov = await self._read(file, at, at + size)
                try:
                    return await asyncio.to_thread(FilmTable, moov[8:])
                except ValueError as exc:
                    raise NotFoundError(f"This film cannot be played over HLS: {exc}") from exc
            if size < 8:
                break
            at += size
        raise NotFoundError("This film cannot be played over HLS: it has no index")

    async def _read(self, file: FilmFile, start: int, end: int) -> bytes:
        if file.key is not None:
            return b"".join([chunk async for chunk in self._store.read(file.key, start, end)])
        if file.local_path is not None:
            return await self._films.film(file.local_path, start, end)
        raise NotFoundError("The film is not here any more")


def _playable(recording: Recording) -> FilmFile | None:
    """The file that is played: the film, or the sound where there is none."""
    file = main_file(recording)
    return file if file is not None and file.name.endswith((".mp4", ".m4a")) else None
