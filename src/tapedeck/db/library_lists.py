"""Questions to the library: one recording, a page of them, what `sync` has not named yet. Rows in, core objects out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import Integer, Select, Table, bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.library import LibraryEntry, LibraryItem, LibraryLine, LibraryStatus, Span
from tapedeck.core.times import film_seconds
from tapedeck.db.access import contains
from tapedeck.db.models import LibraryRow, MeetingRow, RecordingRow
from tapedeck.db.recordings import COLUMNS, split
from tapedeck.db.rooms import MEETING_COLUMNS

__all__ = ["SORTS", "LibraryFilter", "find_item", "import_room", "keep_since", "list_library", "save_entry"]

_LIBRARY = cast(Table, LibraryRow.__table__)
_L, _R, _M = _LIBRARY.c, RecordingRow.__table__.c, MeetingRow.__table__.c
_ENTRY = (
    _L.recording_id,
    _L.app_id,
    _L.meeting_id,
    _L.provider,
    _L.remote_id,
    _L.imported_at,
    _L.status,
    _L.title,
    _L.archived_at,
    _L.archive_state,
    _L.archive_note,
    _L.deleted_at,
    _L.purge_at,
    _L.purged_at,
    _L.hold,
    _L.created_at,
    _L.updated_at,
)
"""In the order of the fields of `LibraryEntry`."""
_ITEM = (
    select(*_ENTRY, *COLUMNS, *MEETING_COLUMNS)
    .join_from(_LIBRARY, RecordingRow.__table__, _L.recording_id == _R.id)
    .join(MeetingRow.__table__, _L.meeting_id == _M.id)
)
_LINE = select(
    _L.recording_id,
    _L.meeting_id,
    _L.status,
    _R.started_at,
    _R.stopped_at,
    _R.film_ms,
    _R.paused_ms,
    _R.size_bytes,
    _L.created_at,
    _L.deleted_at,
).join_from(_LIBRARY, RecordingRow.__table__, _L.recording_id == _R.id)
"""What a list shows: reading a recording whole, with its JSON, takes several times as long."""
SORTS = ("created_at", "duration_seconds", "size_bytes", "name")
"""What a list may be sorted by."""


@dataclass(frozen=True, slots=True)
class LibraryFilter:
    """Which recordings of a tenant; None means any. Times are inclusive, on the start."""

    meeting_id: str | None = None
    statuses: frozenset[LibraryStatus] | None = None
    search: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    sort: str = "created_at"
    ascending: bool = False
    with_deleted: bool = False

    def _values(self, app_id: str) -> dict[str, Any]:
        """What the statements are asked with: exactly the parameters that their shape has."""
        values: dict[str, Any] = {"app_id": app_id}
        if self.meeting_id is not None:
            values["meeting_id"] = self.meeting_id
        if self.statuses is not None:
            values["statuses"] = sorted(self.statuses)
        if self.search is not None:
            values["title"], values["prefix"] = contains(self.search.casefold()), contains(self.search.lower())[1:]
        if self.start is not None:
            values["start"] = self.start
        if self.end is not None:
            values["end"] = self.end
        return values


async def find_item(
    session: AsyncSession, app_id: str, recording_id: str, with_deleted: bool = False, lock: bool = False
) -> LibraryItem | None:
    """A recording of a tenant; one that was purged is gone. `lock` holds it against other writers until the commit."""
    rows = _ITEM.where(_L.recording_id == recording_id, _L.app_id == app_id, _L.purged_at.is_(None))
    if not with_deleted:
        rows = rows.where(_L.deleted_at.is_(None))
    row = (await session.execute(rows.with_for_update() if lock else rows)).first()
    return _item(row) if row else None


async def save_entry(session: AsyncSession, entry: LibraryEntry) -> None:
    """Store what changed of it; its status follows the recording and the archive and is written elsewhere."""
    rows = update(_LIBRARY).where(_L.recording_id == entry.recording_id)
    await session.execute(
        rows.values(
            remote_id=entry.remote_id,
            imported_at=entry.imported_at,
            archived_at=entry.archived_at,
            archive_state=entry.archive_state,
            archive_note=None if entry.archive_note is None else dict(entry.archive_note),
            deleted_at=entry.deleted_at,
            purge_at=entry.purge_at,
            purged_at=entry.purged_at,
            hold=entry.hold,
            updated_at=entry.updated_at,
        )
    )


async def keep_since(session: AsyncSession, recording_id: str, now: datetime) -> None:
    """Count its age anew: what was undeleted is not deleted again at once."""
    await session.execute(update(_LIBRARY).where(_L.recording_id == recording_id).values(kept_since=now))


async def import_room(
    session: AsyncSession, app_id: str, meeting_id: str, now: datetime
) -> Sequence[tuple[str, LibraryStatus]]:
    """Take into the library what it does not keep yet of a room: ids and statuses, oldest first."""
    new = (_L.app_id == app_id, _L.meeting_id == meeting_id, _L.imported_at.is_(None), _L.deleted_at.is_(None))
    found = await session.execute(
        select(_L.recording_id, _L.status).where(*new).order_by(_L.created_at, _L.recording_id)
    )
    rows = [(row[0], LibraryStatus(row[1])) for row in found]
    await session.execute(update(_LIBRARY).where(*new).values(imported_at=now, updated_at=now))
    return rows


async def list_library(
    session: AsyncSession, app_id: str, wanted: LibraryFilter, span: Span
) -> tuple[Sequence[LibraryLine], int]:
    """One page of a tenant's recordings, ties by id, and how many there are. Wants a snapshot."""
    values = wanted._values(app_id)
    shape = frozenset(values)
    total = int((await session.execute(_count(shape, wanted.with_deleted), values)).scalar_one())
    if span.offset >= total:
        return [], total
    page = _page(shape, wanted.with_deleted, wanted.sort, wanted.ascending)
    rows = await session.execute(page, values | {"size": span.limit, "skip": span.offset})
    return [_line(row) for row in rows], total


@lru_cache(256)
def _chosen(shape: frozenset[str], with_deleted: bool) -> Select[Any]:
    rows = select(_L.recording_id).where(_L.app_id == bindparam("app_id"))
    # What was purged was deleted before.
    rows = rows.where(_L.purged_at.is_(None) if with_deleted else _L.deleted_at.is_(None))
    if "meeting_id" in shape:
        rows = rows.where(_L.meeting_id == bindparam("meeting_id"))
    if "statuses" in shape:
        rows = rows.where(_L.status.in_(bindparam("statuses", expanding=True)))
    if "title" in shape:
        title: Any = bindparam("title")
        prefix: Any = bindparam("prefix")
        now_so = select(_M.id).where(_M.app_id == bindparam("app_id"), _M.title_folded.like(title, escape="\\"))
        began_so = _L.title_folded.like(title, escape="\\")
        rows = rows.where(or_(began_so, _L.recording_id.like(prefix, escape="\\"), _L.meeting_id.in_(now_so)))
    if "start" in shape:
        rows = rows.where(_L.created_at >= bindparam("start"))
    if "end" in shape:
        rows = rows.where(_L.created_at <= bindparam("end"))
    return rows


@lru_cache(256)
def _count(shape: frozenset[str], with_deleted: bool) -> Select[Any]:
    return _chosen(shape, with_deleted).with_only_columns(func.count())


@lru_cache(256)
def _page(shape: frozenset[str], with_deleted: bool, sort: str, ascending: bool) -> Select[Any]:
    """Found on an index where it is by age; only the rows of the page are read whole."""
    by: tuple[Any, ...] = (_L.created_at, _L.recording_id)
    rows = _chosen(shape, with_deleted)
    if sort == "name":
        by = (_L.title_folded, *by)
    elif sort != "created_at":
        length = func.coalesce(_R.film_ms, 0)
        by = (func.coalesce(_R.size_bytes, 0) if sort == "size_bytes" else length, *by)
        rows = rows.join_from(_LIBRARY, RecordingRow.__table__, _L.recording_id == _R.id)
    order = by if ascending else tuple(column.desc() for column in by)
    ids = rows.order_by(*order).limit(bindparam("size", type_=Integer)).offset(bindparam("skip", type_=Integer))
    return _LINE.where(_L.recording_id.in_(select(ids.subquery().c.recording_id))).order_by(*order)


def _line(row: Sequence[Any]) -> LibraryLine:
    recording_id, meeting_id, status, started, stopped, film_ms, paused_ms, size_bytes, created_at, deleted_at = row
    seconds = film_seconds(started, stopped, film_ms, paused_ms)
    return LibraryLine(recording_id, meeting_id, status, seconds, size_bytes, created_at, deleted_at)


def _item(row: Sequence[Any]) -> LibraryItem:
    names = (column.name for column in _ENTRY)
    values: dict[str, Any] = dict(zip(names, row, strict=False))
    values["status"] = LibraryStatus(values["status"])
    return LibraryItem(LibraryEntry(**values), *split(row[len(_ENTRY) :]))
