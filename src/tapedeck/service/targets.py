"""Where recordings are streamed to: asked for, removed, and how each does. The sending is `workers/streams.py`'s.

Owns that nobody sees an address with its key again. A target belongs to a recording; one that ended stays as a record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import uuid4

from tapedeck.core.errors import ConflictError, NotFoundError
from tapedeck.core.meeting import App
from tapedeck.core.recording import ACTIVE, Recording, RecordingKind
from tapedeck.core.target import MOST_TARGETS, NO_STREAMS, STREAMED, Target, TargetState, shown_address
from tapedeck.core.times import whole_ms
from tapedeck.db import recordings as recordings_table
from tapedeck.db import targets as table
from tapedeck.db.engine import Database, DbSession
from tapedeck.ports.clock import Clock
from tapedeck.service.vault import Vault

__all__ = ["TargetService"]

_REMOVED = "The recording that was streamed there is so no longer: its target was removed"


class TargetService:
    """Targets of one node's recordings."""

    def __init__(self, db: Database, clock: Clock, vault: Vault, *, live: bool = True) -> None:
        """`live`: films are made while they are recorded; else there is nothing to stream."""
        self._db = db
        self._clock = clock
        self._vault = vault
        self._live = live
        self.on_asked: Callable[[str], None] = lambda _: None
        "Hears of each recording whose targets were changed by a caller; returns at once."

    # Callers

    async def list(self, app: App, recording_id: str) -> Sequence[Target]:
        """All targets of a recording, oldest first. NotFoundError."""
        await self._recording(app, recording_id)
        async with self._db.read() as session:
            return await table.targets_of(session, recording_id)

    async def add(self, app: App, recording_id: str, url: str) -> Target:
        """Stream a running recording to one more place. `url` was checked (`core.target.address_problem`).

        NotFoundError; ConflictError: there is nothing to stream, or it or another of its meeting is streamed there
        already (a server that has a stream of a key refuses the next, or drops the first), or it is streamed to too
        many places; InvalidError: the address is one of SRT, and this server has none.
        """
        recording = await self._recording(app, recording_id)
        if recording.state not in ACTIVE:
            raise ConflictError("The recording has ended: only one that runs can be streamed")
        if recording.kind is not RecordingKind.COMPOSITE:
            raise ConflictError("A recording of tracks cannot be streamed: it has no film")
        if not self._live:
            raise ConflictError(f"The recording cannot be streamed: {NO_STREAMS}")
        now = whole_ms(self._clock.now())
        target = Target(str(uuid4()), recording.id, now, shown_address(url), self._vault.seal_address(url))
        async with self._db.write() as session:
            found = [t for t in await table.targets_of(session, recording.id) if t.state is not TargetState.ENDED]
            if await self._vault.is_streamed(session, recording, target):
                raise ConflictError("The recording, or another of its meeting, is streamed there already")
            if len(found) >= MOST_TARGETS:
                raise ConflictError(
                    f"A recording is streamed to {MOST_TARGETS} places at most: remove one of them first"
                )
            await table.add_target(session, target)
        self.on_asked(recording.id)
        return target

    async def remove(self, app: App, recording_id: str, target_id: str) -> Target:
        """Stream no longer to a place; again is no error. Another recording that waits for the place does not get it:
        who removes it wants nobody to see the meeting there. NotFoundError."""
        recording = await self._recording(app, recording_id)
        async with self._db.write() as session:
            target = await table.find_target(session, target_id)
            if target is None or target.recording_id != recording_id:
                raise NotFoundError(f"Target not found: {target_id}")
            if target.state in STREAMED:
                for other in await self._vault.targets_at(session, recording, target):
                    if other.state is TargetState.WAITING:
                        await self._change(session, other, TargetState.ENDED, _REMOVED)
            target = await self._change(session, target, TargetState.ENDED, target.reason)
        self.on_asked(recording_id)
        return target

    # The worker

    async def open_of(self, recording_id: str) -> Sequence[Target]:
        """Targets of a recording that have not ended."""
        async with self._db.read() as session:
            return [t for t in await table.targets_of(session, recording_id) if t.state is not TargetState.ENDED]

    async def all_open(self) -> Sequence[Target]:
        """Targets of all recordings that have not ended."""
        async with self._db.read() as session:
            return await table.all_open(session)

    async def hand_over(self) -> None:
        """Places that a recording has left go to the next one of its meeting that waits for them."""
        async with self._db.read() as session:
            if not await table.all_waiting(session):
                return
        taken: list[str] = []
        async with self._db.write() as session:
            for target in await table.all_waiting(session):
                recording = await recordings_table.find_recording(session, target.recording_id)
                if recording is None or recording.state not in ACTIVE:
                    continue  # it is ended with its recording
                if not await self._vault.is_streamed(session, recording, target):
                    await self._change(session, target, TargetState.CONNECTING, None)
                    taken.append(recording.id)
        for recording_id in taken:
            self.on_asked(recording_id)

    def address(self, target: Target) -> str:
        """The whole address: only for the process that connects. UnavailableError."""
        return self._vault.unseal_address(target.sealed)

    async def note(self, target_id: str, state: TargetState, reason: str | None = None) -> None:
        """How a target does. One that has ended stays so. Coming to retry counts as a failure."""
        async with self._db.write() as session:
            target = await table.find_target(session, target_id)
            if target is not None:
                await self._change(session, target, state, reason)

    async def _change(self, session: DbSession, target: Target, state: TargetState, reason: str | None) -> Target:
        if target.state is TargetState.ENDED:
            return target
        failures = target.failures + (state is TargetState.RETRYING)
        now = whole_ms(self._clock.now())
        changed = replace(target, state=state, reason=reason, changed_at=now, failures=failures)
        await table.save_target(session, changed)
        return changed

    async def _recording(self, app: App, recording_id: str) -> Recording:
        async with self._db.read() as session:
            found = await recordings_table.find_recording(session, recording_id)
        if found is None or found.app_id != app.id:
            raise NotFoundError(f"Recording not found: {recording_id}")
        return found
