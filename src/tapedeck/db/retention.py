"""Queries about how long tenants keep recordings: their wishes, and what is due by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.archive import ArchiveState
from tapedeck.core.library import LibraryStatus
from tapedeck.core.retention import Due, Policy, RetentionStep, policy_of
from tapedeck.db.library_rows import LibraryRow, RoomSettingsRow, TenantRow
from tapedeck.db.models import AppRow, MeetingRow, RecordingRow

__all__ = ["Scope", "due_in", "room_wishes", "save_room_wishes", "save_tenant_wishes", "scopes", "tenant_wishes"]

_KEY = "retention"


@dataclass(frozen=True, slots=True)
class Scope:
    """A room with wishes of its own, or a tenant with all its other rooms."""

    app_id: str
    policy: Policy
    room_id: str | None = None
    not_rooms: tuple[str, ...] = ()


async def tenant_wishes(session: AsyncSession, app_id: str) -> Mapping[str, Any]:
    """What a tenant said; empty if nothing."""
    row = await session.get(TenantRow, app_id, populate_existing=True)
    said: Mapping[str, Any] = {} if row is None else row.settings.get(_KEY, {})
    return said


async def save_tenant_wishes(session: AsyncSession, app_id: str, wishes: Mapping[str, Any], now: datetime) -> None:
    """Replace them; other settings stay."""
    row = await session.get(TenantRow, app_id, populate_existing=True)
    if row is None:
        app = await session.get_one(AppRow, app_id)
        account_id = app.account_id
        row = TenantRow(app_id=app_id, account_id=account_id, settings={}, sealed=None, created_at=now, updated_at=now)
        session.add(row)
    row.settings = {**row.settings, _KEY: dict(wishes)}
    row.updated_at = now


async def room_wishes(session: AsyncSession, app_id: str, room_id: str) -> Mapping[str, Any] | None:
    """What a room has of its own; None if there is no such room of the tenant."""
    meeting = await session.get(MeetingRow, room_id)
    row = await session.get(RoomSettingsRow, room_id, populate_existing=True)
    if meeting is None or meeting.app_id != app_id or (row is not None and row.deleted_at is not None):
        return None
    said: Mapping[str, Any] = {} if row is None else row.settings.get(_KEY, {})
    return said


async def save_room_wishes(
    session: AsyncSession, app_id: str, room_id: str, wishes: Mapping[str, Any], now: datetime
) -> None:
    """Replace them; other settings stay."""
    row = await session.get(RoomSettingsRow, room_id, populate_existing=True)
    if row is None:
        row = RoomSettingsRow(meeting_id=room_id, app_id=app_id, settings={}, deleted_at=None, updated_at=now)
        session.add(row)
    row.settings = {**row.settings, _KEY: dict(wishes)}
    row.updated_at = now


async def scopes(session: AsyncSession, app_id: str | None = None) -> Sequence[Scope]:
    """Every set of recordings that something may be due for, of all tenants or one."""
    tenants, rooms = select(TenantRow), select(RoomSettingsRow)
    if app_id is not None:
        tenants, rooms = tenants.where(TenantRow.app_id == app_id), rooms.where(RoomSettingsRow.app_id == app_id)
    of_tenants = {row.app_id: row.settings.get(_KEY, {}) for row in (await session.execute(tenants)).scalars()}
    own: dict[str, list[Scope]] = {}
    for row in (await session.execute(rooms)).scalars():
        if said := row.settings.get(_KEY):
            policy = policy_of(of_tenants.get(row.app_id), said)
            own.setdefault(row.app_id, []).append(Scope(row.app_id, policy, row.meeting_id))
    found = [scope for rooms_of in own.values() for scope in rooms_of]
    for tenant, said in of_tenants.items():
        others = tuple(scope.room_id for scope in own.get(tenant, ()) if scope.room_id is not None)
        found.append(Scope(tenant, policy_of(said), None, others))
    return [scope for scope in found if not scope.policy.is_empty]


async def due_in(
    session: AsyncSession, scope: Scope, step: RetentionStep, now: datetime, limit: int, after: str = ""
) -> Sequence[Due]:
    """What one step is due for, by recording id beyond `after`. What is held is not among it."""
    cutoff = scope.policy.cutoff(step, now)
    if cutoff is None:
        return ()
    since: ColumnElement[Any] = func.coalesce(LibraryRow.kept_since, LibraryRow.created_at)
    rows = select(LibraryRow.recording_id, LibraryRow.meeting_id, LibraryRow.deleted_at, since).where(
        LibraryRow.app_id == scope.app_id,
        LibraryRow.hold.is_(False),
        LibraryRow.purged_at.is_(None),
        or_(LibraryRow.archive_state.is_(None), LibraryRow.archive_state != ArchiveState.ARCHIVING),
        LibraryRow.recording_id > after,
    )
    if scope.room_id is not None:
        rows = rows.where(LibraryRow.meeting_id == scope.room_id)
    elif scope.not_rooms:
        rows = rows.where(LibraryRow.meeting_id.not_in(scope.not_rooms))
    ended = (LibraryStatus.READY, LibraryStatus.ARCHIVED, LibraryStatus.FAILED)
    match step:
        case RetentionStep.ARCHIVE:
            in_bucket = select(RecordingRow.id).where(
                RecordingRow.id == LibraryRow.recording_id, RecordingRow.expires_at.is_not(None)
            )
            if (deleted := scope.policy.cutoff(RetentionStep.DELETE, now)) is not None:
                rows = rows.where(since > deleted)  # it is deleted now, and need not be archived before
            rows = rows.where(
                LibraryRow.status == str(LibraryStatus.READY),
                LibraryRow.archive_state.is_(None),
                LibraryRow.deleted_at.is_(None),
                since <= cutoff,
                in_bucket.exists(),
            )
        case RetentionStep.DELETE:
            rows = rows.where(
                LibraryRow.status.in_([str(status) for status in ended]),
                LibraryRow.deleted_at.is_(None),
                since <= cutoff,
            )
        case RetentionStep.PURGE:
            rows = rows.where(LibraryRow.deleted_at <= cutoff, LibraryRow.status.in_([str(s) for s in ended]))
    found = await session.execute(rows.order_by(LibraryRow.recording_id).limit(limit))
    wait = now - cutoff
    return [
        Due(step, id_, room_id, scope.app_id, (deleted_at if step is RetentionStep.PURGE else kept_from) + wait)
        for id_, room_id, deleted_at, kept_from in found
    ]
