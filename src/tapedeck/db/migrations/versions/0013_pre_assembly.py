"""Of which parts a delivered object is made.

`pre`: made before the version that needs it is started.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("uploads", sa.Column("assembly", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("uploads", "assembly")
