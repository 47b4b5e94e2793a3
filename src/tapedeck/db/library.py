"""Queries about the library of the rooms API. Rows in, core objects out; no rule lives here."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from sqlalchemy import Table, bindparam, case, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.library import LibraryStatus, status_of
from tapedeck.core.recording import Recording
from tapedeck.db.base import run
from tapedeck.db.models import LibraryRow, MeetingRow

__all__ = ["add_to_library", "follow_state"]

_LIBRARY = cast(Table, LibraryRow.__table__)
_MEETINGS = cast(Table, MeetingRow.__table__)
_L, _M = _LIBRARY.c, _MEETINGS.c


_NEW: dict[Any, Any] = {
    _L.recording_id: bindparam("recording", type_=_L.recording_id.type),
    _L.app_id: bindparam("app", type_=_L.app_id.type),
    _L.meeting_id: _M.id,
    _L.provider: bindparam("recorder", type_=_L.provider.type),
    _L.remote_id: bindparam("there", type_=_L.remote_id.type),
    _L.imported_at: bindparam("imported", type_=_L.imported_at.type),
    _L.status: bindparam("word", type_=_L.status.type),
    _L.title: case((_M.title.is_(None), ""), else_=_M.title),
    _L.title_folded: _M.title_folded,
    _L.hold: literal(False),
    _L.created_at: bindparam("at", type_=_L.created_at.type),
    _L.updated_at: bindparam("at", type_=_L.updated_at.type),
}
_ADD = _LIBRARY.insert().from_select(
    list(_NEW), select(*_NEW.values()).where(_M.id == bindparam("meeting")), include_defaults=False
)
_OF_ONE = update(_LIBRARY).where(_L.recording_id == bindparam("of_recording"))
_FOLLOW = _OF_ONE.values(status=bindparam("word"), updated_at=bindparam("at"))
_FOLLOW_READY = _OF_ONE.values(
    status=case((_L.archived_at.is_not(None), str(LibraryStatus.ARCHIVED)), else_=bindparam("word")),
    updated_at=bindparam("at"),
)


async def add_to_library(
    session: AsyncSession, recording: Recording, imported: bool, remote_id: str | None = None
) -> None:
    """The row of a new recording; called where the recording is stored. `remote_id`: its id at another recorder."""
    values = {
        "recording": recording.id,
        "app": recording.app_id,
        "meeting": recording.meeting_id,
        "recorder": recording.options.provider,
        "there": remote_id,
        "imported": recording.invoked_at if imported else None,
        "word": str(status_of(recording.state)),
        "at": recording.invoked_at,
    }
    await run(session, _ADD, values)


async def follow_state(session: AsyncSession, recording: Recording, now: datetime) -> None:
    """Keep the row in step with the state of its recording; called where that is stored."""
    status = status_of(recording.state)
    statement = _FOLLOW_READY if status is LibraryStatus.READY else _FOLLOW
    await run(session, statement, {"of_recording": recording.id, "word": str(status), "at": now})
