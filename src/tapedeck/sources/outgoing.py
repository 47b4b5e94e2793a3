"""One track of a publisher: packets, their history, sender reports, and the faults a test may order.

Owns sequence numbers, timestamps and what is resent; the connection is the publisher's.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tapedeck.core.frames import CLOCK_RATE, Codec, Kind
from tapedeck.core.rtp import (
    RtpPacket,
    SenderReport,
    build_bye,
    build_rtp,
    build_sdes,
    build_sender_report,
    ntp_from_ns,
    wrap_rtx,
)
from tapedeck.sources.payload import split_frame

__all__ = ["LEVEL_EXTENSION", "MID_EXTENSION", "OutgoingTrack", "Wire"]

MID_EXTENSION, LEVEL_EXTENSION = 4, 1
"Header extension ids that the publisher offers."
_PAYLOAD_LIMIT = 1180
"Bytes, so that a datagram stays below 1280 with RTP, extensions, SRTP and IPv6."
_HISTORY_NS = 2_000_000_000
_MID_PACKETS = 50
"Packets of a new SSRC that carry its mid."
_PADDING = 224

Wire = Callable[[bytes, bool], None]
"Sends an RTP (false) or RTCP (true) packet in clear."


class OutgoingTrack:
    """One track being sent. Made by `Publisher.add_audio` and `Publisher.add_video`.

    `media_time` is in ticks of the track's clock, counted from `origin_ns` on the sender's wall clock, so that
    `wallclock = origin_ns + media_time / clock_rate`; sender reports say exactly that. Without an origin the first
    frame is taken to be of the moment it is sent.
    """

    def __init__(
        self,
        codec: Codec,
        mid: str,
        payload_type: int,
        *,
        wallclock_ns: Callable[[], int],
        wire: Wire,
        source: random.Random,
        cname: str,
        origin_ns: int | None = None,
        rtx_payload_type: int = 0,
        levels: bool = False,
        on_keyframe_request: Callable[[], None] | None = None,
    ) -> None:
        self.codec = codec
        self.kind: Kind = codec.kind
        self.clock_rate = CLOCK_RATE[codec]
        self.mid = mid
        self.payload_type = payload_type
        self.rtx_payload_type = rtx_payload_type
        "0: resend lost packets as they were."
        self.levels = levels
        self.muted = False
        "While true, `send` puts nothing on the wire (and takes no sequence numbers)."
        self.on_keyframe_request = on_keyframe_request
        "Called at each PLI or FIR of the receiver."
        self.frames_sent = 0
        self.packets_sent = 0
        self.bytes_sent = 0
        self.packets_resent = 0
        self.nacks_received = 0
        self.keyframe_requests = 0
        self._wallclock_ns = wallclock_ns
        self._wire = wire
        self._random = source
        self._cname = cname
        self._origin_ns = origin_ns
        self._history: dict[int, tuple[int, RtpPacket]] = {}
        self._picture = 0
        self._lose = 0
        self._last = (False, 0)
        self._new_source()

    def _new_source(self) -> None:
        self.ssrc = self._random.getrandbits(32)
        self.rtx_ssrc = self._random.getrandbits(32)
        self._sequence = self._random.getrandbits(16)
        self._rtx_sequence = self._random.getrandbits(16)
        self._base = self._random.getrandbits(32)
        self._source_packets = 0
        self._source_bytes = 0
        self._history.clear()

    @property
    def started(self) -> bool:
        """Something was sent with the present SSRC."""
        return self._source_packets > 0

    def send(self, payload: bytes, media_time: int, *, level: int | None = None) -> None:
        """Send one whole frame now.

        `payload`: H264 as Annex B, VP8 as one frame, Opus as one packet. A gap in `media_time` between Opus packets is
        DTX. `level` is the RFC 6464 audio level, 0 (loudest) to 127 (silence).
        """
        if self.muted:
            return
        if self._origin_ns is None:
            self._origin_ns = self._wallclock_ns() - media_time * 1_000_000_000 // self.clock_rate
        if not self.started:
            self.report()
        extensions: tuple[tuple[int, bytes], ...] = ()
        if level is not None and self.levels:
            extensions = ((LEVEL_EXTENSION, bytes((level & 127,))),)
        self._picture = (self._picture + 1) & 0x7FFF
        pieces = split_frame(self.codec, payload, _PAYLOAD_LIMIT, self._picture)
        last = len(pieces) - 1
        timestamp = (media_time + self._base) & 0xFFFFFFFF
        video = self.kind is Kind.VIDEO
        for i, piece in enumerate(pieces):
            self._put(piece, timestamp, video and i == last, extensions)
        self.frames_sent += 1

    def _put(
        self,
        payload: bytes,
        timestamp: int,
        marker: bool,
        extensions: tuple[tuple[int, bytes], ...] = (),
        padding: int = 0,
    ) -> None:
        sequence, self._sequence = self._sequence, (self._sequence + 1) & 0xFFFF
        self._last = (True, timestamp)
        self._source_packets += 1
        self._source_bytes += len(payload)
        self.packets_sent += 1
        self.bytes_sent += len(payload)
        if self._source_packets <= _MID_PACKETS:
            extensions = (*extensions, (MID_EXTENSION, self.mid.encode()))
        packet = RtpPacket(self.ssrc, self.payload_type, sequence, timestamp, marker, payload, extensions)
        if self._lose:
            self._lose -= 1
            return
        if not padding:
            self._remember(packet)
        self._wire(build_rtp(packet, padding), False)

    def _remember(self, packet: RtpPacket) -> None:
        now = time.monotonic_ns()
        self._history[packet.sequence] = (now, packet)
        while True:
            oldest = next(iter(self._history))
            if now - self._history[oldest][0] <= _HISTORY_NS:
                return
            del self._history[oldest]

    def resend(self, sequences: tuple[int, ...]) -> None:
        """Answer a NACK from what was sent in the last two seconds."""
        self.nacks_received += 1
        for sequence in sequences:
            found = self._history.get(sequence)
            if found is None or time.monotonic_ns() - found[0] > _HISTORY_NS:
                continue
            packet = found[1]
            if self.rtx_payload_type:
                packet = wrap_rtx(packet, self.rtx_ssrc, self.rtx_payload_type, self._rtx_sequence)
                self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
            self.packets_resent += 1
            self._wire(build_rtp(packet), False)

    def keyframe_requested(self) -> None:
        """The receiver asked for a key frame."""
        self.keyframe_requests += 1
        if self.on_keyframe_request is not None:
            self.on_keyframe_request()

    def report(self) -> None:
        """Send a sender report now. One is sent by itself with the first frame and every second while connected."""
        if self._origin_ns is None:
            return
        ticks = (self._wallclock_ns() - self._origin_ns) * self.clock_rate // 1_000_000_000
        wallclock_ns = self._origin_ns + ticks * 1_000_000_000 // self.clock_rate
        report = SenderReport(
            self.ssrc, ntp_from_ns(wallclock_ns), ticks + self._base, self._source_packets, self._source_bytes
        )
        self._wire(build_sender_report(report) + build_sdes(self.ssrc, self._cname), True)

    def pad(self, packets: int = 1) -> None:
        """Send padding-only packets, as a browser probing for bandwidth does."""
        for _ in range(packets):
            if self.rtx_payload_type:
                timestamp = self._last[1]
                probe = RtpPacket(self.rtx_ssrc, self.rtx_payload_type, self._rtx_sequence, timestamp, False, b"")
                self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
                self._wire(build_rtp(probe, _PADDING), False)
            else:
                self._put(b"", self._last[1], False, padding=_PADDING)

    def lose(self, packets: int) -> None:
        """Lose the next packets for good: they take sequence numbers, are not sent and cannot be asked for again."""
        self._lose += packets

    def change_ssrc(self) -> None:
        """Go on with a new SSRC, new sequence numbers and a new timestamp base, as after a sender's restart."""
        self._new_source()

    def jump_timestamp(self, ticks: int) -> None:
        """Add `ticks` to the RTP timestamps of all that follows (reports too): the sender's RTP clock was reset."""
        self._base += ticks

    def bye(self) -> None:
        """Send RTCP BYE for this track; a later `send` starts it again."""
        self._wire(build_sdes(self.ssrc, self._cname) + build_bye([self.ssrc]), True)
