"""Meetings that are shown to viewers from their first join on.

`pre`: made before the version that needs it is started.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Added in place: a table that others point to cannot be made anew.
    op.add_column("meetings", sa.Column("stream_on_start", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("meetings", "stream_on_start")
