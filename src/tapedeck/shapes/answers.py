"""What answers look like: one type for each JSON object that this server says, field by field.

The API's description is made of these, and tests hold every answer against it. A key that may be missing is
`NotRequired`; one that may be null says so.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from tapedeck.shapes.webhooks import EventName

__all__ = [
    "ActiveRecording",
    "App",
    "Delivery",
    "ErrorAnswer",
    "Health",
    "ListedRecording",
    "MadeApp",
    "Meeting",
    "Paging",
    "Participant",
    "ParticipantWithToken",
    "Preset",
    "PresetDetail",
    "Readiness",
    "Recording",
    "Redelivered",
    "RemovedParticipant",
    "StartedRecording",
    "StartedTracks",
    "Token",
    "Webhook",
    "WebhookKey",
]

Id = Annotated[str, Field(json_schema_extra={"format": "uuid"}, examples=["2f0a2d5e-8a3b-4b0e-8f57-6d1b0c9b7e01"])]
Name = Annotated[str, Field(examples=["Physics"])]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-03-02T09:15:04.120Z"])]
Link = Annotated[str, Field(json_schema_extra={"format": "uri"}, examples=["https://media.example.org/files/film.mp4"])]
Status = Literal["INVOKED", "RECORDING", "PAUSED", "UPLOADING", "UPLOADED", "ERRORED"]


class Paging(TypedDict):
    """Where a page lies: 1-based and inclusive; an empty one is 0 and 0."""

    total_count: Annotated[int, Field(ge=0, examples=[1])]
    start_offset: Annotated[int, Field(ge=0, examples=[1])]
    end_offset: Annotated[int, Field(ge=0, examples=[1])]


# Errors


class ErrorHead(TypedDict):
    """The error as RealtimeKit says it."""

    code: Annotated[int, Field(description="The HTTP status.", examples=[404])]
    message: Annotated[str, Field(description="A sentence to whoever can act.", examples=["Recording not found"])]


class ErrorSource(TypedDict):
    """Where in the request the problem is."""

    pointer: Annotated[str, Field(description="JSON pointer (RFC 6901).", examples=["/meeting_id"])]


class ErrorItem(TypedDict):
    """One problem, as the gateway says it."""

    code: Annotated[
        int, Field(description="10000 for 401 and 403, 7003 for an unknown route, else the status.", examples=[404])
    ]
    message: Annotated[str, Field(examples=["Recording not found"])]
    source: NotRequired[ErrorSource]


class ErrorAnswer(TypedDict):
    """Every error: for readers of RealtimeKit (`error`) and of the gateway (`errors`)."""

    success: Literal[False]
    error: ErrorHead
    errors: Annotated[list[ErrorItem], Field(min_length=1)]
    messages: Annotated[list[str], Field(max_length=0, examples=[[]])]
    result: None


# Apps, meetings, people


class App(TypedDict):
    """An application of an account: everything else belongs to one."""

    id: Annotated[str, Field(examples=["campus"])]
    name: Name
    created_at: Time


class MadeApp(TypedDict):
    """A new app."""

    app: App


class Meeting(TypedDict):
    """A room, which never starts or ends; each live run of it is a session."""

    id: Id
    title: Annotated[str | None, Field(examples=["Physics"])]
    status: Annotated[Literal["ACTIVE", "INACTIVE"], Field(description="INACTIVE lets nobody join.")]
    created_at: Time
    updated_at: Time
    record_on_start: Annotated[bool, Field(description="A recording starts with the first person who joins.")]
    live_stream_on_start: Annotated[bool, Field(description="Viewers see it from the first join on, over HLS.")]
    persist_chat: Literal[False]
    summarize_on_end: Literal[False]
    transcribe_on_end: Literal[False]
    session_keep_alive_time_in_secs: Annotated[float, Field(ge=60, le=600, examples=[60])]
    recording_config: NotRequired[
        Annotated[
            dict[str, Any],
            Field(description="Wishes for recordings of this meeting.", examples=[{"max_seconds": 3600}]),
        ]
    ]
    ai_config: NotRequired[
        Annotated[dict[str, Any], Field(description="Kept and said again; nothing is made of it.", examples=[{}])]
    ]


class Participant(TypedDict):
    """A person invited to a meeting."""

    id: Id
    name: Annotated[str | None, Field(examples=["Ada"])]
    picture: Annotated[str | None, Field(examples=["https://example.org/ada.png"])]
    custom_participant_id: Annotated[str, Field(examples=["user-7"])]
    preset_id: Id
    preset_name: Annotated[str, Field(examples=["group_call_host"])]
    created_at: Time
    updated_at: Time


class ParticipantWithToken(Participant):
    """A participant with a new token."""

    token: Annotated[str, Field(description="Joins and, if the preset allows, records.", examples=["eyJhbGciOi…"])]


class RemovedParticipant(TypedDict):
    """What is said of a participant who was deleted."""

    custom_participant_id: Annotated[str, Field(examples=["user-7"])]
    preset_id: Id
    created_at: Time
    updated_at: Time


class Token(TypedDict):
    """A token of a participant."""

    token: Annotated[str, Field(examples=["eyJhbGciOi…"])]


class Preset(TypedDict):
    """A preset in a list."""

    id: Id
    name: Annotated[str, Field(examples=["group_call_host"])]
    created_at: Time
    updated_at: Time


class PresetDetail(Preset):
    """What a participant may do. Parts that this server does not read are kept and said again."""

    config: Annotated[dict[str, Any], Field(examples=[{"view_type": "GROUP_CALL"}])]
    permissions: Annotated[dict[str, Any], Field(examples=[{"can_record": True}])]
    ui: Annotated[dict[str, Any], Field(examples=[{}])]


# Recordings


class Caller(TypedDict):
    """Who asked."""

    type: Annotated[Literal["ORGANIZATION", "USER"], Field(description="A backend, or a participant.")]
    user_Id: Annotated[str, Field(description="Id of the app, or of the participant.", examples=["campus"])]
    name: Annotated[str, Field(examples=["Campus"])]


class StartReason(TypedDict):
    """Why it started."""

    reason: Literal["API_CALL", "RECORD_ON_START"]
    caller: NotRequired[Caller]


class StopReason(TypedDict):
    """Why it stopped: a `reason`, or a `detail` where the published words have none for it."""

    reason: NotRequired[Literal["API_CALL", "INTERNAL_ERROR", "ALL_PEERS_LEFT"]]
    detail: NotRequired[Literal["MAX_SECONDS", "SHUTDOWN"]]
    caller: NotRequired[Caller]


class TrackLink(TypedDict):
    """Where a file is."""

    download_url: Link


class TrackLinks(TypedDict):
    """The files of a layer of a recording of tracks."""

    layer_name: Annotated[str, Field(examples=["default"])]
    download_urls: Annotated[dict[str, TrackLink], Field(description="By file name.")]


class ActiveRecording(TypedDict):
    """A recording that runs: what everybody may know of it."""

    id: Id
    meeting_id: Id
    type: Annotated[Literal["COMPOSITE", "TRACK"], Field(description="One film of all, or a file for each track.")]
    status: Status
    output_file_name: Annotated[str, Field(examples=["Physics_1772442904081.mp4"])]
    invoked_time: Time
    started_time: Annotated[Time | None, Field(description="First media; null until then.")]
    stopped_time: Time | None
    session_id: Annotated[Id | None, Field(description="The session it records; null until there is one.")]
    download_url: Annotated[
        Link | list[TrackLinks] | None,
        Field(description="Signed; null until UPLOADED. Of tracks: one for each file, by layer and name."),
    ]
    audio_download_url: Link | None
    download_url_expiry: Annotated[Time | None, Field(description="When the links die: 7 days after UPLOADED.")]
    file_size: Annotated[int | None, Field(description="Bytes of all files; null until UPLOADED.", examples=[52428800])]
    recording_duration: NotRequired[Annotated[int, Field(description="Seconds, without pauses.", examples=[1800])]]


class StorageError(TypedDict):
    """Why a storage does not take the files, for its owner."""

    type: Annotated[str, Field(examples=["aws"])]
    message: Annotated[str, Field(examples=["The bucket does not exist."])]
    final: Annotated[bool, Field(description="Nothing is tried any more.")]


class RecordingWarning(TypedDict):
    """What went less well than asked for, though the recording goes on."""

    code: Annotated[str, Field(description="For programs: `watermark`.", examples=["watermark"])]
    message: Annotated[str, Field(examples=["The film has no watermark: the answer was status 404"])]


_Warnings = Annotated[
    list[RecordingWarning], Field(min_length=1, description="Not of RealtimeKit; only there when there are some.")
]


class StartedRecording(ActiveRecording):
    """A recording with its reasons."""

    start_reason: StartReason
    stop_reason: NotRequired[StopReason]
    storage_config: Annotated[dict[str, Any] | None, Field(description="Where else it goes, without its secrets.")]
    storage_errors: NotRequired[Annotated[list[StorageError], Field(description="What keeps files from there.")]]
    warnings: NotRequired[_Warnings]


class StartedTracks(ActiveRecording):
    """A recording of tracks that was just started: twice the same, for two generations of clients."""

    recording: ActiveRecording


class Recording(StartedRecording):
    """A recording, whole."""

    meeting: Meeting


class ListedRecording(ActiveRecording):
    """A recording in a list."""

    storage_config: Annotated[dict[str, Any] | None, Field(description="Where else it goes, without its secrets.")]
    storage_errors: NotRequired[Annotated[list[StorageError], Field(description="What keeps files from there.")]]
    meeting: Meeting
    warnings: NotRequired[_Warnings]


# Webhooks


class Webhook(TypedDict):
    """An address that is told what happens."""

    id: Id
    name: Annotated[str, Field(examples=["ops"])]
    url: Annotated[str, Field(examples=["https://example.org/hook"])]
    events: list[EventName]
    enabled: bool
    created_at: Time
    updated_at: Time


class PublicKey(TypedDict):
    """RSA-2048, SPKI."""

    publicKey: Annotated[str, Field(examples=["-----BEGIN PUBLIC KEY-----\n…"])]


class WebhookKey(TypedDict):
    """What signatures are verified with."""

    success: Literal[True]
    data: PublicKey
    message: Annotated[str, Field(examples=[""])]


class DeliveryRequest(TypedDict):
    """What is sent."""

    url: Annotated[str, Field(examples=["https://example.org/hook"])]
    body: Annotated[str, Field(description="The very bytes that are signed, as text.", examples=["{}"])]


class DeliveryAttempt(TypedDict):
    """One request, as it went."""

    at: Time
    took_ms: Annotated[int, Field(ge=0, examples=[31])]
    status: Annotated[int | None, Field(description="Null when there was no answer.", examples=[200])]
    answer: Annotated[str, Field(description="The beginning of the answer's body.", examples=["ok"])]
    error: Annotated[str | None, Field(description="Why there was no answer.", examples=[None])]


class Delivery(TypedDict):
    """One message to one webhook."""

    id: Annotated[Id, Field(description="What the receiver knows repeats by (`rtk-uuid`).")]
    webhook_id: Id
    event: EventName
    key: Annotated[str, Field(description="The recording or session: of one key, messages keep their order.")]
    status: Literal["WAITING", "READY", "DELIVERED", "FAILED", "CANCELLED"]
    created_at: Time
    next_attempt_at: Time | None
    finished_at: Time | None
    request: DeliveryRequest
    attempts: list[DeliveryAttempt]


class Redelivered(TypedDict):
    """How many were queued once more."""

    redelivered_count: Annotated[int, Field(ge=0, le=1000, examples=[3])]


# Health


class Health(TypedDict):
    """The process lives."""

    status: Literal["ok"]


class Readiness(TypedDict):
    """Whether each part does its work."""

    status: Literal["ok", "failed"]
    checks: Annotated[dict[str, Literal["ok", "failed"]], Field(examples=[{"database": "ok"}])]
