"""The tables of the rooms API: what it knows beside the recordings themselves, and who did what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from tapedeck.db.base import Base
from tapedeck.db.base import Id as _Id
from tapedeck.db.base import RowId as _RowId

__all__ = ["AuditRow", "LibraryRow", "RoomSettingsRow", "TenantRow"]


class LibraryRow(Base):
    """A recording as its tenant's library knows it: one row for each, made and kept in step with its states.

    `status` is `core.library.status_of` of it. `created_at` is when it was started. The indexes hold what lists filter,
    sort and count by.
    """

    __tablename__ = "library"
    __table_args__ = (
        Index("ix_library_listing", "app_id", "created_at", "recording_id", "status", "deleted_at"),
        Index("ix_library_of_room", "meeting_id", "app_id", "created_at", "recording_id", "status", "deleted_at"),
        Index("ix_library_status", "app_id", "status", "created_at", "recording_id", "deleted_at"),
        Index("ix_library_archiving", "archive_state"),
        Index("ix_library_purge", "purge_at"),
        Index("ix_library_deleted", "app_id", "deleted_at"),
        Index("ix_library_remote", "app_id", "remote_id", unique=True),
    )

    recording_id: Mapped[str] = mapped_column(_Id, ForeignKey("recordings.id"), primary_key=True)
    app_id: Mapped[str] = mapped_column(_Id, ForeignKey("apps.id"))
    meeting_id: Mapped[str] = mapped_column(_Id, ForeignKey("meetings.id"))
    provider: Mapped[str] = mapped_column(String(16))
    remote_id: Mapped[str | None] = mapped_column(_Id)
    imported_at: Mapped[datetime | None]
    status: Mapped[str] = mapped_column(String(16))
    title: Mapped[str] = mapped_column(Text)
    title_folded: Mapped[str] = mapped_column(Text)
    archived_at: Mapped[datetime | None]
    archive_state: Mapped[str | None] = mapped_column(String(16))
    archive_note: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    deleted_at: Mapped[datetime | None]
    purge_at: Mapped[datetime | None]
    purged_at: Mapped[datetime | None]
    hold: Mapped[bool]
    kept_since: Mapped[datetime | None]
    "The last undelete: ages are counted from then."
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class AuditRow(Base):
    """Who did what to a tenant's rooms and recordings. Outlives what it speaks of, so it points to nothing."""

    __tablename__ = "audit"
    __table_args__ = (
        Index("ix_audit_listing", "app_id", "id"),
        Index("ix_audit_of_recording", "recording_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(_RowId, primary_key=True, autoincrement=True)
    app_id: Mapped[str] = mapped_column(_Id)
    at: Mapped[datetime]
    actor: Mapped[dict[str, Any]]
    action: Mapped[str] = mapped_column(String(32))
    recording_id: Mapped[str | None] = mapped_column(_Id)
    room_id: Mapped[str | None] = mapped_column(_Id)
    detail: Mapped[dict[str, Any]]


class TenantRow(Base):
    """An app as a tenant of the rooms API. One without a row has no wishes. `sealed` is encrypted."""

    __tablename__ = "tenants"

    app_id: Mapped[str] = mapped_column(_Id, ForeignKey("apps.id"), primary_key=True)
    account_id: Mapped[str] = mapped_column(_Id, ForeignKey("accounts.id"))
    settings: Mapped[dict[str, Any]]
    sealed: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class RoomSettingsRow(Base):
    """What a room has beyond its meeting: wishes that go before its tenant's, and whether its tenant deleted it."""

    __tablename__ = "room_settings"
    __table_args__ = (Index(None, "app_id", "deleted_at"),)

    meeting_id: Mapped[str] = mapped_column(_Id, ForeignKey("meetings.id"), primary_key=True)
    app_id: Mapped[str] = mapped_column(_Id, ForeignKey("apps.id"))
    settings: Mapped[dict[str, Any]]
    deleted_at: Mapped[datetime | None]
    updated_at: Mapped[datetime]
