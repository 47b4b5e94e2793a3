"""What callers ask of recordings: start, pause, resume, stop, get, list. One transaction each, no HTTP words.

Capture is asked before a pause or a resume is committed (what is answered is true of the log), and after a start or a
stop (what was promised survives a crash: `lifecycle` finds it again).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from enum import StrEnum
from typing import Any
from weakref import WeakValueDictionary

from tapedeck.core.access import ParticipantPrincipal, Principal
from tapedeck.core.errors import ConflictError, DeniedError, InvalidError, NotFoundError, UnavailableError
from tapedeck.core.meeting import App, Meeting, MeetingStatus
from tapedeck.core.paging import Listing, Page
from tapedeck.core.recording import (
    ACTIVE,
    Dispatched,
    Fail,
    LogClosed,
    Pause,
    Recording,
    RecordingChanged,
    RecordingKind,
    RecordingOptions,
    RecordingState,
    Resume,
    StartCause,
    Stop,
    StopCause,
    WrongStateError,
    advance,
)
from tapedeck.core.remote import check_ours
from tapedeck.db import presence, rooms
from tapedeck.db import recordings as table
from tapedeck.db.engine import Database, DbSession
from tapedeck.db.listing import RecordingFilter, list_with_places
from tapedeck.ports.clock import Clock
from tapedeck.ports.control import CaptureControl
from tapedeck.ports.storage import ObjectStore
from tapedeck.service.ledger import Ledger
from tapedeck.service.opening import Opening
from tapedeck.service.vault import Vault
from tapedeck.service.views import RecordingView, Views

__all__ = ["Action", "RecordingFilter", "RecordingService"]

_log = logging.getLogger(__name__)
_FILM = RecordingKind.COMPOSITE


class Action(StrEnum):
    """What may be asked of a running recording."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"


class RecordingService:
    """Use cases of one node's recordings."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        ledger: Ledger,
        control: CaptureControl,
        store: ObjectStore,
        vault: Vault,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        """`defaults` is the weakest level of wishes, the server's own. InvalidError as of `Vault.seal`."""
        self._db = db
        self._clock = clock
        self._ledger = ledger
        self._control = control
        self._vault = vault
        self._views = Views(db, store)
        self._opening = Opening(clock, ledger, vault, defaults)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._unclosed: dict[str, Recording] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._draining = False

    # Commands of callers

    async def start(
        self,
        app: App,
        principal: Principal,
        meeting_id: str,
        config: Mapping[str, Any],
        allow_multiple: bool = False,
        imported: bool = False,
    ) -> RecordingView:
        """Start a composite recording; answered as it was accepted, before any media.

        `imported`: the library keeps it from the start (`core/library.py`).
        `config` has the validated options of the request. NotFoundError for the meeting, InvalidError when it is
        INACTIVE or the files would go nowhere, ConflictError when one is running and this one does not allow for it, or
        is to be streamed where that one is, DeniedError for a participant of another meeting or without the permission,
        UnavailableError while draining.
        """
        self._admit(principal, meeting_id)
        async with self._db.write() as session:
            meeting = await self._recordable(session, app, meeting_id)
            if not allow_multiple and await self._running(session, meeting):
                raise ConflictError(f"Meeting {meeting_id} already has an active recording")
            caller = principal.caller(app)
            recording, change = await self._opening.film(session, meeting, config, StartCause.REQUEST, caller, imported)
        self._ledger.publish(recording, change)
        await self.dispatch(recording)
        return await self._views.of(recording, meeting)

    async def start_tracks(
        self,
        app: App,
        principal: Principal,
        meeting_id: str,
        options: RecordingOptions,
        storages: Mapping[str, tuple[str, Mapping[str, Any]]],
        allow_multiple: bool = False,
    ) -> RecordingView:
        """Start a recording of tracks (`options.tracks`) of the live session; composites beside it do not matter.

        `storages` has by layer where its files go too, with the place of that in the request. Errors as of `start`;
        NotFoundError also when the meeting has no live session.
        """
        self._admit(principal, meeting_id)
        assert options.tracks is not None, "whose tracks is said by the caller: nobody's absence means everybody"
        sealed = {layer: self._vault.seal_storage(storage, pointer) for layer, (pointer, storage) in storages.items()}
        async with self._db.write() as session:
            meeting = await self._recordable(session, app, meeting_id)
            live = await presence.live_session(session, meeting_id)
            if live is None:
                raise NotFoundError(f"No active session found for meeting_id {meeting_id}")
            if not allow_multiple and await self._running(session, meeting, RecordingKind.TRACK):
                raise ConflictError(f"Meeting {meeting_id} already has an active track recording")
            caller = principal.caller(app)
            recording, change = await self._opening.tracks(session, meeting, live.id, options, sealed, caller)
        self._ledger.publish(recording, change)
        await self.dispatch(recording)
        return await self._views.of(recording, meeting)

    async def start_in(
        self, session: DbSession, meeting: Meeting, config: Mapping[str, Any] | None = None
    ) -> tuple[Recording, RecordingChanged] | None:
        """Start the recording of a meeting that wants one from its first join, in a transaction of the caller's.

        None when one is running, beside which only one with a `config` is started. The caller publishes and dispatches
        after the commit.
        """
        if self._draining or (config is None and await self._running(session, meeting)):
            return None
        try:
            return await self._opening.film(session, meeting, config or {}, StartCause.FIRST_JOIN, None)
        except InvalidError as exc:  # who joins cannot mend what whoever made the meeting wanted
            extra = {"action": "start_refused", "meeting_id": meeting.id}
            _log.error("a meeting is not recorded: %s", exc, extra=extra)
            return None

    async def control(self, app: App, principal: Principal, recording_id: str, action: Action) -> RecordingView:
        """Pause, resume or stop; repeating one is harmless. NotFoundError, WrongStateError, DeniedError."""
        async with self._lock(recording_id):
            recording, meeting = self._find(app, recording_id)
            _allow(principal, meeting.id)
            check_ours(recording)
            if action is Action.STOP:
                recording = await self._stop(recording.id, Stop(StopCause.REQUEST, principal.caller(app)))
            else:
                recording = await self._hold(recording, action)
        return await self._views.of(recording, meeting)

    # Questions of callers

    async def get(self, app: App, recording_id: str) -> RecordingView:
        """One recording; NotFoundError."""
        return await self._views.of(*self._find(app, recording_id))

    async def active(self, app: App, principal: Principal, meeting_id: str) -> RecordingView:
        """The newest recording of a meeting that is not stopped, composites before tracks. NotFoundError."""
        _allow(principal, meeting_id)
        async with self._db.read() as session:
            meeting = await rooms.find_meeting(session, meeting_id, app.id)
            if meeting is None:
                raise NotFoundError(f"Meeting not found: {meeting_id}")
            running = await table.of_meeting(session, app.id, meeting_id, ACTIVE)
        if not running:
            raise NotFoundError(f"No active recording found for meeting_id {meeting_id}")
        chosen = next((r for r in running if r.kind is RecordingKind.COMPOSITE), running[0])
        return await self._views.of(chosen, meeting)

    async def list(self, app: App, wanted: RecordingFilter, page: Page) -> Listing[RecordingView]:
        """One page of an app's recordings, by invocation."""
        now = self._clock.now()
        found, places = await self._db.ask_together(lambda ask: list_with_places(ask, app.id, wanted, page, now))
        views = [await self._views.of(item, meeting, places.get(item.id, ())) for item, meeting in found.items]
        return Listing(views, found.total_count, page)

    # For the other services

    async def start_beside(
        self, session: DbSession, app: App, principal: Principal, meeting_id: str, config: Mapping[str, Any]
    ) -> tuple[Recording, RecordingChanged]:
        """As `start`, whatever runs, in a transaction of the caller's, who publishes and dispatches after it."""
        self._admit(principal, meeting_id)
        meeting = await self._recordable(session, app, meeting_id)
        return await self._opening.film(session, meeting, config, StartCause.REQUEST, principal.caller(app))

    async def usual_video(self, session: DbSession, meeting: Meeting) -> Mapping[str, Any]:
        """As `Opening.usual_video`."""
        return await self._opening.usual_video(session, meeting)

    async def dispatch(self, recording: Recording) -> None:
        """Tell capture to record. When it cannot, the recording fails and UnavailableError is raised."""
        async with self._lock(recording.id):
            try:
                kept = recording.options
                on = {"timed": kept.timed, "page": kept.page is not None}
                await self._control.start(recording.meeting_id, recording.id, kept.tracks, **on)
            except Exception as exc:
                _log.exception("capture did not start", extra={"action": "start_failed", "recording_id": recording.id})
                await self._ledger.apply(recording.id, Fail(f"Capture could not be started: {exc}"))
                raise UnavailableError(f"Recording {recording.id} could not be started: {exc}") from exc
            told = await self._ledger.apply(recording.id, Dispatched())
        if told.state not in ACTIVE:  # it ended while capture was being told
            self.close_soon(told)

    async def stop(self, recording_id: str, command: Stop | Fail) -> Recording:
        """End a recording for a reason of our own, without waiting for capture. NotFoundError, WrongStateError."""
        return await self._stop(recording_id, command)

    def close_soon(self, recording: Recording) -> None:
        """Have capture end a recording that is stopped, and note when its log is closed."""
        self._unclosed[recording.id] = recording
        if recording.id not in self._tasks:
            task = self._tasks[recording.id] = asyncio.create_task(self._close(recording), name=f"close {recording.id}")
            task.add_done_callback(lambda _: self._tasks.pop(recording.id, None))

    def retry_closing(self) -> None:
        """Try again to end what capture could not end before."""
        for recording in tuple(self._unclosed.values()):
            self.close_soon(recording)

    def drain(self) -> None:
        """Start nothing any more."""
        self._draining = True

    async def settle(self) -> None:
        """Return when every stop asked for so far has been tried."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks.values()))

    async def aclose(self) -> None:
        """Wait no longer for stops that capture has not ended: they are ended after the next start."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Inside

    def _find(self, app: App, recording_id: str) -> tuple[Recording, Meeting]:
        found = table.find_with_meeting(self._db, app.id, recording_id)
        if found is None:
            raise NotFoundError(f"Recording not found: {recording_id}")
        return found

    def _admit(self, principal: Principal, meeting_id: str) -> None:
        """Whether this caller may start something now. DeniedError, UnavailableError."""
        _allow(principal, meeting_id)
        if self._draining:
            raise UnavailableError("The server is shutting down and starts no recordings", retry_after_s=5)

    async def _recordable(self, session: DbSession, app: App, meeting_id: str) -> Meeting:
        """The meeting, held against other starts until the commit. NotFoundError, InvalidError."""
        meeting = await rooms.find_meeting(session, meeting_id, app.id, lock=True)
        if meeting is None:
            raise NotFoundError(f"Meeting not found: {meeting_id}")
        if meeting.status is MeetingStatus.INACTIVE:
            raise InvalidError(f"Meeting {meeting_id} is INACTIVE and cannot be recorded")
        return meeting

    async def _running(self, session: DbSession, meeting: Meeting, kind: RecordingKind = _FILM) -> bool:
        running = await table.of_meeting(session, meeting.app_id, meeting.id, ACTIVE)
        return any(r.kind is kind for r in running)

    async def _hold(self, recording: Recording, action: Action) -> Recording:
        """Pause or resume: capture first, so that the answer is true of the log; undone if it cannot be stored."""
        pausing = action is Action.PAUSE
        command = Pause() if pausing else Resume()
        now = self._clock.now()
        unchanged, changes = advance(recording, command, now)
        if not changes:
            return unchanged
        do, undo = self._control.pause, self._control.resume
        if not pausing:
            do, undo = undo, do
        await do(recording.meeting_id, recording.id)
        try:
            return await self._ledger.apply(recording.id, command, now)
        except WrongStateError:
            raise
        except Exception:
            await undo(recording.meeting_id, recording.id)
            raise

    async def _stop(self, recording_id: str, command: Stop | Fail) -> Recording:
        async with self._db.write() as session:
            recording, changes = await self._ledger.apply_in(session, recording_id, command)
        for change in changes:
            self._ledger.publish(recording, change)
            if change.previous in ACTIVE:
                self.close_soon(recording)
        return recording

    async def _close(self, recording: Recording) -> None:
        try:
            await self._control.stop(recording.meeting_id, recording.id)
            if recording.state is RecordingState.CLOSING:
                await self._ledger.apply(recording.id, LogClosed())
        except Exception:
            _log.exception("capture did not stop", extra={"action": "stop_failed", "recording_id": recording.id})
        else:
            self._unclosed.pop(recording.id, None)

    def _lock(self, recording_id: str) -> asyncio.Lock:
        return self._locks.setdefault(recording_id, asyncio.Lock())


def _allow(principal: Principal, meeting_id: str) -> None:
    """Pass backends; of participants those of this meeting who may record."""
    if isinstance(principal, ParticipantPrincipal):
        if principal.meeting_id != meeting_id:
            raise DeniedError("Forbidden: the token is for another meeting")
        if not principal.preset.can_record:
            raise DeniedError("Forbidden: the participant may not record")
