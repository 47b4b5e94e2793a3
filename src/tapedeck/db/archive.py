"""Queries about where the files of a library's recordings are: bucket or archive, deleted, held, purged."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Table, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.archive import ArchiveNote, ArchiveState
from tapedeck.core.destination import DestinationKind
from tapedeck.core.happenings import HappeningKind
from tapedeck.core.library import LibraryStatus
from tapedeck.db.library_rows import LibraryRow
from tapedeck.db.models import (
    DeliveryRow,
    DestinationRow,
    LivestreamRow,
    OutboxRow,
    RecordingRow,
    RerenderRow,
    UploadRow,
)

__all__ = [
    "Place",
    "assemblies",
    "drop_uploads",
    "find_place",
    "in_archive_states",
    "keep_what_was_held",
    "not_freed",
    "purging",
    "save_place",
    "scrub",
    "session_is_purged",
]

_LIBRARY = cast(Table, LibraryRow.__table__)
_L = _LIBRARY.c
_PURGED_NAME = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one recording of a library is."""

    recording_id: str
    app_id: str
    room_id: str
    status: LibraryStatus
    archived_at: datetime | None
    state: ArchiveState | None
    note: ArchiveNote
    deleted_at: datetime | None
    purge_at: datetime | None
    "Set with `purged_at` while a purge is under way."
    purged_at: datetime | None
    hold: bool
    kept_since: datetime | None
    created_at: datetime


_COLUMNS = (
    _L.recording_id,
    _L.app_id,
    _L.meeting_id,
    _L.status,
    _L.archived_at,
    _L.archive_state,
    _L.archive_note,
    _L.deleted_at,
    _L.purge_at,
    _L.purged_at,
    _L.hold,
    _L.kept_since,
    _L.created_at,
)


async def find_place(
    session: AsyncSession, recording_id: str, app_id: str | None = None, lock: bool = False
) -> Place | None:
    """One recording's, of any tenant or of one; `lock` holds it against other writers until the commit."""
    rows = select(*_COLUMNS).where(_L.recording_id == recording_id)
    if app_id is not None:
        rows = rows.where(_L.app_id == app_id)
    row = (await session.execute(rows.with_for_update() if lock else rows)).first()
    return None if row is None else _place(row)


async def save_place(session: AsyncSession, place: Place, now: datetime) -> None:
    """Store all of it that can change."""
    values = {
        "status": str(place.status),
        "archived_at": place.archived_at,
        "archive_state": None if place.state is None else str(place.state),
        "archive_note": place.note.as_json() if place.note != ArchiveNote() else None,
        "deleted_at": place.deleted_at,
        "purge_at": place.purge_at,
        "purged_at": place.purged_at,
        "hold": place.hold,
        "kept_since": place.kept_since,
        "updated_at": now,
    }
    if place.purged_at is not None:
        values |= {"title": _PURGED_NAME, "title_folded": _PURGED_NAME}
    await session.execute(update(_LIBRARY).where(_L.recording_id == place.recording_id).values(**values))


async def keep_what_was_held(session: AsyncSession, recording_id: str, now: datetime) -> None:
    """A hold that ends after the links did leaves files that expire no more: the library keeps them from now on."""
    over = select(RecordingRow.id).where(RecordingRow.id == recording_id, RecordingRow.expires_at <= now)
    rows = update(_LIBRARY).where(_L.recording_id.in_(over), _L.imported_at.is_(None))
    await session.execute(rows.values(imported_at=now))


async def in_archive_states(session: AsyncSession, states: Collection[ArchiveState]) -> Sequence[Place]:
    """Recordings of all tenants in some states of the archive."""
    rows = select(*_COLUMNS).where(_L.archive_state.in_([str(state) for state in states]), _L.purged_at.is_(None))
    return [_place(row) for row in await session.execute(rows.order_by(_L.recording_id))]


async def not_freed(session: AsyncSession) -> Sequence[Place]:
    """Archived recordings whose copies in the bucket are still to be deleted. Looks at all that are archived."""
    archived = (ArchiveState.ARCHIVED, ArchiveState.RESTORING, ArchiveState.RESTORED)
    left = _L.archive_note["freed"].as_boolean().is_(False)
    rows = select(*_COLUMNS).where(_L.archive_state.in_([str(s) for s in archived]), _L.purged_at.is_(None), left)
    return [_place(row) for row in await session.execute(rows.order_by(_L.recording_id))]


async def purging(session: AsyncSession) -> Sequence[Place]:
    """Recordings whose purge was begun and has not ended."""
    rows = select(*_COLUMNS).where(_L.purge_at.is_not(None), _L.purged_at.is_not(None))
    return [_place(row) for row in await session.execute(rows.order_by(_L.recording_id))]


async def assemblies(session: AsyncSession, recording_id: str) -> Mapping[tuple[str, str], str]:
    """By name and CRC-32C: of which parts the built-in bucket's files are made, where that is known."""
    columns = (UploadRow.name, UploadRow.crc32c, UploadRow.assembly)
    rows = select(*columns).join(DestinationRow, DestinationRow.id == UploadRow.destination_id)
    ours = (DestinationRow.recording_id == recording_id, DestinationRow.kind == DestinationKind.BUCKET)
    found = await session.execute(rows.where(*ours, UploadRow.done_at.is_not(None)))
    return {(name, crc32c): made for name, crc32c, made in found if crc32c is not None and made is not None}


async def drop_uploads(session: AsyncSession, recording_id: str) -> None:
    """Forget which files the built-in bucket has: it has them no more."""
    ours = select(DestinationRow.id).where(
        DestinationRow.recording_id == recording_id, DestinationRow.kind == DestinationKind.BUCKET
    )
    await session.execute(delete(UploadRow).where(UploadRow.destination_id.in_(ours)))


async def session_is_purged(session: AsyncSession, session_id: str) -> bool:
    """Whether no recording of a session is left that is not purged."""
    rows = select(func.count()).select_from(RecordingRow).join(LibraryRow, LibraryRow.recording_id == RecordingRow.id)
    left = rows.where(RecordingRow.session_id == session_id, LibraryRow.purged_at.is_(None))
    return (await session.execute(left)).scalar_one() == 0


async def scrub(session: AsyncSession, recording_id: str) -> None:
    """Take out of every row what a recording held: names, people, wishes, files, messages that were sent of it.

    What is left says that there was a recording, when, and in which states it was.
    """
    nobody: dict[str, Any] = {"file_name": "", "files": [], "options": {}, "cautions": []}
    people = {"started_by": None, "stopped_by": None}
    rows = update(RecordingRow).where(RecordingRow.id == recording_id)
    await session.execute(rows.values(**nobody, **people, failure=None, size_bytes=0, expires_at=None))
    of_states = (OutboxRow.recording_id == recording_id, OutboxRow.kind == HappeningKind.RECORDING)
    for row in (await session.execute(select(OutboxRow).where(*of_states))).scalars().all():
        row.payload = {**row.payload, **nobody, **people, "failure": None}
    await session.execute(update(LivestreamRow).where(LivestreamRow.recording_id == recording_id).values(name=None))
    sent = (DeliveryRow.key == recording_id, DeliveryRow.finished_at.is_not(None))
    await session.execute(delete(DeliveryRow).where(*sent))
    await session.execute(delete(RerenderRow).where(RerenderRow.recording_id == recording_id))
    places = select(DestinationRow.id).where(DestinationRow.recording_id == recording_id)
    await session.execute(delete(UploadRow).where(UploadRow.destination_id.in_(places)))
    await session.execute(delete(DestinationRow).where(DestinationRow.recording_id == recording_id))


def _place(row: Any) -> Place:
    (id_, app_id, room_id, status, archived_at, state, note, *rest) = row
    return Place(
        id_,
        app_id,
        room_id,
        LibraryStatus(status),
        archived_at,
        None if state is None else ArchiveState(state),
        ArchiveNote.of(note),
        *rest,
    )
