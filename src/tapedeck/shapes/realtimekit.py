"""What the RealtimeKit face says: core objects to the JSON that the official SDK reads. Pure; owns the face's words.

Which optional fields an answer has differs by route; each function here is one such selection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from tapedeck.core.destination import (
    SEALED_KEYS,
    Destination,
    DestinationKind,
    DestinationState,
    public_storage,
)
from tapedeck.core.errors import FieldProblem
from tapedeck.core.meeting import App, Meeting, Participant, Preset
from tapedeck.core.paging import Listing
from tapedeck.core.recording import (
    Caller,
    CallerKind,
    Recording,
    RecordingKind,
    RecordingState,
    StartCause,
    StopCause,
    recorded_seconds,
)
from tapedeck.core.times import format_time

__all__ = [
    "STATUS",
    "Download",
    "active_recording",
    "app_body",
    "download_of",
    "error_body",
    "full_recording",
    "listed_recording",
    "listing",
    "meeting_body",
    "participant_body",
    "preset_body",
    "preset_item",
    "public_config",
    "removed_participant",
    "single",
    "started_recording",
    "started_tracks",
    "states_of",
    "status_change",
    "warnings_of",
]

T = TypeVar("T")
Download = str | list[dict[str, Any]] | None
"""A link, or those of the files of tracks."""

STATUS: Mapping[RecordingState, str] = MappingProxyType(
    {
        RecordingState.REQUESTED: "INVOKED",
        RecordingState.STARTING: "INVOKED",
        RecordingState.CAPTURING: "RECORDING",
        RecordingState.PAUSED: "PAUSED",
        RecordingState.CLOSING: "UPLOADING",
        RecordingState.RENDERING: "UPLOADING",
        RecordingState.UPLOADING: "UPLOADING",
        RecordingState.DONE: "UPLOADED",
        RecordingState.FAILED: "ERRORED",
    }
)
"""The face's word for each state."""

_START = {StartCause.REQUEST: "API_CALL", StartCause.FIRST_JOIN: "RECORD_ON_START"}
_STOP: Mapping[StopCause, dict[str, str]] = {
    StopCause.REQUEST: {"reason": "API_CALL"},
    StopCause.EMPTY: {"reason": "ALL_PEERS_LEFT"},
    StopCause.FAULT: {"reason": "INTERNAL_ERROR"},
    # The published enum has no word for these two, and strict clients refuse new ones.
    StopCause.MAX_SECONDS: {"detail": "MAX_SECONDS"},
    StopCause.SHUTDOWN: {"detail": "SHUTDOWN"},
}
_CALLER = {CallerKind.APP: "ORGANIZATION", CallerKind.PARTICIPANT: "USER"}


def states_of(statuses: Iterable[str]) -> frozenset[RecordingState]:
    """The states behind the face's words; KeyError for a word that is none."""
    words = set(statuses)
    unknown = words - set(STATUS.values())
    if unknown:
        raise KeyError(min(unknown))
    return frozenset(state for state, word in STATUS.items() if word in words)


def status_change(previous: RecordingState | None, state: RecordingState) -> str | None:
    """The face's word for a change, or None when it sees none: several states of ours share one word."""
    before = None if previous is None else STATUS[previous]
    return None if before == STATUS[state] else STATUS[state]


# Envelopes


def single(data: Any) -> dict[str, Any]:
    """One thing."""
    return {"success": True, "data": data}


def listing(items: Sequence[Any], page: Listing[T]) -> dict[str, Any]:
    """A page of things; `page` says where it lies."""
    paging = {"total_count": page.total_count, "start_offset": page.start_offset, "end_offset": page.end_offset}
    return {"success": True, "data": list(items), "paging": paging}


def error_body(status: int, message: str, code: int, problems: Sequence[FieldProblem] = ()) -> dict[str, Any]:
    """An error for both kinds of reader: `error` of RealtimeKit, `errors` of the gateway, one per failed field."""
    errors: list[dict[str, Any]] = [
        {"code": code, "message": problem.message, "source": {"pointer": problem.pointer}} for problem in problems
    ]
    return {
        "success": False,
        "error": {"code": status, "message": message},
        "errors": errors or [{"code": code, "message": message}],
        "messages": [],
        "result": None,
    }


# Recordings


def started_recording(
    recording: Recording, video_url: Download, audio_url: str | None, places: Sequence[Destination] = ()
) -> dict[str, Any]:
    """Answer to a start: everything but the meeting."""
    more = _reasons(recording) | _storage(places) | warnings_of(recording)
    return _base(recording, video_url, audio_url) | more


def started_tracks(recording: Recording) -> dict[str, Any]:
    """Answer to a start of tracks: some clients look into `recording`, some beside it."""
    return {"recording": _base(recording, None, None)} | _base(recording, None, None)


def download_of(recording: Recording, video_url: str | None, track_urls: Mapping[str, str]) -> Download:
    """What `download_url` holds: of tracks, once delivered, the links of each layer by file name.

    Layers without files are left out, but for the first: there is always one.
    """
    choice = recording.options.tracks
    if choice is None or recording.state is not RecordingState.DONE:
        return video_url
    found: list[dict[str, Any]] = []
    for layer in choice.layers:
        names = [file.name for file in recording.files if file.layer == layer.name and file.name in track_urls]
        if names or layer is choice.layers[0]:
            urls = {name: {"download_url": track_urls[name]} for name in names}
            found.append({"layer_name": layer.name, "download_urls": urls})
    return found


def full_recording(
    recording: Recording,
    meeting: Meeting,
    video_url: Download,
    audio_url: str | None,
    places: Sequence[Destination] = (),
) -> dict[str, Any]:
    """Answer to a get or to an action: everything there is."""
    body = started_recording(recording, video_url, audio_url, places)
    return body | {"meeting": meeting_body(meeting, listed=True)}


def listed_recording(
    recording: Recording,
    meeting: Meeting,
    video_url: Download,
    audio_url: str | None,
    places: Sequence[Destination] = (),
) -> dict[str, Any]:
    """An item of a list: without the reasons."""
    more = _storage(places) | {"meeting": meeting_body(meeting, listed=True)}
    return _base(recording, video_url, audio_url) | more | warnings_of(recording)


def active_recording(recording: Recording, video_url: Download, audio_url: str | None) -> dict[str, Any]:
    """Answer to the question for the active recording: the base fields alone."""
    return _base(recording, video_url, audio_url)


def _base(recording: Recording, video_url: Download, audio_url: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": recording.id,
        "meeting_id": recording.meeting_id,
        "type": "TRACK" if recording.kind is RecordingKind.TRACK else "COMPOSITE",
        "status": STATUS[recording.state],
        "output_file_name": recording.file_name,
        "invoked_time": format_time(recording.invoked_at),
        "started_time": None if recording.started_at is None else format_time(recording.started_at),
        "stopped_time": None if recording.stopped_at is None else format_time(recording.stopped_at),
        "session_id": recording.session_id,
        "download_url": video_url,
        "audio_download_url": audio_url,
        "download_url_expiry": None if recording.expires_at is None else format_time(recording.expires_at),
        "file_size": recording.size_bytes,
    }
    seconds = recorded_seconds(recording)
    if seconds is not None:
        body["recording_duration"] = seconds
    return body


def _storage(places: Sequence[Destination]) -> dict[str, Any]:
    """Where else it goes, without the secrets; and what the owner of a storage can mend."""
    outside = [place for place in places if place.kind is not DestinationKind.BUCKET]
    body: dict[str, Any] = {
        "storage_config": next((public_storage(place.storage) for place in outside if place.layer is None), None)
    }
    errors = [
        {"type": place.storage.get("type"), "message": place.error, "final": place.state is DestinationState.FAILED}
        for place in outside
        if place.error is not None and place.state is not DestinationState.DONE
    ]
    return body | ({"storage_errors": errors} if errors else {})


def warnings_of(recording: Recording) -> dict[str, Any]:
    """What went less well than asked for, under `warnings`; no such key when nothing did."""
    found = [{"code": caution.code, "message": caution.message} for caution in recording.cautions]
    return {"warnings": found} if found else {}


def _reasons(recording: Recording) -> dict[str, Any]:
    start: dict[str, Any] = {"reason": _START[recording.start_cause]}
    body: dict[str, Any] = {"start_reason": start | _caller(recording.started_by)}
    if recording.stop_cause is not None:
        body["stop_reason"] = dict(_STOP[recording.stop_cause]) | _caller(recording.stopped_by)
    return body


def _caller(caller: Caller | None) -> dict[str, Any]:
    if caller is None:
        return {}
    return {"caller": {"type": _CALLER[caller.kind], "user_Id": caller.id, "name": caller.name}}


# Apps, meetings, participants, presets


def app_body(app: App) -> dict[str, Any]:
    """An app."""
    return {"id": app.id, "name": app.name, "created_at": format_time(app.created_at)}


def meeting_body(meeting: Meeting, listed: bool = False) -> dict[str, Any]:
    """A meeting; in lists, and inside a recording, without `ai_config`."""
    seconds = meeting.keep_alive_s
    body: dict[str, Any] = {
        "id": meeting.id,
        "title": meeting.title,
        "status": meeting.status.upper(),
        "created_at": format_time(meeting.created_at),
        "updated_at": format_time(meeting.updated_at),
        "record_on_start": meeting.record_on_start,
        "live_stream_on_start": meeting.stream_on_start,
        "persist_chat": False,
        "summarize_on_end": False,
        "transcribe_on_end": False,
        "session_keep_alive_time_in_secs": int(seconds) if seconds == int(seconds) else seconds,
    }
    if meeting.recording_config is not None:
        body["recording_config"] = public_config(meeting.recording_config)
    if meeting.ai_config is not None and not listed:
        body["ai_config"] = dict(meeting.ai_config)
    return body


def public_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A level of wishes without secrets."""
    return {**config, **{key: public_storage(config[key]) for key in SEALED_KEYS if key in config}}


def participant_body(participant: Participant, token: str | None = None) -> dict[str, Any]:
    """A participant, with a token where the route gives one."""
    body: dict[str, Any] = {
        "id": participant.id,
        "name": participant.name,
        "picture": participant.picture,
        "custom_participant_id": participant.custom_id,
        "preset_id": participant.preset_id,
        "preset_name": participant.preset_name,
        "created_at": format_time(participant.created_at),
        "updated_at": format_time(participant.updated_at),
    }
    if token is not None:
        body["token"] = token
    return body


def removed_participant(participant: Participant) -> dict[str, Any]:
    """What is said of a participant that was deleted."""
    return {
        "custom_participant_id": participant.custom_id,
        "preset_id": participant.preset_id,
        "created_at": format_time(participant.created_at),
        "updated_at": format_time(participant.updated_at),
    }


def preset_item(preset: Preset) -> dict[str, Any]:
    """An item of the list of presets."""
    return {
        "id": preset.id,
        "name": preset.name,
        "created_at": format_time(preset.created_at),
        "updated_at": format_time(preset.updated_at),
    }


def preset_body(preset: Preset) -> dict[str, Any]:
    """A preset, whole."""
    parts = {"config": dict(preset.config), "permissions": dict(preset.permissions), "ui": dict(preset.ui)}
    return preset_item(preset) | parts
