"""The tables of films as they are played, and of livestreams. Read through `models`, which has all tables."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from tapedeck.db.base import Base
from tapedeck.db.base import Id as _Id

__all__ = ["LivestreamRow", "PlaybackRow"]


class PlaybackRow(Base):
    """When the moments of a finished film were captured: `core.liveindex.Anchor`, as pairs."""

    __tablename__ = "playbacks"

    recording_id: Mapped[str] = mapped_column(_Id, ForeignKey("recordings.id"), primary_key=True)
    anchors: Mapped[list[Any]] = mapped_column(JSON)


class LivestreamRow(Base):
    """A meeting that is shown to viewers, as `core.livestream.Livestream`."""

    __tablename__ = "livestreams"
    __table_args__ = (
        Index("ix_livestreams_listing", "app_id", "created_at", "id"),
        Index("ix_livestreams_meeting_id", "meeting_id", "stopped_at"),
    )

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    session_id: Mapped[str] = mapped_column(_Id)
    app_id: Mapped[str] = mapped_column(_Id)
    meeting_id: Mapped[str] = mapped_column(_Id, ForeignKey("meetings.id"))
    recording_id: Mapped[str] = mapped_column(_Id, ForeignKey("recordings.id"))
    name: Mapped[str | None] = mapped_column(Text)
    is_own: Mapped[bool]
    created_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None]
    viewer_ms: Mapped[int] = mapped_column(BigInteger)
