"""A tenant's library of recordings: start, stop, sync, list, get, links, recover, delete. Knows no word of HTTP.

The recordings are those of the other API, in the same store; what is a tenant's alone (names, deletion, the trail of
who did what) is here. Every question is asked within an app: what is another's is not there (NotFoundError).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tapedeck.core.access import AppPrincipal
from tapedeck.core.errors import ConflictError, InvalidError, NotFoundError
from tapedeck.core.library import (
    LibraryItem,
    LibraryLine,
    LibraryStatus,
    Span,
    distinct,
    main_file,
    shown_name,
    status_of,
)
from tapedeck.core.meeting import App, Meeting, MeetingStatus
from tapedeck.core.recording import (
    ACTIVE,
    FilmFile,
    Recording,
    RecordingKind,
    RecordingState,
    WrongStateError,
)
from tapedeck.core.times import whole_ms
from tapedeck.db import audit
from tapedeck.db import library_lists as table
from tapedeck.db import recordings as recordings_table
from tapedeck.db.engine import Database, DbSession
from tapedeck.db.library_lists import SORTS, LibraryFilter
from tapedeck.db.library_rooms import find_room
from tapedeck.ports.clock import Clock
from tapedeck.ports.storage import ObjectStore
from tapedeck.service.archive import ArchiveService
from tapedeck.service.recordings import Action, RecordingService
from tapedeck.service.remote import RemoteService
from tapedeck.service.views import RecordingView
from tapedeck.service.zipping import Member, zip_stream

__all__ = ["LINK_LIFE", "SORTS", "Download", "LibraryFilter", "LibraryService", "NamedFile"]

LINK_LIFE = timedelta(hours=1)
_STILLS = ("poster", "sprite", "storyboard")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file under the name that it is downloaded as."""

    name: str
    file: FilmFile
    url: str


@dataclass(frozen=True, slots=True)
class Download:
    """What can be had of a recording now. Without `files` there is nothing to have, and `message` says why."""

    item: LibraryItem
    files: Sequence[NamedFile] = ()
    "The one that is meant first."
    stills: Mapping[str, str] | None = None
    message: str | None = None


class LibraryService:
    """Use cases of the rooms API about recordings."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        recordings: RecordingService,
        store: ObjectStore,
        link_life: timedelta = LINK_LIFE,
        remote: RemoteService | None = None,
        store_name: str = "r2",
    ) -> None:
        """`remote`: who knows of tenants whose rooms another recorder records. `store_name`: what `store` is called."""
        self._db = db
        self._clock = clock
        self._recordings = recordings
        self._store = store
        self._link_life = link_life
        self.archives: ArchiveService | None = None
        "Where archived recordings can be had from, once they are restored."
        self._remote = remote
        self.store_name = store_name
        self.on_recover: Callable[[Recording], None] = lambda _: None
        "Hears of a recording whose film shall be gone on with, from wherever it stands."

    # Recording

    async def start(
        self, app: App, principal: AppPrincipal, room_id: str, config: Mapping[str, Any], allow_multiple: bool = False
    ) -> RecordingView:
        """Record a room. NotFoundError for one that is not there or is closed, ConflictError when it is recorded."""
        room = await self._room(app, room_id)
        if room.status is MeetingStatus.INACTIVE:
            raise NotFoundError("There is no such room, or it is closed")
        remote = await self._elsewhere(app)
        try:
            if remote is None:
                view = await self._recordings.start(app, principal, room_id, config, allow_multiple, imported=True)
            else:
                caller = principal.caller(app)
                view = RecordingView(await remote.start(app, room_id, config, allow_multiple, caller), room)
        except ConflictError as exc:
            raise ConflictError("The room is already being recorded") from exc
        await self._note(app, principal, "recording.start", view.recording)
        return view

    async def stop(self, app: App, principal: AppPrincipal, room_id: str) -> RecordingView:
        """End the newest film of a room that runs; tracks go on. NotFoundError when there is none."""
        room = await self._room(app, room_id)
        async with self._db.read() as session:
            running = await recordings_table.of_meeting(session, app.id, room_id, ACTIVE)
        films = [recording for recording in running if recording.kind is RecordingKind.COMPOSITE]
        for recording in films[:1]:
            try:
                if recording.options.provider == "local" or self._remote is None:
                    view = await self._recordings.control(app, principal, recording.id, Action.STOP)
                else:
                    view = RecordingView(await self._remote.stop(recording), room)
            except WrongStateError:
                break  # it failed by itself meanwhile
            await self._note(app, principal, "recording.stop", view.recording)
            return view
        raise NotFoundError("The room has no active recording")

    async def sync(self, app: App, principal: AppPrincipal, room_id: str) -> Sequence[tuple[str, LibraryStatus]]:
        """Take into the library what was recorded in a room without it; what was taken before is not named again.

        NotFoundError; nothing is taken when the tenant's own recorder cannot be asked (`service/remote.py`).
        """
        await self._room(app, room_id)
        remote = await self._elsewhere(app)
        theirs = [] if remote is None else await remote.sync(app, room_id)
        async with self._db.write() as session:
            await self._room_in(session, app, room_id)
            now = whole_ms(self._clock.now())
            found = [*theirs, *await table.import_room(session, app.id, room_id, now)]
            if found:
                actor, detail = audit.actor_of(principal), {"synced_count": len(found)}
                await audit.note(session, audit.Deed(app.id, now, actor, "room.sync", None, room_id, detail))
        return found

    # Questions

    async def list(self, app: App, wanted: LibraryFilter, span: Span) -> tuple[Sequence[LibraryLine], int]:
        """A page of the library, and how much there is."""
        async with self._db.snapshot() as session:
            return await table.list_library(session, app.id, wanted, span)

    async def get(self, app: App, recording_id: str, with_deleted: bool = False) -> LibraryItem:
        """One recording; NotFoundError."""
        async with self._db.read() as session:
            return await self._item(session, app, recording_id, with_deleted)

    async def download(self, app: App, recording_id: str) -> Download:
        """Links that live for an hour, or why there are none. NotFoundError."""
        item = await self.get(app, recording_id)
        until = self._clock.now() + self._link_life
        if item.entry.status is LibraryStatus.ARCHIVED and (restored := await self._restored(app, item, until)):
            return Download(item, restored)
        message = _why_not(item, self._clock.now())
        if message is not None:
            return Download(item, message=message)
        chosen = main_file(item.recording)
        ordered = sorted(item.recording.files, key=lambda file: file is not chosen)
        files = [
            NamedFile(name := shown_name(item, file), file, await self._store.presign(file.key, name, until))
            for file in ordered
            if file.key is not None and file.kind not in _STILLS
        ]
        return Download(item, files, await self.stills(item))

    async def zip_of(self, app: App, recording_ids: Sequence[str]) -> tuple[str, AsyncIterator[bytes]]:
        """The files of recordings as one ZIP: its name, and its bytes while they are made.

        NotFoundError, ConflictError for one of which nothing can be had now.
        """
        members: list[Member] = []
        for recording_id in recording_ids:
            item = await self.get(app, recording_id)
            found = await self._readable(app, item)
            message = None if found else _why_not(item, self._clock.now())
            if message is not None:
                raise ConflictError(f"rec_{recording_id} is {item.entry.status}: {message}")
            for file, store, key in found:
                await store.head(key)  # a ZIP cannot say in its middle that something is missing
                at = item.recording.started_at or item.recording.invoked_at
                members.append(Member(shown_name(item, file), store, key, at))
        names = distinct([member.name for member in members])
        named = [replace(member, name=name) for member, name in zip(members, names, strict=True)]
        return f"Recordings {self._clock.now():%Y-%m-%d}.zip", zip_stream(named)

    async def _readable(self, app: App, item: LibraryItem) -> Sequence[tuple[FilmFile, ObjectStore, str]]:
        """The files that can be read now, and where: in the bucket, or as restored copies in the archive."""
        if item.entry.status is LibraryStatus.ARCHIVED and self.archives is not None:
            files = {file.name: file for file in item.recording.files}
            copies = self.archives.restored(await self.archives.place(app, item.recording.id))
            return [(files[copy.name], store, copy.key) for store, copy in copies]
        if _why_not(item, self._clock.now()) is not None:
            return ()
        return [(f, self._store, f.key) for f in item.recording.files if f.key is not None and f.kind not in _STILLS]

    async def _restored(self, app: App, item: LibraryItem, until: datetime) -> Sequence[NamedFile]:
        """Links to the restored copies, the file that is meant first; none while there are none."""
        if self.archives is None:
            return ()
        files = {file.name: file for file in item.recording.files}
        names = {name: shown_name(item, file) for name, file in files.items()}
        place = await self.archives.place(app, item.recording.id)
        links = await self.archives.links(place, until, names)
        chosen = main_file(item.recording)
        ordered = sorted(links, key=lambda link: files[link[0]] is not chosen)
        return [NamedFile(names[name], files[name], url) for name, url in ordered]

    async def stills(self, item: LibraryItem) -> Mapping[str, str]:
        """Links to the poster and the pictures of the time line, where there are any; for an hour.

        They stay in the bucket when the film goes to the archive.
        """
        if item.entry.status not in (LibraryStatus.READY, LibraryStatus.ARCHIVED) or _is_over(item, self._clock.now()):
            return {}
        until = self._clock.now() + self._link_life
        return {
            file.kind: await self._store.presign(file.key, shown_name(item, file), until)
            for file in item.recording.files
            if file.kind in _STILLS and file.key is not None
        }

    async def trail(self, app: App, span: Span, recording_id: str | None = None) -> tuple[Sequence[audit.Deed], int]:
        """Who did what, newest first, and how much there is."""
        async with self._db.snapshot() as session:
            return await audit.list_deeds(session, app.id, span, recording_id)

    # Changes

    async def recover(self, app: App, principal: AppPrincipal, recording_id: str) -> LibraryItem:
        """Go on with a film that does not come, from its media log or its finished files; again is harmless.

        NotFoundError; InvalidError unless it is being processed, and by somebody we can ask.
        """
        item = await self.get(app, recording_id)
        if item.entry.status is not LibraryStatus.PROCESSING:
            raise InvalidError(f"Only a recording that is processing can be recovered; this one is {item.entry.status}")
        if item.entry.provider != "local" and item.entry.remote_id is None:
            raise InvalidError("The recording has no cloudflare_recording_id: there is nobody to ask for it")
        await self._note(app, principal, "recording.recover", item.recording)
        waits = item.recording.state is not RecordingState.UPLOADING
        if self._remote is not None and item.recording.options.provider != "local" and waits:
            self._remote.recover(item.recording)
        elif item.recording.state is RecordingState.CLOSING:
            self._recordings.close_soon(item.recording)
        else:
            self.on_recover(item.recording)
        return item

    async def delete(self, app: App, principal: AppPrincipal, recording_id: str) -> datetime:
        """Hide a recording; nothing of it is lost. When. NotFoundError, ConflictError while it runs or is held."""
        now = whole_ms(self._clock.now())
        async with self._db.write() as session:
            item = await self._item(session, app, recording_id, lock=True)
            if status_of(item.recording.state) is LibraryStatus.RECORDING:
                raise ConflictError("A recording that is running cannot be deleted: stop it first")
            if item.entry.hold:
                raise ConflictError("The recording is on hold and cannot be deleted")
            await table.save_entry(session, replace(item.entry, deleted_at=now, updated_at=now))
            await self._note_in(session, app, principal, "recording.delete", item.recording)
        return now

    async def undelete(self, app: App, principal: AppPrincipal, recording_id: str) -> LibraryItem:
        """Show a deleted recording again. NotFoundError unless it is one, and was not purged."""
        now = whole_ms(self._clock.now())
        async with self._db.write() as session:
            item = await self._item(session, app, recording_id, with_deleted=True, lock=True)
            if item.entry.deleted_at is None:
                raise NotFoundError("There is no such deleted recording")
            entry = replace(item.entry, deleted_at=None, purge_at=None, updated_at=now)
            await table.save_entry(session, entry)
            await table.keep_since(session, recording_id, now)
            await self._note_in(session, app, principal, "recording.undelete", item.recording)
        return replace(item, entry=entry)

    # Inside

    async def _elsewhere(self, app: App) -> RemoteService | None:
        """Who records a tenant's rooms when this server does not."""
        return self._remote if self._remote is not None and await self._remote.uses(app.id) else None

    async def _room(self, app: App, room_id: str) -> Meeting:
        async with self._db.read() as session:
            return await self._room_in(session, app, room_id)

    async def _room_in(self, session: DbSession, app: App, room_id: str) -> Meeting:
        room = await find_room(session, app.id, room_id)
        if room is None:
            raise NotFoundError("There is no such room")
        return room

    async def _item(
        self, session: DbSession, app: App, recording_id: str, with_deleted: bool = False, lock: bool = False
    ) -> LibraryItem:
        item = await table.find_item(session, app.id, recording_id, with_deleted, lock)
        if item is None:
            raise NotFoundError("There is no such recording")
        return item

    async def _note(self, app: App, principal: AppPrincipal, action: str, recording: Recording) -> None:
        async with self._db.write() as session:
            await self._note_in(session, app, principal, action, recording)

    async def _note_in(
        self, session: DbSession, app: App, principal: AppPrincipal, action: str, recording: Recording
    ) -> None:
        at = whole_ms(self._clock.now())
        actor = audit.actor_of(principal)
        await audit.note(session, audit.Deed(app.id, at, actor, action, recording.id, recording.meeting_id))


def _why_not(item: LibraryItem, now: datetime) -> str | None:
    """Why nothing of a recording can be had; None when it can. The words are the contract's where it has some."""
    recording = item.recording
    match item.entry.status:
        case LibraryStatus.RECORDING | LibraryStatus.PROCESSING:
            return "Recording is still being processed. Please try again later."
        case LibraryStatus.FAILED:
            return "Recording failed."
        case LibraryStatus.ARCHIVED:
            return "Recording is archived. Restore it before downloading."
    if not any(file.key is not None for file in recording.files):
        return "The files of this recording are in a storage of your own."
    if _is_over(item, now):
        return "The files of this recording were deleted when their links ended: it was never synced."
    return None


def _is_over(item: LibraryItem, now: datetime) -> bool:
    """Whether the bucket's files went with their links, because the library does not keep them."""
    expires, is_kept = item.recording.expires_at, item.entry.hold or item.entry.imported_at is not None
    return not is_kept and expires is not None and expires <= now
