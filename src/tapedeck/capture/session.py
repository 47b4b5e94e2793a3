"""One live session of a meeting: what its peers send, kept in the media log while a recording asks for it.

Owns the gate (nothing is written before the first start, nothing captured in a pause or after a stop), the order of
events in the log, and when a stop is complete. Sources call its peers and tracks, the host its commands and
`tick`; all on the event loop, and it waits for nothing but its own futures. Refuses to know meetings, deadlines and
databases, and to stop recording for any reason but a command: a log that cannot be written is reported and written
later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from tapedeck.capture.flow import MAX_LATE_NS
from tapedeck.capture.horizon import Horizon
from tapedeck.capture.log import CaptureListener, Log
from tapedeck.capture.presence import Presence, joined
from tapedeck.capture.take import Take, hear
from tapedeck.capture.track import PeerRecorder, TrackRecorder
from tapedeck.core.errors import TapedeckError
from tapedeck.core.frames import EncodedFrame
from tapedeck.core.timeline import (
    NameChanged,
    Outage,
    ParticipantLeft,
    RecordingPaused,
    RecordingResumed,
    RecordingStopped,
    TimedText,
    TimelineEvent,
    TrackClosed,
    TrackMuted,
    TrackOpened,
    TrackUnmuted,
)
from tapedeck.core.wanted import TrackChoice
from tapedeck.ports.sources import PeerInfo

__all__ = ["TICK_S", "CaptureSession"]

TICK_S = 0.05
"""How often the host calls `tick` while a session records: a stop may wait for it."""


class CaptureSession:
    """The capture of one session. `now_ns` everywhere is `time.monotonic_ns()` of this node."""

    def __init__(
        self,
        session_id: str,
        meeting_id: str,
        *,
        open_log: Callable[[], Log],
        listener: CaptureListener,
        zero_ns: int,
        started_at: datetime,
    ) -> None:
        """`open_log` is called at the first start. `zero_ns` and `started_at` (UTC) are zero of the capture clock."""
        self.session_id = session_id
        self.meeting_id = meeting_id
        self.zero_ns = zero_ns
        self.started_at = started_at
        self.horizon = Horizon()
        self.is_beginning = False
        "The next frame to keep is the first of a recording, or the first after an outage."
        self.is_waiting = False
        "A stop waits for the last frames captured before it."
        self._listener = listener
        self._open_log = open_log
        self._log: Log | None = None
        self._presence = Presence()
        self._takes: dict[str, Take] = {}
        self._begun: set[str] = set()
        "Recordings that have media in the log, stopped ones included."
        self._stops: list[tuple[Take, asyncio.Future[None]]] = []
        self._described = False
        "The log knows who is there: every change is an event."
        self._command_ns = 0
        self._outage_from_ns: int | None = None

    # what the host asks

    @property
    def recording_ids(self) -> tuple[str, ...]:
        """Recordings that are started and not yet stopped, paused ones included."""
        return tuple(self._takes)

    @property
    def has_log(self) -> bool:
        """Whether a log was opened."""
        return self._log is not None

    @property
    def outage_from_ns(self) -> int | None:
        """After a crash: capture time at which the outage began, until media comes again."""
        return self._outage_from_ns

    def utc(self, at_ns: int) -> datetime:
        """UTC of a capture time."""
        return self.started_at + timedelta(microseconds=at_ns // 1000)

    def join(self, peer: PeerInfo, now_ns: int) -> PeerRecorder:
        """A peer is connected. One with the id of a peer that is still here takes its place."""
        known = self._presence.peers.get(peer.peer_id)
        if known is not None:
            known.close(now_ns)
        at = now_ns - self.zero_ns
        recorder = PeerRecorder(self, peer, at)
        self._presence.peers[peer.peer_id] = recorder
        recorder.is_wanted = self._wants(peer.participant_id, peer.custom_id)
        self.tell(recorder, joined(recorder, self.horizon.not_before(at)))
        return recorder

    def start(
        self,
        recording_id: str,
        now_ns: int,
        tracks: TrackChoice | None = None,
        *,
        timed: bool = False,
        page: bool = False,
    ) -> None:
        """Record from now on; the film starts now if media flows, else with the first media. Again is no error.

        With `tracks` only those are kept, and the recording starts now, whoever sends: nobody of them may ever come;
        with `page` only its own web page. `timed`: what is said to it is kept too.
        `on_capturing` tells when the first media is stored. InvalidError: the session's id cannot name a log.
        """
        if recording_id in self._takes:
            return
        at = now_ns - self.zero_ns
        if self._log is None:
            self._log = self._open_log()
        take = Take(recording_id, tracks, timed=timed, page=page)
        take.run(at, flowing=tracks is not None or self._presence.is_flowing(at, take))
        self._takes[recording_id] = take
        self.is_beginning = True
        self._command(at)
        if self._outage_from_ns is None:
            self._describe(at)
            if tracks is not None:
                self._begin(take, at)
        self._want_keys(at, take)

    async def pause(self, recording_id: str, now_ns: int) -> None:
        """Keep nothing captured from now on. Returns when the cut is on disk; UnavailableError: it will be, later."""
        take = self._takes.get(recording_id)
        if take is not None and take.is_running:
            at = now_ns - self.zero_ns
            take.pause(at)
            self._command(at)
            if take.started_ns is not None:
                self._bridge(at)
                self._write(RecordingPaused(at, recording_id))
        await self._synced()

    def resume(self, recording_id: str, now_ns: int) -> None:
        """Keep again what is captured from now on, and ask video tracks for a key frame."""
        take = self._takes.get(recording_id)
        if take is None or take.is_running:
            return
        at = now_ns - self.zero_ns
        take.run(at, flowing=self._presence.is_flowing(at, take))
        self._command(at)
        if take.started_ns is not None:
            self._write(RecordingResumed(at, recording_id))
        self._want_keys(at, take)

    async def stop(self, recording_id: str, now_ns: int) -> bool:
        """End a film now. Returns when the end and all that was captured before it is on disk.

        False: no media was ever stored, there is no film. After a crash, with nobody back yet, the film ends where the
        outage began. Waits for frames captured before, `MAX_LATE_NS` at most, mostly tens of ms. Again, or unknown:
        only syncs. UnavailableError: all is kept and will be written when the disk allows; call again to wait for it.
        """
        take = self._takes.get(recording_id)
        if take is not None:
            await self._completed(take, now_ns - self.zero_ns)
        await self._synced()
        return recording_id in self._begun

    def say(self, text: str, now_ns: int, recording_id: str | None = None, participant_id: str = "") -> bool:
        """Timed metadata of this moment, to one recording or to all; whether any took it (`capture.take.hear`)."""
        if not hear(self._takes.values(), text, recording_id, is_cut=self._outage_from_ns is not None):
            return False
        self._write(TimedText(self.horizon.not_before(now_ns - self.zero_ns), text, recording_id, participant_id))
        return True

    def tick(self, now_ns: int) -> None:
        """Time has passed: Progress, key frames asked for again, stops completed. Call every `TICK_S`."""
        if not self._takes:
            return
        now = now_ns - self.zero_ns
        for track in self._presence.tracks:
            track.ask_again(now)
        self.look(now)
        if self.horizon.is_due(now) and self._outage_from_ns is None:
            self._progress(now)

    async def aclose(self) -> None:
        """The session is over: close the log. Recordings that were not stopped stay as they are in it, and run on when
        it is taken up again. UnavailableError: the disk refused for too long.
        """
        log, self._log = self._log, None
        self._described = False
        if log is not None:
            await asyncio.wrap_future(log.close())

    def log_failed(self, error: TapedeckError) -> None:
        """The log cannot be written now. Recording goes on, the log keeps what it can and tries again."""
        self._listener.on_problem(self.session_id, str(error))

    def log_recovered(self) -> None:
        """The log can be written again."""
        self._listener.on_problem(self.session_id, None)

    def adopt(self, log: Log, takes: list[Take], ended_ns: int, passed_ns: int, now_ns: int) -> None:
        """Go on with the log of a process that died, before anything else: its recordings run on when media comes.

        `ended_ns` is the latest time in the log, `passed_ns` how far it was complete (capture clock).
        """
        self._log = log
        self._takes = {take.recording_id: take for take in takes}
        self._begun = set(self._takes)
        self.horizon.adopt(ended_ns, passed_ns)
        self._outage_from_ns = ended_ns if takes else None
        self.is_beginning = bool(takes)
        self._command(now_ns - self.zero_ns)

    # what peers and tracks report

    def track_opened(self, track: TrackRecorder) -> None:
        """A track is open."""
        self.tell(track.peer, TrackOpened(self.horizon.not_before(track.flow.opened_ns), track.info))

    def track_muted(self, track: TrackRecorder, at_ns: int) -> None:
        """A track was muted or unmuted."""
        event = TrackMuted if track.flow.muted else TrackUnmuted
        self.tell(track.peer, event(self.horizon.not_before(at_ns), track.info.track_id))

    def track_closed(self, track: TrackRecorder, at_ns: int) -> None:
        """A track is closed."""
        self._presence.peers[track.info.peer_id].tracks.remove(track)
        self.tell(track.peer, TrackClosed(self.horizon.not_before(at_ns), track.info.track_id))

    def peer_renamed(self, peer: PeerRecorder, at_ns: int) -> None:
        """A peer has another name."""
        self.tell(peer, NameChanged(self.horizon.not_before(at_ns), peer.info.participant_id, peer.name))

    def peer_left(self, peer: PeerRecorder, at_ns: int) -> None:
        """A peer is gone, its tracks before it."""
        del self._presence.peers[peer.info.peer_id]
        self.tell(peer, ParticipantLeft(self.horizon.not_before(at_ns), peer.info.participant_id, peer.info.peer_id))

    def tell(self, peer: PeerRecorder, event: TimelineEvent) -> bool:
        """Write an event of a peer that is being recorded; whether it was written."""
        if self._described and peer.is_wanted and self._log is not None:
            self._presence.write(self._log, event)
            return True
        return False

    def judge(self, track: TrackRecorder, at_ns: int) -> bool:
        """Whether a frame captured then is kept; settles the track when no command lies after it."""
        peer, info = track.peer.info, track.info
        keeps = any(take.covers(at_ns) and take.wants(peer, info) for take in self._takes.values())
        if at_ns >= self._command_ns:
            track.settled = True
            track.keeps = keeps
        return keeps

    def begin(self, at_ns: int, track: TrackRecorder) -> None:
        """A frame of a track, captured at `at_ns`, is about to be kept: what waits for it begins."""
        if self._outage_from_ns is not None:
            back = self.horizon.not_before(max(at_ns, self._outage_from_ns + 1))
            self._write(Outage(back, self._outage_from_ns))
            self.horizon.back_at(back)
            self._outage_from_ns = None
            self._describe(back)
        for take in self._takes.values():
            if take.started_ns is None and take.covers(at_ns) and take.wants(track.peer.info, track.info):
                self._begin(take, at_ns)
        self.is_beginning = any(take.started_ns is None for take in self._takes.values())

    def store(self, track_id: str, frame: EncodedFrame) -> None:
        """Keep a frame."""
        if self._log is not None:
            self._log.frame(track_id, frame)

    def look(self, now_ns: int) -> None:
        """Complete the stops for which everything has come, or has had its time."""
        if not self._stops:
            return
        until = self._presence.complete_until(now_ns)
        due = [(t, f) for t, f in self._stops if (t.stopped_ns or 0) <= max(until, now_ns - MAX_LATE_NS)]
        if not due:
            return
        self._stops = [entry for entry in self._stops if entry not in due]
        self.is_waiting = bool(self._stops)
        self._write(self.horizon.progress(now_ns, max([until, *(take.stopped_ns or 0 for take, _ in due)])))
        for take, future in due:
            self._takes.pop(take.recording_id, None)
            if not future.done():
                future.set_result(None)
        self.is_beginning = any(take.started_ns is None for take in self._takes.values())
        if not self._takes:
            self._described = False
            self._outage_from_ns = None
        self._look_who_is_wanted()

    # inside

    def _begin(self, take: Take, at_ns: int) -> None:
        events = take.begin(at_ns, self.horizon.least_ns)
        for event in events:
            self._write(event)
        self._begun.add(take.recording_id)
        self._listener.on_capturing(take.recording_id, self.utc(events[0].at_ns))

    def _wants(self, participant_id: str, custom_id: str) -> bool:
        return any(take.wants_person(participant_id, custom_id) for take in self._takes.values())

    def _look_who_is_wanted(self) -> None:
        for peer in self._presence.peers.values():
            peer.is_wanted = self._wants(peer.info.participant_id, peer.info.custom_id)

    def _command(self, at_ns: int) -> None:
        """From here on another rule holds: every track looks at capture times until it is past this."""
        self._command_ns = max(self._command_ns, at_ns)
        self._look_who_is_wanted()
        for track in self._presence.tracks:
            track.unsettle()

    def _want_keys(self, at_ns: int, take: Take) -> None:
        for track in [t for t in self._presence.tracks if take.wants(t.peer.info, t.info)]:
            track.want_key(at_ns)

    def _write(self, event: TimelineEvent) -> None:
        if self._log is not None:
            self._log.event(event)

    def _describe(self, at_ns: int) -> None:
        if self._log is not None:
            self._presence.describe(self._log, at_ns, self.horizon.not_before, self._wants)
            self._described = True

    def _bridge(self, at_ns: int) -> None:
        """A cut while nobody is back from an outage: the outage reaches up to it, and goes on behind it."""
        if self._outage_from_ns is not None:
            self._write(Outage(at_ns, self._outage_from_ns))
            self._outage_from_ns = at_ns

    async def _completed(self, take: Take, at_ns: int) -> None:
        if take.stopped_ns is None:
            if self._outage_from_ns is not None:
                at_ns = self._outage_from_ns
            take.stop(at_ns)
            self._command(at_ns)
            if take.started_ns is not None:
                self._write(RecordingStopped(at_ns, take.recording_id))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stops.append((take, future))
        self.is_waiting = True
        self.look(at_ns)
        await future

    async def _synced(self) -> None:
        if self._log is not None:
            await asyncio.wrap_future(self._log.sync())

    def _progress(self, now_ns: int) -> None:
        if any(take.started_ns is not None for take in self._takes.values()):
            self.horizon.told(now_ns)
            self._write(self.horizon.progress(now_ns, self._presence.complete_until(now_ns)))
