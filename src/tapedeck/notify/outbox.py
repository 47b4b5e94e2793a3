"""From what happened to what is said of it: adds the links that are made for it. Refuses to read a database."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

from tapedeck.core.errors import InvalidError
from tapedeck.core.happenings import Guest, Happening, HappeningKind, Message, StreamNews
from tapedeck.core.livestream import LivestreamStatus
from tapedeck.core.meeting import App, Meeting, Session
from tapedeck.core.naming import output_file_name
from tapedeck.core.recording import Recording, RecordingState, StopCause
from tapedeck.ports.storage import ObjectStore
from tapedeck.shapes.realtimekit import STATUS, download_of
from tapedeck.shapes.webhooks import event_name, message_of

__all__ = ["Composer", "sample"]

_log = logging.getLogger(__name__)
_NOWHERE = "https://tapedeck.invalid/hls/index.m3u8"


class Composer:
    """Puts happenings into messages."""

    def __init__(
        self, store: ObjectStore, address: Callable[[StreamNews], str], statuses: Collection[str] | None = None
    ) -> None:
        """`address`: where a livestream is watched; `statuses`: those of recordings that are spoken of; None: all."""
        self._store = store
        self._address = address
        self._statuses = statuses

    async def __call__(self, happening: Happening) -> Message | None:
        """The message of a happening; None when the API does not speak of it."""
        recording, stream = happening.recording, happening.livestream
        if stream is not None:
            return message_of(happening, playback_url=self._address(stream))
        if recording is not None and self._statuses is not None and STATUS[recording.state] not in self._statuses:
            return None
        links: dict[str, str] = {}
        if recording is not None and recording.expires_at is not None and event_name(happening) is not None:
            for file in recording.files:
                name = file.name if file.kind == "track" else file.kind
                if file.key is not None and name not in links:
                    try:
                        links[name] = await self._store.presign(file.key, file.name, recording.expires_at)
                    except Exception:  # that it is done must be told whatever a store does
                        _log.exception("a message goes without a link", extra={"action": "no_link", "id": recording.id})
        download = None if recording is None else download_of(recording, links.get("video"), links)
        return message_of(happening, download, links.get("audio"))


def sample(event: str, app: App, now: datetime) -> Message:
    """A message of that kind about a meeting that never was. InvalidError for an event that is never sent."""
    begun = now - timedelta(minutes=5)
    meeting = Meeting(str(uuid4()), app.id, begun, begun, "Test event")
    live = Session(str(uuid4()), meeting.id, begun)
    for kind in HappeningKind:
        happening = Happening(0, kind, now, app, meeting, live)
        if kind is HappeningKind.RECORDING:
            recording = Recording(
                id=str(uuid4()),
                app_id=app.id,
                meeting_id=meeting.id,
                file_name=output_file_name(None, meeting.id, begun),
                invoked_at=begun,
                state=RecordingState.CLOSING,
                session_id=live.id,
                started_at=begun,
                stopped_at=now,
                stop_cause=StopCause.REQUEST,
            )
            happening = replace(happening, recording=recording, previous=RecordingState.CAPTURING)
        elif kind is HappeningKind.SESSION_ENDED:
            happening = replace(happening, session=replace(live, ended_at=now))
        elif kind in (HappeningKind.JOINED, HappeningKind.LEFT):
            guest = Guest(str(uuid4()), str(uuid4()), "Test person", "test-person", begun)
            guest = replace(guest, left_at=now) if kind is HappeningKind.LEFT else guest
            happening = replace(happening, guest=guest)
        elif kind is HappeningKind.LIVESTREAM:
            news = StreamNews(str(uuid4()), str(uuid4()), begun, LivestreamStatus.LIVE)
            happening = replace(happening, livestream=news)
        message = message_of(happening, playback_url=_NOWHERE)
        if message is not None and message.event == event:
            return message
    raise InvalidError(f'BAD_REQUEST: "event" {event} is never sent by this server')
