"""Where the files of recordings go and how far they are, as the records know it.

Owns what a destination's success or failure means for its recording (`core/delivery.py` decides). Talks to no store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import uuid4

from tapedeck.core.delivery import Verdict, covers, verdict_on
from tapedeck.core.destination import Destination, DestinationKind, DestinationState, Upload
from tapedeck.core.errors import NotFoundError
from tapedeck.core.recording import FINAL, FilmFile, Recording, RecordingState
from tapedeck.db import destinations as table
from tapedeck.db import recordings
from tapedeck.db.engine import Database
from tapedeck.ports.clock import Clock
from tapedeck.service.ledger import Ledger
from tapedeck.service.lifecycle import LifecycleService

__all__ = ["Unfinished", "UploadService"]


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A recording that some destination waits for."""

    recording: Recording
    destinations: Sequence[Destination]


class UploadService:
    """Notes what workers report of uploads."""

    def __init__(self, db: Database, clock: Clock, ledger: Ledger, lifecycle: LifecycleService) -> None:
        self._db = db
        self._clock = clock
        self._ledger = ledger
        self._lifecycle = lifecycle

    async def destinations(self, recording: Recording) -> Sequence[Destination]:
        """Where its files go. One that was stored without any goes to the built-in bucket."""
        async with self._db.read() as session:
            found = await table.of_recording(session, recording.id)
        if found:
            return found
        bucket = Destination(str(uuid4()), recording.id, DestinationKind.BUCKET, recording.invoked_at)
        async with self._db.write() as session:
            found = await table.of_recording(session, recording.id)
            if not found:
                await table.add_destination(session, bucket)
        return found or [bucket]

    async def trouble(
        self, destination: Destination, error: str, attempts: int, next_at: datetime | None
    ) -> Destination:
        """An attempt failed; it is tried again. `error` is a sentence to the owner of the storage."""
        return await self._save(replace(destination, error=error, attempts=attempts, next_at=next_at))

    async def well(self, destination: Destination) -> Destination:
        """It takes bytes again."""
        return await self._save(replace(destination, error=None, attempts=0, next_at=None))

    async def given_up(
        self, destination: Destination, error: str, *, falls_back: bool = False
    ) -> tuple[Destination, Destination | None]:
        """It will not have the files. With `falls_back` another place is noted in the same transaction, and returned
        while it waits for them: a crash in between would leave a film that nobody is to have."""
        now = self._clock.now()
        failed = replace(destination, state=DestinationState.FAILED, error=error, next_at=None, finished_at=now)
        fallback: Destination | None = None
        async with self._db.write() as session:
            known = await table.of_recording(session, failed.recording_id)
            if all(place.id != failed.id for place in known):
                raise NotFoundError(f"Destination not found: {failed.id}")
            await table.save_destination(session, failed)
            if falls_back:
                there = (d for d in known if d.kind is DestinationKind.FALLBACK and d.layer == failed.layer)
                fallback = next(there, None)
                if fallback is None:
                    kind = DestinationKind.FALLBACK
                    fallback = Destination(str(uuid4()), failed.recording_id, kind, now, layer=failed.layer)
                    await table.add_destination(session, fallback)
        waits = fallback is not None and fallback.state is DestinationState.WAITING
        return failed, fallback if waits else None

    async def arrived(self, upload: Upload) -> None:
        """It has confirmed one file of several: that one is not sent again, whatever becomes of the others."""
        async with self._db.write() as session:
            if await table.find_destination(session, upload.destination_id) is None:
                raise NotFoundError(f"Destination not found: {upload.destination_id}")
            await table.save_upload(session, upload)

    async def uploads(self, destination: Destination) -> Sequence[Upload]:
        """The files that it has confirmed."""
        async with self._db.read() as session:
            return [upload for upload in await table.uploads_of(session, destination.id) if upload.done_at is not None]

    async def dropped(self, destination: Destination) -> Destination:
        """There is no film, and nothing of one is left there. No fault of the storage."""
        now = self._clock.now()
        over = replace(destination, state=DestinationState.FAILED, error=None, next_at=None, finished_at=now)
        return await self._save(over)

    async def confirmed(self, destination: Destination, uploads: Sequence[Upload]) -> Destination:
        """It has confirmed every file."""
        state = DestinationState.DONE
        done = replace(destination, state=state, error=None, attempts=0, next_at=None, finished_at=self._clock.now())
        async with self._db.write() as session:
            for upload in uploads:
                await table.save_upload(session, upload)
            await table.save_destination(session, done)
        return done

    async def settle(self, recording_id: str, files: Sequence[FilmFile]) -> Recording | None:
        """Move the recording on if its destinations allow it; None if there is no such recording.

        `files` are those of this machine: the record of a film that was made again may still have the former ones.
        """
        async with self._db.read() as session:
            recording = await recordings.find_recording(session, recording_id)
            if recording is None:
                return None
            found = await table.of_recording(session, recording_id)
            keys = {
                upload.name: upload.key
                for destination in found
                if destination.kind is DestinationKind.BUCKET and destination.state is DestinationState.DONE
                for upload in await table.uploads_of(session, destination.id)
            }
        stored = tuple(replace(file, key=keys.get(file.name), local_path=None) for file in files)
        verdict = verdict_on(files, found)
        if recording.state is RecordingState.UPLOADING:
            if verdict is Verdict.FAILED:
                return await self._lifecycle.on_failed(recording_id, _failure(found, files))
            if verdict is Verdict.DELIVERED:
                recording = await self._lifecycle.on_uploaded(recording_id, stored)
        if recording.state is RecordingState.DONE and stored != recording.files:
            # Another destination was quicker, perhaps between our look and our word; the bucket has the files by now.
            end = self._lifecycle.links_end() if any(file.key is not None for file in stored) else None
            return await self._ledger.amend(recording_id, lambda r: _with_keys(r, stored, end))
        return recording

    async def unfinished(self) -> Sequence[Unfinished]:
        """Recordings with a destination that does not have the finished film yet, and those without a film of which
        something may be left there; oldest first."""
        async with self._db.snapshot() as session:
            found: list[Unfinished] = []
            waiting = {destination.recording_id for destination in await table.due_destinations(session)}
            places = await table.of_recordings(session, waiting)
            for recording_id, destinations in places.items():
                recording = await recordings.find_recording(session, recording_id)
                if recording is not None and recording.state in (RecordingState.UPLOADING, *FINAL):
                    found.append(Unfinished(recording, destinations))
        return sorted(found, key=lambda unfinished: unfinished.recording.invoked_at)

    async def _save(self, destination: Destination) -> Destination:
        async with self._db.write() as session:
            if await table.find_destination(session, destination.id) is None:
                raise NotFoundError(f"Destination not found: {destination.id}")
            await table.save_destination(session, destination)
        return destination


def _with_keys(recording: Recording, stored: Sequence[FilmFile], end: datetime | None) -> Recording:
    """The recording with the files that are stored; who looked earlier than another takes no key away."""
    have = {file.name: file.key for file in recording.files}
    files = tuple(replace(file, key=file.key or have.get(file.name)) for file in stored)
    return replace(recording, files=files, expires_at=recording.expires_at or end)


def _failure(destinations: Sequence[Destination], files: Sequence[FilmFile]) -> str:
    """A sentence for why nobody has the files."""
    errors = [d.error for d in destinations if d.error and any(covers(d, file) for file in files)]
    return errors[0] if errors else "No storage took the files."
