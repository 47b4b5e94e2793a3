"""An index for what has expired in all apps: the files of it are deleted by the clock.

`pre`: made before the version that needs it is started. Files that expired before are deleted at its first start.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_recordings_expires_at"), "recordings", ["expires_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_recordings_expires_at"), "recordings")
