"""The life of a recording: its states, what may happen in each, and what each happening changes.

This file owns every state change: `TRANSITIONS` is the only table, `advance` the only function that follows it. It
knows no clock, no database and no word of an outside API; faces map the states to theirs.

    requested -> starting -> capturing <-> paused -> closing -> rendering -> uploading -> done
        any state before done may end as failed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from tapedeck.core.caution import Caution
from tapedeck.core.errors import ConflictError
from tapedeck.core.times import film_seconds, format_time, to_ms, whole_ms
from tapedeck.core.wanted import AudioExport, RecordingOptions, TrackChoice, TrackLayer, Watermark

__all__ = [
    "ACTIVE",
    "COUNTED",
    "FINAL",
    "LIVE",
    "TRANSITIONS",
    "AudioExport",
    "Caller",
    "CallerKind",
    "Command",
    "Delivered",
    "Dispatched",
    "Fail",
    "FilmFile",
    "LogClosed",
    "MediaStored",
    "Pause",
    "Recording",
    "RecordingChanged",
    "RecordingKind",
    "RecordingOptions",
    "RecordingState",
    "Rendered",
    "Resume",
    "StartCause",
    "Stop",
    "StopCause",
    "TrackChoice",
    "TrackLayer",
    "Watermark",
    "WrongStateError",
    "advance",
    "recorded_seconds",
    "snapshot",
]


class RecordingState(StrEnum):
    """Where a recording is in its life."""

    REQUESTED = "requested"
    "Accepted and stored; capture has not been told yet."
    STARTING = "starting"
    "Capture knows; no media is stored yet."
    CAPTURING = "capturing"
    PAUSED = "paused"
    CLOSING = "closing"
    "Stopped; the end is on its way into the log."
    RENDERING = "rendering"
    "The log is closed; the film is not finished."
    UPLOADING = "uploading"
    "The film is finished; no destination has confirmed it."
    DONE = "done"
    FAILED = "failed"


class RecordingKind(StrEnum):
    """One film of everybody, or a file per person."""

    COMPOSITE = "composite"
    TRACK = "track"


class StartCause(StrEnum):
    """Why a recording was started."""

    REQUEST = "request"
    FIRST_JOIN = "first_join"


class StopCause(StrEnum):
    """Why a recording was stopped."""

    REQUEST = "request"
    EMPTY = "empty"
    MAX_SECONDS = "max_seconds"
    FAULT = "fault"
    SHUTDOWN = "shutdown"


class CallerKind(StrEnum):
    """An application's backend, or a person in the meeting."""

    APP = "app"
    PARTICIPANT = "participant"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asked."""

    kind: CallerKind
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class FilmFile:
    """One finished file of a recording."""

    kind: str
    "`video`, `audio` or `track`; beside them stills: `poster`, `sprite`, `storyboard`."
    name: str
    size_bytes: int
    duration_ms: int
    crc32c: str
    "CRC-32C of the whole file in eight lower-case hex digits."
    local_path: str | None = None
    "Where it lies on this machine until a destination has it."
    key: str | None = None
    "Its key in the built-in bucket, once it is there."
    layer: str | None = None
    "Of a track: the layer that it belongs to."
    passed: bool = False
    "Of the film of a web page: its pictures are those that its browser sent, not encoded again."


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording as stored. `version` counts its changes, the creation being 1."""

    id: str
    app_id: str
    meeting_id: str
    file_name: str
    invoked_at: datetime
    kind: RecordingKind = RecordingKind.COMPOSITE
    state: RecordingState = RecordingState.REQUESTED
    version: int = 1
    options: RecordingOptions = field(default_factory=RecordingOptions)
    start_cause: StartCause = StartCause.REQUEST
    started_by: Caller | None = None
    session_id: str | None = None
    started_at: datetime | None = None
    paused_at: datetime | None = None
    "Start of the pause that runs now."
    paused_ms: int = 0
    "Sum of the pauses that are over."
    stopped_at: datetime | None = None
    stop_cause: StopCause | None = None
    stopped_by: Caller | None = None
    film_ms: int | None = None
    "Length of the film, once it is rendered."
    files: tuple[FilmFile, ...] = ()
    size_bytes: int | None = None
    expires_at: datetime | None = None
    failure: str | None = None
    "One sentence about what went wrong, for an operator."
    cautions: tuple[Caution, ...] = ()


@dataclass(frozen=True, slots=True)
class Dispatched:
    """Capture was told to record."""


@dataclass(frozen=True, slots=True)
class MediaStored:
    """The first media of the recording is in the log of a session; None when another recorder has it."""

    session_id: str | None


@dataclass(frozen=True, slots=True)
class Pause:
    """Keep nothing from now on."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Keep again."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the recording; `at` is given when the end lies before the moment it is noticed."""

    cause: StopCause
    caller: Caller | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LogClosed:
    """The end of the recording is in the log, and the log is on disk."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """The film is finished on this machine."""

    files: tuple[FilmFile, ...]


@dataclass(frozen=True, slots=True)
class Delivered:
    """Every destination, or at least one, holds the complete files."""

    files: tuple[FilmFile, ...]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Fail:
    """No film will come of it."""

    reason: str


Command = Dispatched | MediaStored | Pause | Resume | Stop | LogClosed | Rendered | Delivered | Fail


@dataclass(frozen=True, slots=True)
class RecordingChanged:
    """A recording changed its state: what the outbox holds. `previous` is None for its creation."""

    recording_id: str
    seq: int
    previous: RecordingState | None
    state: RecordingState
    at: datetime


class WrongStateError(ConflictError):
    """What was asked is not possible in the recording's state; a face may say both in its own words."""

    def __init__(self, action: str, state: RecordingState) -> None:
        super().__init__(f"Cannot {action} a recording in state {state}")
        self.action = action
        self.state = state


_S = RecordingState

TRANSITIONS: Mapping[RecordingState, Mapping[type[Command], RecordingState]] = MappingProxyType(
    {
        _S.REQUESTED: {Dispatched: _S.STARTING, MediaStored: _S.CAPTURING, Stop: _S.FAILED, Fail: _S.FAILED},
        _S.STARTING: {Dispatched: _S.STARTING, MediaStored: _S.CAPTURING, Stop: _S.FAILED, Fail: _S.FAILED},
        _S.CAPTURING: {
            Dispatched: _S.CAPTURING,
            MediaStored: _S.CAPTURING,
            Pause: _S.PAUSED,
            Resume: _S.CAPTURING,
            Stop: _S.CLOSING,
            Fail: _S.FAILED,
        },
        _S.PAUSED: {
            Dispatched: _S.PAUSED,
            MediaStored: _S.PAUSED,
            Pause: _S.PAUSED,
            Resume: _S.CAPTURING,
            Stop: _S.CLOSING,
            Fail: _S.FAILED,
        },
        _S.CLOSING: {
            Dispatched: _S.CLOSING,
            MediaStored: _S.CLOSING,
            Stop: _S.CLOSING,
            LogClosed: _S.RENDERING,
            Rendered: _S.UPLOADING,
            Fail: _S.FAILED,
        },
        _S.RENDERING: {
            MediaStored: _S.RENDERING,
            Stop: _S.RENDERING,
            LogClosed: _S.RENDERING,
            Rendered: _S.UPLOADING,
            Fail: _S.FAILED,
        },
        _S.UPLOADING: {
            MediaStored: _S.UPLOADING,
            Stop: _S.UPLOADING,
            LogClosed: _S.UPLOADING,
            Rendered: _S.UPLOADING,
            Delivered: _S.DONE,
            Fail: _S.FAILED,
        },
        _S.DONE: {
            MediaStored: _S.DONE,
            Stop: _S.DONE,
            LogClosed: _S.DONE,
            Rendered: _S.DONE,
            Delivered: _S.DONE,
        },
        _S.FAILED: {
            Dispatched: _S.FAILED,
            MediaStored: _S.FAILED,
            LogClosed: _S.FAILED,
            Rendered: _S.FAILED,
            Delivered: _S.FAILED,
            Fail: _S.FAILED,
        },
    }
)
"""State by state: what may happen, and where it leads. A pair that is not here is a conflict; one that leads to its
own state changes nothing, which makes repeats and late reports harmless."""

LIVE = frozenset({_S.CAPTURING, _S.PAUSED})
"""Media is stored and the recording is not stopped."""
ACTIVE = frozenset({_S.REQUESTED, _S.STARTING}) | LIVE
"""Not stopped: a second recording of the meeting must be asked for expressly."""
FINAL = frozenset({_S.DONE, _S.FAILED})
"""Nothing will happen any more."""
COUNTED = frozenset({"video", "audio", "track"})
"""Kinds of files that make up the size of a recording."""


def advance(recording: Recording, command: Command, now: datetime) -> tuple[Recording, tuple[RecordingChanged, ...]]:
    """The recording after `command`, and what changed; the same recording and nothing when it changes nothing.

    WrongStateError when the state does not allow it.
    """
    target = TRANSITIONS[recording.state].get(type(command))
    if target is None:
        raise WrongStateError(type(command).__name__.lower(), recording.state)
    if target is recording.state:
        return recording, ()
    now = whole_ms(now)
    changed = replace(_apply(recording, command, now), state=target, version=recording.version + 1)
    return changed, (RecordingChanged(recording.id, changed.version, recording.state, target, now),)


def _apply(recording: Recording, command: Command, now: datetime) -> Recording:
    """Everything but the state and the version."""
    match command:
        case MediaStored(session_id):
            return replace(recording, started_at=max(now, recording.invoked_at), session_id=session_id)
        case Pause():
            return replace(recording, paused_at=now)
        case Resume():
            return _end_pause(recording, now)
        case Stop(cause, caller, at):
            failure = None if recording.started_at else "It was stopped before any media was stored."
            return replace(_end(recording, at or now), stop_cause=cause, stopped_by=caller, failure=failure)
        case Rendered(files):
            films = [f for f in files if f.kind != "track"]  # a person's file says nothing of the recording's length
            film = next((f for f in films if f.kind == "video"), films[0] if films else None)
            return replace(recording, files=files, film_ms=film.duration_ms if film else None)
        case Delivered(files, expires_at):
            size_bytes = sum(file.size_bytes for file in files if file.kind in COUNTED)
            return replace(recording, files=files, size_bytes=size_bytes, expires_at=expires_at)
        case Fail(reason):
            ended = recording if recording.stopped_at else _end(recording, now)
            return replace(ended, stop_cause=ended.stop_cause or StopCause.FAULT, failure=reason)
        case Dispatched() | LogClosed():
            return recording


def _end(recording: Recording, at: datetime) -> Recording:
    """Stopped at `at`, which is never before the start, whatever the clocks of two places say."""
    at = max(whole_ms(at), recording.started_at or recording.invoked_at)
    return replace(_end_pause(recording, at), stopped_at=at)


def _end_pause(recording: Recording, now: datetime) -> Recording:
    if recording.paused_at is None:
        return recording
    paused_ms = max(to_ms(now) - to_ms(recording.paused_at), 0)
    return replace(recording, paused_at=None, paused_ms=recording.paused_ms + paused_ms)


def recorded_seconds(recording: Recording) -> int | None:
    """Whole seconds of film, pauses excluded, rounded to the nearest; None before the stop, or without any media.

    Measured by the film when there is one, else by the clock.
    """
    return film_seconds(recording.started_at, recording.stopped_at, recording.film_ms, recording.paused_ms)


def snapshot(recording: Recording) -> dict[str, Any]:
    """The recording as plain JSON values: what an outbox row remembers of it."""
    lists = {name: [asdict(item) for item in getattr(recording, name)] for name in ("files", "cautions")}
    body = asdict(recording) | lists
    return {key: format_time(value) if isinstance(value, datetime) else value for key, value in body.items()}
