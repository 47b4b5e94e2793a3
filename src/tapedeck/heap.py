"""How this process gets large blocks of memory: each from the system, and back to it when it is let go of."""

from __future__ import annotations

import ctypes
from contextlib import suppress

__all__ = ["give_back_large_blocks"]

_M_MMAP_THRESHOLD = -3
_LARGE = 4 << 20


def give_back_large_blocks() -> None:
    """Have the allocator of the C library keep nothing of a block of 4 MiB or more.

    glibc's does so at first, but with the first such block that is freed it begins to cut them from heaps, of which it
    keeps one per thread: some uploads in parts of 8 MiB left the process 100 MB larger. Of other libraries nothing is
    asked.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)
