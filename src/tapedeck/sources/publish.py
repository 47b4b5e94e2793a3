"""A WHIP publisher that sends given encoded frames: for synthetic people, tests and benchmarks.

It owns the sending side of one WebRTC connection: offer, transport, exact RTP timestamps and sender reports, answers to
NACK and key-frame requests. It encodes nothing and speaks no HTTP: the caller posts the offer. It can be told to
misbehave (mute, jump its clock, change its SSRC, lose packets) since that is what a receiver must be shown.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tapedeck.core.errors import InvalidError, UnavailableError
from tapedeck.core.frames import Codec
from tapedeck.core.rtp import KeyframeRequest, Nack, ReceiverReport, Remb, ReportBlock, parse_rtcp
from tapedeck.sources.icelink import IceLink
from tapedeck.sources.messages import SCTP_PORT, Messages
from tapedeck.sources.network import NetworkSettings
from tapedeck.sources.outgoing import LEVEL_EXTENSION, MID_EXTENSION, OutgoingTrack
from tapedeck.sources.sdp import (
    LEVEL_URI,
    MID_URI,
    Description,
    Format,
    Fragment,
    Section,
    Transport,
    parse_description,
    parse_fragment,
    write_description,
    write_fragment,
)
from tapedeck.sources.tap import DtlsTransport

__all__ = ["DatagramHook", "OutgoingTrack", "Publisher", "ntp_clock_ns"]

DatagramHook = Callable[[bytes, Callable[[bytes], None]], None]
"""Gets each SRTP or SRTCP datagram and the function that passes it on: may pass it late, twice or never."""

_REPORT_INTERVAL_S = 1.0
_LOOK_S = 0.01
_NTP_OFFSET_NS = 2_208_988_800_000_000_000
_NAMES = {Codec.OPUS: "opus", Codec.VP8: "VP8", Codec.H264: "H264"}


def ntp_clock_ns() -> int:
    """The system's wall clock as ns since 1900."""
    return time.time_ns() + _NTP_OFFSET_NS


class Publisher:
    """One WHIP publication."""

    def __init__(
        self,
        *,
        hosts: Sequence[str] = ("127.0.0.1",),
        wallclock_ns: Callable[[], int] = ntp_clock_ns,
        send_hook: DatagramHook | None = None,
        receive_hook: DatagramHook | None = None,
        seed: int | None = None,
    ) -> None:
        """`wallclock_ns` reads the sender's clock (ns, any epoch): give one that is fast, slow or jumps to simulate
        drift. The hooks see what leaves and what arrives (media and RTCP only). `seed` fixes SSRCs and the starts of
        sequence numbers and timestamps."""
        self.faults: list[Exception] = []
        "What arriving datagrams made go wrong; empty unless something is broken."
        self.remb = 0
        "The last bit rate that the receiver allowed, bit/s."
        self.report_blocks: dict[int, ReportBlock] = {}
        "The last receiver report by SSRC."
        self._random = random.Random(seed)
        self._wallclock_ns = wallclock_ns
        self._send_hook = send_hook
        self._cname = f"{self._random.getrandbits(64):016x}"
        self._over = asyncio.Event()
        on_media = self._receive
        if receive_hook is not None:
            hook = receive_hook

            def on_media(data: bytes) -> None:
                hook(data, self._receive)

        self._link = IceLink(
            NetworkSettings(hosts=tuple(hosts)),
            controlling=True,
            on_media=on_media,
            on_fault=self.faults.append,
            on_lost=self._over.set,
        )
        self._dtls = DtlsTransport(self._link, self._over.set)
        self._sections: list[Section] = []
        self._tracks: list[OutgoingTrack] = []
        self._data: Section | None = None
        self._messages: Messages | None = None
        self._channel: Any = None
        self._reporter: asyncio.Task[None] | None = None
        self._closed = False

    # before connecting

    def add_audio(
        self,
        *,
        codec: Codec = Codec.OPUS,
        channels: int = 2,
        origin_ns: int | None = None,
        levels: bool = True,
        nack: bool = True,
    ) -> OutgoingTrack:
        """Add an audio track, before `offer`. `levels` offers the audio-level extension, `nack` offers to resend."""
        stereo = {"sprop-stereo": "1", "stereo": "1"} if channels == 2 else {}
        offered = Format(111, _NAMES[codec], 48_000, 2, {"minptime": "10", "useinbandfec": "1", **stereo})
        if nack:
            offered.feedback.append("nack")
        return self._add(codec, [offered], origin_ns=origin_ns, levels=levels)

    def add_video(
        self,
        codec: Codec = Codec.H264,
        *,
        origin_ns: int | None = None,
        rtx: bool = True,
        on_keyframe_request: Callable[[], None] | None = None,
    ) -> OutgoingTrack:
        """Add a video track, before `offer`. Without `rtx` lost packets are resent as they were."""
        payload_type = 96 if codec is Codec.VP8 else 102
        parameters = {}
        if codec is Codec.H264:
            parameters = {
                "level-asymmetry-allowed": "1",
                "packetization-mode": "1",
                "profile-level-id": "42e01f",
            }
        formats = [
            Format(payload_type, _NAMES[codec], 90_000, 1, parameters, ["nack", "nack pli", "ccm fir", "goog-remb"])
        ]
        if rtx:
            formats.append(Format(payload_type + 1, "rtx", 90_000, 1, {"apt": str(payload_type)}))
        return self._add(codec, formats, origin_ns=origin_ns, on_keyframe_request=on_keyframe_request)

    def _add(
        self,
        codec: Codec,
        formats: list[Format],
        *,
        origin_ns: int | None,
        levels: bool = False,
        on_keyframe_request: Callable[[], None] | None = None,
    ) -> OutgoingTrack:
        mid = str(len(self._sections))
        track = OutgoingTrack(
            codec,
            mid,
            formats[0].payload_type,
            wallclock_ns=self._wallclock_ns,
            wire=self._send,
            source=self._random,
            cname=self._cname,
            origin_ns=origin_ns,
            rtx_payload_type=formats[1].payload_type if len(formats) > 1 else 0,
            levels=levels,
            on_keyframe_request=on_keyframe_request,
        )
        section = Section(str(track.kind), 9, "UDP/TLS/RTP/SAVPF", formats, mid, "sendonly")
        section.raw_formats = " ".join(str(item.payload_type) for item in formats)
        section.rtcp_mux = section.rtcp_rsize = True
        section.extensions = {MID_URI: MID_EXTENSION, **({LEVEL_URI: LEVEL_EXTENSION} if levels else {})}
        if track.rtx_payload_type:
            section.attributes.append(f"ssrc-group:FID {track.ssrc} {track.rtx_ssrc}")
            section.attributes.append(f"ssrc:{track.rtx_ssrc} cname:{self._cname}")
        section.attributes.append(f"ssrc:{track.ssrc} cname:{self._cname}")
        self._sections.append(section)
        self._tracks.append(track)
        return track

    def add_messages(self) -> None:
        """Offer a data channel, before `offer`."""
        self._data = Section("application", 9, "UDP/DTLS/SCTP", mid=str(len(self._sections)))
        self._data.raw_formats = "webrtc-datachannel"
        self._data.attributes = [f"sctp-port:{SCTP_PORT}"]
        self._sections.append(self._data)

    async def offer(self, *, candidates: bool = True) -> str:
        """The SDP offer; without `candidates` send `candidate_fragment` later."""
        if not self._link.candidates:
            await self._link.gather()
        transport = Transport(
            ice=self._link.credentials,
            fingerprints=self._dtls.fingerprints,
            setup="actpass",
            candidates=self._link.candidates if candidates else [],
            end_of_candidates=candidates,
        )
        mids = [section.mid for section in self._sections]
        return write_description(Description(self._sections, mids, transport, self._random.getrandbits(31), True))

    def candidate_fragment(self) -> str:
        """Our candidates as a trickle fragment (RFC 8840)."""
        fragment = Fragment(self._link.credentials, self._link.candidates, end_of_candidates=True)
        return write_fragment(fragment, self._sections[0].kind, self._sections[0].mid)

    async def accept(self, answer: str, *, timeout_s: float = 10.0) -> None:
        """Take the answer and connect. Raises InvalidError for a bad answer or one that refuses a track,
        UnavailableError when no connection came about in time."""
        description = parse_description(answer)
        remote = description.transport
        if remote.ice is None:
            raise InvalidError("the answer has no ICE credentials")
        for section in description.sections:
            if not section.port:
                raise InvalidError(f"the answer refuses the {section.kind} track {section.mid}")
        await self._link.add_candidates(remote.candidates, end=remote.end_of_candidates)
        try:
            async with asyncio.timeout(timeout_s):
                await self._link.connect(remote.ice, lite=remote.ice_lite)
                await self._dtls.handshake(remote.fingerprints, server=remote.setup == "active")
        except (ConnectionError, TimeoutError) as exc:
            await self.close(bye=False)
            raise UnavailableError("the media connection did not come about") from exc
        self._reporter = asyncio.ensure_future(self._report())
        if self._data is not None:
            self._messages = Messages(self._dtls, lambda _: None, self.faults.append)
            await self._messages.begin(SCTP_PORT)
            self._channel = self._messages.open()

    async def connect(self, post: Callable[[str], Awaitable[str]], *, timeout_s: float = 10.0) -> None:
        """`offer`, `post` it, `accept` what it returns."""
        await self.accept(await post(await self.offer()), timeout_s=timeout_s)

    # connected

    @property
    def connected(self) -> bool:
        """Media can be sent."""
        return self._dtls.reader is not None and not (self._closed or self._over.is_set())

    async def say(self, message: str | bytes) -> None:
        """Send a message on the data channel, and return when the other side has taken it."""
        assert self._messages is not None
        while self.connected and self._channel.readyState == "connecting":  # noqa: ASYNC110 (nobody says when)
            await asyncio.sleep(_LOOK_S)
        self._channel.send(message)
        while self.connected and not self._messages.is_idle:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)

    async def restart_ice(self, patch: Callable[[str], Awaitable[str]], *, timeout_s: float = 10.0) -> None:
        """Move to new ICE credentials and sockets (RFC 9725 4.3.3); `patch` sends the fragment and returns the body
        of the 200 answer. Media sent meanwhile goes the old way. Raises UnavailableError when it did not work."""
        await self._link.restart()
        fragment = parse_fragment(await patch(self.candidate_fragment()))
        if fragment.ice is None:
            raise InvalidError("the answer to an ICE restart has no credentials")
        await self._link.add_candidates(fragment.candidates, end=fragment.end_of_candidates)
        if not await self._link.move(fragment.ice, timeout_s=timeout_s):
            raise UnavailableError("the ICE restart did not connect")

    async def wait_closed(self) -> None:
        """Return when the connection is over, whoever ended it."""
        await self._over.wait()

    async def close(self, *, bye: bool = True) -> None:
        """End politely: RTCP BYE (unless `bye` is false), DTLS close, sockets closed. The HTTP DELETE is yours."""
        if self.connected and bye:
            for track in self._tracks:
                if track.started:
                    track.bye()
        self._closed = True
        if self._reporter is not None:
            self._reporter.cancel()
            await asyncio.gather(self._reporter, return_exceptions=True)
        if self._messages is not None:
            await self._messages.finish()
        await self._dtls.stop()
        await self._link.close()

    def vanish(self) -> None:
        """Close the sockets without a word, as a machine that lost power. `close` still frees what is left."""
        self._closed = True
        self._link.vanish()

    # both ways

    def _send(self, packet: bytes, rtcp: bool) -> None:
        if self._closed:
            return
        data = self._dtls.protect_rtcp(packet) if rtcp else self._dtls.protect_rtp(packet)
        if not data:
            return
        if self._send_hook is None:
            self._link.send_nowait(data)
        else:
            self._send_hook(data, self._link.send_nowait)

    def _receive(self, data: bytes) -> None:
        reader = self._dtls.reader
        if reader is None or len(data) < 8:
            return
        for message in parse_rtcp(reader.rtcp(data) or b""):
            if isinstance(message, Nack):
                for track in self._tracks:
                    if track.ssrc == message.ssrc:
                        track.resend(message.sequences)
            elif isinstance(message, KeyframeRequest):
                for track in self._tracks:
                    if track.ssrc == message.ssrc:
                        track.keyframe_requested()
            elif isinstance(message, ReceiverReport):
                self.report_blocks.update((block.ssrc, block) for block in message.blocks)
            elif isinstance(message, Remb):
                self.remb = message.bitrate

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_INTERVAL_S)
            for track in self._tracks:
                if track.started:
                    track.report()
