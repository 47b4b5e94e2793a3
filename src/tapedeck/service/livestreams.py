"""Livestreams of meetings: started, stopped, asked for, counted. What viewers see is `service/playback.py`'s.

A livestream shows the film of a recording: of the one that runs, or of one that is started for it and ends with it.
Viewers see what was captured between its start and its stop, and nothing else of the recording.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

from tapedeck.core.access import Principal
from tapedeck.core.errors import ConflictError, NotFoundError
from tapedeck.core.livestream import LINK_LIFE, Livestream, Showing
from tapedeck.core.meeting import App
from tapedeck.core.paging import Listing, Page
from tapedeck.core.recording import ACTIVE, Recording, WrongStateError
from tapedeck.core.times import whole_ms
from tapedeck.db import livestreams as table
from tapedeck.db import recordings as recordings_table
from tapedeck.db.engine import Database
from tapedeck.db.livestreams import LivestreamFilter
from tapedeck.db.rooms import find_meeting
from tapedeck.ports.clock import Clock
from tapedeck.service.playback import Pass, PlaybackService, Span
from tapedeck.service.recordings import Action, RecordingService

__all__ = ["LivestreamFilter", "LivestreamService"]

Size = tuple[int | None, int | None]
"""Width and height that are wanted; None: any."""


class LivestreamService:
    """Use cases of livestreams."""

    def __init__(self, db: Database, clock: Clock, recordings: RecordingService, playback: PlaybackService) -> None:
        self._db = db
        self._clock = clock
        self._recordings = recordings
        self._playback = playback
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._viewed: dict[str, int] = {}
        playback.livestream = self._pass
        playback.on_watched = self._on_watched

    async def start(
        self, app: App, principal: Principal, meeting_id: str, name: str | None, size: Size, config: dict[str, Any]
    ) -> Showing:
        """Show a meeting from now on. `config` is what a recording that is started for it is started with.

        NotFoundError; ConflictError: it has a livestream, or this server cannot show any; InvalidError as of a start.
        """
        if not self._playback.is_live:
            raise ConflictError("This server makes films after the meeting (RENDER_MODE), so it shows none live")
        async with self._locks.setdefault(meeting_id, asyncio.Lock()):
            recording = await self._running(app, meeting_id, size)
            is_own = recording is None
            now = whole_ms(self._clock.now())
            if recording is None:
                view = await self._recordings.start(app, principal, meeting_id, config, allow_multiple=True)
                recording = view.recording
            stream = Livestream(
                str(uuid4()), str(uuid4()), app.id, meeting_id, recording.id, name, is_own, created_at=now
            )
            async with self._db.write() as session:
                await table.add_livestream(session, stream)
        return Showing(stream, recording)

    async def stop(self, app: App, principal: Principal, meeting_id: str) -> None:
        """Show it no longer; a recording that was started for it ends. NotFoundError when there is none.

        The recording ends first, and its livestream with it: while it runs, the call can be made again.
        """
        showing = await self.active(app, meeting_id)
        now = whole_ms(self._clock.now())
        if showing.stream.is_own:
            try:
                await self._recordings.control(app, principal, showing.recording.id, Action.STOP)
            except WrongStateError:
                pass  # it ended by itself meanwhile
        async with self._db.write() as session:
            await table.stop_livestream(session, showing.stream.id, now)

    async def active(self, app: App, meeting_id: str) -> Showing:
        """The livestream of a meeting that goes on. NotFoundError."""
        async with self._db.read() as session:
            meeting = await find_meeting(session, meeting_id, app.id)
            if meeting is None:
                raise NotFoundError(f"Meeting not found: {meeting_id}")
            found = await table.open_of(session, meeting_id)
        if found is None:
            raise NotFoundError(f"No active livestream found for meeting_id {meeting_id}")
        return found

    async def get(self, app: App, stream_id: str) -> Showing:
        """One of them. NotFoundError."""
        await self.flush()
        async with self._db.read() as session:
            found = await table.find_livestream(session, stream_id)
        if found is None or found.stream.app_id != app.id:
            raise NotFoundError(f"Livestream not found: {stream_id}")
        return found

    async def get_session(self, app: App, session_id: str) -> Showing:
        """The one with this session. NotFoundError."""
        await self.flush()
        async with self._db.read() as session:
            found = await table.find_livestream(session, session_id=session_id)
        if found is None or found.stream.app_id != app.id:
            raise NotFoundError(f"Livestream session not found: {session_id}")
        return found

    async def list(self, app: App, wanted: LivestreamFilter, page: Page) -> Listing[Showing]:
        """One page of an app's livestreams, by creation."""
        async with self._db.snapshot() as session:
            return await table.list_livestreams(session, app.id, wanted, page)

    async def of_span(
        self, app: App, start: datetime | None, end: datetime | None
    ) -> tuple[Sequence[Showing], datetime]:
        """All that were created within a time, and what time it is now."""
        await self.flush()
        async with self._db.read() as session:
            return await table.of_span(session, app.id, start, end), self._clock.now()

    def address(self, stream: Livestream) -> str:
        """Where viewers watch it: the same whenever it is asked for."""
        return self._playback.address("l", stream.id, stream.created_at + LINK_LIFE)

    def now(self) -> datetime:
        """What time it is, for sums of what goes on."""
        return self._clock.now()

    async def flush(self) -> None:
        """Note what was watched since."""
        viewed, self._viewed = self._viewed, {}
        if viewed:
            async with self._db.write() as session:
                await table.add_viewed(session, viewed)

    # Inside

    def _on_watched(self, stream_id: str, length_ms: int) -> None:
        self._viewed[stream_id] = self._viewed.get(stream_id, 0) + length_ms

    async def _pass(self, stream_id: str) -> Pass:
        async with self._db.read() as session:
            found = await table.find_livestream(session, stream_id)
        if found is None:
            raise NotFoundError(f"Livestream not found: {stream_id}")
        stream = found.stream
        # What was started for it ends with it, to the last picture; of another recording nothing but its time is shown.
        span = Span() if stream.is_own else Span(stream.created_at, stream.stopped_at)
        return Pass(stream.recording_id, span, stream.id)

    async def _running(self, app: App, meeting_id: str, size: Size) -> Recording | None:
        """A recording of the meeting that can be shown. NotFoundError, ConflictError."""
        async with self._db.read() as session:
            meeting = await find_meeting(session, meeting_id, app.id)
            if meeting is None:
                raise NotFoundError(f"Meeting not found: {meeting_id}")
            if await table.open_of(session, meeting_id) is not None:
                raise ConflictError(f"Meeting {meeting_id} already has an active livestream")
            running = await recordings_table.of_meeting(session, app.id, meeting_id, ACTIVE)
        wanted = tuple(None if side is None else side + side % 2 for side in size)  # as a film's are
        for recording in running:
            options = recording.options
            sides = zip(wanted, (options.width, options.height), strict=True)
            fits = all(side is None or side == its for side, its in sides)
            if fits and options.video_export and self._playback.can_stream(recording):
                return recording
        return None
