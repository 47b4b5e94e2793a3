"""The archive of a library: what a recording that moves there goes through, and what is noted of each of its files.

none -> archiving -> archived -> restoring -> restored -> archived
a copy that fails goes back to none; nothing is deleted before its copy is proven
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from tapedeck.core.errors import InvalidError
from tapedeck.core.recording import FilmFile, Recording, RecordingState
from tapedeck.core.times import format_time, parse_time

__all__ = [
    "MOST_RESTORE_DAYS",
    "ArchiveNote",
    "ArchiveState",
    "ArchivedFile",
    "StorageClass",
    "Thaw",
    "Tier",
    "check_tier",
    "movable",
    "refusal",
]

MOST_RESTORE_DAYS = 365
"""How long a restored copy may be kept at most."""
_MOVED = ("video", "audio", "track")
"""Kinds of files that move; stills are small and stay where a library shows them from."""


class ArchiveState(StrEnum):
    """Where the files of a recording are on their way to the archive or back; none: they are in the bucket."""

    ARCHIVING = "archiving"
    "Being copied and proven; the bucket has everything."
    ARCHIVED = "archived"
    RESTORING = "restoring"
    "Asked for; the store is at it."
    RESTORED = "restored"
    "Readable for a while."


class StorageClass(StrEnum):
    """Of S3."""

    GLACIER = "GLACIER"
    DEEP_ARCHIVE = "DEEP_ARCHIVE"
    GLACIER_IR = "GLACIER_IR"
    "Readable at once."


class Tier(StrEnum):
    """How much hurry a restore has."""

    STANDARD = "standard"
    BULK = "bulk"
    EXPEDITED = "expedited"


class Thaw(StrEnum):
    """What a store says of an object that was put into its archive."""

    FROZEN = "frozen"
    THAWING = "thawing"
    READABLE = "readable"


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """One file of a recording and its copy."""

    kind: str
    name: str
    hot_key: str
    "Where it was in the bucket."
    key: str
    "Where it is in the archive."
    content_type: str
    size_bytes: int
    crc32c: str
    token: str | None = None
    "Of the upload that runs."
    tag: str | None = None
    "What the archive calls the finished copy."
    assembly: str | None = None
    "Of which parts the bucket's object was made when it was proven (`core.assembly.Assembly`)."


@dataclass(frozen=True, slots=True)
class ArchiveNote:
    """What is kept of a recording's way to the archive."""

    files: tuple[ArchivedFile, ...] = ()
    storage_class: str = ""
    actor: Mapping[str, Any] = field(default_factory=dict)
    "Who asked for it."
    freed: bool = False
    "The bucket has them no more."
    tier: str | None = None
    days: int | None = None
    "For which a restored copy is kept."
    restored_until: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values for the database."""
        until = None if self.restored_until is None else format_time(self.restored_until)
        files = [asdict(file) for file in self.files]
        return {
            "files": files,
            "storage_class": self.storage_class,
            "actor": dict(self.actor),
            "freed": self.freed,
            "tier": self.tier,
            "days": self.days,
            "restored_until": until,
        }

    @classmethod
    def of(cls, value: Mapping[str, Any] | None) -> ArchiveNote:
        """As it was stored; names that no version knows are left out."""
        given = value or {}
        known = {name: given[name] for name in ("storage_class", "actor", "freed", "tier", "days") if name in given}
        until = given.get("restored_until")
        names = {member.name for member in fields(ArchivedFile)}
        files = [{name: file[name] for name in names & file.keys()} for file in given.get("files", ())]
        return cls(
            tuple(ArchivedFile(**file) for file in files),
            restored_until=None if until is None else parse_time(until),
            **known,
        )

    def with_file(self, changed: ArchivedFile) -> ArchiveNote:
        """With what is new of one file."""
        return replace(self, files=tuple(changed if file.key == changed.key else file for file in self.files))


def movable(recording: Recording) -> Sequence[FilmFile]:
    """Its files that the built-in bucket has and the archive takes."""
    return [file for file in recording.files if file.key is not None and file.kind in _MOVED]


def refusal(recording: Recording, state: ArchiveState | None) -> str | None:
    """Why a recording cannot be archived, as a sentence; None if it can."""
    if state is not None:
        return "The recording is archived already."
    if recording.state is not RecordingState.DONE:
        return "Only a recording that is ready can be archived."
    if not movable(recording):
        return "The recording has no file in this server's bucket, so that there is nothing to archive."
    return None


def check_tier(tier: Tier, storage_class: str) -> None:
    """InvalidError for a hurry that the class does not know."""
    if tier is Tier.EXPEDITED and storage_class == StorageClass.DEEP_ARCHIVE:
        raise InvalidError("DEEP_ARCHIVE cannot be restored in a hurry: use standard or bulk")
