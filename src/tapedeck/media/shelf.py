"""Heads of films, handed by the process that made them to the one that sends them, in memory that both see.

The head of a film is made last and is the last to go up: 17 MB after eight hours, just written and read back at once.
Owns the memory (Linux `memfd_create`) and where in it things lie. Where there is none, or a head is very long, nothing
is handed over, and the file is read: what is on the shelf only spares that.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress

__all__ = ["MOST_BYTES", "Shelf", "put_on"]

MOST_BYTES = 24 << 20
"""Of one film: the index of ten hours. More would count in the memory of whoever sends it."""
_PAGE = mmap.ALLOCATIONGRANULARITY


class Shelf:
    """The end of who takes. A process gets `fd` (inherited) and calls `put_on`."""

    def __init__(self) -> None:
        self.fd: int | None = None
        with suppress(AttributeError, OSError):
            self.fd = os.memfd_create("tapedeck-heads", os.MFD_CLOEXEC)

    def take(self, at: int, size: int) -> bytes | mmap.mmap:
        """What was put there; it outlives the shelf. Empty where nothing can be."""
        if self.fd is None or size <= 0 or at < 0 or at % _PAGE or at + size > os.fstat(self.fd).st_size:
            return b""
        try:
            return mmap.mmap(self.fd, size, prot=mmap.PROT_READ, offset=at)
        except OSError:
            return b""

    def close(self) -> None:
        """Nothing more is taken."""
        fd, self.fd = self.fd, None
        if fd is not None:
            os.close(fd)


def put_on(fd: int | None, data: bytes) -> int | None:
    """Put bytes on the shelf behind `fd`: where they begin. None: they are not there, which harms nobody."""
    if fd is None or not 0 < len(data) <= MOST_BYTES:
        return None
    try:
        at = -(-os.fstat(fd).st_size // _PAGE) * _PAGE
        left, end = memoryview(data), at
        while left:
            done = os.pwrite(fd, left, end)
            left, end = left[done:], end + done
    except OSError:
        return None
    return at
