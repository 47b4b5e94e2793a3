"""What a recorded web page is told: the address it is opened at, with the token of a hidden participant of its own.

The participant is made when the page is opened and forgotten when it is closed, which makes the token void.
"""

from __future__ import annotations

from uuid import UUID, uuid4, uuid5

from tapedeck.core.errors import InvalidError, NotFoundError
from tapedeck.core.meeting import Participant, Preset
from tapedeck.core.page import PAGE_PRESET, config_of, page_address
from tapedeck.core.presets import DEFAULT_PRESETS
from tapedeck.core.recording import Recording
from tapedeck.core.times import whole_ms
from tapedeck.db import access as tables
from tapedeck.db import rooms
from tapedeck.db.engine import Database, DbSession
from tapedeck.ports.clock import Clock
from tapedeck.service.access import AccessService

__all__ = ["PageService"]

_NAME = "Recorder"


class PageService:
    """Invites pages to meetings."""

    def __init__(self, db: Database, clock: Clock, access: AccessService) -> None:
        self._db = db
        self._clock = clock
        self._access = access

    async def invite(self, recording: Recording) -> str:
        """The address to open for a recording of a page. Again is another token for the same participant.

        NotFoundError when its meeting or app is gone; InvalidError for a recording of no page.
        """
        if recording.options.page is None:
            raise InvalidError(f"Recording {recording.id} is not one of a web page")
        now = whole_ms(self._clock.now())
        async with self._db.write() as session:
            app = await tables.find_app(session, recording.app_id)
            if app is None or await rooms.find_meeting(session, recording.meeting_id, app.id) is None:
                raise NotFoundError(f"Meeting not found: {recording.meeting_id}")
            guest = await rooms.find_participant(session, _guest_id(recording.id), recording.meeting_id)
            if guest is None:
                preset = await self._preset(session, app.id)
                guest = Participant(
                    id=_guest_id(recording.id),
                    meeting_id=recording.meeting_id,
                    preset_id=preset.id,
                    preset_name=preset.name,
                    custom_id=f"recorder:{recording.id}",
                    created_at=now,
                    updated_at=now,
                    name=_NAME,
                )
                await rooms.add_participant(session, guest)
        token = self._access.participant_token(app, guest)
        return page_address(recording.options.page, token, config_of(recording))

    async def dismiss(self, recording_id: str) -> None:
        """The page of a recording is closed: its token is void. Again is harmless."""
        async with self._db.write() as session:
            if await rooms.find_participant(session, _guest_id(recording_id)) is not None:
                await rooms.delete_participant(session, _guest_id(recording_id))

    async def _preset(self, session: DbSession, app_id: str) -> Preset:
        """The app's own, else the built-in one, which the app then has again."""
        found = await rooms.find_preset_named(session, app_id, PAGE_PRESET)
        if found is not None:
            return found
        now, parts = whole_ms(self._clock.now()), DEFAULT_PRESETS[PAGE_PRESET]
        made = Preset(str(uuid4()), app_id, PAGE_PRESET, now, now, parts["config"], parts["permissions"], parts["ui"])
        await rooms.add_preset(session, made)
        return made


def _guest_id(recording_id: str) -> str:
    return str(uuid5(UUID(recording_id), "recorder"))
