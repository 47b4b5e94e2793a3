"""Rooms that another recorder records, and one row in the library for each of its recordings.

`pre`: made before the version that needs it is started.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "remote_rooms",
        sa.Column("meeting_id", sa.String(length=64), nullable=False),
        sa.Column("app_id", sa.String(length=64), nullable=False),
        sa.Column("remote_meeting_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], name=op.f("fk_remote_rooms_app_id")),
        sa.ForeignKeyConstraint(["meeting_id"], ["meetings.id"], name=op.f("fk_remote_rooms_meeting_id")),
        sa.PrimaryKeyConstraint("meeting_id", name=op.f("pk_remote_rooms")),
    )
    op.create_index("ix_remote_rooms_remote", "remote_rooms", ["app_id", "remote_meeting_id"], unique=True)
    op.create_index("ix_library_remote", "library", ["app_id", "remote_id"], unique=True)


def downgrade() -> None:
    op.drop_index("ix_library_remote", "library")
    op.drop_table("remote_rooms")
