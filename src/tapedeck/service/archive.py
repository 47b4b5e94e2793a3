"""Archive and restore: a recording's files move from the built-in bucket to the archive, one provable step at a time.

The steps of a move are copy, verify, row, delete: the bucket loses a file only after the archive has proven its copy
and the records say where it is. Each step can be done again, so that whoever comes back after a crash goes on
(`resume`). A move runs to its end even if whoever asked goes away; asking again while it runs waits for that move.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tapedeck.core.archive import (
    ArchivedFile,
    ArchiveNote,
    ArchiveState,
    StorageClass,
    Thaw,
    Tier,
    check_tier,
    movable,
    refusal,
)
from tapedeck.core.errors import ConflictError, InternalError, InvalidError, NotFoundError, TapedeckError
from tapedeck.core.library import LibraryStatus
from tapedeck.core.meeting import App
from tapedeck.core.output import content_type
from tapedeck.core.times import whole_ms
from tapedeck.db import archive as table
from tapedeck.db import recordings
from tapedeck.db.archive import Place
from tapedeck.db.audit import Deed
from tapedeck.db.audit import note as note_deed
from tapedeck.db.engine import Database, DbSession
from tapedeck.ports.archive import ArchiveStore
from tapedeck.ports.clock import Clock
from tapedeck.ports.storage import ObjectStore
from tapedeck.service.freight import copy_of, discard, prove

__all__ = ["Actor", "ArchiveService"]

Actor = Mapping[str, Any]
"""Who asks, as the audit trail has it: `kind`, `id`, `name`."""

_log = logging.getLogger(__name__)
_COLD = (ArchiveState.ARCHIVED, ArchiveState.RESTORING, ArchiveState.RESTORED)


class ArchiveService:
    """Use cases of one node. Without an `archive` nothing can be archived, and the refusal says so."""

    def __init__(self, db: Database, clock: Clock, hot: ObjectStore, archive: ArchiveStore | None) -> None:
        self._db = db
        self._clock = clock
        self._hot = hot
        self._archive = archive
        self._moves: dict[str, asyncio.Task[Place]] = {}
        self._full: set[str] | None = None
        "Recordings that the bucket still has beside the archive; None until the first look after a start."

    @property
    def is_open(self) -> bool:
        """Whether this server has an archive."""
        return self._archive is not None

    async def archive(self, app: App, actor: Actor, recording_id: str) -> Place:
        """Move a recording to the archive; returns when it is there.

        NotFoundError; InvalidError unless it is ready and in the built-in bucket; InternalError when the copy cannot
        be made: then it stays ready, with every file where it was.
        """
        await self._claim(app.id, actor, recording_id)
        return await asyncio.shield(self._move_of(recording_id))

    async def archive_due(self, app_id: str, actor: Actor, recording_id: str) -> Place:
        """As `archive`, for the clock: what is held stays. ConflictError."""
        await self._claim(app_id, actor, recording_id, unless_held=True)
        return await asyncio.shield(self._move_of(recording_id))

    async def restore(self, app: App, actor: Actor, recording_id: str, tier: Tier, days: int) -> Place:
        """Ask for readable copies for so many days. NotFoundError; InvalidError unless archived; InternalError.

        Asked again while the store is at it, it changes nothing; once they are there, the days begin anew. What can
        be read at once is restored when this returns.
        """
        store = self._store()
        async with self._db.write() as session:
            place = await self._of_tenant(session, app.id, recording_id)
            if place.state not in _COLD:
                raise InvalidError("Only an archived recording can be restored.")
            check_tier(tier, place.note.storage_class)
            if place.state is ArchiveState.RESTORING:
                return place
            before = place
            note = replace(place.note, tier=str(tier), days=days, restored_until=None)
            place = replace(place, state=ArchiveState.RESTORING, note=note)
            await table.save_place(session, place, self._now())
            detail = {"tier": str(tier), "days": days}
            await note_deed(session, self._entry(place, actor, "recording.restore", detail))
        try:
            for file in place.note.files:
                await store.restore(file.key, tier, days)
        except TapedeckError as exc:
            await self._change(recording_id, lambda now: replace(now, state=before.state, note=before.note))
            raise InternalError(f"The archive does not give the recording back: {exc}") from exc
        if before.state is ArchiveState.RESTORED or place.note.storage_class == StorageClass.GLACIER_IR:
            await self._look_at(place, self._now())
            place = await self._find(recording_id)
        return place

    async def place(self, app: App, recording_id: str) -> Place:
        """Where a recording is. NotFoundError."""
        async with self._db.read() as session:
            found = await table.find_place(session, recording_id, app.id)
        if found is None or found.deleted_at is not None:
            raise NotFoundError("Recording not found")
        return found

    async def links(
        self, place: Place, expires: datetime, names: Mapping[str, str] | None = None
    ) -> Sequence[tuple[str, str]]:
        """Names and links of the restored copies; none unless they can be read. `names`: what downloads are called."""
        until = place.note.restored_until
        if until is None or not self.restored(place):
            return ()
        store, ends, called = self._store(), min(expires, until), names or {}
        return [
            (file.name, await store.presign(file.key, called.get(file.name, file.name), ends))
            for file in place.note.files
        ]

    def restored(self, place: Place) -> Sequence[tuple[ArchiveStore, ArchivedFile]]:
        """The restored copies and where they can be read; none while they cannot."""
        until = place.note.restored_until
        if place.state is not ArchiveState.RESTORED or self._archive is None or until is None or until <= self._now():
            return ()
        return [(self._archive, file) for file in place.note.files]

    # For the worker

    async def resume(self) -> None:
        """Go on with moves that an earlier process left, and delete what the bucket need not have any more."""
        if self._archive is None:
            return
        async with self._db.read() as session:
            left = await table.in_archive_states(session, (ArchiveState.ARCHIVING,))
            if self._full is None:
                self._full = {place.recording_id for place in await table.not_freed(session)}
        for place in left:
            try:
                await self._move_of(place.recording_id)
            except TapedeckError as exc:
                extra = {"action": "archive_failed", "recording_id": place.recording_id, "reason": str(exc)}
                _log.warning("a recording was not archived", extra=extra)
        for recording_id in sorted(self._full - self._moves.keys()):
            place = await self._find(recording_id)
            if place.state in _COLD:
                await self._free(place)
            else:
                self._full.discard(recording_id)  # it was purged meanwhile

    async def poll(self, now: datetime) -> None:
        """Ask the archive how far restores are; copies whose days are over are restored no more."""
        if self._archive is None:
            return
        async with self._db.read() as session:
            waiting = await table.in_archive_states(session, (ArchiveState.RESTORING, ArchiveState.RESTORED))
        for place in waiting:
            await self._look_at(place, now)

    async def erase(self, place: Place) -> None:
        """Delete what the archive has of a recording."""
        if place.note.files:
            store = self._store()
            for file in place.note.files:
                await discard(store, file)

    async def aclose(self) -> None:
        """Stop moving; the next process goes on."""
        moves = list(self._moves.values())
        for task in moves:
            task.cancel()
        await asyncio.gather(*moves, return_exceptions=True)

    # A move

    async def _claim(self, app_id: str, actor: Actor, recording_id: str, unless_held: bool = False) -> None:
        async with self._db.write() as session:
            place = await self._of_tenant(session, app_id, recording_id)
            if place.hold and unless_held:
                raise ConflictError("The recording is under a hold.")
            if place.state is ArchiveState.ARCHIVING:
                return  # it goes on, or is taken up
            recording = await recordings.find_recording(session, recording_id, lock=True)
            assert recording is not None, "a row of the library has its recording"
            if problem := refusal(recording, place.state):
                raise InvalidError(problem)
            store = self._store()
            made = await table.assemblies(session, recording_id)
            files = tuple(
                ArchivedFile(
                    file.kind,
                    file.name,
                    file.key,
                    file.key,
                    content_type(file.name),
                    file.size_bytes,
                    file.crc32c,
                    assembly=made.get((file.name, file.crc32c)),
                )
                for file in movable(recording)
                if file.key is not None
            )
            note = ArchiveNote(files, store.storage_class, dict(actor))
            await table.save_place(session, replace(place, state=ArchiveState.ARCHIVING, note=note), self._now())

    def _move_of(self, recording_id: str) -> asyncio.Task[Place]:
        """The move that runs, or one that begins."""
        task = self._moves.get(recording_id)
        if task is None:
            task = asyncio.create_task(self._move(recording_id), name=f"archive {recording_id}")
            self._moves[recording_id] = task
            task.add_done_callback(lambda done: self._ended(recording_id, done))
        return task

    def _ended(self, recording_id: str, task: asyncio.Task[Place]) -> None:
        self._moves.pop(recording_id, None)
        if not task.cancelled():
            task.exception()  # seen, also when nobody waits any more

    async def _move(self, recording_id: str) -> Place:
        store = self._store()
        async with self._db.read() as session:
            place = await table.find_place(session, recording_id)
        assert place is not None, "it was claimed"
        if place.state is not ArchiveState.ARCHIVING:
            return place

        async def note(changed: ArchivedFile) -> None:
            await self._change(recording_id, lambda now: replace(now, note=now.note.with_file(changed)))

        try:
            for file in place.note.files:
                if file.tag is None:
                    await note(await copy_of(self._hot, store, file, note))
            place = await self._find(recording_id)
            for file in place.note.files:
                await prove(store, file)
            place = await self._commit(recording_id)
        except Exception as exc:
            await self._undo(recording_id)
            if isinstance(exc, NotFoundError) and (await self._find(recording_id)).deleted_at is not None:
                raise
            raise InternalError(f"The recording could not be archived, and stays ready: {_reason(exc)}") from exc
        await self._free(place)
        return place

    async def _commit(self, recording_id: str) -> Place:
        """The records say that the files are in the archive. NotFoundError when it was deleted meanwhile."""
        async with self._db.write() as session:
            place = await self._find(recording_id, session)
            if place.deleted_at is not None:
                raise NotFoundError("Recording not found")
            recording = await recordings.find_recording(session, recording_id, lock=True)
            assert recording is not None, "a row of the library has its recording"
            moved = {file.hot_key for file in place.note.files}
            files = tuple(replace(file, key=None) if file.key in moved else file for file in recording.files)
            await recordings.save_recording(session, replace(recording, files=files), ())
            await table.drop_uploads(session, recording_id)
            now = self._now()
            place = replace(place, state=ArchiveState.ARCHIVED, status=LibraryStatus.ARCHIVED, archived_at=now)
            await table.save_place(session, place, now)
            size = sum(file.size_bytes for file in place.note.files)
            detail = {"files": len(place.note.files), "size_bytes": size, "storage_class": place.note.storage_class}
            await note_deed(session, self._entry(place, place.note.actor, "recording.archive", detail))
        return place

    async def _free(self, place: Place) -> None:
        """Delete from the bucket what the archive has; a bucket that refuses is asked again later."""
        try:
            for file in place.note.files:
                await self._hot.delete(file.hot_key)
            await self._change(place.recording_id, lambda now: replace(now, note=replace(now.note, freed=True)))
            if self._full is not None:
                self._full.discard(place.recording_id)
        except TapedeckError as exc:
            if self._full is not None:
                self._full.add(place.recording_id)
            extra = {"action": "archive_not_freed", "recording_id": place.recording_id, "reason": str(exc)}
            _log.warning("the bucket does not delete what is archived", extra=extra)

    async def _undo(self, recording_id: str) -> None:
        """A move that failed: no copy, no trace; what cannot be dropped now is dropped with the bucket's orphans."""
        place = await self._find(recording_id)
        if place.state is not ArchiveState.ARCHIVING:
            return  # it is in the records already: the archive has the only copies soon
        for file in place.note.files:
            try:
                await discard(self._store(), file)
            except TapedeckError as exc:
                extra = {"action": "archive_not_undone", "recording_id": recording_id, "reason": str(exc)}
                _log.warning("a copy in the archive was left", extra=extra)

        await self._change(recording_id, lambda now: replace(now, state=None, note=ArchiveNote()))

    async def _look_at(self, place: Place, now: datetime) -> None:
        try:
            await self._look(place, now)
        except TapedeckError as exc:
            extra = {"action": "restore_unknown", "recording_id": place.recording_id, "reason": str(exc)}
            _log.warning("the archive does not say how far a restore is", extra=extra)

    async def _look(self, place: Place, now: datetime) -> None:
        store = self._store()
        until = place.note.restored_until
        if place.state is ArchiveState.RESTORED:
            if until is None or until <= now:
                note = replace(place.note, tier=None, days=None, restored_until=None)
                await self._step(place, replace(place, state=ArchiveState.ARCHIVED, note=note))
            return
        days = place.note.days or 1
        said = [await store.thaw(file.key) for file in place.note.files]
        if all(thaw is Thaw.READABLE for thaw in said):
            note = replace(place.note, restored_until=whole_ms(now) + timedelta(days=days))
            await self._step(place, replace(place, state=ArchiveState.RESTORED, note=note))
            return
        for file, thaw in zip(place.note.files, said, strict=True):
            if thaw is Thaw.FROZEN:  # it was never asked for: a crash came between
                await store.restore(file.key, Tier(place.note.tier or Tier.STANDARD), days)

    async def _step(self, before: Place, after: Place) -> None:
        """Store what was seen, unless somebody did something else meanwhile."""
        async with self._db.write() as session:
            found = await table.find_place(session, before.recording_id, lock=True)
            if found == before:
                await table.save_place(session, after, self._now())

    async def _change(self, recording_id: str, change: Any) -> None:
        async with self._db.write() as session:
            place = await table.find_place(session, recording_id, lock=True)
            if place is not None and place.purged_at is None:
                await table.save_place(session, change(place), self._now())

    async def _find(self, recording_id: str, session: DbSession | None = None) -> Place:
        if session is None:
            async with self._db.read() as reading:
                return await self._find(recording_id, reading)
        place = await table.find_place(session, recording_id)
        assert place is not None, "rows of the library stay"
        return place

    async def _of_tenant(self, session: DbSession, app_id: str, recording_id: str) -> Place:
        place = await table.find_place(session, recording_id, app_id, lock=True)
        if place is None or place.deleted_at is not None:
            raise NotFoundError("Recording not found")
        return place

    def _store(self) -> ArchiveStore:
        if self._archive is None:
            raise InvalidError("This server has no archive: whoever runs it can set ARCHIVE_BUCKET_URL.")
        return self._archive

    def _entry(self, place: Place, actor: Actor, action: str, detail: Mapping[str, Any]) -> Deed:
        return Deed(place.app_id, self._now(), actor, action, place.recording_id, place.room_id, detail)

    def _now(self) -> datetime:
        return whole_ms(self._clock.now())


def _reason(error: Exception) -> str:
    """What may be shown of it."""
    return str(error) if isinstance(error, TapedeckError) else "an error that is in the server's log"
