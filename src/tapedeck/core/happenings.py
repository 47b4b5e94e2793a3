"""What an application is told of: changes of recordings and livestreams, sessions, people who come and go.

A happening is a row of the outbox with what belongs to it. Owns how a row is read back into objects; faces put it into
their words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from tapedeck.core.caution import Caution
from tapedeck.core.livestream import LivestreamStatus
from tapedeck.core.meeting import App, Meeting, Session
from tapedeck.core.recording import (
    Caller,
    CallerKind,
    FilmFile,
    Recording,
    RecordingKind,
    RecordingOptions,
    RecordingState,
    StartCause,
    StopCause,
)
from tapedeck.core.times import format_time, parse_time

__all__ = [
    "Guest",
    "Happening",
    "HappeningKind",
    "Message",
    "StreamNews",
    "guest_of",
    "guest_snapshot",
    "recording_of",
]


class HappeningKind(StrEnum):
    """What happened."""

    RECORDING = "recording"
    "A recording was created or changed its state."
    SESSION_STARTED = "session_started"
    SESSION_ENDED = "session_ended"
    JOINED = "joined"
    "Somebody who was not there is there, with the first of their connections."
    LEFT = "left"
    "Somebody is gone, with the last of their connections."
    LIVESTREAM = "livestream"
    "A livestream was asked for, has something to show, or is over."


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody in a session. Who has several connections is announced with the first."""

    peer_id: str
    participant_id: str
    name: str
    custom_id: str | None
    joined_at: datetime
    left_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StreamNews:
    """How a livestream does from now on."""

    id: str
    recording_id: str
    "What it shows."
    created_at: datetime
    "Of the livestream."
    status: LivestreamStatus


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened. `id` counts up through everything that happens on a server."""

    id: int
    kind: HappeningKind
    at: datetime
    app: App
    meeting: Meeting
    session: Session | None = None
    recording: Recording | None = None
    "As it was right after the change."
    previous: RecordingState | None = None
    guest: Guest | None = None
    livestream: StreamNews | None = None

    @property
    def key(self) -> str:
        """What must be told in order: everything of one recording and what shows it, or of one session."""
        if self.recording is not None:
            return self.recording.id
        if self.livestream is not None:
            return self.livestream.recording_id
        return self.session.id if self.session is not None else self.meeting.id


@dataclass(frozen=True, slots=True)
class Message:
    """A happening in the words of a face."""

    event: str
    body: str
    "Compact JSON, ready to be signed."


def guest_snapshot(guest: Guest) -> dict[str, Any]:
    """A guest as plain JSON values."""
    values = {field.name: getattr(guest, field.name) for field in fields(guest)}
    return {key: format_time(value) if isinstance(value, datetime) else value for key, value in values.items()}


def guest_of(values: Mapping[str, Any]) -> Guest:
    """The guest that `guest_snapshot` was given."""
    left = values["left_at"]
    times = {"joined_at": parse_time(values["joined_at"]), "left_at": None if left is None else parse_time(left)}
    return Guest(**{**values, **times})


def recording_of(values: Mapping[str, Any]) -> Recording:
    """The recording that `core.recording.snapshot` was given."""
    times = ("invoked_at", "started_at", "paused_at", "stopped_at", "expires_at")
    made = dict(values)
    made |= {name: None if values[name] is None else parse_time(values[name]) for name in times}
    made |= {
        "kind": RecordingKind(values["kind"]),
        "state": RecordingState(values["state"]),
        "options": RecordingOptions.from_dict(values["options"]),
        "start_cause": StartCause(values["start_cause"]),
        "stop_cause": None if values["stop_cause"] is None else StopCause(values["stop_cause"]),
        "started_by": _caller(values["started_by"]),
        "stopped_by": _caller(values["stopped_by"]),
        "files": tuple(FilmFile(**file) for file in values["files"]),
        "cautions": tuple(Caution(**caution) for caution in values.get("cautions", ())),
    }
    return Recording(**made)


def _caller(values: Mapping[str, Any] | None) -> Caller | None:
    return None if values is None else Caller(CallerKind(values["kind"]), values["id"], values["name"])
