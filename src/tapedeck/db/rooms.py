"""Queries about presets, meetings and participants. Rows in, core objects out; no rule lives here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Select, Text, bindparam, cast, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.destination import SEALED, SEALED_KEYS
from tapedeck.core.meeting import App, Meeting, MeetingStatus, Participant, Preset
from tapedeck.core.paging import Listing, Page
from tapedeck.db.access import contains, count, named, to_app
from tapedeck.db.base import run
from tapedeck.db.models import AppRow, MeetingRow, ParticipantRow, PresetRow

__all__ = [
    "MEETING_COLUMNS",
    "MeetingFilter",
    "add_meeting",
    "add_participant",
    "add_preset",
    "delete_participant",
    "delete_preset",
    "find_invited",
    "find_meeting",
    "find_participant",
    "find_participants",
    "find_preset",
    "find_preset_named",
    "list_meetings",
    "list_participants",
    "list_presets",
    "people_of",
    "people_with_preset",
    "save_config",
    "save_meeting",
    "save_participant",
    "save_preset",
    "sealed_configs",
    "search_patterns",
    "title_matches",
    "to_meeting",
]


_M = MeetingRow.__table__.c
MEETING_COLUMNS = (
    _M.id,
    _M.app_id,
    _M.created_at,
    _M.updated_at,
    _M.title,
    _M.status,
    _M.record_on_start,
    _M.keep_alive_s,
    _M.recording_config,
    _M.ai_config,
    _M.stream_on_start,
)
"""In the order of the fields of `Meeting`; plain columns, since rows are only read."""


@dataclass(frozen=True, slots=True)
class MeetingFilter:
    """Which meetings of an app; None means any. Times are inclusive, on the creation."""

    search: str | None = None
    status: MeetingStatus | None = None
    start: datetime | None = None
    end: datetime | None = None


def search_patterns(search: str) -> tuple[str, str]:
    """What `title_matches` takes for a search: patterns of the title and of the id."""
    return contains(search.casefold()), contains(search.lower())[1:]


def title_matches(title: Any, prefix: Any) -> Any:
    """Condition on meetings: the title contains the text in any case, or the id begins with it."""
    return or_(_M.title_folded.like(title, escape="\\"), _M.id.like(prefix, escape="\\"))


# Presets


async def add_preset(session: AsyncSession, preset: Preset) -> None:
    """Store a new preset."""
    session.add(
        PresetRow(
            id=preset.id,
            app_id=preset.app_id,
            name=preset.name,
            config=dict(preset.config),
            permissions=dict(preset.permissions),
            ui=dict(preset.ui),
            created_at=preset.created_at,
            updated_at=preset.updated_at,
        )
    )
    await session.flush()


async def save_preset(session: AsyncSession, preset: Preset) -> None:
    """Store what changed of a preset."""
    values = {"name": preset.name, "updated_at": preset.updated_at}
    parts = {"config": dict(preset.config), "permissions": dict(preset.permissions), "ui": dict(preset.ui)}
    await session.execute(update(PresetRow).where(PresetRow.id == preset.id).values(**values, **parts))


async def delete_preset(session: AsyncSession, preset_id: str) -> None:
    """Forget a preset that no participant has."""
    await session.execute(delete(PresetRow).where(PresetRow.id == preset_id))


async def people_with_preset(session: AsyncSession, preset_id: str) -> int:
    """How many participants have a preset."""
    return await count(session, select(ParticipantRow).where(ParticipantRow.preset_id == preset_id))


async def find_preset(session: AsyncSession, app_id: str, preset_id: str) -> Preset | None:
    """A preset of an app by its id."""
    row = await session.get(PresetRow, preset_id)
    return _preset(row) if row and row.app_id == app_id else None


async def find_preset_named(session: AsyncSession, app_id: str, name: str) -> Preset | None:
    """A preset of an app by its name."""
    rows = select(PresetRow).where(PresetRow.app_id == app_id, PresetRow.name == name)
    row = (await session.execute(rows)).scalar()
    return _preset(row) if row else None


async def list_presets(session: AsyncSession, app_id: str, page: Page, search: str | None) -> Listing[Preset]:
    """Presets of an app, oldest first."""
    rows = select(PresetRow).where(PresetRow.app_id == app_id)
    if search is not None:
        names = rows.with_only_columns(PresetRow.id, PresetRow.name)
        rows = rows.where(PresetRow.id.in_(await named(session, names, search)))
    total = await count(session, rows)
    ordered = rows.order_by(PresetRow.created_at, PresetRow.name).limit(page.size).offset(page.offset)
    return Listing([_preset(row) for row in (await session.execute(ordered)).scalars()], total, page)


def _preset(row: PresetRow) -> Preset:
    return Preset(row.id, row.app_id, row.name, row.created_at, row.updated_at, row.config, row.permissions, row.ui)


# Meetings


async def add_meeting(session: AsyncSession, meeting: Meeting) -> None:
    """Store a new meeting."""
    session.add(MeetingRow(id=meeting.id, app_id=meeting.app_id, **_meeting_values(meeting)))
    await session.flush()


Configured = type[MeetingRow] | type[AppRow]
"""What has a recording config."""


async def sealed_configs(session: AsyncSession, of: Configured) -> Sequence[tuple[str, dict[str, Any]]]:
    """Id and recording config of every meeting, or of every app, that has credentials."""
    rows = select(of.id, of.recording_config)
    marked = rows.where(cast(of.recording_config, Text).like(f'%"{SEALED}"%'))
    return [
        (id_, config)
        for id_, config in (await session.execute(marked)).all()
        if config and any((config.get(key) or {}).get(SEALED) for key in SEALED_KEYS)
    ]


async def save_config(session: AsyncSession, of: Configured, id_: str, config: dict[str, Any]) -> None:
    """Replace the recording config of a meeting or an app, and nothing else of it."""
    await session.execute(update(of).where(of.id == id_).values(recording_config=config))


async def save_meeting(session: AsyncSession, meeting: Meeting) -> None:
    """Store what changed of a meeting."""
    await session.execute(update(MeetingRow).where(MeetingRow.id == meeting.id).values(**_meeting_values(meeting)))


async def find_meeting(
    session: AsyncSession, meeting_id: str, app_id: str | None = None, lock: bool = False
) -> Meeting | None:
    """A meeting by its id, of one app or of any; `lock` holds it against other writers until the commit."""
    values = {"of_id": meeting_id} | ({} if app_id is None else {"of_app": app_id})
    row = (await run(session, _by_id(app_id is not None, lock), values)).first()
    return to_meeting(row) if row else None


@lru_cache
def _by_id(in_app: bool, lock: bool) -> Select[Any]:
    rows = select(*MEETING_COLUMNS).where(_M.id == bindparam("of_id"))
    if in_app:
        rows = rows.where(_M.app_id == bindparam("of_app"))
    return rows.with_for_update() if lock else rows


async def list_meetings(session: AsyncSession, app_id: str, wanted: MeetingFilter, page: Page) -> Listing[Meeting]:
    """Meetings of an app, newest first."""
    rows = select(*MEETING_COLUMNS).where(_M.app_id == app_id)
    if wanted.search is not None:
        rows = rows.where(title_matches(*search_patterns(wanted.search)))
    if wanted.status is not None:
        rows = rows.where(_M.status == wanted.status)
    if wanted.start is not None:
        rows = rows.where(_M.created_at >= wanted.start)
    if wanted.end is not None:
        rows = rows.where(_M.created_at <= wanted.end)
    total = await count(session, rows)
    ordered = rows.order_by(_M.created_at.desc(), _M.id.desc()).limit(page.size).offset(page.offset)
    return Listing([to_meeting(row) for row in await session.execute(ordered)], total, page)


def _meeting_values(meeting: Meeting) -> dict[str, Any]:
    return {
        "title": meeting.title,
        "title_folded": (meeting.title or "").casefold(),
        "status": str(meeting.status),
        "record_on_start": meeting.record_on_start,
        "stream_on_start": meeting.stream_on_start,
        "keep_alive_s": meeting.keep_alive_s,
        "recording_config": None if meeting.recording_config is None else dict(meeting.recording_config),
        "ai_config": None if meeting.ai_config is None else dict(meeting.ai_config),
        "created_at": meeting.created_at,
        "updated_at": meeting.updated_at,
    }


def to_meeting(values: Sequence[Any]) -> Meeting:
    """The meeting of the values of `MEETING_COLUMNS`."""
    (id_, app_id, created_at, updated_at, title, status, *wishes) = values
    return Meeting(id_, app_id, created_at, updated_at, title, MeetingStatus(status), *wishes)


# Participants


async def add_participant(session: AsyncSession, participant: Participant) -> None:
    """Store a new participant."""
    values = _participant_values(participant)
    session.add(ParticipantRow(id=participant.id, meeting_id=participant.meeting_id, **values))
    await session.flush()


async def save_participant(session: AsyncSession, participant: Participant) -> None:
    """Store what changed of a participant."""
    rows = update(ParticipantRow).where(ParticipantRow.id == participant.id)
    await session.execute(rows.values(**_participant_values(participant)))


async def find_participant(
    session: AsyncSession, participant_id: str, meeting_id: str | None = None
) -> Participant | None:
    """A participant by id, of one meeting or of any."""
    rows = (
        select(ParticipantRow, PresetRow.name)
        .join(PresetRow, PresetRow.id == ParticipantRow.preset_id)
        .where(ParticipantRow.id == participant_id)
    )
    if meeting_id is not None:
        rows = rows.where(ParticipantRow.meeting_id == meeting_id)
    row = (await session.execute(rows)).first()
    return _participant(row[0], row[1]) if row else None


async def find_participants(
    session: AsyncSession, meeting_id: str, ids: Collection[str], custom_ids: Collection[str]
) -> Sequence[Participant]:
    """Participants of a meeting by one of two kinds of ids, oldest first."""
    rows = (
        select(ParticipantRow, PresetRow.name)
        .join(PresetRow, PresetRow.id == ParticipantRow.preset_id)
        .where(ParticipantRow.meeting_id == meeting_id)
        .where(or_(ParticipantRow.id.in_(ids), ParticipantRow.custom_id.in_(custom_ids)))
    )
    found = await session.execute(rows.order_by(ParticipantRow.created_at, ParticipantRow.id))
    return [_participant(row[0], row[1]) for row in found]


async def find_invited(session: AsyncSession, participant_id: str) -> tuple[Participant, Preset, App] | None:
    """A participant of any meeting, with preset and app."""
    rows = (
        select(ParticipantRow, PresetRow, AppRow)
        .join(PresetRow, PresetRow.id == ParticipantRow.preset_id)
        .join(MeetingRow, MeetingRow.id == ParticipantRow.meeting_id)
        .join(AppRow, AppRow.id == MeetingRow.app_id)
        .where(ParticipantRow.id == participant_id)
    )
    row = (await session.execute(rows)).first()
    return (_participant(row[0], row[1].name), _preset(row[1]), to_app(row[2])) if row else None


async def list_participants(session: AsyncSession, meeting_id: str, page: Page) -> Listing[Participant]:
    """Participants of a meeting, oldest first."""
    people, total = await people_of(session, meeting_id, page.size, page.offset)
    return Listing(people, total, page)


async def people_of(
    session: AsyncSession, meeting_id: str, limit: int, offset: int
) -> tuple[Sequence[Participant], int]:
    """So many participants of a meeting, oldest first, after so many; and how many there are."""
    total = await count(session, select(ParticipantRow).where(ParticipantRow.meeting_id == meeting_id))
    ordered = (
        select(ParticipantRow, PresetRow.name)
        .join(PresetRow, PresetRow.id == ParticipantRow.preset_id)
        .where(ParticipantRow.meeting_id == meeting_id)
        .order_by(ParticipantRow.created_at, ParticipantRow.id)
        .limit(limit)
        .offset(offset)
    )
    return [_participant(row[0], row[1]) for row in await session.execute(ordered)], total


async def delete_participant(session: AsyncSession, participant_id: str) -> None:
    """Forget a participant; what was recorded stays."""
    await session.execute(delete(ParticipantRow).where(ParticipantRow.id == participant_id))


def _participant_values(participant: Participant) -> dict[str, Any]:
    return {
        "preset_id": participant.preset_id,
        "custom_id": participant.custom_id,
        "name": participant.name,
        "picture": participant.picture,
        "token_version": participant.token_version,
        "created_at": participant.created_at,
        "updated_at": participant.updated_at,
    }


def _participant(row: ParticipantRow, preset_name: str) -> Participant:
    return Participant(
        id=row.id,
        meeting_id=row.meeting_id,
        preset_id=row.preset_id,
        preset_name=preset_name,
        custom_id=row.custom_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
        name=row.name,
        picture=row.picture,
        token_version=row.token_version,
    )
