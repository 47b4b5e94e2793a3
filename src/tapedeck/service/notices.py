"""What is put in the outbox about sessions, the people in them, and livestreams, in the transaction of the change.

Somebody is announced with the first of their connections and gone with the last, whatever comes and goes between: a
screen share or a reconnection is not another person. Hidden participants are never spoken of. A livestream is what its
recording makes it, so each change of that is looked at (`core/livestream.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from tapedeck.core.happenings import Guest, HappeningKind, StreamNews
from tapedeck.core.livestream import Showing
from tapedeck.core.meeting import Meeting, Session
from tapedeck.core.recording import ACTIVE, LIVE, Recording, RecordingChanged
from tapedeck.db import livestreams, outbox, presence, rooms
from tapedeck.db.engine import DbSession

__all__ = ["all_leave", "joined", "left", "recording_changed", "session_ended", "session_started", "showing"]


async def session_started(session: DbSession, meeting: Meeting, live: Session) -> None:
    """A session began."""
    await outbox.note_session(session, HappeningKind.SESSION_STARTED, meeting.app_id, live, live.started_at)


async def session_ended(session: DbSession, live: Session, at: datetime) -> None:
    """A session is over, and stored so."""
    await outbox.note_session(session, HappeningKind.SESSION_ENDED, await _app_id(session, live), live, at)


async def joined(session: DbSession, live: Session, participant_id: str, peer_id: str, name: str, at: datetime) -> None:
    """A visible connection is there, and stored so. A report may come twice."""
    if participant_id not in await presence.participants_here(session, live.id):
        return  # the connection is gone already
    if await outbox.announced(session, live.id, participant_id) is None:
        known = await rooms.find_participant(session, participant_id)
        guest = Guest(peer_id, participant_id, name, known.custom_id if known else None, at)
        await outbox.note_guest(session, HappeningKind.JOINED, await _app_id(session, live), live, guest, at)


async def left(session: DbSession, live: Session, peer_id: str, at: datetime) -> None:
    """A connection is gone, and stored so."""
    participant_id = await presence.participant_of(session, live.id, peer_id)
    if participant_id is not None and participant_id not in await presence.participants_here(session, live.id):
        await _gone(session, live, participant_id, at)


async def all_leave(session: DbSession, live: Session, at: datetime) -> None:
    """All who are there are about to be stored as gone."""
    for participant_id in await presence.participants_here(session, live.id):
        await _gone(session, live, participant_id, at)


async def recording_changed(session: DbSession, recording: Recording, changes: Sequence[RecordingChanged]) -> None:
    """A recording changed, and is stored so: livestreams that show it may begin or end by that."""
    for change in changes:
        begins = change.previous not in LIVE and change.state in LIVE
        ends = change.previous in ACTIVE and change.state not in ACTIVE
        if begins or ends:
            for stream in await livestreams.open_on(session, recording):
                await showing(session, Showing(stream, recording), change.at)


async def showing(session: DbSession, now: Showing, at: datetime) -> None:
    """A livestream is what it was not before, and stored so."""
    stream = now.stream
    news = StreamNews(stream.id, stream.recording_id, stream.created_at, now.status)
    await outbox.note_livestream(session, news, now.recording, at)


async def _gone(session: DbSession, live: Session, participant_id: str, at: datetime) -> None:
    guest = await outbox.announced(session, live.id, participant_id)
    if guest is not None:
        app_id, gone = await _app_id(session, live), replace(guest, left_at=max(at, guest.joined_at))
        await outbox.note_guest(session, HappeningKind.LEFT, app_id, live, gone, at)


async def _app_id(session: DbSession, live: Session) -> str:
    meeting = await rooms.find_meeting(session, live.meeting_id)
    assert meeting is not None, "a session has a meeting: the database sees to it"
    return meeting.app_id
