"""What workers report and ask about recordings: films made and delivered, failures, deadlines, recovery after a crash.

Owns the timers' arithmetic through `core.deadlines` but no timer: a worker calls `run_due`, and is told when to come
again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tapedeck.core.caution import Caution
from tapedeck.core.deadlines import Deadline, Limits, Presence, deadline_of
from tapedeck.core.errors import NotFoundError, TapedeckError
from tapedeck.core.meeting import Session
from tapedeck.core.recording import (
    ACTIVE,
    FINAL,
    Delivered,
    Fail,
    FilmFile,
    Recording,
    RecordingState,
    Rendered,
    Stop,
    StopCause,
    WrongStateError,
)
from tapedeck.core.signing import expiry_seconds
from tapedeck.core.times import from_ms, whole_ms
from tapedeck.db import access, presence, renders
from tapedeck.db import recordings as table
from tapedeck.db.engine import Database
from tapedeck.ports.clock import Clock
from tapedeck.service import notices
from tapedeck.service.ledger import Ledger
from tapedeck.service.recordings import RecordingService

__all__ = ["LifecycleService", "Recovery"]

_log = logging.getLogger(__name__)
_UNFINISHED = tuple(state for state in RecordingState if state not in FINAL)
_COPIED = (RecordingState.RENDERING, RecordingState.UPLOADING)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a starting server finds unfinished."""

    recordings: Mapping[RecordingState, Sequence[Recording]]
    "Every unfinished state, oldest first."
    sessions: Sequence[Session]
    "Sessions that go on if somebody comes back."


class LifecycleService:
    """Moves recordings on when workers say so, or when their time has come."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        ledger: Ledger,
        recordings: RecordingService,
        limits: Limits | None = None,
        retention: timedelta = timedelta(days=7),
    ) -> None:
        self._db = db
        self._clock = clock
        self._ledger = ledger
        self._recordings = recordings
        self._limits = limits or Limits()
        self._retention = retention

    # Reports of workers

    async def on_rendered(self, recording_id: str, files: Sequence[FilmFile]) -> Recording:
        """The film is finished on this machine; each file has its `local_path`. NotFoundError, WrongStateError."""
        return await self._ledger.apply(recording_id, Rendered(tuple(files)))

    async def on_uploaded(self, recording_id: str, files: Sequence[FilmFile]) -> Recording:
        """A destination holds the complete files; each in the bucket has its `key`. NotFoundError, WrongStateError.

        From now on links to the bucket live for the retention, which ends on a whole second.
        """
        expires = self.links_end() if any(file.key is not None for file in files) else None
        return await self._ledger.apply(recording_id, Delivered(tuple(files), expires))

    def links_end(self) -> datetime:
        """When links to what the bucket has just taken shall end."""
        return from_ms(expiry_seconds(self._clock.now() + self._retention) * 1000)

    async def on_failed(self, recording_id: str, reason: str) -> Recording:
        """No film will come of it, for good. `reason` is one sentence. NotFoundError, WrongStateError."""
        return await self._recordings.stop(recording_id, Fail(reason))

    async def caution(self, recording_id: str, caution: Caution) -> None:
        """Something went less well than asked for; the recording goes on. The first of each code is kept."""
        async with self._db.write() as session:
            await table.add_caution(session, recording_id, caution)

    async def end(self, recording_id: str) -> Recording:
        """What is recorded says that it is over. NotFoundError, WrongStateError."""
        return await self._recordings.stop(recording_id, Stop(StopCause.EMPTY))

    async def interrupt(self, recording_id: str, at: datetime) -> Recording:
        """Capture broke at `at` and will not go on: the film ends there. NotFoundError, WrongStateError."""
        return await self._recordings.stop(recording_id, Stop(StopCause.FAULT, at=whole_ms(at)))

    # Time

    async def deadlines(self) -> Sequence[Deadline]:
        """The ends in sight of all running recordings, earliest first."""
        async with self._db.snapshot() as session:
            running = [r for r in await table.in_states(session, ACTIVE) if _is_ours(r)]
            if not running:
                return []
            sessions = {live.id: live for live in await presence.live_sessions(session)}
            by_meeting = {live.meeting_id: live for live in sessions.values()}
            timeouts = await access.empty_timeouts(session, {recording.app_id for recording in running})
            found: list[Deadline] = []
            for recording in running:
                if recording.session_id is None:
                    live = by_meeting.get(recording.meeting_id)
                else:
                    live = sessions.get(recording.session_id)
                    live = live or await presence.find_session(session, recording.session_id)
                here = Presence(live.occupied_since, live.empty_since, live.outage_at) if live else None
                timeout = timeouts.get(recording.app_id)
                limits = self._limits if timeout is None else replace(self._limits, empty_timeout_s=timeout)
                deadline = deadline_of(recording, here, limits)
                if deadline is not None:
                    found.append(deadline)
        return sorted(found, key=lambda d: d.at)

    async def due(self, now: datetime) -> Sequence[Deadline]:
        """The ends that are due by `now`, earliest first."""
        return [deadline for deadline in await self.deadlines() if deadline.at <= now]

    async def run_due(self, now: datetime) -> datetime | None:
        """Stop what is due by `now`, try again what could not be ended; returns the next deadline, if one is in sight.

        New deadlines can appear at any time (somebody leaves): come again within a second or so.
        """
        self._recordings.retry_closing()
        upcoming: datetime | None = None
        for deadline in await self.deadlines():
            if deadline.at > now:
                upcoming = deadline.at
                break
            try:
                await self._recordings.stop(deadline.recording_id, deadline.command)
            except (WrongStateError, NotFoundError):
                _log.debug("a deadline came too late", extra={"action": "deadline_late"})
        return upcoming

    # Start and end of the server

    async def recover(self, log_ends: Mapping[str, datetime]) -> Recovery:
        """Take stock after a start: nobody is connected, everything unfinished is listed.

        `log_ends` says for each session id (see `live_sessions`) when its log ends; the outage begins there, or now.
        A room that was empty before simply goes on being empty.
        Recordings that run stay as they are: they end by their deadlines unless somebody comes back. Stopped ones are
        closed again by the next `run_due`.
        """
        now = whole_ms(self._clock.now())
        async with self._db.write() as session:
            sessions: list[Session] = []
            for live in await presence.live_sessions(session):
                changed = live
                log_end = log_ends.get(live.id)
                # Nobody was there while the server was not: they left with the last that is known of them.
                gone_at = min(now, max(live.updated_at or live.started_at, whole_ms(log_end or live.started_at)))
                await notices.all_leave(session, live, gone_at)
                changed = await presence.leave_all(session, live, gone_at)
                if live.occupied_since is not None or live.outage_at is not None:
                    outage_at = live.outage_at or whole_ms(log_end or now)
                    changed = replace(changed, occupied_since=None, empty_since=now, outage_at=outage_at)
                await presence.save_session(session, changed)
                sessions.append(changed)
            # Of another recorder's, what is copied or delivered is known here; the rest is its own to recover.
            found = await table.in_states(session, _UNFINISHED)
            unfinished = [r for r in found if _is_ours(r) or r.state in _COPIED]
        by_state = {state: [r for r in unfinished if r.state is state] for state in _UNFINISHED}
        for recording in by_state[RecordingState.CLOSING]:
            self._recordings.close_soon(recording)
        return Recovery(by_state, sessions)

    async def live_sessions(self) -> Sequence[Session]:
        """Sessions that have not ended, oldest first."""
        async with self._db.read() as session:
            return await presence.live_sessions(session)

    async def log_needed_until(self, session_id: str, keep: timedelta, keep_failed: timedelta) -> datetime | None:
        """When the media log of a session may be freed: its films are delivered, and each keeps it for a while.

        None while it may not: the session lives, a film is not delivered or is to be made again, or nobody knows the
        session.
        """
        async with self._db.snapshot() as session:
            live = await presence.find_session(session, session_id)
            if live is None or live.ended_at is None:
                return None
            if await renders.is_waited_for(session, session_id):
                return None
            made = await table.of_session(session, session_id, tuple(RecordingState))
        needed = live.ended_at
        for recording in made:
            if recording.state not in FINAL or recording.stopped_at is None:
                return None
            wait = keep_failed if recording.failure is not None else keep
            needed = max(needed, recording.stopped_at + wait)
        return needed

    async def shutdown(self) -> Sequence[Recording]:
        """Start nothing any more and stop all that runs; returns what was stopped, its log closed on disk."""
        self._recordings.drain()
        async with self._db.read() as session:
            running = [r for r in await table.in_states(session, ACTIVE) if _is_ours(r)]
        stopped: list[Recording] = []
        for recording in running:
            try:
                stopped.append(await self._recordings.stop(recording.id, Stop(StopCause.SHUTDOWN)))
            except (WrongStateError, NotFoundError):
                _log.debug("a recording ended by itself", extra={"action": "shutdown_late"})
            except TapedeckError:
                # The others are still to be stopped; this one runs on after the next start, or ends there.
                extra = {"action": "shutdown_failed", "recording_id": recording.id}
                _log.exception("a recording could not be stopped", extra=extra)
        await self._recordings.settle()
        return stopped


def _is_ours(recording: Recording) -> bool:
    """Whether this server records it."""
    return recording.options.provider == "local"
