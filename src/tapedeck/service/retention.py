"""How long a tenant's recordings are kept: its wishes, what they would do, holds, and purges.

A purge is claimed in one transaction (from there on nobody gets the recording back), then its files go, wherever they
are, and at last what its rows say. Done again after a crash it finds less to do.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tapedeck.core.archive import ArchiveNote, ArchiveState
from tapedeck.core.destination import DestinationKind, DestinationState
from tapedeck.core.errors import ConflictError, InvalidError, NotFoundError, TapedeckError
from tapedeck.core.meeting import App
from tapedeck.core.naming import object_key
from tapedeck.core.recording import FINAL, Recording, RecordingState
from tapedeck.core.rerender import RerenderState
from tapedeck.core.retention import Due, Policy, RetentionStep, policy_of
from tapedeck.core.times import format_time, whole_ms
from tapedeck.db import archive as table
from tapedeck.db import destinations, recordings, renders
from tapedeck.db import retention as wishes
from tapedeck.db.archive import Place
from tapedeck.db.audit import SERVER, Deed, note
from tapedeck.db.engine import Database, DbSession
from tapedeck.ports.clock import Clock
from tapedeck.ports.storage import MultipartStore, ObjectStore
from tapedeck.service.archive import Actor, ArchiveService

__all__ = ["FreeLocal", "RetentionService"]

FreeLocal = Callable[[Recording, bool], Awaitable[None]]
"""Deletes what this machine has of a recording; also its session's media log, if nobody else needs that."""

_ORDER = (RetentionStep.DELETE, RetentionStep.PURGE, RetentionStep.ARCHIVE)
"""What is deleted need not be archived before."""
_BATCH = 200
_AGAIN = timedelta(hours=1)
"""What could not be archived is read from end to end each time: not every minute."""
_NOTHING: Mapping[str, Any] = {}
_log = logging.getLogger(__name__)


class RetentionService:
    """Use cases of one node."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        hot: ObjectStore,
        unfinished: MultipartStore,
        archives: ArchiveService,
        free_local: FreeLocal,
        fallback: ObjectStore | None = None,
    ) -> None:
        """`hot` and `unfinished` are two sides of the built-in bucket: its objects, and uploads on their way there.
        `fallback` has what customers' storages refused."""
        self._db = db
        self._clock = clock
        self._hot = hot
        self._unfinished = unfinished
        self._archives = archives
        self._free_local = free_local
        self._fallback = fallback
        self._not_before: dict[str, datetime] = {}
        "When an archiving that failed is tried again."

    # Wishes

    async def policy(self, app: App, room_id: str | None = None) -> Policy:
        """What holds for a tenant, or for one of its rooms. NotFoundError."""
        async with self._db.snapshot() as session:
            of_tenant = await wishes.tenant_wishes(session, app.id)
            return policy_of(of_tenant, await self._room(session, app, room_id))

    async def set_policy(self, app: App, actor: Actor, given: Mapping[str, Any], room_id: str | None = None) -> Policy:
        """Replace what a tenant or a room wants; a room's names that are missing are its tenant's. NotFoundError."""
        now = self._now()
        async with self._db.write() as session:
            if room_id is None:
                await wishes.save_tenant_wishes(session, app.id, given, now)
            else:
                await self._room(session, app, room_id)
                await wishes.save_room_wishes(session, app.id, room_id, given, now)
            entry = Deed(app.id, now, actor, "retention.change", None, room_id, given)
            await note(session, entry)
        return await self.policy(app, room_id)

    async def due(self, app: App, now: datetime | None = None) -> Sequence[Due]:
        """A dry run: what the clock would do to a tenant's recordings at a time, of each the first step."""
        at = now or self._now()
        found: dict[str, Due] = {}
        async with self._db.snapshot() as session:
            for scope in await wishes.scopes(session, app.id):
                for step in self._steps():
                    after = ""
                    while batch := await wishes.due_in(session, scope, step, at, _BATCH, after):
                        for due in batch:
                            found.setdefault(due.recording_id, due)
                        after = batch[-1].recording_id
        return sorted(found.values(), key=lambda due: (due.since, due.recording_id))

    # Single recordings

    async def exists(self, app: App, recording_id: str) -> None:
        """Pass if it is the tenant's, deleted or not. NotFoundError."""
        async with self._db.read() as session:
            await self._of_tenant(session, app, recording_id)

    async def hold(self, app: App, actor: Actor, recording_id: str, on: bool) -> Place:
        """Put a hold on a recording, deleted or not, or take it off. NotFoundError; ConflictError while purged."""
        async with self._db.write() as session:
            place = await self._of_tenant(session, app, recording_id)
            if place.hold is on:
                return place
            place = replace(place, hold=on)
            await table.save_place(session, place, self._now())
            if not on:
                await table.keep_what_was_held(session, recording_id, self._now())
            await note(session, self._entry(place, actor, "recording.hold" if on else "recording.release"))
        return place

    async def purge(self, app: App, actor: Actor, recording_id: str) -> Place:
        """Remove for good what was deleted.

        NotFoundError; InvalidError when it is not deleted; ConflictError when it is held, still being worked on, or
        a storage still waits for it. What a store does not delete now is deleted later.
        """
        place = await self._claim(actor, recording_id, app)
        await self._finish(place)
        return place

    # For the worker

    async def run(self, now: datetime, steps: Sequence[RetentionStep] = _ORDER) -> Sequence[Due]:
        """Do what of `steps` is due at `now`, and end purges that were begun; what was done."""
        async with self._db.read() as session:
            begun = await table.purging(session) if RetentionStep.PURGE in steps else ()
            everywhere = await wishes.scopes(session)
        for place in begun:
            try:
                await self._finish(place)
            except Exception:  # of one recording; the others have their turn
                _log.exception("a purge failed", extra=_of(place.recording_id))
        done: list[Due] = []
        self._not_before = {key: at for key, at in self._not_before.items() if at > now}
        for scope in everywhere:
            for step in [step for step in self._steps() if step in steps]:
                after = ""
                while True:
                    async with self._db.read() as session:
                        batch = await wishes.due_in(session, scope, step, now, _BATCH, after)
                    done += [due for due in batch if await self._do(due, now)]
                    if not batch:
                        break
                    after = batch[-1].recording_id
        return done

    async def _do(self, due: Due, now: datetime) -> bool:
        """One step; whether it was taken."""
        try:
            match due.step:
                case RetentionStep.DELETE:
                    return await self._delete(due, now)
                case RetentionStep.PURGE:
                    await self._finish(await self._claim(SERVER, due.recording_id))
                case RetentionStep.ARCHIVE:
                    if due.recording_id in self._not_before:
                        return False
                    await self._archives.archive_due(due.app_id, SERVER, due.recording_id)
        except TapedeckError as exc:
            if due.step is RetentionStep.ARCHIVE:
                self._not_before[due.recording_id] = now + _AGAIN
            extra = {"action": "retention_failed", "recording_id": due.recording_id, "reason": str(exc)}
            _log.warning("retention could not %s a recording", due.step, extra=extra)
            return False
        except Exception:  # of one recording; the others, of other tenants too, have their turn
            _log.exception("retention failed at a recording", extra=_of(due.recording_id))
            return False
        return True

    async def _delete(self, due: Due, now: datetime) -> bool:
        async with self._db.write() as session:
            place = await table.find_place(session, due.recording_id, lock=True)
            if place is None or place.hold or place.deleted_at is not None:
                return False
            place = replace(place, deleted_at=whole_ms(now))
            await table.save_place(session, place, self._now())
            await note(session, self._entry(place, SERVER, "recording.delete", {"due_since": format_time(due.since)}))
        return True

    # A purge

    async def _claim(self, actor: Actor, recording_id: str, app: App | None = None) -> Place:
        async with self._db.write() as session:
            if app is not None:
                place = await self._of_tenant(session, app, recording_id)
            else:
                found = await table.find_place(session, recording_id, lock=True)
                if found is None or found.purged_at is not None:
                    raise NotFoundError("Recording not found")
                place = found
            if place.deleted_at is None:
                raise InvalidError("Only a deleted recording can be purged.")
            if place.hold:
                raise ConflictError("The recording is under a hold.")
            recording = await recordings.find_recording(session, recording_id, lock=True)
            assert recording is not None, "a row of the library has its recording"
            if recording.state not in FINAL or place.state is ArchiveState.ARCHIVING:
                raise ConflictError("The recording is still being worked on.")
            if recording.state is RecordingState.DONE and await self._is_wanted(session, recording_id):
                raise ConflictError("A storage still waits for the recording.")
            if any(render.state is RerenderState.WAITING for render in await renders.renders_of(session, recording_id)):
                raise ConflictError("A film is being made of the recording.")
            now = self._now()
            place = replace(place, purged_at=now, purge_at=now, note=replace(place.note, actor=dict(actor)))
            await table.save_place(session, place, now)
            detail = {"files": len(recording.files), "size_bytes": recording.size_bytes}
            await note(session, self._entry(place, actor, "recording.purge", detail))
        return place

    async def _is_wanted(self, session: DbSession, recording_id: str) -> bool:
        """Whether a delivery still goes on: it would make a film that is gone again, of the log."""
        places = await destinations.of_recording(session, recording_id)
        return any(place.state is DestinationState.WAITING for place in places)

    async def _finish(self, place: Place) -> None:
        async with self._db.read() as session:
            recording = await recordings.find_recording(session, place.recording_id)
            assert recording is not None, "a row of the library has its recording"
            again = await renders.renders_of(session, place.recording_id)
            there = await destinations.of_recording(session, place.recording_id)
            refused = [place.id for place in there if place.kind is DestinationKind.FALLBACK]
            spare = [upload.key for id_ in refused for upload in await destinations.uploads_of(session, id_)]
            session_id = recording.session_id
            last = session_id is not None and await table.session_is_purged(session, session_id)
        try:
            keys = {file.key for file in recording.files if file.key} | {file.hot_key for file in place.note.files}
            keys |= {file.key for render in again for file in render.files if file.key}
            for key in sorted(keys):
                await self._hot.delete(key)
            if self._fallback is not None:
                for key in spare:
                    await self._fallback.delete(key)
            await self._archives.erase(place)
            folder = object_key(recording.id, recording.invoked_at, "x").removesuffix("x")
            for left in await self._unfinished.unfinished(folder):
                await self._unfinished.abort(left.key, left.token)
            await self._free_local(recording, last)
        except (TapedeckError, OSError) as exc:
            extra = {"action": "purge_delayed", "recording_id": recording.id, "reason": str(exc)}
            _log.warning("a purge goes on later", extra=extra)
            return
        async with self._db.write() as session:
            found = await table.find_place(session, place.recording_id, lock=True)
            if found is None or found.purge_at is None:
                return  # somebody else has just ended it
            await table.scrub(session, recording.id)
            actor = found.note.actor or SERVER
            detail = {"objects": len(keys), "archived": len(place.note.files), "media_log": last}
            await note(session, self._entry(found, actor, "recording.purged", detail))
            await table.save_place(session, replace(found, purge_at=None, state=None, note=ArchiveNote()), self._now())

    # Inside

    def _steps(self) -> Sequence[RetentionStep]:
        return _ORDER if self._archives.is_open else _ORDER[:-1]

    async def _room(self, session: DbSession, app: App, room_id: str | None) -> Mapping[str, Any] | None:
        if room_id is None:
            return None
        said = await wishes.room_wishes(session, app.id, room_id)
        if said is None:
            raise NotFoundError("Room not found")
        return said

    async def _of_tenant(self, session: DbSession, app: App, recording_id: str) -> Place:
        place = await table.find_place(session, recording_id, app.id, lock=True)
        if place is None or place.purged_at is not None:
            raise NotFoundError("Recording not found")
        return place

    def _entry(self, place: Place, actor: Actor, action: str, detail: Mapping[str, Any] = _NOTHING) -> Deed:
        return Deed(place.app_id, self._now(), actor, action, place.recording_id, place.room_id, detail)

    def _now(self) -> datetime:
        return whole_ms(self._clock.now())


def _of(recording_id: str) -> dict[str, str]:
    return {"action": "retention_failed", "recording_id": recording_id}
