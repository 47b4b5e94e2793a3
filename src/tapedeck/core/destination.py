"""Where the files of a recording go: the built-in bucket, a customer's own storage, or both. Pure.

Owns which storage out of several levels of wishes counts, the key of a file there, and what is secret of a storage.
Refuses to check what users send (`shapes/storage.py`), to seal and to connect.

A storage is a plain mapping in the words of the API: `type`, `bucket`, `path` and what else its type wants. At rest and
between services it has no secret in it; those are one text under `sealed`, which only `ports.sealer` can open.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from tapedeck.core.errors import InvalidError

__all__ = [
    "PATH_LIMIT",
    "SEALED",
    "SEALED_KEYS",
    "SECRETS",
    "Destination",
    "DestinationKind",
    "DestinationState",
    "Upload",
    "clean_path",
    "file_key",
    "path_problem",
    "public_storage",
    "resolve_storage",
    "split_storage",
]

SECRETS = ("access_key", "secret", "password", "private_key")
"""Keys of a storage that are never shown again."""
SEALED = "sealed"
"""Key of the text that holds them."""
SEALED_KEYS = ("storage_config", "live_streaming_config")
"""Parts of a level of wishes that have one."""
PATH_LIMIT = 512
"""Longest path in characters,"""
PATH_BYTES = 700
"""and in bytes: with what of ours comes below it, the longest name of a file too, a key has 1024 at most."""


class DestinationKind(StrEnum):
    """Which of a recording's places it is."""

    BUCKET = "bucket"
    "The built-in one."
    EXTERNAL = "external"
    "The customer's, by `storage_config`."
    FALLBACK = "fallback"
    "Takes what the customer's refuses for good."


class DestinationState(StrEnum):
    """How far it is with a recording's files."""

    WAITING = "waiting"
    "Not everything is there yet; it is tried (again) from `next_at` on."
    DONE = "done"
    "It has confirmed every file."
    FAILED = "failed"
    "Given up: `error` says why."


@dataclass(frozen=True, slots=True)
class Destination:
    """A place that the files of one recording go to."""

    id: str
    recording_id: str
    kind: DestinationKind
    created_at: datetime
    storage: Mapping[str, Any] = field(default_factory=dict)
    "Without secrets; empty for the built-in bucket."
    sealed: str | None = field(default=None, repr=False)
    layer: str | None = None
    "The one layer of a track recording whose files go there; None for all files."
    state: DestinationState = DestinationState.WAITING
    error: str | None = None
    "A sentence to the owner of the storage."
    attempts: int = 0
    "How often it failed since it last took anything."
    next_at: datetime | None = None
    "Not before then; None: at once."
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """One file on its way to one destination."""

    destination_id: str
    name: str
    "Of the file; unique within a recording."
    kind: str
    "As of `core.recording.FilmFile`."
    key: str
    "Of the object there."
    content_type: str
    size_bytes: int | None = None
    "None while the file grows."
    crc32c: str | None = None
    token: str | None = None
    "Of an upload in parts that was begun (`ports.storage.MultipartStore`)."
    begun_at: datetime | None = None
    done_at: datetime | None = None
    "When the store confirmed it."
    assembly: str | None = None
    "Of which parts the object is made, as `core.assembly.Assembly` writes it, where the store's tags prove bytes."


def resolve_storage(*levels: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The storage of the strongest level that speaks of one; None when none does, or the one that does says `null`."""
    for level in levels:
        if level is not None and "storage_config" in level:
            found: Mapping[str, Any] | None = level["storage_config"]
            return found
    return None


def split_storage(storage: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """What may be shown of a storage, and what may not."""
    shown = {key: value for key, value in storage.items() if key not in SECRETS and key != SEALED}
    return shown, {key: storage[key] for key in SECRETS if storage.get(key)}


def public_storage(storage: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What may be shown of a storage."""
    return None if storage is None else split_storage(storage)[0]


def clean_path(path: str) -> str:
    """The path as the front of a key: without slashes around it, its characters composed (NFC)."""
    return unicodedata.normalize("NFC", path).strip("/")


def path_problem(path: str) -> str | None:
    """What is wrong with a path in a storage, as the end of a sentence; None when nothing is."""
    if len(path) > PATH_LIMIT:
        return f"must have at most {PATH_LIMIT} characters"
    if len(unicodedata.normalize("NFC", path).encode(errors="replace")) > PATH_BYTES:
        return f"must have at most {PATH_BYTES} bytes"
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in path):
        return "must not have control characters"
    if "\\" in path:
        return "must not have backslashes: use / between folders"
    clean = clean_path(path)
    segments = clean.split("/") if clean else []
    # Stores and file systems may fold what looks alike: a full-width dot is a dot to some of them.
    if any(unicodedata.normalize("NFKC", segment).strip() in (".", "..") for segment in segments):
        return 'must not have "." or ".." as a folder'
    if any(not segment.strip() for segment in segments):
        return "must not have empty folders"
    if any(len(segment.encode()) > 255 for segment in segments):
        return "must not have folders longer than 255 bytes"
    return None


def file_key(path: str, file_name: str) -> str:
    """Key of a file in a customer's storage: `path/file_name`. InvalidError when it would lie anywhere else."""
    problem = path_problem(path) or path_problem(file_name)
    if problem is not None or "/" in file_name or not file_name:
        raise InvalidError(f"The path and name of a file {problem or 'must be one name below one path'}")
    clean = clean_path(path)
    name = unicodedata.normalize("NFC", file_name)
    key = f"{clean}/{name}" if clean else name
    if len(key.encode()) > 1024:
        raise InvalidError("The path and name of a file must have at most 1024 bytes together")
    return key
