"""Queries about the outbox: everything that happened, in the order of its commit. Rows in, happenings out.

Rows get their numbers inside the only writing transaction there is at a time, so a reader that has come to a number
has missed nothing before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import Integer, Select, Table, bindparam, delete, exists, func, insert, not_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from tapedeck.core.happenings import (
    Guest,
    Happening,
    HappeningKind,
    StreamNews,
    guest_of,
    guest_snapshot,
    recording_of,
)
from tapedeck.core.livestream import LivestreamStatus
from tapedeck.core.meeting import Session
from tapedeck.core.recording import Recording, RecordingState
from tapedeck.core.times import format_time, parse_time
from tapedeck.db.access import to_app
from tapedeck.db.models import AppRow, CursorRow, MeetingRow, OutboxRow, SessionRow
from tapedeck.db.presence import to_session
from tapedeck.db.rooms import MEETING_COLUMNS, to_meeting

__all__ = [
    "Scope",
    "announced",
    "find_cursor",
    "forget_before",
    "happenings",
    "latest",
    "note_guest",
    "note_livestream",
    "note_session",
    "save_cursor",
]


_OUTBOX, _CURSORS = cast(Table, OutboxRow.__table__), cast(Table, CursorRow.__table__)
_NOTE = insert(_OUTBOX)
_CURSOR = select(_CURSORS.c.position).where(_CURSORS.c.name == bindparam("name"))
_MOVE = update(_CURSORS).where(_CURSORS.c.name == bindparam("at_name")).values(position=bindparam("new_position"))


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose happenings; None means any."""

    account_id: str | None = None
    app_id: str | None = None
    meeting_id: str | None = None
    recording_id: str | None = None


async def note_session(session: AsyncSession, kind: HappeningKind, app_id: str, live: Session, at: datetime) -> None:
    """A session began or ended."""
    await _note(session, kind, app_id, live, at)


async def note_guest(
    session: AsyncSession, kind: HappeningKind, app_id: str, live: Session, guest: Guest, at: datetime
) -> None:
    """Somebody came or went."""
    await _note(session, kind, app_id, live, at, guest)


async def note_livestream(session: AsyncSession, news: StreamNews, shown: Recording, at: datetime) -> None:
    """A livestream does otherwise than before; `shown` is its recording."""
    values = {
        "kind": str(HappeningKind.LIVESTREAM),
        "app_id": shown.app_id,
        "meeting_id": shown.meeting_id,
        "session_id": shown.session_id,
        "recording_id": news.recording_id,
        "status": str(news.status),
        "payload": {"id": news.id, "created_at": format_time(news.created_at)},
        "created_at": at,
    }
    await (await session.connection()).execute(_NOTE, values)


async def _note(
    session: AsyncSession, kind: HappeningKind, app_id: str, live: Session, at: datetime, guest: Guest | None = None
) -> None:
    values = {
        "kind": str(kind),
        "app_id": app_id,
        "meeting_id": live.meeting_id,
        "session_id": live.id,
        "participant_id": None if guest is None else guest.participant_id,
        "payload": {} if guest is None else guest_snapshot(guest),
        "created_at": at,
    }
    await (await session.connection()).execute(_NOTE, values)


async def announced(session: AsyncSession, session_id: str, participant_id: str) -> Guest | None:
    """Somebody whose coming was told, and whose going was not."""
    rows = select(OutboxRow).where(OutboxRow.session_id == session_id, OutboxRow.participant_id == participant_id)
    row = (await session.execute(rows.order_by(OutboxRow.id.desc()).limit(1))).scalar()
    return guest_of(row.payload) if row is not None and row.kind == HappeningKind.JOINED else None


async def happenings(
    session: AsyncSession, after: int, limit: int = 100, scope: Scope | None = None
) -> Sequence[Happening]:
    """What happened beyond the row `after`, in order."""
    wanted = {name: value for name, value in asdict(scope or Scope()).items() if value is not None}
    found = await session.execute(_beyond(frozenset(wanted)), wanted | {"after": after, "most": limit})
    return [_happening(row, app, live, meeting) for row, app, live, *meeting in found]


@lru_cache(16)
def _beyond(scope: frozenset[str]) -> Select[Any]:
    """The statement for a scope that says so much; built once for each, since news is looked at all the time."""
    rows = (
        select(OutboxRow, AppRow, SessionRow, *MEETING_COLUMNS)
        .join(AppRow, AppRow.id == OutboxRow.app_id)
        .join(MeetingRow, MeetingRow.id == OutboxRow.meeting_id)
        .outerjoin(SessionRow, SessionRow.id == OutboxRow.session_id)
        .where(OutboxRow.id > bindparam("after"))
        .order_by(OutboxRow.id)
        .limit(bindparam("most", type_=Integer))
    )
    for name in scope:
        column = AppRow.account_id if name == "account_id" else getattr(OutboxRow, name)
        rows = rows.where(column == bindparam(name))
    return rows


async def latest(session: AsyncSession) -> int:
    """The number of the newest row; 0 when there is none."""
    return (await session.execute(select(func.max(OutboxRow.id)))).scalar() or 0


async def find_cursor(session: AsyncSession, name: str) -> int:
    """How far a reader has come; 0 for one that never read."""
    return (await session.execute(_CURSOR, {"name": name})).scalar() or 0


async def save_cursor(session: AsyncSession, name: str, position: int) -> None:
    """Note how far a reader has come."""
    await (await session.connection()).execute(_MOVE, {"at_name": name, "new_position": position})


async def forget_before(session: AsyncSession, at: datetime, read_to: int) -> None:
    """Remove what is older than `at`, up to the row `read_to`; but not the coming of somebody who is still there:
    without it nobody's going would be told."""
    later = aliased(OutboxRow)
    goes_on = exists().where(SessionRow.id == OutboxRow.session_id, SessionRow.ended_at.is_(None))
    same = (later.session_id == OutboxRow.session_id) & (later.participant_id == OutboxRow.participant_id)
    has_gone = exists().where(same, later.id > OutboxRow.id)
    is_needed = (OutboxRow.kind == str(HappeningKind.JOINED)) & goes_on & not_(has_gone)
    await session.execute(delete(OutboxRow).where(OutboxRow.created_at < at, OutboxRow.id <= read_to, not_(is_needed)))


def _happening(row: OutboxRow, app: AppRow, live: SessionRow | None, meeting: Sequence[Any]) -> Happening:
    kind = HappeningKind(row.kind)
    is_recording = kind is HappeningKind.RECORDING
    return Happening(
        row.id,
        kind,
        row.created_at,
        to_app(app),
        to_meeting(meeting),
        None if live is None else to_session(live),
        recording_of(row.payload) if is_recording else None,
        RecordingState(row.previous) if is_recording and row.previous is not None else None,
        guest_of(row.payload) if row.participant_id is not None else None,
        _news(row) if kind is HappeningKind.LIVESTREAM else None,
    )


def _news(row: OutboxRow) -> StreamNews:
    assert row.recording_id is not None and row.status is not None
    at = parse_time(row.payload["created_at"])
    return StreamNews(row.payload["id"], row.recording_id, at, LivestreamStatus(row.status))
