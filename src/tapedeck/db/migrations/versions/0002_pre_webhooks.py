"""Webhooks, their deliveries, and an outbox that holds more than recordings.

`pre`: made before the version that needs them is started. Deliveries begin after what is in the outbox already.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("outbox") as batch:
        batch.add_column(sa.Column("kind", sa.String(length=24), nullable=True))
        batch.add_column(sa.Column("app_id", sa.String(length=64), nullable=True))
        batch.add_column(sa.Column("meeting_id", sa.String(length=64), nullable=True))
        batch.add_column(sa.Column("session_id", sa.String(length=64), nullable=True))
        batch.add_column(sa.Column("participant_id", sa.String(length=64), nullable=True))
    op.execute(
        "UPDATE outbox SET kind = 'recording',"
        " app_id = (SELECT app_id FROM recordings WHERE recordings.id = outbox.recording_id),"
        " meeting_id = (SELECT meeting_id FROM recordings WHERE recordings.id = outbox.recording_id),"
        " session_id = (SELECT session_id FROM recordings WHERE recordings.id = outbox.recording_id)"
    )
    # Made anew, so that SQLite never gives the number of a row that is gone to another one.
    with op.batch_alter_table("outbox", recreate="always", table_kwargs={"sqlite_autoincrement": True}) as batch:
        batch.alter_column("kind", existing_type=sa.String(length=24), nullable=False)
        batch.alter_column("app_id", existing_type=sa.String(length=64), nullable=False)
        batch.alter_column("meeting_id", existing_type=sa.String(length=64), nullable=False)
        batch.alter_column("recording_id", existing_type=sa.String(length=64), nullable=True)
        batch.alter_column("seq", existing_type=sa.Integer(), nullable=True)
        batch.alter_column("status", existing_type=sa.String(length=16), nullable=True)
    op.create_index(op.f("ix_outbox_session_id_participant_id"), "outbox", ["session_id", "participant_id"])
    op.create_index(op.f("ix_outbox_created_at"), "outbox", ["created_at"])
    cursors = op.create_table(
        "cursors",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cursors")),
    )
    last = op.get_bind().execute(sa.text("SELECT max(id) FROM outbox")).scalar()
    op.bulk_insert(cursors, [{"name": "webhooks", "position": last or 0}])
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("app_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("paused_until", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], name=op.f("fk_webhooks_app_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_index(op.f("ix_webhooks_app_id_created_at_id"), "webhooks", ["app_id", "created_at", "id"])
    op.create_table(
        "deliveries",
        sa.Column("seq", _ROW_ID, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("app_id", sa.String(length=64), nullable=False),
        sa.Column("webhook_id", sa.String(length=64), nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("id", name=op.f("uq_deliveries_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_deliveries_due", "deliveries", ["webhook_id", "state", "next_at"])
    op.create_index("ix_deliveries_order", "deliveries", ["webhook_id", "key", "state", "seq"])
    op.create_index("ix_deliveries_listing", "deliveries", ["webhook_id", "seq"])
    op.create_index("ix_deliveries_age", "deliveries", ["created_at"])


def downgrade() -> None:
    op.drop_table("deliveries")
    op.drop_table("webhooks")
    op.drop_table("cursors")
    op.execute("DELETE FROM outbox WHERE kind <> 'recording'")
    op.drop_index(op.f("ix_outbox_created_at"), "outbox")
    op.drop_index(op.f("ix_outbox_session_id_participant_id"), "outbox")
    with op.batch_alter_table("outbox") as batch:
        for name in ("kind", "app_id", "meeting_id", "session_id", "participant_id"):
            batch.drop_column(name)
        batch.alter_column("recording_id", existing_type=sa.String(length=64), nullable=False)
        batch.alter_column("seq", existing_type=sa.Integer(), nullable=False)
        batch.alter_column("status", existing_type=sa.String(length=16), nullable=False)
