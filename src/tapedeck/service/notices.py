"""What is put in the outbox about sessions and the people in them, in the transaction of whoever changes them.

Somebody is announced with the first of their connections and gone with the last, whatever comes and goes between: a
screen share or a reconnection is not another person. Hidden participants are never spoken of.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from tapedeck.core.happenings import Guest, HappeningKind
from tapedeck.core.meeting import Meeting, Session
from tapedeck.db import outbox, presence, rooms
from tapedeck.db.engine import DbSession

__all__ = ["all_leave", "joined", "left", "session_ended", "session_started"]


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


async def _gone(session: DbSession, live: Session, participant_id: str, at: datetime) -> None:
    guest = await outbox.announced(session, live.id, participant_id)
    if guest is not None:
        app_id, gone = await _app_id(session, live), replace(guest, left_at=max(at, guest.joined_at))
        await outbox.note_guest(session, HappeningKind.LEFT, app_id, live, gone, at)


async def _app_id(session: DbSession, live: Session) -> str:
    meeting = await rooms.find_meeting(session, live.meeting_id)
    assert meeting is not None, "a session has a meeting: the database sees to it"
    return meeting.app_id
