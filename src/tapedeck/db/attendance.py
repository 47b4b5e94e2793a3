"""Questions about sessions, live and over, and who was in them. Rows in, core objects out; no rule lives here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Select, case, func, literal, or_, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.meeting import Attendance, Meeting, Session
from tapedeck.core.paging import Listing, Page
from tapedeck.core.times import to_ms
from tapedeck.db.access import contains, count
from tapedeck.db.models import AttendanceRow, MeetingRow, PeerRow, SessionRow
from tapedeck.db.presence import to_session
from tapedeck.db.rooms import MEETING_COLUMNS, search_patterns, title_matches, to_meeting

__all__ = [
    "AttendanceFilter",
    "AttendanceOrder",
    "SessionFilter",
    "SessionOrder",
    "connections_of",
    "find_attendance",
    "find_connection",
    "find_session_of",
    "list_attendances",
    "list_sessions",
    "live_session_of",
]


class SessionOrder(StrEnum):
    """What sessions are sorted by."""

    STARTED = "started"
    CONSUMED = "consumed"
    "How long all the people in it stayed, together."


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions of an app; None means any. Times are inclusive, on the start."""

    meeting_id: str | None = None
    live: bool | None = None
    search: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    least_people: int | None = None
    "How many were there at once, at most: limits of that number, both inclusive."
    most_people: int | None = None
    order: SessionOrder = SessionOrder.STARTED
    ascending: bool = False


class AttendanceOrder(StrEnum):
    """What people are sorted by."""

    JOINED = "joined"
    STAYED = "stayed"


@dataclass(frozen=True, slots=True)
class AttendanceFilter:
    """Which people of a session; None means any."""

    search: str | None = None
    "A part of the name or custom id, in any case, or of the participant's id; or the id of a connection."
    raw: bool = False
    "Each connection for itself, and not people."
    order: AttendanceOrder = AttendanceOrder.JOINED
    ascending: bool = True


async def list_sessions(
    session: AsyncSession, app_id: str, wanted: SessionFilter, page: Page, now: datetime
) -> Listing[tuple[Session, Meeting]]:
    """One page of an app's sessions with their meetings, ties by id. Wants a snapshot."""
    rows = _with_meeting().where(SessionRow.app_id == app_id)
    if wanted.meeting_id is not None:
        rows = rows.where(SessionRow.meeting_id == wanted.meeting_id)
    if wanted.live is not None:
        rows = rows.where(SessionRow.ended_at.is_(None) if wanted.live else SessionRow.ended_at.is_not(None))
    if wanted.search is not None:
        title, prefix = search_patterns(wanted.search)
        rows = rows.where(or_(title_matches(title, prefix), SessionRow.id.like(prefix, escape="\\")))
    if wanted.start is not None:
        rows = rows.where(SessionRow.started_at >= wanted.start)
    if wanted.end is not None:
        rows = rows.where(SessionRow.started_at <= wanted.end)
    if wanted.least_people is not None:
        rows = rows.where(SessionRow.most_people >= wanted.least_people)
    if wanted.most_people is not None:
        rows = rows.where(SessionRow.most_people <= wanted.most_people)
    total = await count(session, rows)
    by: Any = SessionRow.started_at
    if wanted.order is SessionOrder.CONSUMED:
        by = SessionRow.stayed_ms + SessionRow.people * literal(to_ms(now), BigInteger) - SessionRow.since_sum_ms
    found = await session.execute(_page(rows, page, wanted.ascending, by, SessionRow.id))
    return Listing([(to_session(live), to_meeting(meeting)) for live, *meeting in found], total, page)


async def find_session_of(session: AsyncSession, app_id: str, session_id: str) -> tuple[Session, Meeting] | None:
    """A session of an app by its id, with its meeting."""
    rows = _with_meeting().where(SessionRow.app_id == app_id, SessionRow.id == session_id)
    return _first((await session.execute(rows)).first())


async def live_session_of(session: AsyncSession, app_id: str, meeting_id: str) -> tuple[Session, Meeting] | None:
    """The session of a meeting of an app that has not ended, with the meeting."""
    rows = _with_meeting().where(SessionRow.app_id == app_id, SessionRow.meeting_id == meeting_id)
    rows = rows.where(SessionRow.ended_at.is_(None)).order_by(SessionRow.started_at.desc()).limit(1)
    return _first((await session.execute(rows)).first())


async def list_attendances(
    session: AsyncSession, session_id: str, wanted: AttendanceFilter, page: Page, now: datetime
) -> Listing[Attendance]:
    """One page of the visible people of a session, or of their connections. Wants a snapshot."""
    rows = (_connections(now) if wanted.raw else _people(now)).where(AttendanceRow.session_id == session_id)
    if wanted.search is not None:
        named = AttendanceRow.folded.like(contains(wanted.search.casefold()), escape="\\")
        rows = rows.where(or_(named, (PeerRow.id if wanted.raw else AttendanceRow.peer_id) == wanted.search.lower()))
    total = await count(session, rows)
    columns = list(rows.selected_columns)
    by = columns[_STAYED if wanted.order is AttendanceOrder.STAYED else _JOINED]
    found = await session.execute(_page(rows, page, wanted.ascending, by, columns[0]))
    return Listing([Attendance(*row) for row in found], total, page)


async def find_attendance(
    session: AsyncSession, session_id: str, participant_id: str, now: datetime
) -> Attendance | None:
    """Somebody visible in a session."""
    rows = _people(now).where(AttendanceRow.session_id == session_id, AttendanceRow.participant_id == participant_id)
    row = (await session.execute(rows)).first()
    return Attendance(*row) if row else None


async def find_connection(session: AsyncSession, app_id: str, peer_id: str, now: datetime) -> Attendance | None:
    """A visible connection in a session of an app."""
    rows = _connections(now).join(SessionRow, SessionRow.id == PeerRow.session_id)
    row = (await session.execute(rows.where(SessionRow.app_id == app_id, PeerRow.id == peer_id))).first()
    return Attendance(*row) if row else None


async def connections_of(
    session: AsyncSession, session_id: str, participant_ids: Collection[str], now: datetime
) -> Sequence[Attendance]:
    """The visible connections of some people in a session, oldest first."""
    rows = _connections(now).where(PeerRow.session_id == session_id, PeerRow.participant_id.in_(participant_ids))
    return [Attendance(*row) for row in await session.execute(rows.order_by(PeerRow.joined_at, PeerRow.id))]


_JOINED, _STAYED = 7, 9
"""Where these fields of `Attendance` are in its columns."""


def _people(now: datetime) -> Select[Any]:
    a = AttendanceRow
    now_ms = literal(to_ms(now), BigInteger)
    here_ms = _positive(func.coalesce(now_ms - type_coerce(a.here_since, BigInteger), 0))
    person = (a.peer_id, a.session_id, a.participant_id, a.name, a.custom_id, a.preset_name, a.view_type)
    return select(*person, a.joined_at, a.left_at, (a.stayed_ms + here_ms).label("stayed"))


def _connections(now: datetime) -> Select[Any]:
    a, p = AttendanceRow, PeerRow
    until_ms = func.coalesce(type_coerce(p.left_at, BigInteger), literal(to_ms(now), BigInteger))
    stayed_ms = _positive(until_ms - type_coerce(p.joined_at, BigInteger))
    peer = (p.id, p.session_id, p.participant_id, p.name, a.custom_id, a.preset_name, a.view_type)
    rows = select(*peer, p.joined_at, p.left_at, stayed_ms.label("stayed")).where(p.hidden.is_(False))
    return rows.join(a, (a.session_id == p.session_id) & (a.participant_id == p.participant_id))


def _positive(value: Any) -> Any:
    """The value, or zero: a clock may have gone back."""
    return case((value > 0, value), else_=0)


def _with_meeting() -> Select[Any]:
    return select(SessionRow, *MEETING_COLUMNS).join(MeetingRow, MeetingRow.id == SessionRow.meeting_id)


def _first(row: Any) -> tuple[Session, Meeting] | None:
    return None if row is None else (to_session(row[0]), to_meeting(row[1:]))


def _page(rows: Select[Any], page: Page, ascending: bool, *by: Any) -> Select[Any]:
    order = by if ascending else tuple(column.desc() for column in by)
    return rows.order_by(*order).limit(page.size).offset(page.offset)
