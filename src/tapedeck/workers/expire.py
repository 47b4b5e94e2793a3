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
from tapedeck.service.expiry import ExpiryService

__all__ = ["FileKeeper"]

log = structlog.get_logger(__name__)

_EVERY_S = 60.0


class FileKeeper:
    """Frees what has expired."""

    def __init__(self, service: ExpiryService, store: ObjectStore, clock: Clock) -> None:
        self._service = service
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """Free what has expired, for ever."""
        while True:
            try:
                await self.free(self._clock.now())
            except Exception:
                log.exception("expiry.failed")
            await asyncio.sleep(_EVERY_S)

    async def free(self, now: datetime) -> int:
        """Delete what has expired by `now`, oldest first; how many files. It stops where the bucket refuses."""
        freed = 0
        while (expired := await self._service.expired(now)) is not None:
            for recording in expired.recordings:
                for file in recording.files:
                    if file.key is None:
                        continue
                    try:
                        await self._store.delete(file.key)
                    except TapedeckError as exc:
                        log.warning("expiry.not_deleted", recording_id=recording.id, reason=str(exc))
                        return freed
                    freed += 1
            await self._service.freed(expired)
        return freed
