"""Sessions that say who was in them and for how long, and the recording defaults of an app.

`pre`: made before the version that needs them is started. What is known of older sessions is counted once, here.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("apps", sa.Column("recording_config", sa.JSON(none_as_null=True), nullable=True))
    op.create_table(
        "attendances",
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("participant_id", sa.String(length=64), nullable=False),
        sa.Column("peer_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("folded", sa.Text(), nullable=False),
        sa.Column("custom_id", sa.Text(), nullable=True),
        sa.Column("preset_name", sa.Text(), nullable=True),
        sa.Column("view_type", sa.Text(), nullable=True),
        sa.Column("joined_at", sa.BigInteger(), nullable=False),
        sa.Column("left_at", sa.BigInteger(), nullable=True),
        sa.Column("here_since", sa.BigInteger(), nullable=True),
        sa.Column("stayed_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("fk_attendances_session_id")),
        sa.PrimaryKeyConstraint("session_id", "participant_id", name=op.f("pk_attendances")),
    )
    op.create_index(op.f("ix_attendances_session_id_joined_at"), "attendances", ["session_id", "joined_at"])
    # Added in place: a table that others point to cannot be made anew.
    op.add_column("sessions", sa.Column("app_id", sa.String(length=64), nullable=False, server_default=""))
    op.add_column("sessions", sa.Column("end_cause", sa.String(length=16), nullable=True))
    for name, kind in (("people", sa.Integer), ("most_people", sa.Integer)):
        op.add_column("sessions", sa.Column(name, kind(), nullable=False, server_default="0"))
    for name in ("stayed_ms", "since_sum_ms"):
        op.add_column("sessions", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("sessions", sa.Column("updated_at", sa.BigInteger(), nullable=True))
    op.execute("UPDATE sessions SET app_id = (SELECT app_id FROM meetings WHERE meetings.id = sessions.meeting_id)")
    op.execute("UPDATE sessions SET end_cause = 'empty' WHERE ended_at IS NOT NULL")
    op.create_index("ix_sessions_listing", "sessions", ["app_id", "started_at", "id"])
    _count(op.get_bind())


def _count(connection: sa.Connection) -> None:
    """Attendances and counts of the sessions there are, out of their connections."""
    for session_id in [row[0] for row in connection.execute(sa.text("SELECT id FROM sessions"))]:
        rows = connection.execute(
            sa.text(
                "SELECT peers.id, peers.participant_id, peers.name, peers.joined_at, peers.left_at,"
                " participants.custom_id, presets.name, presets.config FROM peers"
                " LEFT JOIN participants ON participants.id = peers.participant_id"
                " LEFT JOIN presets ON presets.id = participants.preset_id"
                " WHERE peers.session_id = :id AND NOT peers.hidden ORDER BY peers.joined_at, peers.id"
            ),
            {"id": session_id},
        ).all()
        people: dict[str, list[Any]] = {}
        for row in rows:
            people.setdefault(str(row[1]), []).append(row)
        edges: list[tuple[int, int]] = []
        stayed_all, since_all = 0, 0
        for participant_id, peers in people.items():
            stayed, since, gone = _stay([(int(peer[3]), peer[4]) for peer in peers], edges)
            stayed_all, since_all = stayed_all + stayed, since_all + (since or 0)
            _id, _, name, joined_at, _, custom_id, preset_name, config = peers[0]
            words = (participant_id, custom_id, name)
            connection.execute(
                sa.text(
                    "INSERT INTO attendances (session_id, participant_id, peer_id, name, folded, custom_id,"
                    " preset_name, view_type, joined_at, left_at, here_since, stayed_ms) VALUES (:session_id,"
                    " :participant_id, :peer_id, :name, :folded, :custom_id, :preset_name, :view_type, :joined_at,"
                    " :left_at, :here_since, :stayed_ms)"
                ),
                {
                    "session_id": session_id,
                    "participant_id": participant_id,
                    "peer_id": _id,
                    "name": name,
                    "folded": "\n".join(str(word) for word in words if word is not None).casefold(),
                    "custom_id": custom_id,
                    "preset_name": preset_name,
                    "view_type": _view_type(config),
                    "joined_at": joined_at,
                    "left_at": gone,
                    "here_since": since,
                    "stayed_ms": stayed,
                },
            )
        here = most = 0
        for _, step in sorted(edges):
            here += step
            most = max(most, here)
        connection.execute(
            sa.text(
                "UPDATE sessions SET people = :here, most_people = :most, stayed_ms = :stayed, since_sum_ms = :since,"
                " updated_at = coalesce(ended_at, :last) WHERE id = :id"
            ),
            {
                "here": here,
                "most": most,
                "stayed": stayed_all,
                "since": since_all,
                "last": max((at for at, _ in edges), default=None),
                "id": session_id,
            },
        )


def _stay(peers: list[tuple[int, int | None]], edges: list[tuple[int, int]]) -> tuple[int, int | None, int | None]:
    """Of one person's connections in order: ms of the stays that are over, since when they are there, when they left.

    `edges` gets +1 and -1 for each coming and going.
    """
    stayed, start, end = 0, peers[0][0], peers[0][1]
    for joined, left in peers[1:]:
        if end is not None and joined > end:
            stayed += end - start
            edges += [(start, 1), (end, -1)]
            start, end = joined, left
        elif end is not None:
            end = None if left is None else max(end, left)
    edges.append((start, 1))
    if end is None:
        return stayed, start, None
    edges.append((end, -1))
    return stayed + end - start, None, end


def _view_type(config: object) -> str | None:
    values = json.loads(config) if isinstance(config, str) else config
    found = values.get("view_type") if isinstance(values, dict) else None
    return found if isinstance(found, str) else None


def downgrade() -> None:
    op.drop_index("ix_sessions_listing", "sessions")
    for name in ("app_id", "end_cause", "people", "most_people", "stayed_ms", "since_sum_ms", "updated_at"):
        op.drop_column("sessions", name)
    op.drop_table("attendances")
    op.drop_column("apps", "recording_config")
