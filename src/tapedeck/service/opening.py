"""New recordings: what their wishes come to, their rows, and where their files and streams will go.

All in a transaction of the caller's, who publishes the change and tells capture after the commit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

from tapedeck.core.destination import SEALED, DestinationKind
from tapedeck.core.errors import ConflictError, FieldProblem, InvalidError
from tapedeck.core.meeting import Meeting
from tapedeck.core.naming import TRACK_FILE_TEMPLATE, output_file_name
from tapedeck.core.options import resolve_options
from tapedeck.core.output import extension_of
from tapedeck.core.recording import (
    ACTIVE,
    Caller,
    Recording,
    RecordingChanged,
    RecordingKind,
    RecordingOptions,
    StartCause,
)
from tapedeck.core.target import TargetState
from tapedeck.core.times import whole_ms
from tapedeck.db import access, destinations, recordings, targets
from tapedeck.db.engine import DbSession
from tapedeck.ports.clock import Clock
from tapedeck.service.ledger import Ledger
from tapedeck.service.vault import Vault

__all__ = ["Opening"]

_STREAMED = "Another recording of the meeting is streamed there; when that ends this one is"


class Opening:
    """Opens recordings of one server."""

    def __init__(self, clock: Clock, ledger: Ledger, vault: Vault, defaults: Mapping[str, Any] | None) -> None:
        """`defaults` is the weakest level of wishes, the server's own. InvalidError as of `Vault.seal`."""
        self._clock = clock
        self._ledger = ledger
        self._vault = vault
        self._defaults = None if defaults is None else vault.seal(defaults)

    async def film(
        self,
        session: DbSession,
        meeting: Meeting,
        config: Mapping[str, Any],
        cause: StartCause,
        caller: Caller | None,
        imported: bool = False,
    ) -> tuple[Recording, RecordingChanged]:
        """A composite recording with the options that `config`, the meeting, its app and the server ask for, strongest
        first. InvalidError when that is no recording; at a first join the wishes are read leniently. ConflictError when
        `config` asks for a stream to where another recording of the meeting is streamed.
        """
        now = whole_ms(self._clock.now())
        levels = (self._vault.seal(config), *await self._levels(session, meeting))
        options = resolve_options(*levels, lenient=cause is StartCause.FIRST_JOIN)
        recording = Recording(
            id=str(uuid4()),
            app_id=meeting.app_id,
            meeting_id=meeting.id,
            file_name=output_file_name(options.file_name_prefix, meeting.id, now, extension_of(options)),
            invoked_at=now,
            options=options,
            start_cause=cause,
            started_by=caller,
        )
        while await recordings.has_name(session, recording):  # a customer's storage would keep one film of the two
            now += timedelta(milliseconds=1)
            name = output_file_name(options.file_name_prefix, meeting.id, now, extension_of(options))
            recording = replace(recording, file_name=name, invoked_at=now)
        places = self._vault.places(recording, *levels)
        change = await self._ledger.open(session, recording, imported)
        for place in places:
            await destinations.add_destination(session, place)
        for target in self._vault.targets(recording, *levels):
            if target.state is not TargetState.ENDED and await self._vault.is_streamed(session, recording, target):
                if "live_streaming_config" in config:
                    raise ConflictError("The meeting is streamed there already")
                target = replace(target, state=TargetState.WAITING, reason=_STREAMED)
            await targets.add_target(session, target)
        return recording, change

    async def usual_video(self, session: DbSession, meeting: Meeting) -> Mapping[str, Any]:
        """What the picture of a meeting's recordings is to be, where their start does not speak of it."""
        levels = [level for level in await self._levels(session, meeting) if level and "video_config" in level]
        usual: Mapping[str, Any] = levels[0]["video_config"] if levels else {}
        return usual

    async def tracks(
        self,
        session: DbSession,
        meeting: Meeting,
        live_id: str,
        options: RecordingOptions,
        sealed: Mapping[str, Mapping[str, Any]],
        caller: Caller,
    ) -> tuple[Recording, RecordingChanged]:
        """A recording of tracks of the live session `live_id`; `sealed` has by layer the stores its files go to too.
        InvalidError when another one is running whose files have the same names in the same store."""
        await self._check_names(session, meeting, options, sealed)
        recording = Recording(
            id=str(uuid4()),
            app_id=meeting.app_id,
            meeting_id=meeting.id,
            file_name=TRACK_FILE_TEMPLATE,
            invoked_at=whole_ms(self._clock.now()),
            kind=RecordingKind.TRACK,
            options=options,
            started_by=caller,
            session_id=live_id,
        )
        change = await self._ledger.open(session, recording)
        for place in self._vault.places(recording, layers=sealed):
            await destinations.add_destination(session, place)
        return recording, change

    async def _check_names(
        self, session: DbSession, meeting: Meeting, options: RecordingOptions, sealed: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """A person who comes when both are running has files of the same time, and so of the same names."""
        mine = {(*_name_of(options, layer), _place_of(storage)): layer for layer, storage in sealed.items()}
        for other in await recordings.of_meeting(session, meeting.app_id, meeting.id, ACTIVE) if mine else ():
            for place in await destinations.of_recording(session, other.id):
                if place.layer is None or place.kind is not DestinationKind.EXTERNAL:
                    continue
                layer = mine.get((*_name_of(other.options, place.layer), _place_of(place.storage)))
                if layer is not None:
                    field = f"layers.{layer}.file_name_prefix"
                    text = f'"{field}" must not be that of a recording which is running into the same storage'
                    raise InvalidError(text, (FieldProblem(f"/{field.replace('.', '/')}", text),))

    async def _levels(self, session: DbSession, meeting: Meeting) -> tuple[Mapping[str, Any] | None, ...]:
        """The wishes of the meeting, its app and the server."""
        app = await access.find_app(session, meeting.app_id)
        return (meeting.recording_config, None if app is None else app.recording_config, self._defaults)


def _name_of(options: RecordingOptions, layer: str) -> tuple[str, str]:
    """What the names of a layer's files have in common, and nobody else's: kind and prefix."""
    assert options.tracks is not None, "only recordings of tracks have layers"
    found = next(one for one in options.tracks.layers if one.name == layer)
    return found.media_kind, found.file_name_prefix or found.name


def _place_of(storage: Mapping[str, Any]) -> str:
    """Where a storage is, and what tells it from others."""
    return json.dumps({name: value for name, value in storage.items() if name != SEALED}, sort_keys=True)
