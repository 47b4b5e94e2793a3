"""Questions to the rooms of a tenant: meetings that it did not delete."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.library import Span
from tapedeck.core.meeting import Meeting
from tapedeck.db.models import MeetingRow, RoomSettingsRow
from tapedeck.db.rooms import MEETING_COLUMNS, search_patterns, title_matches, to_meeting

__all__ = ["delete_room", "find_room", "list_rooms"]

_S, _M = RoomSettingsRow.__table__.c, MeetingRow.__table__.c
_ROOMS = (
    select(*MEETING_COLUMNS)
    .join_from(
        cast(Table, MeetingRow.__table__), cast(Table, RoomSettingsRow.__table__), _S.meeting_id == _M.id, isouter=True
    )
    .where(_S.deleted_at.is_(None))
)


async def find_room(session: AsyncSession, app_id: str, meeting_id: str) -> Meeting | None:
    """A room of a tenant, unless it was deleted."""
    row = (await session.execute(_ROOMS.where(_M.id == meeting_id, _M.app_id == app_id))).first()
    return to_meeting(row) if row else None


async def list_rooms(
    session: AsyncSession, app_id: str, search: str | None, span: Span
) -> tuple[Sequence[Meeting], int]:
    """Rooms of a tenant, newest first, and how many there are."""
    rows = _ROOMS.where(_M.app_id == app_id)
    if search is not None:
        rows = rows.where(title_matches(*search_patterns(search)))
    counted: Any = rows.with_only_columns(func.count(), maintain_column_froms=True)
    total = int((await session.execute(counted)).scalar_one())
    page = rows.order_by(_M.created_at.desc(), _M.id.desc()).limit(span.limit).offset(span.offset)
    return [to_meeting(row) for row in await session.execute(page)], total


async def delete_room(session: AsyncSession, meeting: Meeting, now: datetime) -> None:
    """Hide a room from its tenant; what was recorded in it stays."""
    row = await session.get(RoomSettingsRow, meeting.id)
    if row is None:
        session.add(
            RoomSettingsRow(meeting_id=meeting.id, app_id=meeting.app_id, settings={}, deleted_at=now, updated_at=now)
        )
    else:
        row.deleted_at = row.updated_at = now
    await session.flush()
