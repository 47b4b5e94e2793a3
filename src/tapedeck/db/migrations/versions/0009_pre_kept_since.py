"""When a recording of a library was last undeleted: its age is counted from then.

`pre`: made before the version that needs it is started.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("library", sa.Column("kept_since", sa.BigInteger(), nullable=True))
    op.create_index("ix_library_deleted", "library", ["app_id", "deleted_at"])


def downgrade() -> None:
    op.drop_index("ix_library_deleted", "library")
    op.drop_column("library", "kept_since")
