"""The audit trail: who did what to a tenant's rooms and recordings. Written in the transaction that does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.access import AppPrincipal
from tapedeck.core.library import Span
from tapedeck.db.models import AuditRow

__all__ = ["SERVER", "Deed", "actor_of", "list_deeds", "note"]

SERVER = {"kind": "server", "id": "tapedeck", "name": "Tapedeck"}
"""Who does what nobody asked for just now, such as what a tenant's rules of retention say."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that was done."""

    app_id: str
    at: datetime
    actor: Mapping[str, Any]
    action: str
    "Object and verb: `recording.delete`."
    recording_id: str | None = None
    room_id: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def actor_of(principal: AppPrincipal) -> dict[str, Any]:
    """How the holder of a key is named."""
    return {"kind": "key", "id": principal.token.id, "name": principal.token.name}


async def note(session: AsyncSession, deed: Deed) -> None:
    """Keep what was done; it stays when what it speaks of is gone."""
    session.add(
        AuditRow(
            app_id=deed.app_id,
            at=deed.at,
            actor=dict(deed.actor),
            action=deed.action,
            recording_id=deed.recording_id,
            room_id=deed.room_id,
            detail=dict(deed.detail),
        )
    )
    await session.flush()


async def list_deeds(
    session: AsyncSession, app_id: str, span: Span, recording_id: str | None = None
) -> tuple[Sequence[Deed], int]:
    """What was done in a tenant, newest first, and how much there is."""
    rows = select(AuditRow).where(AuditRow.app_id == app_id)
    if recording_id is not None:
        rows = rows.where(AuditRow.recording_id == recording_id)
    total = int((await session.execute(rows.with_only_columns(func.count()))).scalar_one())
    page = rows.order_by(AuditRow.id.desc()).limit(span.limit).offset(span.offset)
    found = (await session.execute(page)).scalars()
    return [Deed(r.app_id, r.at, r.actor, r.action, r.recording_id, r.room_id, r.detail) for r in found], total
