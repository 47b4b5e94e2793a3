"""What the host of a meeting does to its live session: kick somebody, kick everybody, end it.

A kick ends publications, and nothing else: tokens stay good, whoever has one may come back.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tapedeck.core.errors import NotFoundError
from tapedeck.core.meeting import App, Participant, SessionEnd
from tapedeck.core.times import whole_ms
from tapedeck.db import attendance, presence, rooms
from tapedeck.db.engine import Database
from tapedeck.ports.clock import Clock
from tapedeck.ports.control import CaptureControl
from tapedeck.service.sessions import SessionService

__all__ = ["HostService"]


class HostService:
    """Commands about live sessions."""

    def __init__(self, db: Database, clock: Clock, control: CaptureControl, sessions: SessionService) -> None:
        self._db = db
        self._clock = clock
        self._control = control
        self._sessions = sessions

    async def kick(
        self, app: App, meeting_id: str, ids: Collection[str], custom_ids: Collection[str]
    ) -> Sequence[Participant]:
        """End the publications of some participants, by id or by the application's own; who of them was there.

        NotFoundError for the meeting, and when no session is live.
        """
        async with self._db.snapshot() as session:
            live = await attendance.live_session_of(session, app.id, meeting_id)
            if live is None:
                raise NotFoundError(f"No active session found for meeting_id {meeting_id}")
            asked = await rooms.find_participants(session, meeting_id, ids, custom_ids)
            here = set(await presence.participants_here(session, live[0].id))
        kicked: list[Participant] = []
        for participant in asked:
            ended = await self._control.disconnect(meeting_id, participant.id)
            if participant.id in here or participant.id in ended:
                kicked.append(participant)
        return kicked

    async def kick_all(self, app: App, meeting_id: str) -> int:
        """End the live session of a meeting with all publications in it; how many people were there.

        What records it stops, as if all had left. NotFoundError for the meeting, and when no session is live.
        """
        async with self._db.snapshot() as session:
            live = await attendance.live_session_of(session, app.id, meeting_id)
            if live is None:
                raise NotFoundError(f"No active session found for meeting_id {meeting_id}")
            people = len(await presence.participants_here(session, live[0].id))
        await self.end(meeting_id)
        return people

    async def end(self, meeting_id: str) -> None:
        """End whatever goes on in a meeting: publications, its live session, recordings."""
        await self._control.end_session(meeting_id)
        # What capture does not have is ended here: a session of another run of the server, a recording without one.
        at = whole_ms(self._clock.now())
        async with self._db.read() as session:
            live = await presence.live_session(session, meeting_id)
        if live is not None:
            await self._sessions.on_session_ended(meeting_id, live.id, at, SessionEnd.HOST)
        await self._sessions.stop_waiting(meeting_id, at)
