"""Questions about sessions: which there were, and who was in them for how long. Changes nothing.

Hidden participants are in no answer, and neither is the recorder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tapedeck.core.errors import NotFoundError
from tapedeck.core.meeting import App, Attendance, Meeting, Session
from tapedeck.core.paging import Listing, Page
from tapedeck.db import attendance as tables
from tapedeck.db.attendance import AttendanceFilter, AttendanceOrder, SessionFilter, SessionOrder
from tapedeck.db.engine import Database, DbSession
from tapedeck.ports.clock import Clock

__all__ = [
    "AttendanceFilter",
    "AttendanceOrder",
    "AttendanceService",
    "AttendanceView",
    "SessionFilter",
    "SessionOrder",
    "SessionView",
]


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as a face shows it."""

    session: Session
    meeting: Meeting
    consumed_ms: int
    "How long everybody in it has stayed by now, together."


@dataclass(frozen=True, slots=True)
class AttendanceView:
    """Somebody in a session, or a connection, and where it was asked for the connections."""

    attendance: Attendance
    connections: Sequence[Attendance] | None = None


class AttendanceService:
    """Reads sessions of apps."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def list_sessions(self, app: App, wanted: SessionFilter, page: Page) -> Listing[SessionView]:
        """One page of an app's sessions."""
        async with self._db.snapshot() as session:
            found = await tables.list_sessions(session, app.id, wanted, page, self._clock.now())
        return Listing([self._view(*item) for item in found.items], found.total_count, page)

    async def get_session(self, app: App, session_id: str) -> SessionView:
        """One session; NotFoundError."""
        async with self._db.read() as session:
            found = await tables.find_session_of(session, app.id, session_id)
        if found is None:
            raise _no_session(session_id)
        return self._view(*found)

    async def active_session(self, app: App, meeting_id: str) -> SessionView:
        """The session of a meeting that goes on now; NotFoundError when there is none."""
        async with self._db.read() as session:
            found = await tables.live_session_of(session, app.id, meeting_id)
        if found is None:
            raise NotFoundError(f"No active session found for meeting_id {meeting_id}")
        return self._view(*found)

    async def list_people(
        self, app: App, session_id: str, wanted: AttendanceFilter, page: Page, connections: bool = False
    ) -> Listing[AttendanceView]:
        """One page of who was in a session; NotFoundError."""
        async with self._db.snapshot() as session:
            if await tables.find_session_of(session, app.id, session_id) is None:
                raise _no_session(session_id)
            found = await tables.list_attendances(session, session_id, wanted, page, self._clock.now())
            views = await self._with_connections(session, found.items, wanted.raw, connections)
        return Listing(views, found.total_count, page)

    async def get_person(self, app: App, session_id: str, person_id: str, connections: bool = False) -> AttendanceView:
        """Who was in a session, by the id of the participant or of one connection; NotFoundError."""
        async with self._db.snapshot() as session:
            if await tables.find_session_of(session, app.id, session_id) is None:
                raise _no_session(session_id)
            now = self._clock.now()
            found = await tables.find_attendance(session, session_id, person_id, now)
            is_connection = found is None
            if found is None:
                found = await tables.find_connection(session, app.id, person_id, now)
            if found is None or found.session_id != session_id:
                raise NotFoundError(f"Participant not found in session {session_id}: {person_id}")
            return (await self._with_connections(session, [found], is_connection, connections))[0]

    async def get_connection(self, app: App, peer_id: str, connections: bool = False) -> AttendanceView:
        """One connection of a session of the app; NotFoundError."""
        async with self._db.snapshot() as session:
            found = await tables.find_connection(session, app.id, peer_id, self._clock.now())
            if found is None:
                raise NotFoundError(f"Peer not found: {peer_id}")
            return (await self._with_connections(session, [found], True, connections))[0]

    async def _with_connections(
        self, session: DbSession, found: Sequence[Attendance], raw: bool, wanted: bool
    ) -> list[AttendanceView]:
        """Views of people, each with all of their connections if those are wanted; of a connection just itself."""
        if not wanted or not found:
            return [AttendanceView(attendance) for attendance in found]
        if raw:
            return [AttendanceView(attendance, (attendance,)) for attendance in found]
        ids = [attendance.participant_id for attendance in found]
        peers = await tables.connections_of(session, found[0].session_id, ids, self._clock.now())
        return [AttendanceView(a, [peer for peer in peers if peer.participant_id == a.participant_id]) for a in found]

    def _view(self, live: Session, meeting: Meeting) -> SessionView:
        return SessionView(live, meeting, live.consumed_ms(self._clock.now()))


def _no_session(session_id: str) -> NotFoundError:
    return NotFoundError(f"Session not found: {session_id}")
