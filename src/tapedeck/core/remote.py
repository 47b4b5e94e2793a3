"""Recordings that another recorder makes, for a room of ours: what it says of one, and what that means here.

Its word is taken through the same table of transitions as everything else (`core/recording.py`), and forwards only: an
answer that comes late changes nothing. What it has finished is `rendering` here until its files are on this machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from uuid import uuid4

from tapedeck.core.errors import ConflictError
from tapedeck.core.naming import NAME_LIMIT, is_segment, output_file_name
from tapedeck.core.recording import (
    TRANSITIONS,
    Command,
    Dispatched,
    Fail,
    LogClosed,
    MediaStored,
    Pause,
    Recording,
    RecordingChanged,
    RecordingKind,
    RecordingOptions,
    Resume,
    StartCause,
    Stop,
    StopCause,
    advance,
)
from tapedeck.core.times import whole_ms

__all__ = [
    "CLOUDFLARE",
    "RemoteAccount",
    "RemoteFile",
    "RemoteRecording",
    "RemoteStatus",
    "adopt",
    "check_ours",
    "follow",
]

CLOUDFLARE = "cloudflare"
"""Name of the provider that speaks the RealtimeKit API."""


@dataclass(frozen=True, slots=True)
class RemoteAccount:
    """Where a tenant's recorder is, and what proves that we may ask it."""

    base_url: str
    account_id: str
    app_id: str
    token: str = field(repr=False)


class RemoteStatus(StrEnum):
    """The states of the RealtimeKit API (spec C1)."""

    INVOKED = "INVOKED"
    RECORDING = "RECORDING"
    PAUSED = "PAUSED"
    UPLOADING = "UPLOADING"
    UPLOADED = "UPLOADED"
    ERRORED = "ERRORED"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A finished file there, behind a link that is as good as a key."""

    kind: str
    "`video`, `audio` or `track`."
    name: str
    url: str = field(repr=False)
    layer: str | None = None


@dataclass(frozen=True, slots=True)
class RemoteRecording:
    """What a recorder says of one of its recordings."""

    id: str
    status: RemoteStatus
    file_name: str
    invoked_at: datetime
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    seconds: int | None = None
    size_bytes: int | None = None
    "Of all files together."
    links_end: datetime | None = None
    is_track: bool = False
    files: tuple[RemoteFile, ...] = ()
    meeting_id: str | None = None
    "Its room there, where the answer says so."


def adopt(remote: RemoteRecording, app_id: str, meeting_id: str, now: datetime) -> Recording:
    """A recording of ours for one of another recorder's, in the state that it has reached there."""
    name = remote.file_name
    if not is_segment(name) or len(name) > NAME_LIMIT:
        name = output_file_name(None, meeting_id, remote.invoked_at)
    fresh = Recording(
        id=str(uuid4()),
        app_id=app_id,
        meeting_id=meeting_id,
        file_name=name,
        invoked_at=whole_ms(remote.invoked_at),
        kind=RecordingKind.TRACK if remote.is_track else RecordingKind.COMPOSITE,
        options=RecordingOptions(provider=CLOUDFLARE),
        start_cause=StartCause.REQUEST,
    )
    reached, _ = follow(fresh, remote, now)
    return replace(reached, version=1)


def check_ours(recording: Recording) -> None:
    """ConflictError for a recording that this server does not make."""
    if recording.options.provider != "local":
        raise ConflictError(f"Recording {recording.id} is made by another recorder, through the rooms API")


def follow(
    recording: Recording, remote: RemoteRecording, now: datetime
) -> tuple[Recording, tuple[RecordingChanged, ...]]:
    """The recording after what its recorder says of it, and what changed."""
    changes: tuple[RecordingChanged, ...] = ()
    for command, at in _steps(remote, now):
        if type(command) in TRANSITIONS[recording.state]:
            recording, made = advance(recording, command, at)
            changes += made
    return recording, changes


def _steps(remote: RemoteRecording, now: datetime) -> list[tuple[Command, datetime]]:
    """What has happened there so far, each with its time."""
    if remote.status is RemoteStatus.ERRORED:
        return [(Fail("The recorder of the room gave the recording up."), remote.stopped_at or now)]
    steps: list[tuple[Command, datetime]] = [(Dispatched(), remote.invoked_at)]
    if remote.status is RemoteStatus.INVOKED:
        return steps
    steps.append((MediaStored(None), remote.started_at or remote.invoked_at))
    match remote.status:
        case RemoteStatus.RECORDING:
            steps.append((Resume(), now))
        case RemoteStatus.PAUSED:
            steps.append((Pause(), now))
        case RemoteStatus.UPLOADING | RemoteStatus.UPLOADED:
            steps.append((Stop(StopCause.REQUEST, at=remote.stopped_at), remote.stopped_at or now))
    if remote.status is RemoteStatus.UPLOADED:
        steps.append((LogClosed(), remote.stopped_at or now))
    return steps
