"""Livestreams of meetings: started, stopped, asked for, counted. What viewers see is `service/playback.py`'s.

A livestream shows the film of a recording: of the one that runs, or of one that is started for it and ends with it.
Viewers see what was captured between its start and its stop, and nothing else of the recording.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from tapedeck.core.access import Principal
from tapedeck.core.errors import ConflictError, NotFoundError
from tapedeck.core.happenings import StreamNews
from tapedeck.core.livestream import LINK_LIFE, Livestream, Showing
from tapedeck.core.meeting import App, Meeting
from tapedeck.core.paging import Listing, Page
from tapedeck.core.recording import ACTIVE, Recording, RecordingChanged, WrongStateError
from tapedeck.core.times import whole_ms
from tapedeck.db import livestreams as table
from tapedeck.db import recordings as recordings_table
from tapedeck.db.engine import Database, DbSession
from tapedeck.db.livestreams import LivestreamFilter
from tapedeck.db.rooms import find_meeting
from tapedeck.ports.clock import Clock
from tapedeck.service import notices
from tapedeck.service.ledger import Ledger
from tapedeck.service.playback import Pass, PlaybackService, Span
from tapedeck.service.recordings import Action, RecordingService

__all__ = ["LivestreamFilter", "LivestreamService"]

Size = tuple[int | None, int | None]
"""Width and height that are wanted; None: any."""
Opened = tuple[Recording, RecordingChanged]
"""A recording that was started, and how."""
_ANY: Size = (None, None)
_NO_SHOWS = "This server makes films after the meeting (RENDER_MODE), so it shows none live"
_log = logging.getLogger(__name__)


class LivestreamService:
    """Use cases of livestreams."""

    def __init__(
        self, db: Database, clock: Clock, ledger: Ledger, recordings: RecordingService, playback: PlaybackService
    ) -> None:
        self._db = db
        self._clock = clock
        self._ledger = ledger
        self._recordings = recordings
        self._playback = playback
        self._viewed: dict[str, int] = {}
        playback.livestream = self._pass
        playback.on_watched = self._on_watched

    async def start(self, app: App, principal: Principal, meeting_id: str, name: str | None, size: Size) -> Showing:
        """Show a meeting from now on.

        NotFoundError; ConflictError: it has a livestream, or this server cannot show any; InvalidError as of a start.
        """
        if not self._playback.is_live:
            raise ConflictError(_NO_SHOWS)
        opened: Opened | None = None
        async with self._db.write() as session:
            meeting = await find_meeting(session, meeting_id, app.id, lock=True)
            if meeting is None:
                raise NotFoundError(f"Meeting not found: {meeting_id}")
            if await table.open_of(session, meeting_id) is not None:
                raise ConflictError(f"Meeting {meeting_id} already has an active livestream")
            shown = await self._running(session, meeting, size)
            if shown is None:
                config = await self._config(session, meeting, size)
                opened = await self._recordings.start_beside(session, app, principal, meeting_id, config)
                shown = opened[0]
            showing = await self._add(session, shown, name, is_own=opened is not None)
        await self._follow(opened)
        return showing

    async def start_in(self, session: DbSession, meeting: Meeting) -> Opened | None:
        """Show a meeting that wants it from its first join, in a transaction of the caller's.

        A recording that is started for it is returned: the caller publishes and dispatches it after the commit.
        """
        if not self._playback.is_live:  # it could when the meeting was made
            _log.error("a meeting is not shown: %s", _NO_SHOWS, extra={"action": "no_show", "meeting_id": meeting.id})
            return None
        if await table.open_of(session, meeting.id) is not None:
            return None
        shown, opened = await self._running(session, meeting, _ANY), None
        if shown is None:
            opened = await self._recordings.start_in(session, meeting, await self._config(session, meeting, _ANY))
            if opened is None:
                return None
            shown = opened[0]
        await self._add(session, shown, None, is_own=opened is not None)
        return opened

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
            # Held, so that it ends once: here, or with its recording.
            recording = await recordings_table.find_recording(session, showing.recording.id, lock=True)
            stopped = await table.stop_livestream(session, showing.stream.id, now)
            if stopped and recording is not None and recording.state in ACTIVE:
                await notices.showing(session, Showing(replace(showing.stream, stopped_at=now), recording), now)
        self._ledger.announce()

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

    def address(self, stream: Livestream | StreamNews) -> str:
        """Where viewers watch it: the same whenever it is asked for."""
        return self._playback.address("l", stream.id, stream.created_at + LINK_LIFE)

    def now(self) -> datetime:
        """What time it is, for sums of what goes on."""
        return self._clock.now()

    async def flush(self) -> None:
        """Note what was watched since."""
        viewed, self._viewed = self._viewed, {}
        if viewed:
            try:
                async with self._db.write() as session:
                    await table.add_viewed(session, viewed)
            except BaseException:  # also cancelled: the next time notes it
                for stream_id, length_ms in viewed.items():
                    self._on_watched(stream_id, length_ms)
                raise

    # Inside

    def _on_watched(self, stream_id: str, length_ms: int) -> None:
        self._viewed[stream_id] = self._viewed.get(stream_id, 0) + length_ms

    def _pass(self, stream_id: str) -> Pass:
        stream = table.stream_now(self._db, stream_id)
        if stream is None:
            raise NotFoundError(f"Livestream not found: {stream_id}")
        # What was started for it ends with it, to the last picture; of another recording nothing but its time is shown.
        span = Span() if stream.is_own else Span(stream.created_at, stream.stopped_at)
        return Pass(stream.recording_id, span, stream.id)

    async def _running(self, session: DbSession, meeting: Meeting, size: Size) -> Recording | None:
        """A recording of the meeting that can be shown."""
        wanted = tuple(None if side is None else side + side % 2 for side in size)  # as a film's are
        for recording in await recordings_table.of_meeting(session, meeting.app_id, meeting.id, ACTIVE):
            options = recording.options
            sides = zip(wanted, (options.width, options.height), strict=True)
            fits = all(side is None or side == its for side, its in sides)
            if fits and options.video_export and self._playback.can_stream(recording):
                return recording
        return None

    async def _config(self, session: DbSession, meeting: Meeting, size: Size) -> dict[str, Any]:
        """What a recording is started with to be shown: as the meeting's are, but such that players know it."""
        usual = await self._recordings.usual_video(session, meeting)
        sides = {name: side for name, side in zip(("width", "height"), size, strict=True) if side is not None}
        kept = {key: wish for key, wish in usual.items() if not sides or key not in ("width", "height")}
        return {"video_config": kept | sides | {"codec": "H264", "export_file": True}}

    async def _add(self, session: DbSession, shown: Recording, name: str | None, *, is_own: bool) -> Showing:
        stream = Livestream(
            str(uuid4()),
            str(uuid4()),
            shown.app_id,
            shown.meeting_id,
            shown.id,
            name,
            is_own,
            created_at=whole_ms(self._clock.now()),
        )
        await table.add_livestream(session, stream)
        await notices.showing(session, Showing(stream, shown), stream.created_at)
        return Showing(stream, shown)

    async def _follow(self, opened: Opened | None) -> None:
        """After the commit."""
        self._ledger.announce()
        if opened is not None:
            self._ledger.publish(*opened)
            await self._recordings.dispatch(opened[0])
