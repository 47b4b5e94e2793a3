"""The tables: one model for SQLite now and PostgreSQL later. No query lives here, and no rule about recordings."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import Mapped, mapped_column

from tapedeck.db.base import Base, UtcMillis
from tapedeck.db.base import Id as _Id
from tapedeck.db.base import RowId as _RowId
from tapedeck.db.library_rows import AuditRow, LibraryRow, RoomSettingsRow, TenantRow
from tapedeck.db.playback_rows import LivestreamRow, PlaybackRow
from tapedeck.db.remote_rows import RemoteRoomRow
from tapedeck.db.session_rows import AttendanceRow, PeerRow, SessionRow

__all__ = [
    "AccountRow",
    "AppRow",
    "AttendanceRow",
    "AuditRow",
    "Base",
    "CursorRow",
    "DeliveryRow",
    "DestinationRow",
    "LibraryRow",
    "LivestreamRow",
    "MeetingRow",
    "OutboxRow",
    "ParticipantRow",
    "PeerRow",
    "PlaybackRow",
    "PresetRow",
    "RecordingCountRow",
    "RecordingRow",
    "RemoteRoomRow",
    "RerenderRow",
    "RoomSettingsRow",
    "SessionRow",
    "TargetRow",
    "TenantRow",
    "TokenRow",
    "UploadRow",
    "UtcMillis",
    "WebhookRow",
]


class AccountRow(Base):
    """A customer of this server."""

    __tablename__ = "accounts"

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    created_at: Mapped[datetime]


class AppRow(Base):
    """An application of an account; everything else belongs to one."""

    __tablename__ = "apps"
    __table_args__ = (Index(None, "account_id", "created_at", "id"),)

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    account_id: Mapped[str] = mapped_column(_Id, ForeignKey("accounts.id"))
    name: Mapped[str] = mapped_column(Text)
    empty_timeout_s: Mapped[float | None]
    recording_config: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime]


class TokenRow(Base):
    """An API token: only its digest is kept."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    account_id: Mapped[str] = mapped_column(_Id, ForeignKey("accounts.id"), index=True)
    app_id: Mapped[str | None] = mapped_column(_Id, ForeignKey("apps.id"))
    name: Mapped[str] = mapped_column(Text)
    scope: Mapped[str] = mapped_column(String(32))
    origin: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class PresetRow(Base):
    """What a participant may do, by name."""

    __tablename__ = "presets"
    __table_args__ = (UniqueConstraint("app_id", "name"),)

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    app_id: Mapped[str] = mapped_column(_Id, ForeignKey("apps.id"))
    name: Mapped[str] = mapped_column(Text)
    config: Mapped[dict[str, Any]]
    permissions: Mapped[dict[str, Any]]
    ui: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class MeetingRow(Base):
    """A room. `title_folded` is the title as it is searched."""

    __tablename__ = "meetings"
    __table_args__ = (Index(None, "app_id", "created_at", "id"),)

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    app_id: Mapped[str] = mapped_column(_Id, ForeignKey("apps.id"))
    title: Mapped[str | None] = mapped_column(Text)
    title_folded: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16))
    record_on_start: Mapped[bool]
    stream_on_start: Mapped[bool] = mapped_column(server_default=false())
    keep_alive_s: Mapped[float]
    recording_config: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    ai_config: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ParticipantRow(Base):
    """A person invited to a meeting. Tokens carry `token_version`; a higher one here makes them void."""

    __tablename__ = "participants"
    __table_args__ = (Index(None, "meeting_id", "created_at", "id"),)

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    meeting_id: Mapped[str] = mapped_column(_Id, ForeignKey("meetings.id"))
    preset_id: Mapped[str] = mapped_column(_Id, ForeignKey("presets.id"))
    custom_id: Mapped[str] = mapped_column(Text)
    name: Mapped[str | None] = mapped_column(Text)
    picture: Mapped[str | None] = mapped_column(Text)
    token_version: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class RecordingRow(Base):
    """A recording, column by column as `core.recording.Recording`.

    The two wide indexes hold everything a list filters, sorts and counts by, so that neither the count nor the way to
    a far page reads the rows themselves; the narrow one counts what has expired.
    """

    __tablename__ = "recordings"
    __table_args__ = (
        Index("ix_recordings_listing", "app_id", "invoked_at", "id", "state", "expires_at", "meeting_id"),
        Index("ix_recordings_of_meeting", "meeting_id", "app_id", "invoked_at", "id", "state", "expires_at"),
        Index("ix_recordings_expiry", "app_id", "expires_at", "state"),
        Index("ix_recordings_state", "state"),
        Index(None, "expires_at"),
    )

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    app_id: Mapped[str] = mapped_column(_Id, ForeignKey("apps.id"))
    meeting_id: Mapped[str] = mapped_column(_Id, ForeignKey("meetings.id"))
    session_id: Mapped[str | None] = mapped_column(_Id, ForeignKey("sessions.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    version: Mapped[int]
    file_name: Mapped[str] = mapped_column(Text)
    options: Mapped[dict[str, Any]]
    start_cause: Mapped[str] = mapped_column(String(16))
    started_by: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    stop_cause: Mapped[str | None] = mapped_column(String(16))
    stopped_by: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    invoked_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    paused_ms: Mapped[int] = mapped_column(BigInteger)
    stopped_at: Mapped[datetime | None]
    film_ms: Mapped[int | None] = mapped_column(BigInteger)
    files: Mapped[list[dict[str, Any]]]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    expires_at: Mapped[datetime | None]
    failure: Mapped[str | None] = mapped_column(Text)
    cautions: Mapped[list[dict[str, Any]]]


class RecordingCountRow(Base):
    """How many recordings of an app are in a state; kept in step by the transactions that change them.

    Counting a hundred thousand rows for the total of a page would cost more than the page.
    """

    __tablename__ = "recording_counts"

    app_id: Mapped[str] = mapped_column(_Id, ForeignKey("apps.id"), primary_key=True)
    state: Mapped[str] = mapped_column(String(16), primary_key=True)
    count: Mapped[int]


class OutboxRow(Base):
    """One thing that happened, written in the transaction that made it.

    Of a recording: its change of state, `seq` counting per recording; of a livestream: its recording, and its `status`.
    `participant_id` is set where somebody came or went.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("recording_id", "seq"),
        Index(None, "session_id", "participant_id"),
        Index(None, "created_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(_RowId, primary_key=True, autoincrement=True)
    recording_id: Mapped[str | None] = mapped_column(_Id, ForeignKey("recordings.id"))
    seq: Mapped[int | None]
    previous: Mapped[str | None] = mapped_column(String(16))
    status: Mapped[str | None] = mapped_column(String(16))
    payload: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(24))
    app_id: Mapped[str] = mapped_column(_Id)
    meeting_id: Mapped[str] = mapped_column(_Id)
    session_id: Mapped[str | None] = mapped_column(_Id)
    participant_id: Mapped[str | None] = mapped_column(_Id)


class DestinationRow(Base):
    """A place that files of a recording go to, as `core.destination.Destination`. `sealed` is encrypted."""

    __tablename__ = "destinations"
    __table_args__ = (Index("ix_destinations_due", "state", "next_at"),)

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    recording_id: Mapped[str] = mapped_column(_Id, ForeignKey("recordings.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    layer: Mapped[str | None] = mapped_column(Text)
    storage: Mapped[dict[str, Any]]
    sealed: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int]
    next_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class TargetRow(Base):
    """A place that a recording is streamed to, as `core.target.Target`. `sealed` is encrypted."""

    __tablename__ = "targets"

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    recording_id: Mapped[str] = mapped_column(_Id, ForeignKey("recordings.id"), index=True)
    created_at: Mapped[datetime]
    address: Mapped[str] = mapped_column(Text)
    sealed: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16), index=True)
    reason: Mapped[str | None] = mapped_column(Text)
    changed_at: Mapped[datetime | None]
    failures: Mapped[int]


class UploadRow(Base):
    """One file on its way to one destination, as `core.destination.Upload`."""

    __tablename__ = "uploads"

    destination_id: Mapped[str] = mapped_column(_Id, ForeignKey("destinations.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    key: Mapped[str] = mapped_column(Text)
    content_type: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    crc32c: Mapped[str | None] = mapped_column(String(8))
    token: Mapped[str | None] = mapped_column(Text)
    begun_at: Mapped[datetime | None]
    done_at: Mapped[datetime | None]
    assembly: Mapped[str | None] = mapped_column(Text)


class RerenderRow(Base):
    """A film that is made again, as `core.rerender.Rerender`."""

    __tablename__ = "renders"
    __table_args__ = (Index(None, "recording_id", "created_at"), Index("ix_renders_state", "state", "expires_at"))

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    recording_id: Mapped[str] = mapped_column(_Id, ForeignKey("recordings.id"))
    app_id: Mapped[str] = mapped_column(_Id)
    created_at: Mapped[datetime]
    wish: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))
    files: Mapped[list[dict[str, Any]]]
    film_ms: Mapped[int | None] = mapped_column(BigInteger)
    finished_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    failure: Mapped[str | None] = mapped_column(Text)


class CursorRow(Base):
    """How far a reader of the outbox has come."""

    __tablename__ = "cursors"

    name: Mapped[str] = mapped_column(_Id, primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger)


class WebhookRow(Base):
    """Where an app wants to be told of what."""

    __tablename__ = "webhooks"
    __table_args__ = (Index(None, "app_id", "created_at", "id"),)

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    app_id: Mapped[str] = mapped_column(_Id, ForeignKey("apps.id"))
    name: Mapped[str] = mapped_column(Text)
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[str]] = mapped_column(JSON)
    enabled: Mapped[bool]
    failures: Mapped[int]
    paused_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class DeliveryRow(Base):
    """One message to one webhook, which may be gone. Of a webhook and a key one row at most is ready."""

    __tablename__ = "deliveries"
    __table_args__ = (
        Index("ix_deliveries_due", "webhook_id", "state", "next_at"),
        Index("ix_deliveries_order", "webhook_id", "key", "state", "seq"),
        Index("ix_deliveries_listing", "webhook_id", "seq"),
        Index("ix_deliveries_age", "created_at"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(_RowId, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(_Id, unique=True)
    app_id: Mapped[str] = mapped_column(_Id)
    webhook_id: Mapped[str] = mapped_column(_Id)
    event: Mapped[str] = mapped_column(_Id)
    key: Mapped[str] = mapped_column(_Id)
    url: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    tries: Mapped[int]
    attempts: Mapped[list[dict[str, Any]]]
    created_at: Mapped[datetime]
    next_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
