"""One file of the log and the queue before it.

Owns packing what the event loop handed over into buffers, in order, and marking what comes after a gap. Refuses to
know when it is time to write.
"""

from __future__ import annotations

import logging
import struct
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from tapedeck.core.frames import EncodedFrame, FrameFlags
from tapedeck.core.timeline import TimelineEvent
from tapedeck.medialog.disk import AppendFile

__all__ = ["Stream"]

_log = logging.getLogger(__name__)
_PACK_AT_ONCE = 256
T = TypeVar("T", EncodedFrame, TimelineEvent)


class Stream(Generic[T]):
    """One file and what waits for it. None in the queue: something was dropped here.

    `pack(item, extra_flags)` gives the buffers of a record; `on_wrote(size_bytes)` and `on_spoiled(item)` are called by
    `pump`.
    """

    def __init__(
        self,
        file: AppendFile,
        pack: Callable[[T, int], tuple[bytes, ...]],
        on_wrote: Callable[[int], None],
        on_spoiled: Callable[[T], None],
    ) -> None:
        self.file = file
        self.queue: deque[T | None] = deque()
        self.is_closing = False
        self._pack: Callable[[T, int], tuple[bytes, ...]] = pack
        self._on_wrote = on_wrote
        self._on_spoiled: Callable[[T], None] = on_spoiled
        self._extra_flags = 0

    def pump(self, count: int) -> None:
        """Write what is left from before and `count` items of the queue. OSError: the rest waits."""
        while True:
            while self.file.has_backlog:
                self._on_wrote(self.file.write())
            if count <= 0:
                return
            taken = min(count, _PACK_AT_ONCE)
            self.file.put(self._take(taken))
            count -= taken

    def _take(self, count: int) -> list[bytes]:
        buffers: list[bytes] = []
        for _ in range(count):
            item = self.queue.popleft()
            if item is None:
                self._extra_flags = int(FrameFlags.DISCONTINUITY)
                continue
            try:
                buffers += self._pack(item, self._extra_flags)
                self._extra_flags = 0
            except (struct.error, TypeError, ValueError, OverflowError):
                _log.exception("a record could not be packed", extra={"action": "medialog.pack"})
                self._extra_flags = int(FrameFlags.DISCONTINUITY)
                self._on_spoiled(item)
        return buffers
