"""Queries about live sessions and the connections in them. Rows in, core objects out; no rule lives here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.meeting import Session, SessionEnd
from tapedeck.core.times import to_ms
from tapedeck.db.models import AttendanceRow, PeerRow, SessionRow, UtcMillis

__all__ = [
    "Visitor",
    "add_peer",
    "add_session",
    "attend",
    "depart",
    "find_session",
    "leave_all",
    "leave_peer",
    "live_session",
    "live_sessions",
    "participant_of",
    "participants_here",
    "save_session",
    "to_session",
]


@dataclass(frozen=True, slots=True)
class Visitor:
    """A visible connection and who has it, as it was when they came."""

    peer_id: str
    participant_id: str
    name: str
    custom_id: str | None
    preset_name: str | None
    view_type: str | None


async def add_session(session: AsyncSession, live: Session, app_id: str) -> None:
    """Store a new session of an app's meeting."""
    session.add(SessionRow(id=live.id, app_id=app_id, meeting_id=live.meeting_id, **_session_values(live)))
    await session.flush()


async def save_session(session: AsyncSession, live: Session) -> None:
    """Store what changed of a session."""
    await session.execute(update(SessionRow).where(SessionRow.id == live.id).values(**_session_values(live)))


async def find_session(session: AsyncSession, session_id: str) -> Session | None:
    """A session by id."""
    row = await session.get(SessionRow, session_id, populate_existing=True)
    return to_session(row) if row else None


async def live_session(session: AsyncSession, meeting_id: str) -> Session | None:
    """The session of a meeting that has not ended."""
    rows = select(SessionRow).where(SessionRow.meeting_id == meeting_id, SessionRow.ended_at.is_(None))
    row = (await session.execute(rows.order_by(SessionRow.started_at.desc()).limit(1))).scalar()
    return to_session(row) if row else None


async def live_sessions(session: AsyncSession) -> Sequence[Session]:
    """All sessions that have not ended, oldest first."""
    rows = select(SessionRow).where(SessionRow.ended_at.is_(None)).order_by(SessionRow.started_at, SessionRow.id)
    return [to_session(row) for row in (await session.execute(rows)).scalars()]


async def add_peer(
    session: AsyncSession,
    peer_id: str,
    session_id: str,
    participant_id: str,
    name: str,
    hidden: bool,
    now: datetime,
) -> bool:
    """Store a connection; False, and nothing happens, if it is known already."""
    if await session.get(PeerRow, peer_id) is not None:
        return False
    session.add(
        PeerRow(
            id=peer_id,
            session_id=session_id,
            participant_id=participant_id,
            name=name,
            hidden=hidden,
            joined_at=now,
            left_at=None,
        )
    )
    await session.flush()
    return True


async def leave_peer(session: AsyncSession, session_id: str, peer_id: str, now: datetime) -> None:
    """Mark a connection as gone."""
    rows = update(PeerRow).where(PeerRow.id == peer_id, PeerRow.session_id == session_id, PeerRow.left_at.is_(None))
    await session.execute(rows.values(left_at=now))


async def attend(session: AsyncSession, live: Session, guest: Visitor, at: datetime) -> Session:
    """Somebody visible has a connection: the session as it is with them. The caller stores it."""
    row = await session.get(AttendanceRow, (live.id, guest.participant_id))
    if row is None:
        words = (guest.participant_id, guest.custom_id, guest.name)
        session.add(
            AttendanceRow(
                session_id=live.id,
                participant_id=guest.participant_id,
                peer_id=guest.peer_id,
                name=guest.name,
                folded="\n".join(word for word in words if word is not None).casefold(),
                custom_id=guest.custom_id,
                preset_name=guest.preset_name,
                view_type=guest.view_type,
                joined_at=at,
                left_at=None,
                here_since=at,
                stayed_ms=0,
            )
        )
    elif row.here_since is None:
        row.here_since, row.left_at = max(at, row.left_at or at), None
        at = row.here_since
    else:
        return live
    await session.flush()
    return live.came(at)


async def depart(session: AsyncSession, live: Session, participant_id: str, at: datetime) -> Session:
    """Somebody has no connection any more: the session as it is without them. The caller stores it."""
    row = await session.get(AttendanceRow, (live.id, participant_id))
    if row is None or row.here_since is None:
        return live
    since = row.here_since
    row.left_at, row.here_since = max(at, since), None
    row.stayed_ms += to_ms(row.left_at) - to_ms(since)
    await session.flush()
    return live.went(since, at)


async def leave_all(session: AsyncSession, live: Session, at: datetime) -> Session:
    """All connections of a session are gone: the session as it is then. The caller stores it."""
    peers = update(PeerRow).where(PeerRow.session_id == live.id, PeerRow.left_at.is_(None))
    # Nobody leaves before they came, whatever the clock says.
    leaving = literal(at, UtcMillis)
    await session.execute(peers.values(left_at=case((PeerRow.joined_at > leaving, PeerRow.joined_at), else_=leaving)))
    here = select(AttendanceRow.participant_id).where(AttendanceRow.session_id == live.id)
    for participant_id in (await session.execute(here.where(AttendanceRow.here_since.is_not(None)))).scalars().all():
        live = await depart(session, live, participant_id, at)
    return live


async def participants_here(session: AsyncSession, session_id: str) -> Sequence[str]:
    """Participants who have a connection and count as somebody, by the first of it."""
    rows = select(PeerRow.participant_id).group_by(PeerRow.participant_id).order_by(func.min(PeerRow.joined_at))
    rows = rows.where(PeerRow.session_id == session_id, PeerRow.left_at.is_(None), PeerRow.hidden.is_(False))
    return list((await session.execute(rows)).scalars())


async def participant_of(session: AsyncSession, session_id: str, peer_id: str) -> str | None:
    """Whose connection it is; None when nobody knows it in this session."""
    rows = select(PeerRow.participant_id).where(PeerRow.id == peer_id, PeerRow.session_id == session_id)
    return (await session.execute(rows)).scalar()


def _session_values(live: Session) -> dict[str, Any]:
    return {
        "started_at": live.started_at,
        "ended_at": live.ended_at,
        "occupied_since": live.occupied_since,
        "empty_since": live.empty_since,
        "outage_at": live.outage_at,
        "end_cause": live.end_cause,
        "people": live.people,
        "most_people": live.most_people,
        "stayed_ms": live.stayed_ms,
        "since_sum_ms": live.since_sum_ms,
        "updated_at": live.updated_at,
    }


def to_session(row: SessionRow) -> Session:
    """The session of a row."""
    return Session(
        row.id,
        row.meeting_id,
        row.started_at,
        row.ended_at,
        row.occupied_since,
        row.empty_since,
        row.outage_at,
        None if row.end_cause is None else SessionEnd(row.end_cause),
        row.people,
        row.most_people,
        row.stayed_ms,
        row.since_sum_ms,
        row.updated_at,
    )
