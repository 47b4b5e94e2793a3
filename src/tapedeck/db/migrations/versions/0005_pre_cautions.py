"""What went less well than asked for, kept with a recording.

`pre`: made before the version that needs it is started.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Added in place: a table that others point to cannot be made anew.
    op.add_column("recordings", sa.Column("cautions", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("recordings", "cautions")
