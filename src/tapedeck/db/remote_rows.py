"""The table of rooms that another recorder records."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from tapedeck.db.base import Base
from tapedeck.db.base import Id as _Id

__all__ = ["RemoteRoomRow"]


class RemoteRoomRow(Base):
    """Which meeting of a tenant's recorder a room is."""

    __tablename__ = "remote_rooms"
    __table_args__ = (Index("ix_remote_rooms_remote", "app_id", "remote_meeting_id", unique=True),)

    meeting_id: Mapped[str] = mapped_column(_Id, ForeignKey("meetings.id"), primary_key=True)
    app_id: Mapped[str] = mapped_column(_Id, ForeignKey("apps.id"))
    remote_meeting_id: Mapped[str] = mapped_column(_Id)
