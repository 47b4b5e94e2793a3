"""Queries about recordings and the outbox. Rows in, core objects out; no rule about states lives here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, Select, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.errors import ConflictError
from tapedeck.core.meeting import Meeting
from tapedeck.core.paging import Listing, Page
from tapedeck.core.recording import (
    Caller,
    CallerKind,
    FilmFile,
    Recording,
    RecordingChanged,
    RecordingKind,
    RecordingOptions,
    RecordingState,
    StartCause,
    StopCause,
    snapshot,
)
from tapedeck.db.access import count
from tapedeck.db.models import MeetingRow, OutboxRow, RecordingRow
from tapedeck.db.rooms import title_matches, to_meeting

__all__ = [
    "OutboxEntry",
    "RecordingFilter",
    "add_recording",
    "find_recording",
    "find_with_meeting",
    "in_states",
    "list_recordings",
    "of_meeting",
    "of_session",
    "outbox",
    "save_recording",
]


@dataclass(frozen=True, slots=True)
class RecordingFilter:
    """Which recordings of an app; None means any. Times are inclusive, on the invocation."""

    meeting_id: str | None = None
    states: frozenset[RecordingState] | None = None
    search: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    expired: bool | None = None
    "True: the links of the built-in bucket are dead; False: they live, or there are none."
    ascending: bool = False


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """A stored change of state."""

    id: int
    change: RecordingChanged
    payload: dict[str, Any]


async def add_recording(session: AsyncSession, recording: Recording, change: RecordingChanged) -> None:
    """Store a new recording and its creation in the outbox."""
    session.add(RecordingRow(id=recording.id, **_values(recording)))
    await session.flush()
    _put_out(session, recording, change)


async def save_recording(session: AsyncSession, recording: Recording, changes: Sequence[RecordingChanged]) -> None:
    """Store what changed of a recording, and the changes in the outbox.

    ConflictError when somebody else changed the recording since it was read.
    """
    before = recording.version - len(changes)
    rows = update(RecordingRow).where(RecordingRow.id == recording.id, RecordingRow.version == before)
    done = cast("CursorResult[Any]", await session.execute(rows.values(**_values(recording))))
    if done.rowcount != 1:
        raise ConflictError(f"Recording {recording.id} was changed by another process")
    for change in changes:
        _put_out(session, recording, change)


async def find_recording(session: AsyncSession, recording_id: str, lock: bool = False) -> Recording | None:
    """A recording by id, of any app; `lock` holds it against other writers until the commit."""
    rows = select(RecordingRow).where(RecordingRow.id == recording_id)
    row = (await session.execute(rows.with_for_update() if lock else rows)).scalar()
    return _recording(row) if row else None


async def find_with_meeting(session: AsyncSession, app_id: str, recording_id: str) -> tuple[Recording, Meeting] | None:
    """A recording of an app with its meeting."""
    rows = select(RecordingRow, MeetingRow).join(MeetingRow, MeetingRow.id == RecordingRow.meeting_id)
    row = (await session.execute(rows.where(RecordingRow.id == recording_id, RecordingRow.app_id == app_id))).first()
    return (_recording(row[0]), to_meeting(row[1])) if row else None


async def of_meeting(
    session: AsyncSession, app_id: str, meeting_id: str, states: Collection[RecordingState]
) -> Sequence[Recording]:
    """Recordings of a meeting in some states, newest first."""
    rows = select(RecordingRow).where(
        RecordingRow.meeting_id == meeting_id, RecordingRow.app_id == app_id, RecordingRow.state.in_(states)
    )
    ordered = rows.order_by(RecordingRow.invoked_at.desc(), RecordingRow.id.desc())
    return [_recording(row) for row in (await session.execute(ordered)).scalars()]


async def of_session(session: AsyncSession, session_id: str, states: Collection[RecordingState]) -> Sequence[Recording]:
    """Recordings of a session in some states."""
    rows = select(RecordingRow).where(RecordingRow.session_id == session_id, RecordingRow.state.in_(states))
    return [_recording(row) for row in (await session.execute(rows)).scalars()]


async def in_states(session: AsyncSession, states: Collection[RecordingState]) -> Sequence[Recording]:
    """Recordings of all apps in some states, oldest first."""
    rows = select(RecordingRow).where(RecordingRow.state.in_(states))
    ordered = rows.order_by(RecordingRow.invoked_at, RecordingRow.id)
    return [_recording(row) for row in (await session.execute(ordered)).scalars()]


async def list_recordings(
    session: AsyncSession, app_id: str, wanted: RecordingFilter, page: Page, now: datetime
) -> Listing[tuple[Recording, Meeting]]:
    """One page of an app's recordings with their meetings, by invocation, ties by id."""
    chosen = _filtered(app_id, wanted, now)
    total = await count(session, chosen)
    if page.offset >= total:
        return Listing([], total, page)
    by = (RecordingRow.invoked_at, RecordingRow.id)
    order = by if wanted.ascending else tuple(column.desc() for column in by)
    # The page is found on the index alone; only its rows are then read whole.
    ids = [row[0] for row in await session.execute(chosen.order_by(*order).limit(page.size).offset(page.offset))]
    rows = select(RecordingRow, MeetingRow).join(MeetingRow, MeetingRow.id == RecordingRow.meeting_id)
    found = {row[0].id: row for row in await session.execute(rows.where(RecordingRow.id.in_(ids)))}
    return Listing([(_recording(found[id_][0]), to_meeting(found[id_][1])) for id_ in ids], total, page)


async def outbox(session: AsyncSession, after: int = 0, limit: int = 100) -> Sequence[OutboxEntry]:
    """Changes of state in the order they were committed, beyond the row `after`."""
    rows = select(OutboxRow).where(OutboxRow.id > after).order_by(OutboxRow.id).limit(limit)
    return [
        OutboxEntry(
            row.id,
            RecordingChanged(
                row.recording_id,
                row.seq,
                None if row.previous is None else RecordingState(row.previous),
                RecordingState(row.status),
                row.created_at,
            ),
            row.payload,
        )
        for row in (await session.execute(rows)).scalars()
    ]


def _filtered(app_id: str, wanted: RecordingFilter, now: datetime) -> Select[str]:
    rows = select(RecordingRow.id).where(RecordingRow.app_id == app_id)
    if wanted.meeting_id is not None:
        rows = rows.where(RecordingRow.meeting_id == wanted.meeting_id)
    if wanted.states is not None:
        rows = rows.where(RecordingRow.state.in_(sorted(wanted.states)))
    if wanted.search is not None:
        matching = select(MeetingRow.id).where(MeetingRow.app_id == app_id, title_matches(wanted.search))
        rows = rows.where(RecordingRow.meeting_id.in_(matching))
    if wanted.start is not None:
        rows = rows.where(RecordingRow.invoked_at >= wanted.start)
    if wanted.end is not None:
        rows = rows.where(RecordingRow.invoked_at <= wanted.end)
    if wanted.expired is True:
        rows = rows.where(RecordingRow.expires_at <= now)
    elif wanted.expired is False:
        rows = rows.where(or_(RecordingRow.expires_at.is_(None), RecordingRow.expires_at > now))
    return rows


def _put_out(session: AsyncSession, recording: Recording, change: RecordingChanged) -> None:
    session.add(
        OutboxRow(
            recording_id=recording.id,
            seq=change.seq,
            previous=change.previous,
            status=change.state,
            payload=snapshot(recording),
            created_at=change.at,
        )
    )


def _values(recording: Recording) -> dict[str, Any]:
    """Column values of everything but the id. Objects become JSON, states their text."""
    return {
        "app_id": recording.app_id,
        "meeting_id": recording.meeting_id,
        "session_id": recording.session_id,
        "kind": str(recording.kind),
        "state": str(recording.state),
        "version": recording.version,
        "file_name": recording.file_name,
        "options": asdict(recording.options),
        "start_cause": str(recording.start_cause),
        "started_by": _from_caller(recording.started_by),
        "stop_cause": None if recording.stop_cause is None else str(recording.stop_cause),
        "stopped_by": _from_caller(recording.stopped_by),
        "invoked_at": recording.invoked_at,
        "started_at": recording.started_at,
        "paused_at": recording.paused_at,
        "paused_ms": recording.paused_ms,
        "stopped_at": recording.stopped_at,
        "film_ms": recording.film_ms,
        "files": [asdict(file) for file in recording.files],
        "size_bytes": recording.size_bytes,
        "expires_at": recording.expires_at,
        "failure": recording.failure,
    }


def _recording(row: RecordingRow) -> Recording:
    return Recording(
        id=row.id,
        app_id=row.app_id,
        meeting_id=row.meeting_id,
        file_name=row.file_name,
        invoked_at=row.invoked_at,
        kind=RecordingKind(row.kind),
        state=RecordingState(row.state),
        version=row.version,
        options=RecordingOptions(**row.options),
        start_cause=StartCause(row.start_cause),
        started_by=_to_caller(row.started_by),
        session_id=row.session_id,
        started_at=row.started_at,
        paused_at=row.paused_at,
        paused_ms=row.paused_ms,
        stopped_at=row.stopped_at,
        stop_cause=None if row.stop_cause is None else StopCause(row.stop_cause),
        stopped_by=_to_caller(row.stopped_by),
        film_ms=row.film_ms,
        files=tuple(FilmFile(**file) for file in row.files),
        size_bytes=row.size_bytes,
        expires_at=row.expires_at,
        failure=row.failure,
    )


def _from_caller(caller: Caller | None) -> dict[str, Any] | None:
    return None if caller is None else {"kind": str(caller.kind), "id": caller.id, "name": caller.name}


def _to_caller(value: dict[str, Any] | None) -> Caller | None:
    return None if value is None else Caller(CallerKind(value["kind"]), value["id"], value["name"])
