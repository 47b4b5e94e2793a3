"""Making a log directory, and taking one up again that a recorder left behind, however it ended.

Owns the directory and its meta.json, cutting torn ends off and finding where the capture clock goes on. Keeps
everything that is whole: damage in the middle of a file is left for the reader to step over. Taking up needs no free
space, so that a full disk does not stand in the way.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tapedeck.core.errors import ConflictError, NotFoundError, TapedeckError, UnavailableError
from tapedeck.medialog.cursor import find_tail
from tapedeck.medialog.disk import Disk, describe, lock_directory
from tapedeck.medialog.format import FILE_HEADER_SIZE, LogKind, salt_of
from tapedeck.medialog.meta import META_NAME, Epoch, Meta, read_meta, timeline_path, track_ids, track_path, tracks_path

__all__ = ["Resumed", "make_directory", "reopen", "write_meta"]


@dataclass(frozen=True, slots=True)
class Resumed:
    """A log that was taken up again."""

    meta: Meta
    "With the new epoch."
    offset_ns: int
    "Capture clock at the moment of taking up: greater than every time in the log."
    last_ns: int
    "The latest time in the log before; -1 when nothing was in it."
    lock_fd: int
    "Holds the directory; given to the writer."


def make_directory(root: Path) -> int:
    """Make a log directory where there is none, and lock it; the descriptor that holds it.

    ConflictError: another process writes it. OSError: it cannot be made.
    """
    tracks_path(root).mkdir(parents=True, exist_ok=True)
    return lock_directory(root)


def write_meta(disk: Disk, root: Path, meta: Meta) -> None:
    """Put meta.json in place, whole or not at all, unless an equal or longer story of the same session is there.

    ConflictError: the directory has the log of another session. InvalidError: there is a meta.json that cannot be read.
    OSError: it cannot be written.
    """
    try:
        known = read_meta(root)
    except NotFoundError:
        known = None
    if known is not None and known.session_id != meta.session_id:
        raise ConflictError("The directory holds the log of another session.")
    if known is None or len(known.epochs) < len(meta.epochs):
        disk.replace(root / META_NAME, meta.to_json())
    disk.sync_directory(root.parent)


def reopen(root: Path, now_utc: datetime, monotonic_ns: int, boot: str) -> Resumed:
    """Lock a log directory, cut the torn ends of its files off, and continue its clock. Blocks on the disk.

    NotFoundError: there is no log; InvalidError: its meta.json is damaged or of another version; ConflictError: another
    process writes it; UnavailableError: the disk cannot be read or written.
    """
    meta = read_meta(root)
    try:
        lock_fd = lock_directory(root)
        try:
            last_ns = _trim(timeline_path(root), salt_of(meta.session_id, meta.session_id), LogKind.TIMELINE)
            for track_id in track_ids(root):
                salt = salt_of(meta.session_id, track_id)
                last_ns = max(last_ns, _trim(track_path(root, track_id), salt, LogKind.TRACK))
        except (OSError, TapedeckError):
            os.close(lock_fd)
            raise
    except OSError as exc:
        raise UnavailableError(describe(exc)) from exc
    offset_ns = meta.clock_at(now_utc, monotonic_ns, boot, last_ns)
    epoch = Epoch(offset_ns, now_utc, monotonic_ns, boot)
    return Resumed(meta.with_epoch(epoch), offset_ns, last_ns, lock_fd)


def _trim(path: Path, salt: int, kind: LogKind) -> int:
    """Cut a file back to its last whole record; the latest time near its end, -1 when it has none."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        size = os.fstat(fd).st_size
        if size <= FILE_HEADER_SIZE:
            return -1
        tail = find_tail(fd, salt, kind)
        if tail.end < size:
            os.ftruncate(fd, tail.end)
        return -1 if tail.last_ns is None else tail.last_ns
    finally:
        os.close(fd)
