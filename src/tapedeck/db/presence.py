"""Queries about live sessions and the connections in them. Rows in, core objects out; no rule lives here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.meeting import Session
from tapedeck.db.models import PeerRow, SessionRow

__all__ = [
    "add_peer",
    "add_session",
    "find_session",
    "leave_all",
    "leave_peer",
    "live_session",
    "live_sessions",
    "participant_of",
    "participants_here",
    "peer_count",
    "save_session",
    "to_session",
]


async def add_session(session: AsyncSession, live: Session) -> None:
    """Store a new session."""
    session.add(SessionRow(id=live.id, meeting_id=live.meeting_id, **_session_values(live)))
    await session.flush()


async def save_session(session: AsyncSession, live: Session) -> None:
    """Store what changed of a session."""
    await session.execute(update(SessionRow).where(SessionRow.id == live.id).values(**_session_values(live)))


async def find_session(session: AsyncSession, session_id: str) -> Session | None:
    """A session by id."""
    row = await session.get(SessionRow, session_id)
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
) -> None:
    """Store a connection; nothing happens if it is there already."""
    if await session.get(PeerRow, peer_id) is None:
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


async def leave_peer(session: AsyncSession, session_id: str, peer_id: str, now: datetime) -> None:
    """Mark a connection as gone."""
    rows = update(PeerRow).where(PeerRow.id == peer_id, PeerRow.session_id == session_id, PeerRow.left_at.is_(None))
    await session.execute(rows.values(left_at=now))


async def leave_all(session: AsyncSession, session_id: str, now: datetime) -> None:
    """Mark all connections of a session as gone."""
    rows = update(PeerRow).where(PeerRow.session_id == session_id, PeerRow.left_at.is_(None))
    await session.execute(rows.values(left_at=now))


async def peer_count(session: AsyncSession, session_id: str) -> int:
    """Connections that are there and count as somebody."""
    rows = select(func.count()).select_from(PeerRow)
    rows = rows.where(PeerRow.session_id == session_id, PeerRow.left_at.is_(None), PeerRow.hidden.is_(False))
    return int((await session.execute(rows)).scalar_one())


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
    }


def to_session(row: SessionRow) -> Session:
    """The session of a row."""
    return Session(
        row.id, row.meeting_id, row.started_at, row.ended_at, row.occupied_since, row.empty_since, row.outage_at
    )
