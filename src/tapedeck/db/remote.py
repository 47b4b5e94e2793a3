"""Queries about tenants whose rooms another recorder records. Rows in, core objects out; no rule lives here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.meeting import App
from tapedeck.core.recording import RecordingState
from tapedeck.db.models import LibraryRow, RecordingRow, RemoteRoomRow, TenantRow

__all__ = [
    "Origin",
    "add_room",
    "far_room",
    "find_origin",
    "forget_rooms",
    "known_ids",
    "near_id",
    "near_room",
    "save_sealed",
    "save_settings",
    "sealed_tokens",
    "settings_of",
    "unfinished",
]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a recording of ours is made."""

    recording_id: str
    app_id: str
    remote_id: str
    state: RecordingState


async def settings_of(session: AsyncSession, app_id: str) -> tuple[Mapping[str, Any], str | None]:
    """The settings of a tenant, and what is sealed of them."""
    row = await session.get(TenantRow, app_id, populate_existing=True)
    return ({}, None) if row is None else (row.settings, row.sealed)


async def save_settings(
    session: AsyncSession, app: App, changes: Mapping[str, Any], sealed: str | None, now: datetime
) -> None:
    """Change some settings of a tenant (None: forget), and what is sealed."""
    row = await session.get(TenantRow, app.id, populate_existing=True)
    if row is None:
        row = TenantRow(app_id=app.id, account_id=app.account_id, settings={}, sealed=None, created_at=now)
        session.add(row)
    row.settings = {key: value for key, value in ({**row.settings} | {**changes}).items() if value is not None}
    row.sealed = sealed
    row.updated_at = now
    await session.flush()


async def sealed_tokens(session: AsyncSession) -> Sequence[tuple[str, str]]:
    """App and sealed token of every tenant that has one."""
    rows = await session.execute(select(TenantRow.app_id, TenantRow.sealed).where(TenantRow.sealed.is_not(None)))
    return [(app_id, sealed) for app_id, sealed in rows if sealed is not None]


async def save_sealed(session: AsyncSession, app_id: str, sealed: str) -> None:
    """The same token, sealed with another key."""
    await session.execute(update(TenantRow).where(TenantRow.app_id == app_id).values(sealed=sealed))


async def far_room(session: AsyncSession, meeting_id: str) -> str | None:
    """The meeting that a room is at its recorder."""
    row = await session.get(RemoteRoomRow, meeting_id, populate_existing=True)
    return None if row is None else row.remote_meeting_id


async def near_room(session: AsyncSession, app_id: str, remote_meeting_id: str) -> str | None:
    """The room of a tenant that a meeting of its recorder is."""
    rows = select(RemoteRoomRow.meeting_id).where(
        RemoteRoomRow.app_id == app_id, RemoteRoomRow.remote_meeting_id == remote_meeting_id
    )
    return (await session.execute(rows)).scalar_one_or_none()


async def add_room(session: AsyncSession, app_id: str, meeting_id: str, remote_meeting_id: str) -> None:
    """Note which meeting a room is at its recorder."""
    session.add(RemoteRoomRow(meeting_id=meeting_id, app_id=app_id, remote_meeting_id=remote_meeting_id))
    await session.flush()


async def forget_rooms(session: AsyncSession, app_id: str) -> None:
    """A tenant has another recorder now."""
    await session.execute(delete(RemoteRoomRow).where(RemoteRoomRow.app_id == app_id))


async def known_ids(session: AsyncSession, app_id: str, remote_ids: Collection[str]) -> Mapping[str, str]:
    """Ids of ours by those of the recorder, of what a tenant has already."""
    rows = select(LibraryRow.remote_id, LibraryRow.recording_id).where(
        LibraryRow.app_id == app_id, LibraryRow.remote_id.in_(remote_ids)
    )
    return {str(remote_id): recording_id for remote_id, recording_id in await session.execute(rows)}


async def near_id(session: AsyncSession, app_id: str, remote_id: str) -> str | None:
    """Our id of a tenant's recording."""
    return (await known_ids(session, app_id, [remote_id])).get(remote_id)


async def find_origin(session: AsyncSession, recording_id: str) -> Origin | None:
    """Where a recording is made; None when it is made here."""
    row = (await session.execute(_ORIGINS.where(LibraryRow.recording_id == recording_id))).first()
    return None if row is None else Origin(row[0], row[1], str(row[2]), RecordingState(row[3]))


async def unfinished(session: AsyncSession, states: Collection[RecordingState]) -> Sequence[Origin]:
    """Recordings of other recorders in some states; oldest first, whose links end first."""
    rows = _ORIGINS.where(RecordingRow.state.in_(states)).order_by(RecordingRow.invoked_at, RecordingRow.id)
    return [Origin(row[0], row[1], str(row[2]), RecordingState(row[3])) for row in await session.execute(rows)]


_ORIGINS = (
    select(LibraryRow.recording_id, LibraryRow.app_id, LibraryRow.remote_id, RecordingRow.state)
    .join(RecordingRow, RecordingRow.id == LibraryRow.recording_id)
    .where(LibraryRow.remote_id.is_not(None))
)
