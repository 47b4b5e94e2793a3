"""Queries about the library of the rooms API. Rows in, core objects out; no rule lives here."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from sqlalchemy import Table, case, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.library import LibraryStatus, status_of
from tapedeck.core.recording import Recording
from tapedeck.db.models import LibraryRow, MeetingRow

__all__ = ["add_to_library", "follow_state"]

_LIBRARY = cast(Table, LibraryRow.__table__)
_MEETINGS = cast(Table, MeetingRow.__table__)
_L, _M = _LIBRARY.c, _MEETINGS.c


async def add_to_library(
    session: AsyncSession, recording: Recording, imported: bool, remote_id: str | None = None
) -> None:
    """The row of a new recording; called where the recording is stored. `remote_id`: its id at another recorder."""
    values = {
        _L.recording_id: literal(recording.id),
        _L.app_id: literal(recording.app_id),
        _L.meeting_id: _M.id,
        _L.provider: literal(recording.options.provider),
        _L.remote_id: literal(remote_id, _L.remote_id.type),
        _L.imported_at: literal(recording.invoked_at if imported else None, _L.imported_at.type),
        _L.status: literal(str(status_of(recording.state))),
        _L.title: case((_M.title.is_(None), ""), else_=_M.title),
        _L.title_folded: _M.title_folded,
        _L.hold: literal(False),
        _L.created_at: literal(recording.invoked_at, _L.created_at.type),
        _L.updated_at: literal(recording.invoked_at, _L.updated_at.type),
    }
    rows = select(*values.values()).where(_M.id == recording.meeting_id)
    await session.execute(_LIBRARY.insert().from_select(list(values), rows, include_defaults=False))


async def follow_state(session: AsyncSession, recording: Recording, now: datetime) -> None:
    """Keep the row in step with the state of its recording; called where that is stored."""
    status = status_of(recording.state)
    shown = case((_L.archived_at.is_not(None), str(LibraryStatus.ARCHIVED)), else_=str(status))
    rows = update(_LIBRARY).where(_L.recording_id == recording.id)
    values = {"status": shown if status is LibraryStatus.READY else str(status), "updated_at": now}
    await session.execute(rows.values(**values))
