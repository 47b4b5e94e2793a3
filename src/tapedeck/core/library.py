"""What a tenant's library says of a recording: one word of state, names that people understand, and what is kept of it.

The words are those of the rooms API (spec I1); nothing else of that API is known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from tapedeck.core.meeting import Meeting
from tapedeck.core.recording import FilmFile, Recording, RecordingState

__all__ = [
    "LibraryEntry",
    "LibraryItem",
    "LibraryLine",
    "LibraryStatus",
    "Span",
    "distinct",
    "main_file",
    "shown_name",
    "status_of",
]

_S = RecordingState


class LibraryStatus(StrEnum):
    """Where a recording of a library is."""

    RECORDING = "recording"
    PROCESSING = "processing"
    READY = "ready"
    ARCHIVED = "archived"
    FAILED = "failed"


_STATUS = {
    _S.REQUESTED: LibraryStatus.RECORDING,
    _S.STARTING: LibraryStatus.RECORDING,
    _S.CAPTURING: LibraryStatus.RECORDING,
    _S.PAUSED: LibraryStatus.RECORDING,
    _S.CLOSING: LibraryStatus.PROCESSING,
    _S.RENDERING: LibraryStatus.PROCESSING,
    _S.UPLOADING: LibraryStatus.PROCESSING,
    _S.DONE: LibraryStatus.READY,
    _S.FAILED: LibraryStatus.FAILED,
}


def status_of(state: RecordingState, archived: bool = False) -> LibraryStatus:
    """The word for a state; a finished recording that was moved to the archive is `archived`."""
    status = _STATUS[state]
    return LibraryStatus.ARCHIVED if archived and status is LibraryStatus.READY else status


@dataclass(frozen=True, slots=True)
class Span:
    """Which rows of a list: so many, after so many."""

    limit: int = 20
    offset: int = 0


@dataclass(frozen=True, slots=True)
class LibraryEntry:
    """What a library knows of a recording beside the recording itself."""

    recording_id: str
    app_id: str
    meeting_id: str
    provider: str
    "`local`, or who else records: `cloudflare`."
    remote_id: str | None
    imported_at: datetime | None
    "Since when the library keeps it: rooms API and `sync`. Files of others are freed when their links end."
    status: LibraryStatus
    title: str
    "Name of the room when it began."
    archived_at: datetime | None
    archive_state: str | None
    archive_note: Mapping[str, Any] | None
    deleted_at: datetime | None
    purge_at: datetime | None
    purged_at: datetime | None
    hold: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class LibraryItem:
    """A recording of a library, whole."""

    entry: LibraryEntry
    recording: Recording
    meeting: Meeting


@dataclass(frozen=True, slots=True)
class LibraryLine:
    """A recording of a library as a list shows it."""

    recording_id: str
    meeting_id: str
    status: str
    seconds: int | None
    size_bytes: int | None
    created_at: datetime
    deleted_at: datetime | None


def main_file(recording: Recording) -> FilmFile | None:
    """The file that is meant when one is: the film, else the sound, else the first track."""
    by_kind = {file.kind: file for file in reversed(recording.files)}
    return by_kind.get("video") or by_kind.get("audio") or by_kind.get("track")


_STRANGE = re.compile(r"[\x00-\x1f\x7f/\\:*?\"<>|]+")
_LONGEST = 100


def shown_name(item: LibraryItem, file: FilmFile) -> str:
    """What a download is called: `Physics 2026-03-02 09.15 UTC.mp4`. Tracks keep the names that tell people apart."""
    if file.kind == "track":
        return file.name
    title = " ".join(_STRANGE.sub(" ", item.entry.title).split())[:_LONGEST].strip(" .") or "Recording"
    at = item.recording.started_at or item.recording.invoked_at
    _, _, extension = file.name.rpartition(".")
    kind = "" if file.kind == "video" else f" {file.kind}"
    return f"{title} {at:%Y-%m-%d %H.%M} UTC{kind}.{extension}"


def distinct(names: Sequence[str]) -> list[str]:
    """The same names, with a number where one would come twice, in any case: `a.mp4`, `a (2).mp4`."""
    seen: set[str] = set()
    made = []
    for name in names:
        stem, dot, extension = name.rpartition(".")
        chosen, number = name, 1
        while chosen.casefold() in seen:
            number += 1
            chosen = f"{stem} ({number}){dot}{extension}" if dot else f"{name} ({number})"
        seen.add(chosen.casefold())
        made.append(chosen)
    return made
