"""Queries about recordings and the outbox. Rows in, core objects out; no rule about states lives here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from sqlalchemy import Integer, Table, bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.caution import Caution
from tapedeck.core.errors import ConflictError
from tapedeck.core.happenings import HappeningKind
from tapedeck.core.meeting import Meeting
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
from tapedeck.db.base import run
from tapedeck.db.engine import Database
from tapedeck.db.library import add_to_library, follow_state
from tapedeck.db.models import MeetingRow, OutboxRow, RecordingCountRow, RecordingRow
from tapedeck.db.rooms import MEETING_COLUMNS, to_meeting

__all__ = [
    "COLUMNS",
    "WITH_MEETING",
    "OutboxEntry",
    "add_caution",
    "add_recording",
    "find_recording",
    "find_with_meeting",
    "has_name",
    "in_states",
    "of_meeting",
    "of_session",
    "outbox",
    "recording_from",
    "save_recording",
    "split",
]


_RECORDINGS = cast(Table, RecordingRow.__table__)
_COUNTS = cast(Table, RecordingCountRow.__table__)
_OUTBOX = cast(Table, OutboxRow.__table__)
_R, _C, _M = _RECORDINGS.c, _COUNTS.c, MeetingRow.__table__.c
# Plain columns and finished statements: reading rows needs no objects that are watched, and asking is on the hot path.
COLUMNS = (
    _R.id,
    _R.app_id,
    _R.meeting_id,
    _R.file_name,
    _R.invoked_at,
    _R.kind,
    _R.state,
    _R.version,
    _R.options,
    _R.start_cause,
    _R.started_by,
    _R.session_id,
    _R.started_at,
    _R.paused_at,
    _R.paused_ms,
    _R.stopped_at,
    _R.stop_cause,
    _R.stopped_by,
    _R.film_ms,
    _R.files,
    _R.size_bytes,
    _R.expires_at,
    _R.failure,
    _R.cautions,
)
"""In the order of the fields of `Recording`."""

WITH_MEETING = select(*COLUMNS, *MEETING_COLUMNS).join_from(
    RecordingRow.__table__, MeetingRow.__table__, _R.meeting_id == _M.id
)
_BY_ID = select(*COLUMNS).where(_R.id == bindparam("of_id"))
_BY_ID_HELD = _BY_ID.with_for_update()
_OF_MEETING = (
    select(*COLUMNS)
    .where(
        _R.meeting_id == bindparam("of_meeting"),
        _R.app_id == bindparam("of_app"),
        _R.state.in_(bindparam("states", expanding=True)),
    )
    .order_by(_R.invoked_at.desc(), _R.id.desc())
)
_ADD, _NOTE = insert(_RECORDINGS), insert(_OUTBOX)
_SAVE = update(_RECORDINGS).where(_R.id == bindparam("of_id"), _R.version == bindparam("before"))
_COUNT = (
    update(_COUNTS)
    .where(_C.app_id == bindparam("of_app"), _C.state == bindparam("of_state"))
    .values(count=_C.count + bindparam("step", type_=Integer))
)
_ONE = WITH_MEETING.where(_R.id == bindparam("recording_id"), _R.app_id == bindparam("app_id"))


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """A stored change of state."""

    id: int
    change: RecordingChanged
    payload: dict[str, Any]


async def add_recording(
    session: AsyncSession,
    recording: Recording,
    change: RecordingChanged,
    imported: bool = False,
    remote_id: str | None = None,
) -> None:
    """Store a new recording, its place in the library and its creation in the outbox.

    `imported`: its library knows of it from the start. `remote_id`: its id at the recorder that makes it.
    """
    await run(session, _ADD, {"id": recording.id, "cautions": [], **_values(recording)})
    await add_to_library(session, recording, imported, remote_id)
    await _note(session, recording, change)


async def save_recording(session: AsyncSession, recording: Recording, changes: Sequence[RecordingChanged]) -> None:
    """Store what changed of a recording, and the changes in the outbox.

    ConflictError when somebody else changed the recording since it was read.
    """
    before = recording.version - len(changes)
    done = await run(session, _SAVE, {"of_id": recording.id, "before": before, **_values(recording)})
    if done.rowcount != 1:
        raise ConflictError(f"Recording {recording.id} was changed by another process")
    for change in changes:
        await _note(session, recording, change)
    if changes:
        await follow_state(session, recording, changes[-1].at)


async def find_recording(session: AsyncSession, recording_id: str, lock: bool = False) -> Recording | None:
    """A recording by id, of any app; `lock` holds it against other writers until the commit."""
    row = (await run(session, _BY_ID_HELD if lock else _BY_ID, {"of_id": recording_id})).first()
    return recording_from(row) if row else None


def find_with_meeting(db: Database, app_id: str, recording_id: str) -> tuple[Recording, Meeting] | None:
    """A recording of an app with its meeting, as they are committed."""
    rows = db.ask(_ONE, {"recording_id": recording_id, "app_id": app_id})
    return split(rows[0]) if rows else None


async def add_caution(session: AsyncSession, recording_id: str, caution: Caution) -> None:
    """Keep it with a recording, beside its states and their versions; one of each code, the first."""
    row = (await session.execute(select(_R.cautions).where(_R.id == recording_id).with_for_update())).first()
    if row is not None and all(known["code"] != caution.code for known in row[0]):
        rows = update(_RECORDINGS).where(_R.id == recording_id)
        await session.execute(rows.values(cautions=[*row[0], asdict(caution)]))


async def of_meeting(
    session: AsyncSession, app_id: str, meeting_id: str, states: Collection[RecordingState]
) -> Sequence[Recording]:
    """Recordings of a meeting in some states, newest first."""
    values = {"of_meeting": meeting_id, "of_app": app_id, "states": sorted(map(str, states))}
    return [recording_from(row) for row in await run(session, _OF_MEETING, values)]


async def has_name(session: AsyncSession, recording: Recording) -> bool:
    """Whether its meeting has a recording of the same name: both begun in one millisecond."""
    same = (_R.meeting_id == recording.meeting_id, _R.app_id == recording.app_id)
    found = select(_R.id).where(*same, _R.invoked_at == recording.invoked_at, _R.file_name == recording.file_name)
    return (await session.execute(found.limit(1))).first() is not None


async def of_session(session: AsyncSession, session_id: str, states: Collection[RecordingState]) -> Sequence[Recording]:
    """Recordings of a session in some states."""
    rows = select(*COLUMNS).where(_R.session_id == session_id, _R.state.in_(states))
    return [recording_from(row) for row in await session.execute(rows)]


async def in_states(session: AsyncSession, states: Collection[RecordingState]) -> Sequence[Recording]:
    """Recordings of all apps in some states, oldest first."""
    rows = select(*COLUMNS).where(_R.state.in_(states))
    ordered = rows.order_by(_R.invoked_at, _R.id)
    return [recording_from(row) for row in await session.execute(ordered)]


async def outbox(session: AsyncSession, after: int = 0, limit: int = 100) -> Sequence[OutboxEntry]:
    """Changes of state in the order they were committed, beyond the row `after`."""
    rows = select(OutboxRow).where(OutboxRow.id > after, OutboxRow.kind == HappeningKind.RECORDING)
    ordered = rows.order_by(OutboxRow.id).limit(limit)
    return [_entry(row) for row in (await session.execute(ordered)).scalars()]


def _entry(row: OutboxRow) -> OutboxEntry:
    assert row.recording_id is not None and row.seq is not None and row.status is not None
    previous = None if row.previous is None else RecordingState(row.previous)
    change = RecordingChanged(row.recording_id, row.seq, previous, RecordingState(row.status), row.created_at)
    return OutboxEntry(row.id, change, row.payload)


async def _note(session: AsyncSession, recording: Recording, change: RecordingChanged) -> None:
    """Put a change in the outbox and in the counts."""
    noted = {
        "kind": str(HappeningKind.RECORDING),
        "app_id": recording.app_id,
        "meeting_id": recording.meeting_id,
        "session_id": recording.session_id,
        "recording_id": recording.id,
        "seq": change.seq,
        "previous": None if change.previous is None else str(change.previous),
        "status": str(change.state),
        "payload": snapshot(recording),
        "created_at": change.at,
    }
    await run(session, _NOTE, noted)
    counts = [{"of_app": recording.app_id, "of_state": str(change.state), "step": 1}]
    if change.previous is not None:
        counts.append({"of_app": recording.app_id, "of_state": str(change.previous), "step": -1})
    await run(session, _COUNT, counts)


def _values(recording: Recording) -> dict[str, Any]:
    """Column values of everything but the id and the cautions. Objects become JSON, states their text."""
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


def split(row: Sequence[Any]) -> tuple[Recording, Meeting]:
    """The recording and the meeting of a row of `WITH_MEETING`."""
    return recording_from(row[: len(COLUMNS)]), to_meeting(row[len(COLUMNS) :])


def recording_from(values: Sequence[Any]) -> Recording:
    """The recording of the values of `COLUMNS`."""
    (id_, app_id, meeting_id, file_name, invoked_at, kind, state, version, options, *middle) = values
    (start_cause, started_by, session_id, started_at, paused_at, paused_ms, stopped_at, stop_cause, *end) = middle
    (stopped_by, film_ms, files, size_bytes, expires_at, failure, cautions) = end
    return Recording(
        id_,
        app_id,
        meeting_id,
        file_name,
        invoked_at,
        RecordingKind(kind),
        RecordingState(state),
        version,
        RecordingOptions.from_dict(options),
        StartCause(start_cause),
        _to_caller(started_by),
        session_id,
        started_at,
        paused_at,
        paused_ms,
        stopped_at,
        None if stop_cause is None else StopCause(stop_cause),
        _to_caller(stopped_by),
        film_ms,
        tuple(FilmFile(**file) for file in files),
        size_bytes,
        expires_at,
        failure,
        tuple(Caution(**caution) for caution in cautions),
    )


def _from_caller(caller: Caller | None) -> dict[str, Any] | None:
    return None if caller is None else {"kind": str(caller.kind), "id": caller.id, "name": caller.name}


def _to_caller(value: dict[str, Any] | None) -> Caller | None:
    return None if value is None else Caller(CallerKind(value["kind"]), value["id"], value["name"])
