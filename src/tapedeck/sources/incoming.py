"""One media line of a peer: its SSRCs, its jitter buffer, its sink.

Owns which SSRC is the track's at the moment, when the track opens, closes, is muted, and what is asked of its sender.
Has no socket and no clock: packets and `now` in, calls on the sink and RTCP bytes out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tapedeck.core.frames import CLOCK_RATE, Codec, EncodedFrame, Kind, TrackInfo
from tapedeck.core.jitter import JitterBuffer, JitterStats
from tapedeck.core.mediaclock import Reception
from tapedeck.core.rtp import SenderReport, build_nacks, build_pli, ns_from_ntp, unwrap_rtx
from tapedeck.ports.sources import PeerInfo, TrackControl, TrackSink
from tapedeck.sources.negotiate import MediaLine

__all__ = ["IncomingTrack", "Stream"]

MUTE_AFTER_NS = 1_500_000_000
"A video track that sends nothing for this long is muted: browsers repeat even a still screen every second."
_TAKEOVER_NS = 1_000_000_000
"An SSRC that was replaced is listened to again only when its successor has been silent for this long."
_BYE_GRACE_NS = 300_000_000
"Packets this soon after a BYE were overtaken by it and do not open the track again."
_REPORT_WAIT_NS = 5_000_000_000
"A sender report that fits no frame yet is kept for this long."

OpenTrack = Callable[[TrackInfo, TrackControl, int], TrackSink]


class Stream:
    """One SSRC of a track."""

    __slots__ = ("codecs", "last_ns", "reception", "repairs", "report", "reported", "ssrc", "track")

    def __init__(self, ssrc: int, track: IncomingTrack, *, repairs: bool, now: int) -> None:
        self.ssrc = ssrc
        self.track = track
        self.repairs = repairs
        "It carries retransmissions (RFC 4588)."
        line = track.line
        self.codecs: dict[int, Codec] = (
            {number: line.codecs[carried] for number, carried in line.repairs.items()} if repairs else line.codecs
        )
        rate = CLOCK_RATE[next(iter(line.codecs.values()))]
        self.reception = Reception(ssrc, rate)
        self.last_ns = now
        "When its last packet arrived."
        self.reported = 0
        "Packets covered by receiver reports."
        self.report: tuple[SenderReport, int] | None = None
        "The last sender report and its arrival, until it could be passed on."


class _Control:
    """What capture holds of an open track; of no effect once the track is closed."""

    def __init__(self, track: IncomingTrack) -> None:
        self._track: IncomingTrack | None = track

    def request_keyframe(self) -> None:
        if self._track is not None:
            self._track.request_keyframe()

    def release(self) -> None:
        self._track = None


class IncomingTrack:
    """A media line being received. Times are monotonic ns."""

    def __init__(
        self,
        line: MediaLine,
        peer: PeerInfo,
        *,
        open_track: OpenTrack,
        new_id: Callable[[], str],
        on_need: Callable[[], None],
        mute_after_ns: int = MUTE_AFTER_NS,
    ) -> None:
        """`on_need` is called when feedback should be sent soon."""
        self.line = line
        self._peer = peer
        self._open_track = open_track
        self._new_id = new_id
        self._on_need = on_need
        self._mute_after = mute_after_ns
        self._video = line.kind is Kind.VIDEO
        self._active: Stream | None = None
        self._ready: Stream | None = None
        "The active stream while the track is open and not muted."
        self._sink: TrackSink | None = None
        self._control: _Control | None = None
        self._muted = False
        self._held: int | None = None
        self._closed_until = 0
        self._renew_jitter()

    def _renew_jitter(self) -> None:
        codec = next(iter(self.line.codecs.values()))
        self._jitter = JitterBuffer(self.line.kind, codec, nack=self.line.nack, parameter_sets=self.line.parameter_sets)
        self._push = self._jitter.push
        self._missing = self._jitter.missing

    @property
    def ssrc(self) -> int | None:
        """The SSRC whose media is taken."""
        return self._active.ssrc if self._active else None

    @property
    def open(self) -> bool:
        return self._sink is not None

    @property
    def losing(self) -> bool:
        """Packets are missing that may still come."""
        return self._jitter.held_since is not None

    @property
    def stats(self) -> JitterStats:
        return self._jitter.stats

    # in

    def packet(
        self, stream: Stream, sequence: int, timestamp: int, marker: bool, codec: Codec, payload: bytes, now: int
    ) -> None:
        """A media packet of one of our SSRCs; an empty payload is padding."""
        if stream is not self._ready:
            if not self._make_ready(stream, codec, payload, now):
                return
        frames = self._push(sequence, timestamp, marker, codec, payload, now)
        if frames:
            self._deliver(frames)
        if self._missing or self._held is not None:
            self._note_held()

    def _make_ready(self, stream: Stream, codec: Codec, payload: bytes, now: int) -> bool:
        """Before the first packet, and after a change: is this packet to be taken? Padding changes nothing."""
        if not payload:
            return stream is self._active and self._sink is not None
        if stream is not self._active and not self._activate(stream, now):
            return False
        if self._sink is None:
            self._open(codec, now)
        if self._muted:
            self._set_muted(False, now)
        self._ready = stream
        return True

    def repair(self, stream: Stream, timestamp: int, marker: bool, codec: Codec, payload: bytes, now: int) -> None:
        """A packet of one of our RTX SSRCs."""
        active = self._active
        original = unwrap_rtx(payload)
        if active is None or original is None or self._sink is None:
            return
        if self.line.retransmits.get(stream.ssrc, active.ssrc) != active.ssrc:
            return  # of an SSRC that was replaced
        sequence, payload = original
        frames = self._jitter.push(sequence, timestamp, marker, codec, payload, now)
        if frames:
            self._deliver(frames)
        self._note_held()

    def level(self, dbov: int, now: int) -> None:
        """The audio level of a packet."""
        if self._sink is not None:
            self._sink.audio_level(now, dbov)

    def sender_report(self, stream: Stream, report: SenderReport, now: int) -> None:
        """A sender report of one of our SSRCs."""
        stream.reception.sender_report(report.ntp, now)
        stream.report = (report, now)
        if stream is self._active:
            self._place_report(stream)

    def bye(self, stream: Stream, now: int) -> None:
        """The sender ends this SSRC."""
        if stream is self._active:
            self.close(now)
            self._active = None
            self._closed_until = now + _BYE_GRACE_NS

    def tick(self, now: int) -> None:
        """To be called every few hundred ms, and every 20 ms while `losing`."""
        frames = self._jitter.poll(now)
        if frames:
            self._deliver(frames)
        if self._held is not None:
            self._note_held()
        if self._video and self._ready is not None and now - self._ready.last_ns >= self._mute_after:
            self._set_muted(True, now)

    def feedback(self, sender: int, now: int) -> list[bytes]:
        """RTCP messages to send now: what is missing, and whether a key frame is needed."""
        if self._active is None:
            return []
        missing = self._jitter.nacks(now)
        out = build_nacks(sender, self._active.ssrc, missing) if missing else []
        if self._sink is not None and not self._muted and self._jitter.take_keyframe_request(now):
            out.append(build_pli(sender, self._active.ssrc))
        return out

    def observe_rtt(self, rtt_ns: int) -> None:
        self._jitter.observe_rtt(rtt_ns)

    def request_keyframe(self) -> None:
        """Ask the sender for a key frame as soon as it may be asked again."""
        self._jitter.want_keyframe()
        self._on_need()

    def close(self, now: int) -> None:
        """Hand on what is whole and close the sink. A later packet opens a new track."""
        if self._sink is not None:
            self._deliver(self._jitter.flush())
            self._note_held()
            self._sink.close(now)
            self._sink = None
        if self._control is not None:
            self._control.release()
            self._control = None
        self._renew_jitter()
        self._ready = None
        self._muted = False

    # inside

    def _activate(self, stream: Stream, now: int) -> bool:
        """Is this SSRC the track's from now on?"""
        active = self._active
        if active is None:
            if now < self._closed_until:
                return False
        else:
            if stream.reception.received > 1 and now - active.last_ns < _TAKEOVER_NS:
                return False
            self._deliver(self._jitter.restart(now, new_clock=True))
            self._note_held()
        self._active = stream
        return True

    def _open(self, codec: Codec, now: int) -> None:
        info = TrackInfo(
            track_id=self._new_id(),
            peer_id=self._peer.peer_id,
            participant_id=self._peer.participant_id,
            kind=self.line.kind,
            codec=codec,
            origin=self._peer.origin,
            channels=self.line.channels,
        )
        self._control = _Control(self)
        self._sink = self._open_track(info, self._control, now)

    def _deliver(self, frames: Sequence[EncodedFrame]) -> None:
        sink = self._sink
        if sink is None:
            return
        for frame in frames:
            sink.frame(frame)
        if self._active is not None and self._active.report is not None:
            self._place_report(self._active)
        if self._jitter.keyframe_wanted:
            self._on_need()

    def _place_report(self, stream: Stream) -> None:
        """Pass on the last sender report once it fits the track's clock."""
        if stream.report is None or self._sink is None:
            return
        report, at = stream.report
        media_time = self._jitter.clock.place(report.timestamp, at)
        if media_time is not None:
            stream.report = None
            self._sink.clock_report(at, ns_from_ntp(report.ntp), media_time)
        elif stream.last_ns - at > _REPORT_WAIT_NS:
            stream.report = None

    def _note_held(self) -> None:
        held = self._jitter.held_since
        if held != self._held:
            if self._held is None:
                self._on_need()
            self._held = held
            if self._sink is not None:
                self._sink.waiting_since(held)

    def _set_muted(self, muted: bool, now: int) -> None:
        self._muted = muted
        self._ready = None
        if self._sink is not None:
            self._sink.muted(now, muted)
