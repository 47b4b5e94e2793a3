"""What the rooms API takes and says: bodies, ids, times and objects (spec I2, I3). Pure; decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from tapedeck.core.archive import ArchiveNote
from tapedeck.core.errors import NotFoundError
from tapedeck.core.ids import is_uuid
from tapedeck.core.library import LibraryItem, LibraryLine, LibraryStatus
from tapedeck.core.meeting import Meeting, MeetingStatus, Participant
from tapedeck.core.recording import recorded_seconds
from tapedeck.shapes.bodies import Body, StartBody

__all__ = [
    "BulkBody",
    "InviteBody",
    "RoomBody",
    "RoomStartBody",
    "TokenBody",
    "download_body",
    "error_body",
    "format_seconds",
    "listed",
    "person_body",
    "rec_id",
    "recording_body",
    "room_body",
    "room_id",
    "still_links",
    "uuid_of",
]

_CODES = {400: "BAD_REQUEST", 401: "UNAUTHORIZED", 403: "FORBIDDEN", 404: "NOT_FOUND", 409: "CONFLICT"}
_MORE_CODES = {429: "TOO_MANY_REQUESTS", 503: "UNAVAILABLE"}
"""Beyond the contract, where it has no word for what servers do."""


# Ids and times


def rec_id(recording_id: str) -> str:
    """How a recording is called here."""
    return f"rec_{recording_id}"


def room_id(meeting_id: str) -> str:
    """How a room is called here."""
    return f"room_{meeting_id}"


def uuid_of(text: str, prefix: str, what: str) -> str:
    """The id inside, prefixed or bare. NotFoundError for what is no id: there is no such thing."""
    bare = text.removeprefix(f"{prefix}_").lower()
    if not is_uuid(bare):
        raise NotFoundError(f"There is no such {what}")
    return bare


def format_seconds(at: datetime | None) -> str | None:
    """RFC 3339 in UTC, whole seconds (cut): `2026-01-06T10:30:00Z`."""
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# Bodies


class RoomBody(Body):
    """POST rooms, and PATCH rooms/{id}, where what is not given stays as it is."""

    name: Annotated[str, Field(max_length=500)] | None = None
    record_on_start: bool | None = None

    def values(self) -> dict[str, Any]:
        """What was given, under the names of `core.meeting.Meeting`."""
        given: dict[str, Any] = {}
        if "name" in self.model_fields_set:
            given["title"] = self.name
        if self.record_on_start is not None:
            given["record_on_start"] = self.record_on_start
        return given


class InviteBody(Body):
    """POST rooms/{id}/participants."""

    name: Annotated[str, Field(max_length=256)] | None = None
    role: Annotated[str, Field(min_length=1, max_length=256)] = "participant"
    user_id: Annotated[str, Field(min_length=1, max_length=256)] | None = None


class RoomStartBody(StartBody):
    """POST rooms/{id}/recordings/start: what the film shall be, if anything is to be said about it."""

    meeting_id: SkipJsonSchema[str] = ""


class TokenBody(Body):
    """POST token."""

    ttl_seconds: Annotated[int, Field(ge=60, le=86_400)] = 3600


class BulkBody(Body):
    """Several recordings at once."""

    ids: Annotated[list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=100)]


# From core to bodies


def error_body(status: int, message: str) -> dict[str, str]:
    """The body of an error."""
    code = _CODES.get(status) or _MORE_CODES.get(status) or ("BAD_REQUEST" if status < 500 else "INTERNAL")
    return {"error": message, "code": code}


def room_body(room: Meeting) -> dict[str, Any]:
    """A room."""
    return {
        "id": room_id(room.id),
        "name": room.title,
        "is_open": room.status is MeetingStatus.ACTIVE,
        "record_on_start": room.record_on_start,
        "created_at": format_seconds(room.created_at),
        "updated_at": format_seconds(room.updated_at),
    }


def person_body(person: Participant, roles: Mapping[str, str]) -> dict[str, Any]:
    """Somebody invited; `roles` maps roles to presets."""
    names = {preset: role for role, preset in roles.items()}
    return {
        "id": person.id,
        "room_id": room_id(person.meeting_id),
        "name": person.name,
        "role": names.get(person.preset_name, person.preset_name),
        "user_id": person.custom_id,
        "created_at": format_seconds(person.created_at),
    }


def listed(line: LibraryLine) -> dict[str, Any]:
    """A recording in a list."""
    body = {
        "id": rec_id(line.recording_id),
        "room_id": room_id(line.meeting_id),
        "status": line.status,
        "duration_seconds": line.seconds,
        "size_bytes": line.size_bytes,
        "created_at": format_seconds(line.created_at),
    }
    return body if line.deleted_at is None else body | {"deleted_at": format_seconds(line.deleted_at)}


def recording_body(item: LibraryItem, stills: Mapping[str, str]) -> dict[str, Any]:
    """A recording; links to `stills` by kind."""
    recording = item.recording
    body: dict[str, Any] = {
        "id": rec_id(recording.id),
        "room_id": room_id(recording.meeting_id),
        "room": {"id": room_id(item.meeting.id), "name": item.meeting.title},
        "status": str(item.entry.status),
        "duration_seconds": recorded_seconds(recording),
        "size_bytes": recording.size_bytes,
        "started_at": format_seconds(recording.started_at or recording.invoked_at),
        "stopped_at": format_seconds(recording.stopped_at),
    }
    if item.entry.status is LibraryStatus.FAILED and recording.failure:
        body["error"] = recording.failure
    if recording.cautions:
        body["warnings"] = [caution.message for caution in recording.cautions]
    if item.entry.archive_state is not None:
        body["archive_state"] = item.entry.archive_state
    if (until := ArchiveNote.of(item.entry.archive_note).restored_until) is not None:
        body["restored_until"] = format_seconds(until)
    return body | _when_deleted(item) | still_links(stills)


def download_body(
    item: LibraryItem,
    files: Sequence[tuple[str, int, str]],
    stills: Mapping[str, str],
    message: str | None,
    provider: str,
) -> dict[str, Any]:
    """What can be had: name, size and link of each file, the one that is meant first; or `message`.

    `provider`: what the bucket is called (spec OC-100).
    """
    recording = item.recording
    body: dict[str, Any] = {"recording_id": rec_id(recording.id), "status": str(item.entry.status)}
    if not files:
        return body | {"message": message}
    body |= {
        "download_url": files[0][2],
        "duration": recorded_seconds(recording),
        "file_size": files[0][1],
        "provider": provider if item.entry.status is LibraryStatus.READY else "s3_glacier",
    }
    if len(files) > 1 or recording.options.tracks is not None:
        body["files"] = [{"name": name, "url": url} for name, _, url in files]
    return body | still_links(stills)


def still_links(stills: Mapping[str, str]) -> dict[str, str]:
    """Links to pictures under the names they have here."""
    names = {"poster": "poster_url", "sprite": "thumbnails_url", "storyboard": "thumbnails_map_url"}
    return {name: stills[kind] for kind, name in names.items() if kind in stills}


def _when_deleted(item: LibraryItem) -> dict[str, Any]:
    at = item.entry.deleted_at
    return {} if at is None else {"deleted_at": format_seconds(at)}
