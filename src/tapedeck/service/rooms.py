"""Rooms of a tenant and the people invited to them: meetings and participants, in the words of the rooms API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from tapedeck.core.access import AppPrincipal
from tapedeck.core.errors import ConflictError, InvalidError, NotFoundError
from tapedeck.core.library import Span
from tapedeck.core.meeting import App, Meeting, MeetingStatus, Participant
from tapedeck.core.recording import ACTIVE
from tapedeck.core.times import whole_ms
from tapedeck.db import audit
from tapedeck.db import library_rooms as table
from tapedeck.db import recordings as recordings_table
from tapedeck.db.engine import Database
from tapedeck.db.rooms import people_of
from tapedeck.ports.clock import Clock
from tapedeck.service.access import AccessService
from tapedeck.service.meetings import MeetingService, MeetingValues, ParticipantValues
from tapedeck.service.remote import RemoteService

__all__ = ["ROLES", "RoomService"]

ROLES = {"host": "group_call_host", "participant": "group_call_participant"}
"""Roles that every tenant has; any other one is a preset of its app."""


class RoomService:
    """Use cases of the rooms API about rooms. What is another tenant's is not there (NotFoundError)."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        access: AccessService,
        meetings: MeetingService,
        remote: RemoteService | None = None,
    ) -> None:
        """`remote`: who knows of tenants whose rooms another recorder records."""
        self._remote = remote
        self._db = db
        self._clock = clock
        self._access = access
        self._meetings = meetings

    async def create(self, app: App, principal: AppPrincipal, values: MeetingValues) -> Meeting:
        """A new room."""
        room = await self._meetings.create(app, values)
        await self._note(app, principal, "room.create", room.id, {"name": room.title})
        return room

    async def get(self, app: App, room_id: str) -> Meeting:
        """One room; NotFoundError."""
        async with self._db.read() as session:
            room = await table.find_room(session, app.id, room_id)
        if room is None:
            raise NotFoundError("There is no such room")
        return room

    async def list(self, app: App, search: str | None, span: Span) -> tuple[Sequence[Meeting], int]:
        """Rooms, newest first, and how many there are."""
        async with self._db.snapshot() as session:
            return await table.list_rooms(session, app.id, search, span)

    async def change(self, app: App, principal: AppPrincipal, room_id: str, values: MeetingValues) -> Meeting:
        """Change what is given; NotFoundError. Recordings keep the name that the room had."""
        await self.get(app, room_id)
        room = await self._meetings.update(app, room_id, values)
        await self._note(app, principal, "room.change", room_id, {"name": room.title})
        return room

    async def delete(self, app: App, principal: AppPrincipal, room_id: str) -> datetime:
        """Close a room for good and hide it; its recordings stay in the library. When.

        NotFoundError; ConflictError while it is recorded.
        """
        now = whole_ms(self._clock.now())
        async with self._db.read() as session:
            room = await table.find_room(session, app.id, room_id)
            if room is None:
                raise NotFoundError("There is no such room")
            if await recordings_table.of_meeting(session, app.id, room_id, ACTIVE):
                raise ConflictError("The room is being recorded: stop the recording first")
        # Closed first: what a crash leaves is a room that is seen and can be deleted, not one that is open and hidden.
        await self._meetings.update(app, room_id, {"status": MeetingStatus.INACTIVE})
        async with self._db.write() as session:
            room = await table.find_room(session, app.id, room_id)
            if room is None:
                raise NotFoundError("There is no such room")
            await table.delete_room(session, room, now)
            await audit.note(session, audit.Deed(app.id, now, audit.actor_of(principal), "room.delete", None, room_id))
        return now

    # People

    async def invite(
        self, app: App, room_id: str, name: str | None, role: str, user_id: str | None
    ) -> tuple[Participant, str]:
        """Somebody new, with the token that they join and publish with.

        NotFoundError for the room, ConflictError when it is closed or held elsewhere, InvalidError for the role.
        """
        room = await self.get(app, room_id)
        await self._check_here(app)
        if room.status is MeetingStatus.INACTIVE:
            raise ConflictError("The room is closed: nobody can join it")
        values: ParticipantValues = {"name": name, "preset_name": ROLES.get(role, role)}
        try:
            person = await self._meetings.add_participant(app, room_id, user_id or str(uuid4()), values)
        except InvalidError as exc:
            raise InvalidError(f'"role" must be one of {", ".join(ROLES)}, or a role of yours') from exc
        return person, self._access.participant_token(app, person)

    async def people(self, app: App, room_id: str, span: Span) -> tuple[Sequence[Participant], int]:
        """Who is invited, oldest first, and how many they are; NotFoundError."""
        await self.get(app, room_id)
        async with self._db.snapshot() as session:
            return await people_of(session, room_id, span.limit, span.offset)

    async def token(self, app: App, room_id: str, participant_id: str) -> str:
        """A new token of somebody who is invited; NotFoundError, ConflictError when the room is held elsewhere."""
        person = await self._person(app, room_id, participant_id)
        await self._check_here(app)
        return self._access.participant_token(app, person)

    async def remove(self, app: App, room_id: str, participant_id: str) -> Participant:
        """Make their tokens void and end what they publish; what was recorded stays. NotFoundError."""
        await self._person(app, room_id, participant_id)
        return await self._meetings.delete_participant(app, room_id, participant_id)

    async def _check_here(self, app: App) -> None:
        """Who joined here would not be recorded there."""
        if self._remote is not None and await self._remote.uses(app.id):
            raise ConflictError("Rooms of yours are held at a recorder of your own: people are invited there")

    async def _person(self, app: App, room_id: str, participant_id: str) -> Participant:
        await self.get(app, room_id)
        try:
            return await self._meetings.get_participant(app, room_id, participant_id)
        except NotFoundError as exc:
            raise NotFoundError("There is no such participant") from exc

    async def _note(
        self, app: App, principal: AppPrincipal, action: str, room_id: str, detail: Mapping[str, Any]
    ) -> None:
        deed = audit.Deed(app.id, whole_ms(self._clock.now()), audit.actor_of(principal), action, None, room_id, detail)
        async with self._db.write() as session:
            await audit.note(session, deed)
