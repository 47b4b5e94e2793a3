"""Deletes the files of the built-in bucket when their links have ended.

Owns no rule: a recording says when its links end. The row stays, and its link goes on being refused as ended.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

import structlog

from tapedeck.core.errors import TapedeckError
from tapedeck.ports.clock import Clock
from tapedeck.ports.storage import ObjectStore
from tapedeck.service.expiry import Expired, ExpiryService

__all__ = ["FileKeeper"]

log = structlog.get_logger(__name__)

_EVERY_S = 60.0
_REFUSALS = 3
"""A bucket that refuses so many things is left alone until the next turn."""


class FileKeeper:
    """Frees what has expired."""

    def __init__(self, service: ExpiryService, store: ObjectStore, clock: Clock) -> None:
        self._service = service
        self._store = store
        self._clock = clock
        self._late: list[datetime] = []
        "When that ended which the bucket would not let go of; the next process begins with the first of it."
        self._reached: datetime | None = None
        "Everything else that ended by then is deleted."

    async def run(self) -> None:
        """Free what has expired, for ever."""
        while True:
            try:
                await self.free(self._clock.now())
            except Exception:
                log.exception("expiry.failed")
            await asyncio.sleep(_EVERY_S)

    async def free(self, now: datetime) -> int:
        """Delete what has expired by `now`, oldest first; how many files. It stops where the bucket does not answer, or
        refuses one thing after the other; a single thing that it refuses holds up nothing else, and is tried again."""
        freed = 0
        for end in list(self._late):  # looked up again: something may be kept for good by now
            freed += await self._free(await self._service.ended(end))
        while len(self._late) < _REFUSALS and (expired := await self._service.expired(now, self._reached)) is not None:
            freed += await self._free(expired)
            self._reached = expired.at
        if self._reached is not None and not self._late:
            await self._service.freed(self._reached)
            self._reached = None
        return freed

    async def _free(self, expired: Expired) -> int:
        """Delete files; how many. What the bucket refuses is noted as late."""
        freed, refused = 0, False
        for recording in expired.recordings:
            for file in recording.files:
                if file.key is None:
                    continue
                try:
                    await self._store.delete(file.key)
                except TapedeckError as exc:
                    log.warning("expiry.not_deleted", recording_id=recording.id, reason=str(exc))
                    refused = True
                    break
                freed += 1
        self._late = [end for end in self._late if end != expired.at] + [expired.at] * refused
        return freed
