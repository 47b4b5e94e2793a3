"""Queries about recordings whose links have ended, and the cursor of how far their files are deleted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.recording import Recording
from tapedeck.core.times import from_ms, to_ms
from tapedeck.db.models import CursorRow, LibraryRow, RecordingRow
from tapedeck.db.recordings import find_recording

__all__ = ["cursor", "ended_at", "move_cursor", "next_end"]

_NAME = "expiry"


async def cursor(session: AsyncSession) -> datetime:
    """Everything that ended by then is deleted."""
    row = await session.get(CursorRow, _NAME, populate_existing=True)
    return from_ms(0 if row is None else row.position)


async def move_cursor(session: AsyncSession, to: datetime) -> None:
    """Everything that ended by `to` is deleted."""
    await session.merge(CursorRow(name=_NAME, position=to_ms(to)))


async def next_end(session: AsyncSession, after: datetime, until: datetime) -> datetime | None:
    """The earliest end of links in `after < end <= until`."""
    ends = select(func.min(RecordingRow.expires_at)).where(
        RecordingRow.expires_at > after, RecordingRow.expires_at <= until
    )
    found: datetime | None = (await session.execute(ends)).scalar()
    return found


async def ended_at(session: AsyncSession, end: datetime) -> Sequence[Recording]:
    """All recordings whose links ended at one moment, but for those that a library keeps."""
    rows = select(RecordingRow.id).join(LibraryRow, LibraryRow.recording_id == RecordingRow.id)
    rows = rows.where(RecordingRow.expires_at == end, LibraryRow.imported_at.is_(None), LibraryRow.hold.is_(False))
    ids = (await session.execute(rows)).scalars().all()
    found = [await find_recording(session, recording_id) for recording_id in ids]
    return [recording for recording in found if recording is not None]
