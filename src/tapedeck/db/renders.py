"""Queries about films that are made again. Rows in, core objects out; no rule lives here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.meeting import App
from tapedeck.core.recording import FilmFile
from tapedeck.core.rerender import Rerender, RerenderState, RerenderWish
from tapedeck.db.access import to_app
from tapedeck.db.models import AppRow, RecordingRow, RerenderRow
from tapedeck.db.session_rows import AttendanceRow

__all__ = [
    "add_render",
    "app_of_recording",
    "count_waiting",
    "expired",
    "find_render",
    "is_waited_for",
    "people_of_session",
    "renders_of",
    "save_render",
    "waiting",
]


async def app_of_recording(session: AsyncSession, recording_id: str) -> App | None:
    """The app that a recording belongs to."""
    rows = select(AppRow).join(RecordingRow, RecordingRow.app_id == AppRow.id).where(RecordingRow.id == recording_id)
    row = (await session.execute(rows)).scalar_one_or_none()
    return None if row is None else to_app(row)


async def people_of_session(session: AsyncSession, session_id: str) -> Sequence[tuple[str, str | None]]:
    """Id and custom id of everybody who was seen in a session."""
    rows = select(AttendanceRow.participant_id, AttendanceRow.custom_id).where(AttendanceRow.session_id == session_id)
    return [(id_, custom_id) for id_, custom_id in (await session.execute(rows)).all()]


async def add_render(session: AsyncSession, render: Rerender) -> None:
    """Store a new one."""
    session.add(RerenderRow(id=render.id, **_values(render)))
    await session.flush()


async def save_render(session: AsyncSession, render: Rerender) -> None:
    """Store what became of it."""
    await session.execute(update(RerenderRow).where(RerenderRow.id == render.id).values(**_values(render)))


async def find_render(session: AsyncSession, recording_id: str, render_id: str) -> Rerender | None:
    """One film of a recording."""
    rows = select(RerenderRow).where(RerenderRow.id == render_id, RerenderRow.recording_id == recording_id)
    row = (await session.execute(rows.execution_options(populate_existing=True))).scalar_one_or_none()
    return None if row is None else _render(row)


async def renders_of(session: AsyncSession, recording_id: str) -> Sequence[Rerender]:
    """The films of a recording, newest first."""
    rows = select(RerenderRow).where(RerenderRow.recording_id == recording_id)
    found = await session.execute(rows.order_by(RerenderRow.created_at.desc(), RerenderRow.id))
    return [_render(row) for row in found.scalars()]


async def waiting(session: AsyncSession) -> Sequence[Rerender]:
    """Those to be made, oldest first."""
    rows = select(RerenderRow).where(RerenderRow.state == RerenderState.WAITING)
    found = await session.execute(rows.order_by(RerenderRow.created_at, RerenderRow.id))
    return [_render(row) for row in found.scalars()]


async def count_waiting(session: AsyncSession, app_id: str) -> int:
    """How many of an app are to be made."""
    rows = select(func.count()).where(RerenderRow.app_id == app_id, RerenderRow.state == RerenderState.WAITING)
    return int((await session.execute(rows)).scalar_one())


async def expired(session: AsyncSession, now: datetime) -> Sequence[Rerender]:
    """Those whose files nobody may fetch any more, and that still have some."""
    rows = select(RerenderRow).where(RerenderRow.expires_at <= now, RerenderRow.state == RerenderState.DONE)
    return [render for row in (await session.execute(rows)).scalars() if (render := _render(row)).files]


async def is_waited_for(session: AsyncSession, session_id: str) -> bool:
    """Whether a film is to be made of the log of a session."""
    rows = (
        select(RerenderRow.id)
        .join(RecordingRow, RecordingRow.id == RerenderRow.recording_id)
        .where(RecordingRow.session_id == session_id, RerenderRow.state == RerenderState.WAITING)
        .limit(1)
    )
    return (await session.execute(rows)).first() is not None


def _values(render: Rerender) -> dict[str, Any]:
    return {
        "recording_id": render.recording_id,
        "app_id": render.app_id,
        "created_at": render.created_at,
        "wish": asdict(render.wish),
        "state": str(render.state),
        "files": [asdict(file) for file in render.files],
        "film_ms": render.film_ms,
        "finished_at": render.finished_at,
        "expires_at": render.expires_at,
        "failure": render.failure,
    }


def _render(row: RerenderRow) -> Rerender:
    return Rerender(
        row.id,
        row.recording_id,
        row.app_id,
        row.created_at,
        RerenderWish.from_dict(row.wish),
        RerenderState(row.state),
        tuple(FilmFile(**file) for file in row.files),
        row.film_ms,
        row.finished_at,
        row.expires_at,
        row.failure,
    )
