"""Queries about destinations and the files on their way there. Rows in, core objects out; no rule lives here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import Select, Table, bindparam, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.destination import Destination, DestinationKind, DestinationState, Upload
from tapedeck.db.base import run
from tapedeck.db.engine import Ask, Database
from tapedeck.db.models import DestinationRow, UploadRow

__all__ = [
    "add_destination",
    "committed_of",
    "due_destinations",
    "find_destination",
    "of_listed",
    "of_recording",
    "of_recordings",
    "save_destination",
    "save_sealed",
    "save_upload",
    "sealed_rows",
    "uploads_of",
]

_D = DestinationRow.__table__.c
_ONE = select(DestinationRow.__table__).where(_D.recording_id == bindparam("recording_id")).order_by(_D.kind, _D.id)
_OF_SEVERAL = (
    select(DestinationRow)
    .where(DestinationRow.recording_id.in_(bindparam("recording_ids", expanding=True)))
    .order_by(DestinationRow.kind, DestinationRow.id)
)
_ADD = insert(cast(Table, DestinationRow.__table__))
_UPLOAD = [field.name for field in fields(Upload)]


async def add_destination(session: AsyncSession, destination: Destination) -> None:
    """Store a new one; its recording is stored before."""
    await run(session, _ADD, {"id": destination.id, **_values(destination)})


async def save_destination(session: AsyncSession, destination: Destination) -> None:
    """Store how far it is: state, error, attempts and times. What it is never changes, but that one which is over loses
    its credentials: nobody connects there any more."""
    values = _values(destination)
    progress = {name: values[name] for name in ("state", "error", "attempts", "next_at", "finished_at")}
    if destination.state is not DestinationState.WAITING:
        progress["sealed"] = None
    await session.execute(update(DestinationRow).where(DestinationRow.id == destination.id).values(**progress))


async def find_destination(session: AsyncSession, destination_id: str) -> Destination | None:
    """One of them."""
    row = await session.get(DestinationRow, destination_id, populate_existing=True)
    return None if row is None else _destination(row)


async def of_recording(session: AsyncSession, recording_id: str) -> Sequence[Destination]:
    """The destinations of one recording, the built-in bucket first."""
    return (await of_recordings(session, [recording_id])).get(recording_id, [])


def committed_of(db: Database, recording_id: str) -> Sequence[Destination]:
    """As `of_recording`, of what is committed, and quicker: every answer about a recording asks it."""
    names = [column.name for column in _ONE.selected_columns]
    rows = db.ask(_ONE, {"recording_id": recording_id})
    return [_destination(DestinationRow(**dict(zip(names, row, strict=True)))) for row in rows]


def of_listed(ask: Ask, recording_ids: Sequence[str]) -> Mapping[str, list[Destination]]:
    """As `of_recordings`, for lists."""
    names = [column.name for column in _ONE.selected_columns]
    values = {f"id_{number}": recording_id for number, recording_id in enumerate(recording_ids)}
    found: dict[str, list[Destination]] = {}
    for row in ask(_of(len(recording_ids)), values) if recording_ids else ():
        destination = _destination(DestinationRow(**dict(zip(names, row, strict=True))))
        found.setdefault(destination.recording_id, []).append(destination)
    return found


@lru_cache(128)
def _of(count: int) -> Select[Any]:
    """The statement for so many recordings."""
    wanted = _D.recording_id.in_([bindparam(f"id_{number}", type_=_D.recording_id.type) for number in range(count)])
    return select(DestinationRow.__table__).where(wanted).order_by(_D.kind, _D.id)


async def of_recordings(session: AsyncSession, recording_ids: Collection[str]) -> Mapping[str, list[Destination]]:
    """The destinations of several recordings, by recording, the built-in bucket first."""
    found: dict[str, list[Destination]] = {}
    for row in (await session.execute(_OF_SEVERAL, {"recording_ids": list(recording_ids)})).scalars():
        found.setdefault(row.recording_id, []).append(_destination(row))
    return found


async def due_destinations(session: AsyncSession, now: datetime | None = None) -> Sequence[Destination]:
    """Those that wait, oldest first; with `now` only those that may be tried."""
    rows = select(DestinationRow).where(DestinationRow.state == DestinationState.WAITING)
    if now is not None:
        rows = rows.where(or_(DestinationRow.next_at.is_(None), DestinationRow.next_at <= now))
    found = (await session.execute(rows.order_by(DestinationRow.created_at, DestinationRow.id))).scalars()
    return [_destination(row) for row in found]


async def sealed_rows(session: AsyncSession) -> Sequence[tuple[str, str]]:
    """Id and sealed text of every destination that has one."""
    rows = select(DestinationRow.id, DestinationRow.sealed).where(DestinationRow.sealed.is_not(None))
    return [(id_, sealed) for id_, sealed in (await session.execute(rows)).all() if sealed is not None]


async def save_sealed(session: AsyncSession, destination_id: str, sealed: str) -> None:
    """Replace a sealed text."""
    await session.execute(update(DestinationRow).where(DestinationRow.id == destination_id).values(sealed=sealed))


async def save_upload(session: AsyncSession, upload: Upload) -> None:
    """Store a file's way, over what was known of it."""
    await session.merge(UploadRow(**asdict(upload)))
    await session.flush()


async def uploads_of(session: AsyncSession, destination_id: str) -> Sequence[Upload]:
    """The files on their way to a destination, and those that are there, by name."""
    rows = select(UploadRow).where(UploadRow.destination_id == destination_id).order_by(UploadRow.name)
    found = (await session.execute(rows.execution_options(populate_existing=True))).scalars()
    return [Upload(**{name: getattr(row, name) for name in _UPLOAD}) for row in found]


def _values(destination: Destination) -> dict[str, Any]:
    return {
        "recording_id": destination.recording_id,
        "kind": str(destination.kind),
        "layer": destination.layer,
        "storage": dict(destination.storage),
        "sealed": destination.sealed,
        "state": str(destination.state),
        "error": destination.error,
        "attempts": destination.attempts,
        "next_at": destination.next_at,
        "created_at": destination.created_at,
        "finished_at": destination.finished_at,
    }


def _destination(row: DestinationRow) -> Destination:
    return Destination(
        row.id,
        row.recording_id,
        DestinationKind(row.kind),
        row.created_at,
        row.storage,
        row.sealed,
        row.layer,
        DestinationState(row.state),
        row.error,
        row.attempts,
        row.next_at,
        row.finished_at,
    )
