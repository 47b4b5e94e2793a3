"""Which recordings' links have ended, in the order of their ends, and how far the files of them are deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tapedeck.core.recording import Recording
from tapedeck.db import expiry as table
from tapedeck.db.engine import Database

__all__ = ["Expired", "ExpiryService"]


@dataclass(frozen=True, slots=True)
class Expired:
    """What ended at one moment."""

    at: datetime
    recordings: Sequence[Recording]


class ExpiryService:
    """Reads by a cursor, so that nothing is looked at twice and nothing is missed over a restart."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def expired(self, now: datetime, after: datetime | None = None) -> Expired | None:
        """The next recordings whose links ended by `now` and whose files may still be there; `after`: those that ended
        later than that."""
        async with self._db.snapshot() as session:
            end = await table.next_end(session, after or await table.cursor(session), now)
            return None if end is None else Expired(end, await table.ended_at(session, end))

    async def ended(self, at: datetime) -> Expired:
        """The recordings whose links ended at one moment."""
        async with self._db.snapshot() as session:
            return Expired(at, await table.ended_at(session, at))

    async def freed(self, until: datetime) -> None:
        """The files of all whose links ended by then are gone."""
        async with self._db.write() as session:
            await table.move_cursor(session, until)
