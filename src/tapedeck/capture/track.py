"""One peer and its tracks, as sources see them: where frames, reports and levels of a session come in.

Owns rebasing times to the capture clock, the estimate of when a frame was captured, thinning of audio levels, and
asking for key frames again. Refuses to decide what is recorded: that is the session's, asked only around a command; in
between the answer is a boolean, so that a frame costs microseconds.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tapedeck.capture.flow import MAX_LATE_NS, Flow
from tapedeck.core.delay import RecentDelay
from tapedeck.core.frames import EncodedFrame, FrameFlags, Kind, TrackInfo
from tapedeck.core.page import is_page
from tapedeck.core.timed import Allowance, message_text
from tapedeck.core.timeline import AudioLevel, ClockReport
from tapedeck.ports.sources import PeerInfo, TrackControl

if TYPE_CHECKING:
    from tapedeck.capture.session import CaptureSession

__all__ = ["PeerRecorder", "TrackRecorder"]

_S = 1_000_000_000
_LEVEL_EVERY_NS = 100_000_000
_KEEP_REPORTS = 5
KEY_AGAIN_NS = 500_000_000
KEY_EVERY_NS = 20_000_000_000
"""A sender is asked for a key frame when it made none for so long: a render that shows somebody whom it did not show
before has to decode from the last one."""
PAGE_KEY_EVERY_NS = 2_000_000_000
"""Of a web page, whose frames may be in a film as they are: players begin, and segments end, at key frames."""
_KEY_TRIES_FAST = 10
_KEY_TRIES = 40
"""Asked every 500 ms for 5 s, then every 2 s for a minute."""


class TrackRecorder:
    """A track that a source delivers (ports.sources.TrackSink)."""

    def __init__(self, peer: PeerRecorder, info: TrackInfo, control: TrackControl, opened_ns: int) -> None:
        self.peer = peer
        self.info = info
        self.flow = Flow(opened_ns)
        self.reports: deque[ClockReport] = deque(maxlen=_KEEP_REPORTS)
        "The last sender reports that are not in the log."
        self.closed = False
        self.settled = False
        "Every frame from here on was captured after the last command: `keeps` holds without asking."
        self.keeps = False
        self._session = session = peer.session
        self._horizon = session.horizon
        self._zero_ns = session.zero_ns
        self._control = control
        self._rate = info.clock_rate
        self._video = info.kind is Kind.VIDEO
        self._key_every_ns = PAGE_KEY_EVERY_NS if is_page(info.participant_id) else KEY_EVERY_NS
        self._delay = RecentDelay()
        self._skipped = True
        self._key_due_ns: int | None = None
        self._key_tries = 0
        self._key_old_ns = 0
        "When the last stored key frame is too old."
        self._level_due_ns = 0
        self._loudest = 127

    # TrackSink

    def frame(self, frame: EncodedFrame) -> None:
        """A whole frame, in media order."""
        if self.closed:
            return
        session = self._session
        arrival = frame.arrival_ns - self._zero_ns
        media = frame.media_time * _S // self._rate
        at = media + self._delay.observe(arrival, arrival - media)
        if at < arrival - MAX_LATE_NS:
            at = arrival - MAX_LATE_NS
        self.flow.frame(arrival, at)
        if self.settled:
            keeps = self.keeps
        else:
            keeps = session.judge(self, at)
        if keeps:
            self._keep(frame, arrival, at)
        else:
            self._skipped = True
        if session.is_waiting:
            session.look(arrival)

    def clock_report(self, at_ns: int, wallclock_ns: int, media_time: int) -> None:
        """A sender report."""
        if not self.closed:
            at = max(at_ns - self._zero_ns, self._horizon.passed_at_ns)
            report = ClockReport(at, self.info.track_id, wallclock_ns, media_time)
            if not self._session.tell(self.peer, report):
                self.reports.append(report)

    def audio_level(self, at_ns: int, dbov: int) -> None:
        """Level of one packet. At most ten a second get into the log, each the loudest of its tenth."""
        if not (self.settled and self.keeps):
            self._loudest = 127
            return
        if dbov < self._loudest:
            self._loudest = dbov
        at = at_ns - self._zero_ns
        if at >= self._level_due_ns:
            self._level_due_ns = at + _LEVEL_EVERY_NS
            event = AudioLevel(self._horizon.not_before(at), self.info.track_id, self._loudest)
            self._session.tell(self.peer, event)
            self._loudest = 127

    def waiting_since(self, at_ns: int | None) -> None:
        """The receiver holds frames back for a missing packet."""
        self.flow.waiting_since_ns = None if at_ns is None else at_ns - self._zero_ns

    def muted(self, at_ns: int, muted: bool) -> None:
        """Media stopped or flows again."""
        if not self.closed and muted != self.flow.muted:
            self.flow.muted = muted
            self._session.track_muted(self, at_ns - self._zero_ns)

    def close(self, at_ns: int) -> None:
        """No further call will come."""
        if not self.closed:
            self.closed = True
            self._session.track_closed(self, at_ns - self._zero_ns)

    # for the session

    def unsettle(self) -> None:
        """A command came: the next frames may have been captured before it."""
        self.settled = False

    def want_key(self, now_ns: int) -> None:
        """Ask for a key frame, and go on asking until one is stored."""
        if self._video and not self.closed:
            self._key_tries = 0
            self._ask_for_key(now_ns)

    def ask_again(self, now_ns: int) -> None:
        """Ask once more if it is time to. Nobody is asked who sends nothing."""
        if self._key_due_ns is None or now_ns < self._key_due_ns:
            return
        if self.closed or not self.keeps or self._key_tries >= _KEY_TRIES:
            self._key_due_ns = None
        elif self.flow.muted:
            self._key_due_ns = now_ns + KEY_AGAIN_NS
        else:
            self._ask_for_key(now_ns)

    def _ask_for_key(self, now_ns: int) -> None:
        self._key_tries += 1
        self._key_due_ns = now_ns + (KEY_AGAIN_NS if self._key_tries < _KEY_TRIES_FAST else 4 * KEY_AGAIN_NS)
        self._control.request_keyframe()

    def _look_at_key(self, flags: FrameFlags, arrival_ns: int) -> FrameFlags:
        """The flags of a frame to store that follows frames that were not, or that is awaited as a key frame."""
        if flags & FrameFlags.KEY:
            self._key_due_ns = None
        elif self._skipped and self._video:
            flags |= FrameFlags.DISCONTINUITY
            if self._key_due_ns is None:
                self.want_key(arrival_ns)
        self._skipped = False
        return flags

    def _refresh_key(self, flags: FrameFlags, arrival_ns: int) -> None:
        """Note a key frame, or ask once for one because the last is old."""
        if not flags & FrameFlags.KEY and self._key_due_ns is None:
            self._control.request_keyframe()
        self._key_old_ns = arrival_ns + self._key_every_ns

    def _keep(self, frame: EncodedFrame, arrival: int, at: int) -> None:
        """Store a frame. One that comes after a progress arrived after it: so render places it behind."""
        session = self._session
        if session.is_beginning:
            session.begin(at, self)
        flags = frame.flags
        if self._skipped or self._key_due_ns is not None:
            flags = self._look_at_key(flags, arrival)
        if self._video and (arrival > self._key_old_ns or flags & FrameFlags.KEY):
            self._refresh_key(flags, arrival)
        passed = self._horizon.passed_at_ns
        session.store(
            self.info.track_id,
            EncodedFrame(frame.media_time, arrival if arrival > passed else passed, frame.payload, frame.codec, flags),
        )


class PeerRecorder:
    """A peer that a source delivers (ports.sources.FrameSink)."""

    def __init__(self, session: CaptureSession, peer: PeerInfo, joined_ns: int) -> None:
        self.info = peer
        self.name = peer.name
        self.joined_ns = joined_ns
        self.tracks: list[TrackRecorder] = []
        self.closed = False
        self.is_wanted = False
        "Some recording asks for it: the log may know of it. The session's to say."
        self.session = session
        self._allowance = Allowance()

    def open_track(self, info: TrackInfo, control: TrackControl, at_ns: int) -> TrackRecorder:
        """A track's first packet arrived."""
        track = TrackRecorder(self, info, control, at_ns - self.session.zero_ns)
        if self.closed:
            track.closed = True
        else:
            self.tracks.append(track)
            self.session.track_opened(track)
        return track

    def rename(self, name: str, at_ns: int) -> None:
        """The display name changed."""
        if not self.closed and name != self.name:
            self.name = name
            self.session.peer_renamed(self, at_ns - self.session.zero_ns)

    def message(self, data: str | bytes, at_ns: int) -> None:
        """A message on a data channel: timed metadata, or nothing. What is too much of it is nothing too."""
        if self.closed or not self._allowance.take(at_ns):
            return
        text = message_text(data)
        if text is not None:
            self.session.say(text, at_ns, participant_id=self.info.participant_id)

    def close(self, at_ns: int) -> None:
        """The peer left; open tracks are closed first."""
        if self.closed:
            return
        for track in list(self.tracks):
            track.close(at_ns)
        self.closed = True
        self.session.peer_left(self, at_ns - self.session.zero_ns)

    def path_ns(self, now_ns: int) -> int | None:
        """Capture time of the last frame of those tracks that flow; None when none does."""
        return max(
            (t.flow.last_ns for t in self.tracks if t.flow.last_ns is not None and t.flow.is_prompt(now_ns)),
            default=None,
        )

    def complete_until(self, now_ns: int) -> int:
        """Capture time up to which nothing of the peer will come any more."""
        path = self.path_ns(now_ns)
        return min((t.flow.complete_until(now_ns, path) for t in self.tracks), default=now_ns)
