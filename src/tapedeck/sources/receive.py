"""From datagrams to tracks, and the RTCP we send back.

Owns the way of each packet of one peer from SRTP to its track, who an unknown SSRC belongs to, and the feedback:
receiver reports, REMB, NACK, PLI. What a packet means for a track is sources.incoming's; keys are sources.tap's; the
life of the connection is sources.webrtc's.
"""

from __future__ import annotations

import asyncio
import random
import struct
import uuid
from collections.abc import Callable, Sequence

from tapedeck.core.rtp import (
    HEADER,
    Bye,
    SenderReport,
    build_receiver_report,
    build_remb,
    build_sdes,
    is_pli,
    iter_extensions,
    parse_rtcp,
)
from tapedeck.ports.sources import FrameSink, PeerInfo
from tapedeck.sources.incoming import IncomingTrack, Stream
from tapedeck.sources.negotiate import MediaLine
from tapedeck.sources.tap import DtlsTransport, SrtpReader

__all__ = ["MediaReceiver"]

_TICK_S = 0.25
_LOSS_TICK_S = 0.02
_REPORT_NS = 1_000_000_000
_MAX_STREAMS = 64
"SSRCs of one peer; the longest silent one makes room."
_STREAM_IDLE_NS = 10_000_000_000
_BLOCKS = 24
"Report blocks in one datagram."
_RTCP_BYTES = 1200
_unpack_header = HEADER.unpack_from


class MediaReceiver:
    """The receiving end of a connected peer."""

    def __init__(
        self,
        lines: Sequence[MediaLine],
        info: PeerInfo,
        sink: FrameSink,
        *,
        dtls: DtlsTransport,
        reader: SrtpReader,
        send: Callable[[bytes], None],
        clock: Callable[[], int],
        on_fault: Callable[[Exception], None],
        video_bitrate: int,
        mute_after_ns: int,
    ) -> None:
        """`send` puts a datagram on the wire, `clock` gives monotonic ns."""
        self.refused = 0
        "Datagrams that were not authentic, malformed or of no track."
        self._dtls = dtls
        self._reader = reader
        self._unprotect = reader.rtp
        self._buffer = reader.buffer
        self._send = send
        self._clock = clock
        self._on_fault = on_fault
        self._video_bitrate = video_bitrate
        self._streams: dict[int, Stream] = {}
        self._mid_extension = next((line.mid_extension for line in lines if line.mid_extension), 0)
        self._ssrc = random.getrandbits(32)
        self._sdes = build_sdes(self._ssrc, f"tapedeck-{self._ssrc:08x}")
        self._reported_ns = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loss_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._tracks = [
            IncomingTrack(
                line,
                info,
                open_track=sink.open_track,
                new_id=lambda: str(uuid.uuid4()),
                on_need=self._need_feedback,
                mute_after_ns=mute_after_ns,
            )
            for line in lines
        ]

    def start(self) -> None:
        """Begin to look after mutes, losses and reports."""
        self._tick()

    @property
    def tracks(self) -> Sequence[IncomingTrack]:
        return self._tracks

    @property
    def heard_at(self) -> int:
        """When the last packet arrived; 0 before the first."""
        return max((stream.last_ns for stream in self._streams.values()), default=0)

    def observe_rtt(self, rtt_ns: int) -> None:
        """A round trip measured by ICE."""
        for track in self._tracks:
            track.observe_rtt(rtt_ns)

    def close(self) -> None:
        """Close all tracks; nothing is taken any more."""
        self._closed = True
        for timer in (self._timer, self._loss_timer):
            if timer is not None:
                timer.cancel()
        now = self._clock()
        for track in self._tracks:
            track.close(now)

    # packets

    def on_media(self, data: bytes, at: int = 0) -> None:
        """A datagram that arrived now (or at `at`). It is the way of every packet: written out, not divided up."""
        try:
            first, second, sequence, timestamp, ssrc = _unpack_header(data)
        except struct.error:
            self.refused += 1
            return
        now = at or self._clock()
        if 192 <= second < 224:  # RFC 5761 4
            self._on_rtcp(data, now)
            return
        stream = self._streams.get(ssrc)
        if stream is None and not self._room(now):
            self.refused += 1
            return
        end = self._unprotect(data)
        if end < 0:
            self.refused += 1
            return
        start = 12
        if first & 31:
            start += (first & 15) << 2
            if first & 16 and end >= start + 4:
                start += 4 + (data[start + 2] << 10) + (data[start + 3] << 2)
        buffer = self._buffer
        if first & 32:
            end -= buffer[end - 1][0]
        if end < start:
            self.refused += 1
            return
        if stream is None:
            stream = self._resolve(ssrc, second & 127, data, now)
            if stream is None:
                self.refused += 1
                return
        stream.last_ns = now
        stream.reception.count(sequence, timestamp, now)
        codec = stream.codecs.get(second & 127)
        if codec is None:
            self.refused += 1
            return
        track = stream.track
        if stream.repairs:
            track.repair(stream, timestamp, second > 127, codec, buffer[start:end], now)
            return
        track.packet(stream, sequence, timestamp, second > 127, codec, buffer[start:end], now)
        if first & 16 and track.line.level_extension:
            for number, value in iter_extensions(data, 12 + ((first & 15) << 2)):
                if number == track.line.level_extension:
                    track.level(value[0] & 127, now)

    def _resolve(self, ssrc: int, payload_type: int, data: bytes, now: int) -> Stream | None:
        """A new SSRC: whose is it? By the offer's SSRCs, its MID (RFC 8843 9.2), else its payload type."""
        track = self._track_by_ssrc(ssrc)
        if track is None and data[0] & 16 and self._mid_extension:
            for number, value in iter_extensions(data, 12 + ((data[0] & 15) << 2)):
                if number == self._mid_extension:
                    mid = value.decode("utf-8", "replace")
                    track = next((t for t in self._tracks if t.line.mid == mid), None)
        if track is None:
            fitting = [t for t in self._tracks if payload_type in t.line.codecs or payload_type in t.line.repairs]
            track = fitting[0] if len(fitting) == 1 else None
        if track is None or (payload_type not in track.line.codecs and payload_type not in track.line.repairs):
            self._dtls.forget(ssrc)
            return None
        return self._add_stream(ssrc, track, repairs=payload_type in track.line.repairs, now=now)

    def _track_by_ssrc(self, ssrc: int) -> IncomingTrack | None:
        return next((t for t in self._tracks if ssrc in t.line.ssrcs or ssrc in t.line.retransmits), None)

    def _add_stream(self, ssrc: int, track: IncomingTrack, *, repairs: bool, now: int) -> Stream:
        stream = self._streams[ssrc] = Stream(ssrc, track, repairs=repairs, now=now)
        return stream

    def _room(self, now: int) -> bool:
        """May another SSRC be listened to?"""
        if len(self._streams) < _MAX_STREAMS:
            return True
        oldest = min(self._streams.values(), key=lambda s: s.last_ns)
        if now - oldest.last_ns < _STREAM_IDLE_NS or oldest.ssrc == oldest.track.ssrc:
            return False
        del self._streams[oldest.ssrc]
        self._dtls.forget(oldest.ssrc)
        return True

    def _on_rtcp(self, data: bytes, now: int) -> None:
        clear = self._reader.rtcp(data)
        if clear is None:
            self.refused += 1
            return
        sender = int.from_bytes(data[4:8], "big")
        for message in parse_rtcp(clear):
            if isinstance(message, SenderReport):
                stream = self._streams.get(message.ssrc)
                if stream is None and (track := self._track_by_ssrc(message.ssrc)) is not None:
                    repairs = message.ssrc in track.line.retransmits
                    stream = self._add_stream(message.ssrc, track, repairs=repairs, now=now)
                if stream is not None:
                    stream.track.sender_report(stream, message, now)
            elif isinstance(message, Bye):
                for ssrc in message.ssrcs:
                    if (gone := self._streams.get(ssrc)) is not None:
                        gone.track.bye(gone, now)
        if sender not in self._streams:
            self._dtls.forget(sender)

    # feedback

    def _need_feedback(self) -> None:
        if self._loss_timer is None and not self._closed:
            self._loss_timer = asyncio.get_running_loop().call_later(_LOSS_TICK_S, self._loss_tick)

    def _loss_tick(self) -> None:
        self._loss_timer = None
        now = self._clock()
        self._work(now)
        if any(track.losing for track in self._tracks):
            self._need_feedback()

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_TICK_S, self._tick)
        now = self._clock()
        self._work(now)
        if now - self._reported_ns >= _REPORT_NS and self._streams:
            self._reported_ns = now
            self._send_reports(now)

    def _work(self, now: int) -> None:
        """Let time pass for the tracks and send what they need."""
        messages: list[bytes] = []
        for track in self._tracks:
            try:
                track.tick(now)
                messages += track.feedback(self._ssrc, now)
            except Exception as exc:
                self._on_fault(exc)
        if messages:
            self._send_rtcp(build_receiver_report(self._ssrc), messages)
        # One that is lost costs half a second of picture. Senders answer requests that come together once.
        if again := [message for message in messages if is_pli(message)]:
            self._send_rtcp(build_receiver_report(self._ssrc), again)

    def _send_reports(self, now: int) -> None:
        heard = [s for s in self._streams.values() if s.reception.received > s.reported]
        for i in range(0, len(heard), _BLOCKS):
            blocks = []
            for stream in heard[i : i + _BLOCKS]:
                stream.reported = stream.reception.received
                blocks.append(stream.reception.block(now))
            self._send_rtcp(build_receiver_report(self._ssrc, blocks), [])
        video = [t.ssrc for t in self._tracks if t.line.remb and t.open and t.ssrc is not None]
        if video:
            remb = build_remb(self._ssrc, self._video_bitrate * len(video), video)
            self._send_rtcp(build_receiver_report(self._ssrc), [remb])

    def _send_rtcp(self, report: bytes, messages: list[bytes]) -> None:
        """Send messages as compound packets: each begins with a report and our name (RFC 3550 6.1)."""
        head = report + self._sdes
        packet = head
        for message in messages:
            if len(packet) + len(message) > _RTCP_BYTES:
                self._send(self._dtls.protect_rtcp(packet))
                packet = head
            packet += message
        self._send(self._dtls.protect_rtcp(packet))
