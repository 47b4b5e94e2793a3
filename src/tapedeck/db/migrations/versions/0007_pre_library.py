"""The library of the rooms API: a row for each recording, tenants, rooms and the audit trail.

`pre`: made before the version that needs it is started. Recordings that are there get their rows here.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_FILL = """
INSERT INTO library (
    recording_id, app_id, meeting_id, provider, status, title, title_folded, hold, created_at, updated_at
)
SELECT r.id, r.app_id, r.meeting_id, 'local',
    CASE
        WHEN r.state IN ('requested', 'starting', 'capturing', 'paused') THEN 'recording'
        WHEN r.state = 'done' THEN 'ready'
        WHEN r.state = 'failed' THEN 'failed'
        ELSE 'processing'
    END,
    coalesce(m.title, ''), m.title_folded, false, r.invoked_at, r.invoked_at
FROM recordings AS r JOIN meetings AS m ON m.id = r.meeting_id
"""


def upgrade() -> None:
    op.create_table(
        "library",
        sa.Column("recording_id", sa.String(length=64), nullable=False),
        sa.Column("app_id", sa.String(length=64), nullable=False),
        sa.Column("meeting_id", sa.String(length=64), nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("remote_id", sa.String(length=64), nullable=True),
        sa.Column("imported_at", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("title_folded", sa.Text(), nullable=False),
        sa.Column("archived_at", sa.BigInteger(), nullable=True),
        sa.Column("archive_state", sa.String(length=16), nullable=True),
        sa.Column("archive_note", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.Column("purge_at", sa.BigInteger(), nullable=True),
        sa.Column("purged_at", sa.BigInteger(), nullable=True),
        sa.Column("hold", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], name=op.f("fk_library_app_id")),
        sa.ForeignKeyConstraint(["meeting_id"], ["meetings.id"], name=op.f("fk_library_meeting_id")),
        sa.ForeignKeyConstraint(["recording_id"], ["recordings.id"], name=op.f("fk_library_recording_id")),
        sa.PrimaryKeyConstraint("recording_id", name=op.f("pk_library")),
    )
    for name, columns in (
        ("listing", ["app_id", "created_at", "recording_id", "status", "deleted_at"]),
        ("of_room", ["meeting_id", "app_id", "created_at", "recording_id", "status", "deleted_at"]),
        ("status", ["app_id", "status", "created_at", "recording_id", "deleted_at"]),
        ("archiving", ["archive_state"]),
        ("purge", ["purge_at"]),
    ):
        op.create_index(f"ix_library_{name}", "library", columns)
    op.execute(_FILL)
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("app_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.JSON(), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("recording_id", sa.String(length=64), nullable=True),
        sa.Column("room_id", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_listing", "audit", ["app_id", "id"])
    op.create_index("ix_audit_of_recording", "audit", ["recording_id", "id"])
    op.create_table(
        "tenants",
        sa.Column("app_id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_tenants_account_id")),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], name=op.f("fk_tenants_app_id")),
        sa.PrimaryKeyConstraint("app_id", name=op.f("pk_tenants")),
    )
    op.create_table(
        "room_settings",
        sa.Column("meeting_id", sa.String(length=64), nullable=False),
        sa.Column("app_id", sa.String(length=64), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], name=op.f("fk_room_settings_app_id")),
        sa.ForeignKeyConstraint(["meeting_id"], ["meetings.id"], name=op.f("fk_room_settings_meeting_id")),
        sa.PrimaryKeyConstraint("meeting_id", name=op.f("pk_room_settings")),
    )
    op.create_index(op.f("ix_room_settings_app_id_deleted_at"), "room_settings", ["app_id", "deleted_at"])


def downgrade() -> None:
    for table in ("room_settings", "tenants", "audit", "library"):
        op.drop_table(table)
