"""Hosts the live sessions of this process: which meeting is captured where, who is in it, and when it is over.

The edge between sources (`ports.sources.Ingest`), the service (`ports.control.CaptureControl`) and `capture`. Owns the
map from meetings to sessions, the recordings that wait for a session, and the order in which the service hears of
things. What is written, and when, is `capture`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol
from uuid import uuid4
from weakref import WeakValueDictionary

import structlog

from tapedeck.capture.recover import log_end, new_session, resumed_session, starts_in
from tapedeck.capture.session import TICK_S, CaptureSession
from tapedeck.core.errors import ConflictError, NotFoundError, TapedeckError, UnavailableError
from tapedeck.core.meeting import Session, SessionEnd
from tapedeck.core.recording import LIVE, RecordingState
from tapedeck.core.wanted import TrackChoice
from tapedeck.ports.clock import Clock
from tapedeck.ports.control import CaptureEvents
from tapedeck.ports.sources import FrameSink, PeerInfo
from tapedeck.service.lifecycle import Recovery
from tapedeck.service.meetings import MeetingService
from tapedeck.workers.reports import Listener, Reports
from tapedeck.workers.seat import Seat

__all__ = ["CaptureHost", "Publishers"]

log = structlog.get_logger(__name__)

_NEWS_S = 2.0
"""How long the end of a publication waits until the records know of it."""
_LAST_WORDS_S = 10.0
"""How long the end of the process waits for reports that the service cannot take now."""


class Publishers(Protocol):
    """What ends publications: the WHIP endpoint."""

    async def disconnect(self, meeting_id: str, participant_id: str | None = None) -> Collection[str]:
        """End the publications of one participant, or of all; whose they were."""

    def rename(self, meeting_id: str, participant_id: str, name: str) -> None:
        """A participant's display name changed."""


class _Live:
    """A session of a meeting, and the reports about it that the service has not heard yet."""

    def __init__(self, capture: CaptureSession, keep_alive_s: float) -> None:
        self.capture = capture
        self.keep_alive_s = keep_alive_s
        self.peers: set[str] = set()
        self.recordings: set[str] = set()
        self.empty_since_ns: int | None = None
        self.is_faulty = False
        "The last tick failed, and that was said."
        self.reports = Reports(capture.session_id)


class CaptureHost:
    """Implements `Ingest` for sources and `CaptureControl` for the service. `bind` it, `recover`, `run`, `aclose`."""

    def __init__(self, captures_dir: Path, clock: Clock, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._captures_dir = captures_dir
        self._clock = clock
        self._now_ns = monotonic_ns
        self._live: dict[str, _Live] = {}
        "By meeting."
        self._opening: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        "By meeting, while somebody holds or awaits it."
        self._closed_doors: Counter[str] = Counter()
        "Meetings whose session is being ended: nobody joins meanwhile."
        self._waiting: dict[str, dict[str, tuple[TrackChoice | None, bool, bool]]] = {}
        "Recordings of meetings without a session, by meeting: whose tracks they keep, whether timed metadata, a page."
        self._ending: set[asyncio.Task[None]] = set()
        self._recovered = asyncio.Event()

    def bind(self, *, events: CaptureEvents, meetings: MeetingService, publishers: Publishers) -> None:
        """Say who hears of sessions, who knows meetings, and who ends publications. Once, before anything else."""
        self._events = events
        self._meetings = meetings
        self._publishers = publishers

    def session_ids(self) -> list[str]:
        """Sessions that are live here: their logs are in use."""
        return [live.capture.session_id for live in self._live.values()]

    # Ingest

    async def join(self, peer: PeerInfo, at_ns: int) -> FrameSink:
        """A peer is connected. ConflictError when its meeting is INACTIVE or its session is being ended,
        NotFoundError when it is gone."""
        meeting = await self._meetings.admit(peer.meeting_id)
        if peer.meeting_id in self._closed_doors:
            raise ConflictError(f"The session of meeting {peer.meeting_id} is being ended")
        async with self._opening.setdefault(peer.meeting_id, asyncio.Lock()):
            live = self._live.get(peer.meeting_id)
            if live is None:
                live = await self._open(peer.meeting_id, meeting.keep_alive_s)
        sink = Seat(live.capture.join(peer, at_ns), lambda left_ns: self._left(live, peer, left_ns))
        live.peers.add(peer.peer_id)
        live.empty_since_ns = None
        at, session_id = self._utc(at_ns), live.capture.session_id
        name = peer.name
        live.reports.put(lambda: self._events.on_joined(session_id, peer.participant_id, peer.peer_id, name, at))
        return sink

    async def _open(self, meeting_id: str, keep_alive_s: float) -> _Live:
        session_id = str(uuid4())
        at = self._clock.now()
        # Awaited: nothing may be said about a session that the service does not know.
        await self._events.on_session_started(meeting_id, session_id, at)
        capture = new_session(
            self._captures_dir / session_id,
            session_id,
            meeting_id,
            now_utc=at,
            now_ns=self._now_ns(),
            listener=Listener(meeting_id, self.capturing),
        )
        live = self._add(meeting_id, capture, keep_alive_s)
        self._start_waiting(meeting_id, live)
        return live

    def _start_waiting(self, meeting_id: str, live: _Live) -> None:
        for recording_id, (tracks, timed, page) in self._waiting.pop(meeting_id, {}).items():
            live.recordings.add(recording_id)
            live.capture.start(recording_id, self._now_ns(), tracks, timed=timed, page=page)

    def _add(self, meeting_id: str, capture: CaptureSession, keep_alive_s: float) -> _Live:
        live = self._live[meeting_id] = _Live(capture, keep_alive_s)
        live.empty_since_ns = self._now_ns()
        return live

    def _left(self, live: _Live, peer: PeerInfo, at_ns: int) -> None:
        live.peers.discard(peer.peer_id)
        if not live.peers:
            live.empty_since_ns = at_ns
        at, session_id = self._utc(at_ns), live.capture.session_id
        live.reports.put(lambda: self._events.on_left(session_id, peer.peer_id, at))

    def capturing(self, meeting_id: str, recording_id: str, at: datetime) -> None:
        """The first media of a recording is stored; its film starts at `at`."""
        live = self._live[meeting_id]
        session_id = live.capture.session_id
        live.reports.put(lambda: self._events.on_capturing(recording_id, session_id, at))

    # CaptureControl

    async def start(
        self,
        meeting_id: str,
        recording_id: str,
        tracks: TrackChoice | None = None,
        *,
        timed: bool = False,
        page: bool = False,
    ) -> None:
        """Record the meeting as soon as it has media, or some tracks of its live session, or a web page."""
        live = self._live.get(meeting_id)
        if live is None:
            if tracks is not None:
                raise NotFoundError(f"No active session found for meeting_id {meeting_id}")
            self._waiting.setdefault(meeting_id, {})[recording_id] = (None, timed, page)
            return
        live.capture.start(recording_id, self._now_ns(), tracks, timed=timed, page=page)
        live.recordings.add(recording_id)

    async def pause(self, meeting_id: str, recording_id: str) -> None:
        """Keep nothing from now on."""
        await self._captured(meeting_id, recording_id).capture.pause(recording_id, self._now_ns())

    async def resume(self, meeting_id: str, recording_id: str) -> None:
        """Keep again from now on."""
        self._captured(meeting_id, recording_id).capture.resume(recording_id, self._now_ns())

    async def say(self, meeting_id: str, recording_id: str, text: str) -> bool:
        """Put timed metadata at this moment of a recording; whether it takes any."""
        return self._captured(meeting_id, recording_id).capture.say(text, self._now_ns(), recording_id)

    async def stop(self, meeting_id: str, recording_id: str) -> None:
        """End the film now; returns when that is on disk."""
        await self._recovered.wait()
        if recording_id in self._waiting.get(meeting_id, ()):
            del self._waiting[meeting_id][recording_id]
            if not self._waiting[meeting_id]:
                del self._waiting[meeting_id]
        live = self._live.get(meeting_id)
        if live is not None and recording_id in live.recordings:
            await live.capture.stop(recording_id, self._now_ns())
            live.recordings.discard(recording_id)

    async def rename(self, meeting_id: str, participant_id: str, name: str) -> None:
        """Show a participant under another name from now on."""
        self._publishers.rename(meeting_id, participant_id, name)

    async def disconnect(self, meeting_id: str, participant_id: str | None = None) -> Collection[str]:
        """End the publications of one participant, or of all; whose they were."""
        ended = await self._publishers.disconnect(meeting_id, participant_id)
        live = self._live.get(meeting_id)
        if ended and live is not None:  # who asks for the session next shall not find them there
            await live.reports.caught_up(_NEWS_S)
        return ended

    async def end_session(self, meeting_id: str) -> None:
        """End all publications and the live session, with what records it; returns when it was reported."""
        await self._recovered.wait()
        self._closed_doors[meeting_id] += 1
        try:
            # Who is about to join waits for nothing that is held here, so they can be waited for.
            await self._publishers.disconnect(meeting_id)
            live = self._live.get(meeting_id)
            while live is not None and live.recordings:
                await self.stop(meeting_id, min(live.recordings))
            if live is not None and self._live.get(meeting_id) is live:
                await asyncio.shield(self._end_soon(meeting_id, live, SessionEnd.HOST))
        finally:
            self._closed_doors[meeting_id] -= 1
            if not self._closed_doors[meeting_id]:
                del self._closed_doors[meeting_id]

    def _captured(self, meeting_id: str, recording_id: str) -> _Live:
        live = self._live.get(meeting_id)
        if live is None or recording_id not in live.recordings:
            raise UnavailableError(f"Recording {recording_id} is not being captured here", retry_after_s=2)
        return live

    # Recovery

    async def log_ends(self, sessions: Sequence[Session]) -> Mapping[str, datetime]:
        """When the logs of sessions that an earlier process left end; only of those that have one."""
        ends: dict[str, datetime] = {}
        for session in sessions:
            directory = self._captures_dir / session.id
            if directory.is_dir():
                end = await asyncio.to_thread(log_end, directory)
                if end is not None:
                    ends[session.id] = end
        return ends

    async def recover(self, recovery: Recovery) -> None:
        """Go on with the sessions an earlier process left: whoever comes back continues the same film."""
        try:
            await self._take_up(recovery)
        finally:
            self._recovered.set()

    async def _take_up(self, recovery: Recovery) -> None:
        begun = await self._begun_unheard(recovery)
        for state in (RecordingState.REQUESTED, RecordingState.STARTING):
            for recording in recovery.recordings[state]:
                if not any(recording.id in starts for starts in begun.values()):
                    waiting = self._waiting.setdefault(recording.meeting_id, {})
                    kept = recording.options
                    waiting[recording.id] = (kept.tracks, kept.timed, kept.page is not None)
        running = {r.session_id for state in (*LIVE, RecordingState.CLOSING) for r in recovery.recordings[state]}
        for session in recovery.sessions:
            starts = begun.get(session.id, {})
            directory = self._captures_dir / session.id
            if session.id in running or starts:
                try:
                    await self._resume(session, directory, starts, recovery)
                    continue
                except TapedeckError as exc:
                    # One log that cannot go on must not keep the others, or the server, from starting.
                    log.error("capture.not_resumed", session_id=session.id, reason=str(exc))
                for recording_id, at in starts.items():
                    await self._events.on_capturing(recording_id, session.id, at)
            await self._events.on_session_ended(session.meeting_id, session.id, self._clock.now())

    async def _begun_unheard(self, recovery: Recovery) -> dict[str, dict[str, datetime]]:
        """Recordings whose first media is in a log, which the service did not hear any more: starts by session."""
        begun: dict[str, dict[str, datetime]] = {}
        expected = [r for s in (RecordingState.REQUESTED, RecordingState.STARTING) for r in recovery.recordings[s]]
        for session in recovery.sessions:
            ids = {r.id for r in expected if r.meeting_id == session.meeting_id}
            directory = self._captures_dir / session.id
            if ids and directory.is_dir():
                starts = await asyncio.to_thread(starts_in, directory)
                if found := {key: at for key, at in starts.items() if key in ids}:
                    begun[session.id] = found
        return begun

    async def _resume(
        self, session: Session, directory: Path, starts: Mapping[str, datetime], recovery: Recovery
    ) -> None:
        try:
            keep_alive_s = (await self._meetings.admit(session.meeting_id)).keep_alive_s
        except TapedeckError:
            keep_alive_s = 60.0  # INACTIVE since: what was recorded is still to be ended in order
        now_utc, now_ns, listener = self._clock.now(), self._now_ns(), Listener(session.meeting_id, self.capturing)
        if directory.is_dir():
            capture = await resumed_session(directory, now_utc=now_utc, now_ns=now_ns, listener=listener)
        else:  # it died before the first media of its recordings reached the disk: they begin with who comes back
            log.warning("capture.log_gone", session_id=session.id)
            capture = new_session(
                directory, session.id, session.meeting_id, now_utc=now_utc, now_ns=now_ns, listener=listener
            )
        live = self._add(session.meeting_id, capture, keep_alive_s)
        for state in (*LIVE, RecordingState.CLOSING):
            live.recordings |= {r.id for r in recovery.recordings[state] if r.session_id == session.id}
        for state in LIVE if directory.is_dir() else (*LIVE, RecordingState.CLOSING):
            for recording in recovery.recordings[state]:
                if recording.session_id == session.id and recording.id not in capture.recording_ids:
                    # its start had not reached the disk
                    kept = recording.options
                    on = {"timed": kept.timed, "page": kept.page is not None}
                    capture.start(recording.id, self._now_ns(), kept.tracks, **on)
                    if state is RecordingState.PAUSED:
                        await capture.pause(recording.id, self._now_ns())
        for recording_id in starts:
            live.recordings.add(recording_id)
            self.capturing(session.meeting_id, recording_id, starts[recording_id])
        self._start_waiting(session.meeting_id, live)

    # Time

    async def run(self) -> None:
        """Drive the sessions' clocks and end those that nobody needs, for ever. A fault in one touches no other."""
        while True:
            await asyncio.sleep(TICK_S)
            now_ns = self._now_ns()
            for meeting_id, live in list(self._live.items()):
                try:
                    live.capture.tick(now_ns)
                except Exception:
                    if not live.is_faulty:
                        log.exception("capture.tick_failed", session_id=live.capture.session_id)
                    live.is_faulty = True
                else:
                    live.is_faulty = False
                if self._is_over(live, now_ns):
                    self._end_soon(meeting_id, live)

    def _is_over(self, live: _Live, now_ns: int) -> bool:
        empty_ns = live.empty_since_ns
        return (
            not live.peers
            and not live.recordings
            and empty_ns is not None
            and now_ns - empty_ns >= live.keep_alive_s * 1e9
        )

    def _end_soon(self, meeting_id: str, live: _Live, cause: SessionEnd = SessionEnd.EMPTY) -> asyncio.Task[None]:
        del self._live[meeting_id]
        task = asyncio.create_task(self._end(meeting_id, live, cause), name=f"end {live.capture.session_id}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    async def _end(self, meeting_id: str, live: _Live, cause: SessionEnd) -> None:
        session_id, at = live.capture.session_id, self._clock.now()
        await self._close_log(live)
        live.reports.put(lambda: self._events.on_session_ended(meeting_id, session_id, at, cause))
        await live.reports.finish()

    async def aclose(self) -> None:
        """Close all logs in order. Sessions stay open in the records: a restart goes on with them."""
        await asyncio.gather(*(self._leave(live) for live in self._live.values()))
        self._live.clear()
        if self._ending:
            _, late = await asyncio.wait(self._ending, timeout=_LAST_WORDS_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _leave(self, live: _Live) -> None:
        await self._close_log(live)
        await live.reports.finish(_LAST_WORDS_S)

    async def _close_log(self, live: _Live) -> None:
        try:
            await live.capture.aclose()
        except TapedeckError as exc:
            log.error("capture.cut_short", session_id=live.capture.session_id, reason=str(exc))

    def _utc(self, at_ns: int) -> datetime:
        return self._clock.now() - timedelta(microseconds=(self._now_ns() - at_ns) / 1000)
