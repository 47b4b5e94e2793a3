"""Counts by day for reports. Rows in, numbers out."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Integer, Select, bindparam, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.analytics import DayCount
from tapedeck.db.models import MeetingRow, RecordingRow, SessionRow

__all__ = ["recordings_by_day", "sessions_by_day"]

_R, _S, _M = RecordingRow.__table__.c, SessionRow.__table__.c, MeetingRow.__table__.c
_DAY_MS = 86_400_000


def _ms(column: Any) -> Any:
    """The number that an instant is stored as."""
    return cast(column, Integer)


def _by_day(start: Any, length: Any) -> tuple[Any, Any, Any]:
    return (_ms(start) // _DAY_MS).label("day"), func.count(), func.coalesce(func.sum(length), 0)


_FILM = func.coalesce(_R.film_ms, _ms(_R.stopped_at) - _ms(_R.started_at) - _R.paused_ms, 0)
_RECORDINGS: Select[Any] = (
    select(*_by_day(_R.invoked_at, _FILM))
    .where(_R.app_id == bindparam("app_id"), _R.invoked_at >= bindparam("first"), _R.invoked_at < bindparam("after"))
    .group_by("day")
)
_RUN = func.coalesce(_ms(_S.ended_at), bindparam("now_ms", type_=Integer)) - _ms(_S.started_at)
_SESSIONS: Select[Any] = (
    select(*_by_day(_S.started_at, _RUN))
    .join_from(SessionRow.__table__, MeetingRow.__table__, _M.id == _S.meeting_id)
    .where(_M.app_id == bindparam("app_id"), _S.started_at >= bindparam("first"), _S.started_at < bindparam("after"))
    .group_by("day")
)


async def recordings_by_day(session: AsyncSession, app_id: str, first: date, last: date) -> dict[date, DayCount]:
    """Recordings of an app by the day they were asked for, and the length of their films."""
    return _read(await session.execute(_RECORDINGS, _range(app_id, first, last)))


async def sessions_by_day(
    session: AsyncSession, app_id: str, first: date, last: date, now: datetime
) -> dict[date, DayCount]:
    """Sessions of an app by the day they began, and how long they ran, until `now` if they still do."""
    now_ms = int(now.timestamp() * 1000)
    return _read(await session.execute(_SESSIONS, _range(app_id, first, last) | {"now_ms": now_ms}))


def _range(app_id: str, first: date, last: date) -> dict[str, Any]:
    begin, end = (datetime.combine(day, time(), UTC) for day in (first, last))
    try:
        end += timedelta(days=1)
    except OverflowError:
        end = datetime.max.replace(tzinfo=UTC)
    return {"app_id": app_id, "first": begin, "after": end}


def _read(rows: Any) -> dict[date, DayCount]:
    epoch = date(1970, 1, 1)
    found = [DayCount(epoch + timedelta(days=number), count, total) for number, count, total in rows]
    return {row.day: row for row in found}
