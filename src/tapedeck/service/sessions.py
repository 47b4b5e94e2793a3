"""What capture reports: sessions, who is in them, first media. Implements `ports.control.CaptureEvents`.

Each report is one transaction and may be repeated. Nothing here waits for a lock that a command to capture may hold,
so capture can report in the middle of one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from tapedeck.core.errors import ConflictError, NotFoundError, TapedeckError
from tapedeck.core.meeting import Meeting, MeetingStatus, Session, SessionEnd
from tapedeck.core.page import is_page
from tapedeck.core.recording import (
    ACTIVE,
    LIVE,
    MediaStored,
    Recording,
    RecordingChanged,
    Stop,
    StopCause,
)
from tapedeck.core.times import whole_ms
from tapedeck.db import presence, rooms
from tapedeck.db import recordings as table
from tapedeck.db.engine import Database, DbSession
from tapedeck.service import notices
from tapedeck.service.ledger import Ledger
from tapedeck.service.recordings import RecordingService

__all__ = ["SessionService"]

_log = logging.getLogger(__name__)
_Change = tuple[Recording, RecordingChanged]


class SessionService:
    """Keeps the sessions of all meetings."""

    def __init__(self, db: Database, ledger: Ledger, recordings: RecordingService) -> None:
        self._db = db
        self._ledger = ledger
        self._recordings = recordings
        self._tasks: set[asyncio.Task[None]] = set()
        self.show: Callable[[DbSession, Meeting], Awaitable[_Change | None]] | None = None
        "Starts the livestream of a meeting that wants one from its first join; what it started a recording by."

    async def on_session_started(self, meeting_id: str, session_id: str, at: datetime) -> None:
        """The first participant joined; starts the recording and the livestream of a meeting that wants them.

        A session that is known goes on. Another one of the meeting that was left open ends. NotFoundError;
        ConflictError when the meeting has been made INACTIVE meanwhile.
        """
        at = whole_ms(at)
        ended: list[_Change] = []
        opened: list[_Change | None] = []
        async with self._db.write() as session:
            meeting = await rooms.find_meeting(session, meeting_id, lock=True)
            if meeting is None:
                raise NotFoundError(f"Meeting not found: {meeting_id}")
            if await presence.find_session(session, session_id) is not None:
                return
            if meeting.status is MeetingStatus.INACTIVE:
                raise ConflictError(f"Meeting {meeting_id} is INACTIVE: nobody can join it")
            stale = await presence.live_session(session, meeting_id)
            if stale is not None:
                ended = await self._end(session, stale, at)
            live = Session(session_id, meeting_id, at, empty_since=at)
            await presence.add_session(session, live, meeting.app_id)
            await notices.session_started(session, meeting, live)
            if meeting.record_on_start:
                opened.append(await self._recordings.start_in(session, meeting))
            if meeting.stream_on_start and self.show is not None:
                opened.append(await self.show(session, meeting))
        self._follow(ended)
        self._ledger.announce()
        for recording, change in filter(None, opened):
            self._ledger.publish(recording, change)
            # Not awaited here: capture is in the middle of reporting and may not take a command before we return.
            task = asyncio.create_task(self._dispatch(recording), name=f"dispatch {recording.id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def on_session_ended(
        self, meeting_id: str, session_id: str, at: datetime, cause: SessionEnd = SessionEnd.EMPTY
    ) -> None:
        """The session is over: what still records it is stopped. NotFoundError."""
        async with self._db.write() as session:
            live = await _session(session, session_id)
            ended = [] if live.ended_at is not None else await self._end(session, live, whole_ms(at), cause)
        self._follow(ended)
        self._ledger.announce()

    async def on_joined(self, session_id: str, participant_id: str, peer_id: str, name: str, at: datetime) -> None:
        """A peer connected. Hidden participants are remembered, but the room stays empty. NotFoundError."""
        at = whole_ms(at)
        async with self._db.write() as session:
            live = await _session(session, session_id)
            if live.ended_at is not None:
                return  # it was ended before this was heard
            participant = await rooms.find_participant(session, participant_id)
            preset = None
            if participant is not None:
                meeting = await rooms.find_meeting(session, participant.meeting_id)
                preset = await rooms.find_preset(session, meeting.app_id, participant.preset_id) if meeting else None
            hidden = is_page(participant_id) or (preset is not None and preset.is_hidden)
            is_new = await presence.add_peer(session, peer_id, session_id, participant_id, name, hidden, at)
            if is_new and not hidden:
                custom_id = None if participant is None else participant.custom_id
                words = (None, None) if preset is None else (preset.name, preset.view_type)
                visitor = presence.Visitor(peer_id, participant_id, name, custom_id, *words)
                live = await presence.attend(session, live, visitor, at)
                if live.occupied_since is None:
                    live = replace(live, occupied_since=at, empty_since=None, outage_at=None)
                await presence.save_session(session, live)
            if not hidden:
                await notices.joined(session, live, participant_id, peer_id, name, at)
        self._ledger.announce()

    async def on_left(self, session_id: str, peer_id: str, at: datetime) -> None:
        """A peer is gone. NotFoundError for the session."""
        at = whole_ms(at)
        async with self._db.write() as session:
            live = await _session(session, session_id)
            await presence.leave_peer(session, session_id, peer_id, at)
            participant_id = await presence.participant_of(session, session_id, peer_id)
            here = await presence.participants_here(session, session_id)
            if participant_id is not None and participant_id not in here:
                live = await presence.depart(session, live, participant_id, at)
            if live.occupied_since is not None and not here:
                live = replace(live, occupied_since=None, empty_since=at)
            await presence.save_session(session, live)
            await notices.left(session, live, peer_id, at)
        self._ledger.announce()

    async def stop_waiting(self, meeting_id: str, at: datetime) -> None:
        """Nobody will come any more: end what waits to record the meeting and has no media yet."""
        waiting = tuple(state for state in ACTIVE if state not in LIVE)
        changes: list[_Change] = []
        async with self._db.write() as session:
            meeting = await rooms.find_meeting(session, meeting_id)
            if meeting is None:
                return
            for recording in await table.of_meeting(session, meeting.app_id, meeting_id, waiting):
                stopped, made = await self._ledger.apply_in(session, recording.id, Stop(StopCause.EMPTY, at=at), at)
                changes += [(stopped, change) for change in made]
        self._follow(changes)

    async def on_capturing(self, recording_id: str, session_id: str, at: datetime) -> None:
        """The first media of the recording is stored. NotFoundError."""
        await self._ledger.apply(recording_id, MediaStored(session_id), at)

    async def settle(self) -> None:
        """Return when everything begun here is done."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def _end(
        self, session: DbSession, live: Session, at: datetime, cause: SessionEnd = SessionEnd.EMPTY
    ) -> list[_Change]:
        """End a session and stop what records it: at once, or at the outage that nobody has come back from."""
        await notices.all_leave(session, live, at)
        gone = await presence.leave_all(session, live, at)
        over = replace(gone, ended_at=at, end_cause=cause, occupied_since=None, empty_since=live.empty_since or at)
        await presence.save_session(session, replace(over, updated_at=at))
        await notices.session_ended(session, live, at)
        stop = Stop(StopCause.FAULT, at=live.outage_at) if live.outage_at else Stop(StopCause.EMPTY, at=at)
        changes: list[_Change] = []
        for recording in await table.of_session(session, live.id, ACTIVE):  # of tracks it may not have begun
            stopped, made = await self._ledger.apply_in(session, recording.id, stop, at)
            changes += [(stopped, change) for change in made]
        return changes

    def _follow(self, changes: list[_Change]) -> None:
        """After the commit: tell the listeners, and have capture end what was stopped."""
        for recording, change in changes:
            self._ledger.publish(recording, change)
            if change.previous in ACTIVE:
                self._recordings.close_soon(recording)

    async def _dispatch(self, recording: Recording) -> None:
        try:
            await self._recordings.dispatch(recording)
        except TapedeckError:
            _log.warning(
                "the recording of a first join did not start",
                extra={"action": "start_failed", "recording_id": recording.id},
            )


async def _session(session: DbSession, session_id: str) -> Session:
    live = await presence.find_session(session, session_id)
    if live is None:
        raise NotFoundError(f"Session not found: {session_id}")
    return live
