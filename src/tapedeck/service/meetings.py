"""Meetings and the people invited to them. Owns their rules; validation of bodies is done by the face before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypedDict
from uuid import uuid4

from tapedeck.core.access import ParticipantPrincipal, Principal
from tapedeck.core.errors import (
    ConflictError,
    DeniedError,
    FieldProblem,
    InvalidError,
    NotFoundError,
    UnauthenticatedError,
)
from tapedeck.core.meeting import App, Meeting, MeetingStatus, Participant, Preset
from tapedeck.core.paging import Listing, Page
from tapedeck.core.times import whole_ms
from tapedeck.db import rooms
from tapedeck.db.engine import Database, DbSession
from tapedeck.db.rooms import MeetingFilter
from tapedeck.ports.clock import Clock
from tapedeck.ports.control import CaptureControl
from tapedeck.service.hosting import HostService
from tapedeck.service.vault import Vault

__all__ = ["MeetingFilter", "MeetingService", "MeetingValues", "ParticipantValues"]


class MeetingValues(TypedDict, total=False):
    """What a caller may set of a meeting; an absent key stays as it is (update) or gets its default (create)."""

    title: str | None
    status: MeetingStatus
    record_on_start: bool
    keep_alive_s: float
    recording_config: Mapping[str, Any] | None
    ai_config: Mapping[str, Any] | None
    stream_on_start: bool


class ParticipantValues(TypedDict, total=False):
    """What a caller may set of a participant."""

    name: str | None
    picture: str | None
    preset_name: str


class MeetingService:
    """Create, read and change meetings and participants."""

    def __init__(self, db: Database, clock: Clock, control: CaptureControl, hosting: HostService, vault: Vault) -> None:
        self._db = db
        self._clock = clock
        self._control = control
        self._hosting = hosting
        self._vault = vault

    async def create(self, app: App, values: MeetingValues) -> Meeting:
        """A new meeting of an app."""
        now = whole_ms(self._clock.now())
        meeting = Meeting(str(uuid4()), app.id, now, now, **self._sealed(values))
        async with self._db.write() as session:
            await rooms.add_meeting(session, meeting)
        return meeting

    async def get(self, app: App, meeting_id: str) -> Meeting:
        """One meeting; NotFoundError."""
        async with self._db.read() as session:
            return await _meeting(session, app.id, meeting_id)

    async def list(self, app: App, wanted: MeetingFilter, page: Page) -> Listing[Meeting]:
        """Meetings of an app, newest first."""
        async with self._db.snapshot() as session:
            return await rooms.list_meetings(session, app.id, wanted, page)

    async def update(self, app: App, meeting_id: str, values: MeetingValues) -> Meeting:
        """Change what is given, keep the rest; NotFoundError. One that becomes INACTIVE is ended."""
        async with self._db.write() as session:
            meeting = await _meeting(session, app.id, meeting_id)
            changed = replace(meeting, updated_at=whole_ms(self._clock.now()), **self._sealed(values))
            await rooms.save_meeting(session, changed)
        await self._end_inactive(changed)
        return changed

    async def replace(self, app: App, meeting_id: str, values: MeetingValues) -> Meeting:
        """Set everything: what is not given gets its default, except for the status, which stays; NotFoundError."""
        async with self._db.write() as session:
            old = await _meeting(session, app.id, meeting_id)
            kept: MeetingValues = {"status": old.status}
            now = whole_ms(self._clock.now())
            changed = Meeting(old.id, old.app_id, old.created_at, now, **(kept | self._sealed(values)))
            await rooms.save_meeting(session, changed)
        await self._end_inactive(changed)
        return changed

    async def _end_inactive(self, meeting: Meeting) -> None:
        """After the commit, so that nobody joins or starts anything behind it; again is harmless."""
        if meeting.status is MeetingStatus.INACTIVE:
            await self._hosting.end(meeting.id)

    def _sealed(self, values: MeetingValues) -> MeetingValues:
        """With the credentials of a storage made unreadable. InvalidError as of `Vault.seal`."""
        if values.get("stream_on_start"):
            self._vault.check_streams("/live_stream_on_start")
        config = values.get("recording_config")
        if config is None:
            return values
        sealed: MeetingValues = {"recording_config": self._vault.seal(config, "/recording_config")}
        return values | sealed

    async def admit(self, meeting_id: str) -> Meeting:
        """The meeting somebody is about to join; NotFoundError, ConflictError when it is INACTIVE."""
        async with self._db.read() as session:
            meeting = await rooms.find_meeting(session, meeting_id)
        if meeting is None:
            raise NotFoundError(f"Meeting not found: {meeting_id}")
        if meeting.status is MeetingStatus.INACTIVE:
            raise ConflictError(f"Meeting {meeting_id} is INACTIVE: nobody can join it")
        return meeting

    async def admit_publisher(self, principal: Principal, meeting_id: str, screen: bool) -> Participant:
        """The participant who is about to publish into a meeting, camera or screen.

        NotFoundError for a meeting the caller cannot know, DeniedError for another one's token or a preset that may
        not speak, ConflictError when the meeting is INACTIVE.
        """
        if not isinstance(principal, ParticipantPrincipal):
            raise DeniedError("Forbidden: publishing needs a participant token")
        if principal.meeting_id != meeting_id:
            async with self._db.read() as session:
                await _meeting(session, principal.app.id, meeting_id)
            raise DeniedError("Forbidden: the token is for another meeting")
        await self.admit(meeting_id)
        if principal.preset.is_hidden:
            raise DeniedError(f"Forbidden: preset {principal.preset.name} is hidden: nothing of it would be recorded")
        kinds = ("screenshare",) if screen else ("audio", "video")
        if not any(principal.preset.can_produce(kind) for kind in kinds):
            raise DeniedError(f"Forbidden: preset {principal.preset.name} may not publish {' or '.join(kinds)}")
        return principal.participant

    async def check_invited(self, participant: Participant) -> None:
        """Pass if a participant is still there, else UnauthenticatedError: their tokens are void.

        Asked once more when a publication is known to what ends publications, since until then nothing ends it.
        """
        async with self._db.read() as session:
            if await rooms.find_participant(session, participant.id, participant.meeting_id) is None:
                raise UnauthenticatedError("The token is unknown, revoked or expired")

    # People

    async def add_participant(
        self, app: App, meeting_id: str, custom_id: str, values: ParticipantValues
    ) -> Participant:
        """Invite somebody. NotFoundError for the meeting, InvalidError for the preset."""
        now = whole_ms(self._clock.now())
        async with self._db.write() as session:
            meeting = await _meeting(session, app.id, meeting_id)
            preset = await _preset(session, app.id, values["preset_name"])
            participant = Participant(
                id=str(uuid4()),
                meeting_id=meeting.id,
                preset_id=preset.id,
                preset_name=preset.name,
                custom_id=custom_id,
                created_at=now,
                updated_at=now,
                name=values.get("name"),
                picture=values.get("picture"),
            )
            await rooms.add_participant(session, participant)
        return participant

    async def get_participant(self, app: App, meeting_id: str, participant_id: str) -> Participant:
        """One participant; NotFoundError."""
        async with self._db.read() as session:
            return await _participant(session, app.id, meeting_id, participant_id)

    async def list_participants(self, app: App, meeting_id: str, page: Page) -> Listing[Participant]:
        """Participants of a meeting, oldest first; NotFoundError."""
        async with self._db.snapshot() as session:
            await _meeting(session, app.id, meeting_id)
            return await rooms.list_participants(session, meeting_id, page)

    async def edit_participant(
        self, app: App, meeting_id: str, participant_id: str, values: ParticipantValues
    ) -> Participant:
        """Change what is given; tokens made before become void. NotFoundError, InvalidError for the preset."""
        async with self._db.write() as session:
            participant = await _participant(session, app.id, meeting_id, participant_id)
            changed = replace(
                participant,
                name=values.get("name", participant.name),
                picture=values.get("picture", participant.picture),
                token_version=participant.token_version + 1,
                updated_at=whole_ms(self._clock.now()),
            )
            if "preset_name" in values:
                preset = await _preset(session, app.id, values["preset_name"])
                changed = replace(changed, preset_id=preset.id, preset_name=preset.name)
            await rooms.save_participant(session, changed)
        if changed.name != participant.name:
            await self._control.rename(meeting_id, participant_id, changed.display_name)
        return changed

    async def delete_participant(self, app: App, meeting_id: str, participant_id: str) -> Participant:
        """Forget somebody: tokens become void and publications end; what was recorded stays. NotFoundError."""
        async with self._db.write() as session:
            participant = await _participant(session, app.id, meeting_id, participant_id)
            await rooms.delete_participant(session, participant_id)
        await self._control.disconnect(meeting_id, participant_id)
        return participant


async def _meeting(session: DbSession, app_id: str, meeting_id: str) -> Meeting:
    meeting = await rooms.find_meeting(session, meeting_id, app_id)
    if meeting is None:
        raise NotFoundError(f"Meeting not found: {meeting_id}")
    return meeting


async def _participant(session: DbSession, app_id: str, meeting_id: str, participant_id: str) -> Participant:
    await _meeting(session, app_id, meeting_id)
    participant = await rooms.find_participant(session, participant_id, meeting_id)
    if participant is None:
        raise NotFoundError(f"Participant not found: {participant_id}")
    return participant


async def _preset(session: DbSession, app_id: str, name: str) -> Preset:
    preset = await rooms.find_preset_named(session, app_id, name)
    if preset is None:
        raise InvalidError(
            f'BAD_REQUEST: "preset_name" names no preset of this app: {name}',
            (FieldProblem("/preset_name", "names no preset of this app"),),
        )
    return preset
