"""The tables of sessions and who was in them. Read through `models`, which has all tables."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from tapedeck.db.base import Base
from tapedeck.db.base import Id as _Id

__all__ = ["AttendanceRow", "PeerRow", "SessionRow"]


class SessionRow(Base):
    """One live run of a meeting. The counts are kept in step by the transactions that let people come and go."""

    __tablename__ = "sessions"
    __table_args__ = (
        Index(None, "meeting_id", "started_at"),
        Index("ix_sessions_listing", "app_id", "started_at", "id"),
        Index("ix_sessions_ended_at", "ended_at"),
    )

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    app_id: Mapped[str] = mapped_column(_Id)
    meeting_id: Mapped[str] = mapped_column(_Id, ForeignKey("meetings.id"))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    occupied_since: Mapped[datetime | None]
    empty_since: Mapped[datetime | None]
    outage_at: Mapped[datetime | None]
    end_cause: Mapped[str | None] = mapped_column(String(16))
    people: Mapped[int]
    most_people: Mapped[int]
    stayed_ms: Mapped[int] = mapped_column(BigInteger)
    since_sum_ms: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[datetime | None]


class AttendanceRow(Base):
    """Somebody visible in a session: from the first of their connections to the last, absences left out.

    Who they were is kept as it was when they came; the participant may have been deleted since.
    """

    __tablename__ = "attendances"
    __table_args__ = (Index(None, "session_id", "joined_at"),)

    session_id: Mapped[str] = mapped_column(_Id, ForeignKey("sessions.id"), primary_key=True)
    participant_id: Mapped[str] = mapped_column(_Id, primary_key=True)
    peer_id: Mapped[str] = mapped_column(_Id)
    name: Mapped[str] = mapped_column(Text)
    folded: Mapped[str] = mapped_column(Text)
    custom_id: Mapped[str | None] = mapped_column(Text)
    preset_name: Mapped[str | None] = mapped_column(Text)
    view_type: Mapped[str | None] = mapped_column(Text)
    joined_at: Mapped[datetime]
    left_at: Mapped[datetime | None]
    here_since: Mapped[datetime | None]
    stayed_ms: Mapped[int] = mapped_column(BigInteger)


class PeerRow(Base):
    """One connection of a participant in a session. The participant may have been deleted since."""

    __tablename__ = "peers"
    __table_args__ = (Index(None, "session_id", "left_at"),)

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    session_id: Mapped[str] = mapped_column(_Id, ForeignKey("sessions.id"))
    participant_id: Mapped[str] = mapped_column(_Id)
    name: Mapped[str] = mapped_column(Text)
    hidden: Mapped[bool]
    joined_at: Mapped[datetime]
    left_at: Mapped[datetime | None]
