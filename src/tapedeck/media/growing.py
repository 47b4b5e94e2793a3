"""Reads a film while another process writes it (`media/place.py`), for an upload that does not wait.

Owns knowing which bytes are final. Of an MP4, everything behind the header of an open `mdat` is, until the muxer notes
its length; then the index follows, and soon the media is moved in place to make room for it. Of a tar, everything is,
and nothing moves. Each read holds a shared lock, which
the writer waits for before it moves anything. Refuses to know what the bytes are for.
"""

from __future__ import annotations

import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path

__all__ = ["GrowingFilm", "Grown", "is_archive", "tell_room"]

_OPENING_SIZE = 512
_ROOM = "user.tapedeck.room"
_MAGIC_AT, _MAGIC = 257, b"ustar\0"


@dataclass(frozen=True, slots=True)
class Grown:
    """How far a film is. Offsets in the growing file."""

    media_at: int
    "Where the contents of its `mdat` begin; 0: it is a tar, in which nothing is moved."
    until: int
    "Bytes before this are final."
    room: int = 0
    "How far its media will move in the end, as it is known by now; 0: nobody said. It may become more."


class GrowingFilm:
    """A film that somebody writes. Blocks for short reads. OSError passes through."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def look(self) -> Grown | None:
        """How far it is; None: it has no media (yet), or is no flat MP4 that grows any more."""
        size = os.fstat(self._fd).st_size  # before the header: if that is open, all these bytes are media
        opening = os.pread(self._fd, _OPENING_SIZE, 0)
        media_at = _open_media(opening)
        return None if media_at is None else Grown(media_at, max(size, media_at), _told_room(self._fd))

    def read(self, start: int, size: int) -> bytes | None:
        """Bytes that `look` called final; None if it has been finished since, and they are elsewhere."""
        fcntl.flock(self._fd, fcntl.LOCK_SH)
        try:
            if _open_media(os.pread(self._fd, _OPENING_SIZE, 0), finished=True) is None:
                return None
            data = os.pread(self._fd, size, start)
            while len(data) < size:
                more = os.pread(self._fd, size - len(data), start + len(data))
                if not more:
                    return None  # the writer gave up
                data += more
            return data
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def is_current(self) -> bool:
        """Whether the path still names this file: not finished and renamed, not begun anew, not given up."""
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        mine = os.fstat(self._fd)
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


def tell_room(fd: int, size: int) -> bool:
    """Write beside the growing film how far its media will move; whether the file system can keep that."""
    try:
        os.setxattr(fd, _ROOM, str(size).encode())
    except (OSError, AttributeError):
        return False
    return True


def _told_room(fd: int) -> int:
    try:
        return int(os.getxattr(fd, _ROOM))
    except (OSError, AttributeError, ValueError):
        return 0


def is_archive(opening: bytes) -> bool:
    """Whether a file that begins so is a tar."""
    return opening[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] == _MAGIC


def _open_media(opening: bytes, *, finished: bool = False) -> int | None:
    """Where the contents of `mdat` begin if its length is open (`finished`: or noted) and the index is not in front."""
    if is_archive(opening):
        return 0
    at = 0
    while at + 8 <= len(opening):
        size, kind = struct.unpack_from(">I4s", opening, at)
        if kind == b"mdat":
            if size == 0:
                return at + 8
            return at + (16 if size == 1 else 8) if finished else None
        if kind not in (b"ftyp", b"free") or size < 8:
            return None
        at += size
    return None
