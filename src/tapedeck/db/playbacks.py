"""Queries about films as they are played. Rows in, core objects out; no rule lives here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.library import LibraryStatus
from tapedeck.core.liveindex import Anchor
from tapedeck.core.recording import Recording
from tapedeck.db.models import LibraryRow, PlaybackRow
from tapedeck.db.recordings import find_recording

__all__ = ["Played", "find_played", "keep_anchors"]


@dataclass(frozen=True, slots=True)
class Played:
    """A recording, and what decides whether it can be played."""

    recording: Recording
    anchors: Sequence[Anchor]
    is_deleted: bool
    is_archived: bool
    imported_at: datetime | None


async def find_played(session: AsyncSession, recording_id: str) -> Played | None:
    """A recording by id, of any app."""
    recording = await find_recording(session, recording_id)
    if recording is None:
        return None
    rows = select(LibraryRow.deleted_at, LibraryRow.purged_at, LibraryRow.status, LibraryRow.imported_at)
    found = (await session.execute(rows.where(LibraryRow.recording_id == recording_id))).first()
    deleted_at, purged_at, status, imported_at = found or (None, None, None, None)
    told = await session.scalar(select(PlaybackRow.anchors).where(PlaybackRow.recording_id == recording_id))
    anchors = [(int(film_ns), None if at_ms is None else int(at_ms)) for film_ns, at_ms in told or ()]
    is_deleted = deleted_at is not None or purged_at is not None
    return Played(recording, anchors, is_deleted, status == LibraryStatus.ARCHIVED, imported_at)


async def keep_anchors(session: AsyncSession, recording_id: str, anchors: Sequence[Anchor]) -> None:
    """Instead of what was kept before."""
    await session.execute(delete(PlaybackRow).where(PlaybackRow.recording_id == recording_id))
    session.add(PlaybackRow(recording_id=recording_id, anchors=[list(anchor) for anchor in anchors]))
    await session.flush()
