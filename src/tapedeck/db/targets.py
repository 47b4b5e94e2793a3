"""Queries about where recordings are streamed to. Rows in, core objects out; no rule lives here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.target import Target, TargetState
from tapedeck.db.models import TargetRow

__all__ = ["add_target", "all_open", "all_waiting", "find_target", "save_target", "targets_of"]

_FIELDS = [field.name for field in fields(Target)]


async def add_target(session: AsyncSession, target: Target) -> None:
    """Store a new one; its recording is stored before."""
    session.add(TargetRow(**asdict(target)))
    await session.flush()


async def save_target(session: AsyncSession, target: Target) -> None:
    """Store how it does."""
    values = {name: value for name, value in asdict(target).items() if name != "id"}
    await session.execute(update(TargetRow).where(TargetRow.id == target.id).values(**values))


async def find_target(session: AsyncSession, target_id: str) -> Target | None:
    """One of them."""
    row = await session.get(TargetRow, target_id, populate_existing=True)
    return None if row is None else _target(row)


async def targets_of(session: AsyncSession, recording_id: str) -> Sequence[Target]:
    """Those of a recording, oldest first."""
    rows = select(TargetRow).where(TargetRow.recording_id == recording_id)
    found = await session.execute(rows.order_by(TargetRow.created_at, TargetRow.id))
    return [_target(row) for row in found.scalars()]


async def all_open(session: AsyncSession) -> Sequence[Target]:
    """Those of all recordings that have not ended."""
    rows = select(TargetRow).where(TargetRow.state != TargetState.ENDED)
    return [_target(row) for row in (await session.execute(rows)).scalars()]


async def all_waiting(session: AsyncSession) -> Sequence[Target]:
    """Those of all recordings that wait for their place, who came first at the head."""
    rows = select(TargetRow).where(TargetRow.state == TargetState.WAITING)
    found = await session.execute(rows.order_by(TargetRow.created_at, TargetRow.id))
    return [_target(row) for row in found.scalars()]


def _target(row: TargetRow) -> Target:
    values = {name: getattr(row, name) for name in _FIELDS}
    return Target(**values | {"state": TargetState(row.state)})
