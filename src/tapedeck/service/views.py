"""A recording as a face shows it: with its meeting, where its files go, and links made for this answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tapedeck.core.destination import Destination
from tapedeck.core.meeting import Meeting
from tapedeck.core.recording import Recording
from tapedeck.db import destinations
from tapedeck.db.engine import Database
from tapedeck.ports.storage import ObjectStore

__all__ = ["RecordingView", "Views"]


@dataclass(frozen=True, slots=True)
class RecordingView:
    """A recording as a face shows it: with its meeting, and with links made for this answer."""

    recording: Recording
    meeting: Meeting
    video_url: str | None = None
    audio_url: str | None = None
    places: Sequence[Destination] = ()
    "Where the files go; none of it is secret but what is sealed."
    track_urls: Mapping[str, str] = field(default_factory=dict)
    "By file name."


class Views:
    """Makes views of recordings whose files are in one store."""

    def __init__(self, db: Database, store: ObjectStore) -> None:
        self._db = db
        self._store = store

    async def of(
        self, recording: Recording, meeting: Meeting, places: Sequence[Destination] | None = None
    ) -> RecordingView:
        """The view of one; `places` None: the database is asked. Links are valid as long as the recording says."""
        places = destinations.committed_of(self._db, recording.id) if places is None else places
        links: dict[str, str] = {}
        if recording.expires_at is not None:
            for file in recording.files:
                name = file.name if file.kind == "track" else file.kind
                if file.key is not None and name not in links:
                    links[name] = await self._store.presign(file.key, file.name, recording.expires_at)
        tracks = {file.name: links[file.name] for file in recording.files if file.name in links}
        return RecordingView(recording, meeting, links.get("video"), links.get("audio"), places, tracks)
