"""Queries about livestreams. Rows in, core objects out; which state means what is said in `core/livestream.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, Table, and_, bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.livestream import Livestream, LivestreamStatus, Showing
from tapedeck.core.paging import Listing, Page
from tapedeck.core.recording import ACTIVE, LIVE, Recording, RecordingState
from tapedeck.db.base import run
from tapedeck.db.engine import Database
from tapedeck.db.models import LivestreamRow, MeetingRow, RecordingRow
from tapedeck.db.recordings import COLUMNS, split
from tapedeck.db.rooms import MEETING_COLUMNS

__all__ = [
    "LivestreamFilter",
    "add_livestream",
    "add_viewed",
    "find_livestream",
    "list_livestreams",
    "of_span",
    "open_of",
    "open_on",
    "stop_livestream",
    "stream_now",
]

_T = cast(Table, LivestreamRow.__table__)
_L, _R, _M = _T.c, RecordingRow.__table__.c, MeetingRow.__table__.c
_NAMES = [field.name for field in fields(Livestream)]
_ROWS = (
    select(*(_L[name] for name in _NAMES), *COLUMNS, *MEETING_COLUMNS)
    .join_from(_T, RecordingRow.__table__, _L.recording_id == _R.id)
    .join(MeetingRow.__table__, _L.meeting_id == _M.id)
)
_BY_ID = select(*(_L[name] for name in _NAMES)).where(_L.id == bindparam("of_id"))
# A finished statement, by an index: it is asked at the start and the stop of every recording.
_OPEN_ON = select(*(_L[name] for name in _NAMES)).where(
    _L.meeting_id == bindparam("of_meeting"),
    _L.stopped_at.is_(None),
    _L.recording_id == bindparam("of_recording"),
)


@dataclass(frozen=True, slots=True)
class LivestreamFilter:
    """Which livestreams of an app; None means any. Times are inclusive, on the creation."""

    status: LivestreamStatus | None = None
    start: datetime | None = None
    end: datetime | None = None
    ascending: bool = False


async def add_livestream(session: AsyncSession, stream: Livestream) -> None:
    """Store a new one; its recording is stored before."""
    session.add(LivestreamRow(**asdict(stream)))
    await session.flush()


async def stop_livestream(session: AsyncSession, stream_id: str, at: datetime) -> bool:
    """It ends; one that has ended stays so. Whether it was not ended before."""
    rows = update(_T).where(_L.id == stream_id, _L.stopped_at.is_(None))
    return (await run(session, rows.values(stopped_at=at), {})).rowcount == 1


async def add_viewed(session: AsyncSession, viewed_ms: Mapping[str, int]) -> None:
    """So much more of them was loaded."""
    for stream_id, more in viewed_ms.items():
        await session.execute(update(_T).where(_L.id == stream_id).values(viewer_ms=_L.viewer_ms + more))


async def find_livestream(
    session: AsyncSession, stream_id: str | None = None, session_id: str | None = None
) -> Showing | None:
    """One of them, by its id or that of its session, of any app."""
    wanted = _L.id == stream_id if session_id is None else _L.session_id == session_id
    row = (await session.execute(_ROWS.where(wanted))).first()
    return None if row is None else _showing(row)


def stream_now(db: Database, stream_id: str) -> Livestream | None:
    """One of them, of any app, without what it shows: asked for whatever a viewer loads."""
    rows = db.ask(_BY_ID, {"of_id": stream_id})
    return _stream(rows[0]) if rows else None


async def open_of(session: AsyncSession, meeting_id: str) -> Showing | None:
    """The one of a meeting that goes on."""
    rows = _ROWS.where(_L.meeting_id == meeting_id, _L.stopped_at.is_(None), _R.state.in_(ACTIVE))
    row = (await session.execute(rows.order_by(_L.created_at.desc()).limit(1))).first()
    return None if row is None else _showing(row)


async def open_on(session: AsyncSession, shown: Recording) -> Sequence[Livestream]:
    """Those of a recording that nobody stopped."""
    values = {"of_meeting": shown.meeting_id, "of_recording": shown.id}
    return [_stream(row) for row in await run(session, _OPEN_ON, values)]


async def list_livestreams(
    session: AsyncSession, app_id: str, wanted: LivestreamFilter, page: Page
) -> Listing[Showing]:
    """One page of an app's, by creation."""
    chosen = _chosen(app_id, wanted)
    count = select(func.count()).select_from(_T).join(RecordingRow.__table__, _L.recording_id == _R.id)
    total = await session.scalar(count.where(*chosen)) or 0
    order = (_L.created_at, _L.id) if wanted.ascending else (_L.created_at.desc(), _L.id.desc())
    rows = _ROWS.where(*chosen).order_by(*order).limit(page.size).offset(page.offset)
    return Listing([_showing(row) for row in await session.execute(rows)], total, page)


async def of_span(
    session: AsyncSession, app_id: str, start: datetime | None, end: datetime | None
) -> Sequence[Showing]:
    """All of an app's that were created within a time, oldest first."""
    rows = _ROWS.where(*_chosen(app_id, LivestreamFilter(start=start, end=end)))
    return [_showing(row) for row in await session.execute(rows.order_by(_L.created_at))]


def _chosen(app_id: str, wanted: LivestreamFilter) -> list[ColumnElement[bool]]:
    found = [_L.app_id == app_id]
    if wanted.start is not None:
        found.append(_L.created_at >= wanted.start)
    if wanted.end is not None:
        found.append(_L.created_at <= wanted.end)
    goes_on = _L.stopped_at.is_(None)
    match wanted.status:
        case LivestreamStatus.LIVE:
            found.append(and_(goes_on, _R.state.in_(LIVE)))
        case LivestreamStatus.INVOKED:
            found.append(and_(goes_on, _R.state.in_(ACTIVE - LIVE)))
        case LivestreamStatus.ERRORED:
            found.append(and_(goes_on, _R.state == RecordingState.FAILED))
        case LivestreamStatus.IDLE:
            found.append(or_(_L.stopped_at.is_not(None), _R.state.not_in(ACTIVE | {RecordingState.FAILED})))
    return found


def _showing(row: Sequence[Any]) -> Showing:
    recording, _ = split(row[len(_NAMES) :])
    return Showing(_stream(row), recording)


def _stream(row: Sequence[Any]) -> Livestream:
    return Livestream(**dict(zip(_NAMES, row, strict=False)))
