"""Films as they are played (HLS), and livestreams.

`pre`: made before the version that needs it is started.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "playbacks",
        sa.Column("recording_id", sa.String(length=64), nullable=False),
        sa.Column("anchors", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["recording_id"], ["recordings.id"], name=op.f("fk_playbacks_recording_id")),
        sa.PrimaryKeyConstraint("recording_id", name=op.f("pk_playbacks")),
    )
    op.create_table(
        "livestreams",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("app_id", sa.String(length=64), nullable=False),
        sa.Column("meeting_id", sa.String(length=64), nullable=False),
        sa.Column("recording_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("is_own", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("stopped_at", sa.BigInteger(), nullable=True),
        sa.Column("viewer_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["meeting_id"], ["meetings.id"], name=op.f("fk_livestreams_meeting_id")),
        sa.ForeignKeyConstraint(["recording_id"], ["recordings.id"], name=op.f("fk_livestreams_recording_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_livestreams")),
    )
    op.create_index("ix_livestreams_listing", "livestreams", ["app_id", "created_at", "id"])
    op.create_index("ix_livestreams_meeting_id", "livestreams", ["meeting_id", "stopped_at"])


def downgrade() -> None:
    op.drop_table("livestreams")
    op.drop_table("playbacks")
