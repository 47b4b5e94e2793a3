"""Queries about films as they are played. Rows in, core objects out; no rule lives here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.library import LibraryStatus
from tapedeck.core.liveindex import Anchor
from tapedeck.core.recording import Recording
from tapedeck.db.engine import Database
from tapedeck.db.models import LibraryRow, PlaybackRow, RecordingRow
from tapedeck.db.recordings import COLUMNS, recording_from

__all__ = ["Played", "find_played", "keep_anchors"]

_R, _L, _P = (table.__table__.c for table in (RecordingRow, LibraryRow, PlaybackRow))
# Asked for each playlist and segment that somebody loads: one statement, finished, over unique indexes.
_PLAYED = (
    select(*COLUMNS, _L.deleted_at, _L.purged_at, _L.status, _L.imported_at, _P.anchors)
    .join_from(RecordingRow.__table__, LibraryRow.__table__, _L.recording_id == _R.id, isouter=True)
    .join(PlaybackRow.__table__, _P.recording_id == _R.id, isouter=True)
    .where(_R.id == bindparam("of_id"))
)


@dataclass(frozen=True, slots=True)
class Played:
    """A recording, and what decides whether it can be played."""

    recording: Recording
    anchors: Sequence[Anchor]
    is_deleted: bool
    is_archived: bool
    imported_at: datetime | None


def find_played(db: Database, recording_id: str) -> Played | None:
    """A recording by id, of any app."""
    rows = db.ask(_PLAYED, {"of_id": recording_id})
    if not rows:
        return None
    (deleted_at, purged_at, status, imported_at, told), recording = rows[0][-5:], recording_from(rows[0][:-5])
    anchors = [(int(film_ns), None if at_ms is None else int(at_ms)) for film_ns, at_ms in told or ()]
    is_deleted = deleted_at is not None or purged_at is not None
    return Played(recording, anchors, is_deleted, status == LibraryStatus.ARCHIVED, imported_at)


async def keep_anchors(session: AsyncSession, recording_id: str, anchors: Sequence[Anchor]) -> None:
    """Instead of what was kept before."""
    await session.execute(delete(PlaybackRow).where(PlaybackRow.recording_id == recording_id))
    session.add(PlaybackRow(recording_id=recording_id, anchors=[list(anchor) for anchor in anchors]))
    await session.flush()
