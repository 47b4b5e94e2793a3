"""The book of recordings: every change of state passes here, with its outbox row, in one transaction.

Owns no decision (that is `core.recording.advance`) and talks to no worker. Listeners hear of a change after its commit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from tapedeck.core.errors import NotFoundError
from tapedeck.core.recording import Command, Recording, RecordingChanged, advance
from tapedeck.db import recordings as table
from tapedeck.db.engine import Database, DbSession
from tapedeck.ports.clock import Clock
from tapedeck.service import notices

__all__ = ["Ledger", "Listener"]

Listener = Callable[[Recording, RecordingChanged], None]
"""Called on the event loop right after a commit; must return at once and not raise."""

_log = logging.getLogger(__name__)


class Ledger:
    """Writes changes of recordings and tells who listens."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._listeners: list[Listener] = []
        self._readers: list[Callable[[], None]] = []

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Hear every change from now on, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def on_news(self, reader: Callable[[], None]) -> Callable[[], None]:
        """Hear that the outbox has something new, until the returned function is called. `reader` returns at once."""
        self._readers.append(reader)
        return lambda: self._readers.remove(reader)

    def announce(self) -> None:
        """Something was committed to the outbox."""
        for reader in tuple(self._readers):
            reader()

    async def open(self, session: DbSession, recording: Recording, imported: bool = False) -> RecordingChanged:
        """Store a new recording in a transaction of the caller's, who calls `publish` after its commit.

        `imported`: the library keeps it from the start.
        """
        change = RecordingChanged(recording.id, recording.version, None, recording.state, recording.invoked_at)
        await table.add_recording(session, recording, change, imported)
        return change

    async def apply(self, recording_id: str, command: Command, now: datetime | None = None) -> Recording:
        """Let something happen to a recording. NotFoundError; WrongStateError when its state does not allow it."""
        async with self._db.write() as session:
            recording, changes = await self.apply_in(session, recording_id, command, now)
        for change in changes:
            self.publish(recording, change)
        return recording

    async def apply_in(
        self, session: DbSession, recording_id: str, command: Command, now: datetime | None = None
    ) -> tuple[Recording, tuple[RecordingChanged, ...]]:
        """As `apply`, in a transaction of the caller's, who calls `publish` after its commit."""
        recording = await table.find_recording(session, recording_id, lock=True)
        if recording is None:
            raise NotFoundError(f"Recording not found: {recording_id}")
        changed, changes = advance(recording, command, now or self._clock.now())
        if changes:
            await table.save_recording(session, changed, changes)
            await notices.recording_changed(session, changed, changes)
        return changed, changes

    async def amend(self, recording_id: str, change: Callable[[Recording], Recording]) -> Recording:
        """Change something that no state hangs on, and that nobody is told of. NotFoundError."""
        async with self._db.write() as session:
            recording = await table.find_recording(session, recording_id, lock=True)
            if recording is None:
                raise NotFoundError(f"Recording not found: {recording_id}")
            changed = change(recording)
            await table.save_recording(session, changed, ())
        return changed

    def publish(self, recording: Recording, change: RecordingChanged) -> None:
        """Tell the listeners of a change that is committed."""
        _log.info(
            "recording changed",
            extra={
                "action": "recording_changed",
                "recording_id": recording.id,
                "previous": change.previous,
                "state": change.state,
            },
        )
        for listener in tuple(self._listeners):
            try:
                listener(recording, change)
            except Exception:
                _log.exception("a listener failed", extra={"action": "listener_failed", "recording_id": recording.id})
        self.announce()
