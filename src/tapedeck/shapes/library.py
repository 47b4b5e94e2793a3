"""What answers of the rooms API look like: a type for each JSON object, as `answers.py` has them for RealtimeKit."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

__all__ = [
    "Archived",
    "BulkItem",
    "Deed",
    "Deleted",
    "DeletedRoom",
    "DownloadFile",
    "DownloadLink",
    "Heard",
    "ListedRecording",
    "Meta",
    "Person",
    "PersonToken",
    "PersonWithToken",
    "PlayLink",
    "Recovered",
    "RemovedPerson",
    "Room",
    "RoomError",
    "RoomOf",
    "RoomRecording",
    "Started",
    "Stopped",
    "Synced",
    "SyncedRecording",
    "TenantToken",
    "Undeleted",
]

RecId = Annotated[str, Field(pattern="^rec_[0-9a-f-]{36}$", examples=["rec_2f0a2d5e-8a3b-4b0e-8f57-6d1b0c9b7e01"])]
RoomId = Annotated[str, Field(pattern="^room_[0-9a-f-]{36}$", examples=["room_2f0a2d5e-8a3b-4b0e-8f57-6d1b0c9b7e01"])]
Uuid = Annotated[str, Field(json_schema_extra={"format": "uuid"}, examples=["2f0a2d5e-8a3b-4b0e-8f57-6d1b0c9b7e01"])]
Seconds = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-01-06T10:30:00Z"])]
Link = Annotated[str, Field(json_schema_extra={"format": "uri"}, examples=["https://media.example.org/files/film.mp4"])]
Status = Literal["recording", "processing", "ready", "archived", "failed"]
Whole = Annotated[int, Field(ge=0, examples=[60])]


class RoomError(TypedDict):
    """Every error."""

    error: Annotated[str, Field(description="A sentence to whoever can act.", examples=["There is no such room"])]
    code: Annotated[
        Literal[
            "CONFLICT",
            "NOT_FOUND",
            "BAD_REQUEST",
            "UNAUTHORIZED",
            "FORBIDDEN",
            "INTERNAL",
            "TOO_MANY_REQUESTS",
            "UNAVAILABLE",
        ],
        Field(examples=["NOT_FOUND"]),
    ]


class Meta(TypedDict):
    """Where a page lies."""

    total: Whole
    limit: Annotated[int, Field(ge=1, le=100, examples=[20])]
    offset: Annotated[int, Field(ge=0, examples=[0])]


class Room(TypedDict):
    """A place to meet, for as long as it is not deleted."""

    id: RoomId
    name: Annotated[str | None, Field(examples=["Physics"])]
    is_open: Annotated[bool, Field(description="Whether people can join.")]
    record_on_start: Annotated[bool, Field(description="A recording starts with the first person who joins.")]
    created_at: Seconds
    updated_at: Seconds


class DeletedRoom(TypedDict):
    """A room that is no more."""

    id: RoomId
    deleted: Literal[True]
    deleted_at: Seconds


class Person(TypedDict):
    """Somebody invited to a room."""

    id: Uuid
    room_id: RoomId
    name: Annotated[str | None, Field(examples=["Ada"])]
    role: Annotated[str, Field(examples=["participant"])]
    user_id: Annotated[str, Field(examples=["user-7"])]
    created_at: Seconds


class PersonWithToken(Person):
    """Somebody new, with what they publish with."""

    token: Annotated[str, Field(examples=["eyJhbGciOi…"])]
    whip_url: Annotated[str, Field(description="Where media goes to (RFC 9725), with the token as Bearer.")]


class PersonToken(TypedDict):
    """A new token of somebody, and where media goes to."""

    token: Annotated[str, Field(examples=["eyJhbGciOi…"])]
    whip_url: str


class RemovedPerson(TypedDict):
    """Somebody whose tokens are void."""

    id: Uuid
    deleted: Literal[True]


class TenantToken(TypedDict):
    """A token for `Authorization: Bearer`."""

    token: Annotated[str, Field(examples=["eyJhbGciOi…"])]
    expires_at: Seconds


class Started(TypedDict):
    """A recording that has begun."""

    id: RecId
    room_id: RoomId
    status: Literal["recording"]
    started_at: Seconds


class Stopped(TypedDict):
    """A recording that was ended: `failed` when nothing had been recorded."""

    id: RecId
    room_id: RoomId
    status: Literal["processing", "ready", "failed"]
    stopped_at: Seconds


class SyncedRecording(TypedDict):
    """A recording that the library had not."""

    id: RecId
    status: Status


class Heard(TypedDict):
    """What a recorder told was heard."""

    heard: bool


class Synced(TypedDict):
    """What was taken into the library."""

    synced_count: Whole
    recordings: list[SyncedRecording]


class ListedRecording(TypedDict):
    """A recording in a list."""

    id: RecId
    room_id: RoomId
    status: Status
    duration_seconds: Whole | None
    size_bytes: Whole | None
    created_at: Seconds
    deleted_at: NotRequired[Annotated[Seconds, Field(description="Of a deleted one.")]]


class RoomOf(TypedDict):
    """The room of a recording."""

    id: RoomId
    name: Annotated[str | None, Field(examples=["Physics"])]


class RoomRecording(TypedDict):
    """A recording."""

    id: RecId
    room_id: RoomId
    room: RoomOf
    status: Status
    duration_seconds: Whole | None
    size_bytes: Whole | None
    started_at: Seconds
    stopped_at: Seconds | None
    error: NotRequired[Annotated[str, Field(description="Of a failed one: why.")]]
    warnings: NotRequired[Annotated[list[str], Field(description="What went less well than asked for.")]]
    archive_state: NotRequired[Annotated[str, Field(description="How far it is on its way to the archive, or back.")]]
    restored_until: NotRequired[Annotated[Seconds, Field(description="Until when the restored copy is there.")]]
    deleted_at: NotRequired[Seconds]
    poster_url: NotRequired[Link]
    thumbnails_url: NotRequired[Annotated[Link, Field(description="Pictures of the time line, in one.")]]
    thumbnails_map_url: NotRequired[Annotated[Link, Field(description="Which of them is when (WebVTT).")]]


class DownloadFile(TypedDict):
    """One of several files."""

    name: str
    url: Link


class DownloadLink(TypedDict):
    """A link, or why there is none. Without an envelope."""

    recording_id: RecId
    status: Status
    download_url: NotRequired[Link]
    duration: NotRequired[Whole | None]
    file_size: NotRequired[Whole]
    provider: NotRequired[Literal["r2", "s3", "local", "s3_glacier"]]
    message: NotRequired[str]
    files: NotRequired[list[DownloadFile]]
    poster_url: NotRequired[Link]
    thumbnails_url: NotRequired[Link]
    thumbnails_map_url: NotRequired[Link]


class PlayLink(TypedDict):
    """Where a recording can be played."""

    id: RecId
    status: Annotated[Literal["live", "recorded"], Field(description="`live` while its film is made.")]
    play_url: Annotated[Link, Field(description="HLS, for any player.")]
    page_url: Annotated[Link, Field(description="The same in a page with a player.")]
    expires_at: Seconds


class Recovered(TypedDict):
    """A recording whose film is gone on with."""

    id: RecId
    status: Literal["processing"]
    message: Annotated[str, Field(examples=["Recovery initiated. Recording will be reprocessed."])]


class Archived(TypedDict):
    """A recording that is in the archive."""

    id: RecId
    status: Literal["archived"]
    archived_at: Seconds


class Deleted(TypedDict):
    """A recording that is hidden."""

    id: RecId
    deleted: Literal[True]
    deleted_at: Seconds


class Undeleted(TypedDict):
    """A recording that is shown again."""

    id: RecId
    deleted: Literal[False]
    status: Status


class BulkItem(TypedDict):
    """What became of one of several: what the single request answers, or its error."""

    id: str
    ok: bool
    error: NotRequired[str]
    code: NotRequired[str]


class Deed(TypedDict):
    """Something that was done."""

    at: Seconds
    actor: Annotated[dict[str, Any], Field(description="`kind`, `id` and `name` of a key, or the server itself.")]
    action: Annotated[str, Field(examples=["recording.delete"])]
    recording_id: RecId | None
    room_id: RoomId | None
    detail: dict[str, Any]
