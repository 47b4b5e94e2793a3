"""FFmpeg's errors in Tapedeck's words; the only place where they are told apart.

A full or read-only disk is the operator's to mend and comes out as UnavailableError; everything else that FFmpeg says
is a MediaError with FFmpeg's last log line, if it had one. Refuses to swallow anything.
"""

from __future__ import annotations

import errno
from types import TracebackType

import av

from tapedeck.core.errors import MediaError, TapedeckError, UnavailableError

__all__ = ["media_errors", "translate"]

_RAISED = (av.FFmpegError, OSError, ValueError, MemoryError)
_DISK = {
    errno.ENOSPC: "the disk is full; free some space and it will be tried again",
    errno.EDQUOT: "the disk quota is used up; free some space and it will be tried again",
    errno.EROFS: "the disk is read-only; make it writable and it will be tried again",
    errno.EACCES: "writing is not permitted there; change the owner of the directory",
    errno.EPERM: "writing is not permitted there; change the owner of the directory",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
}


def translate(doing: str, exc: BaseException) -> TapedeckError:
    """The TapedeckError of an FFmpeg or system error; `doing` begins the sentence, as in "writing the film"."""
    if isinstance(exc, TapedeckError):
        return exc
    number = getattr(exc, "errno", None)
    if number in _DISK:
        return UnavailableError(f"{doing} failed: {_DISK[number]}")
    reason = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    log = getattr(exc, "log", None)
    if log and log[2].strip():
        reason = f"{reason} ({log[2].strip()})"
    return MediaError(f"{doing} failed: {reason}")


class media_errors:
    """Raise what FFmpeg, PyAV or the system raise inside as MediaError or UnavailableError.

    Some are entered for every picture, where a generator would cost five times as much.
    """

    __slots__ = ("_doing",)

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        """Nothing to do before."""

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        if exc is not None and isinstance(exc, _RAISED):
            raise translate(self._doing, exc) from exc
