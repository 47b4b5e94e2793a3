"""A WHIP publisher that sends given encoded frames: for synthetic people, tests and benchmarks.

It owns the sending side of one WebRTC connection: packetising, exact RTP timestamps and sender reports, answering NACK
and key-frame requests. It encodes nothing and speaks no HTTP: the caller posts the offer. It can be told to misbehave
(mute, jump its clock, change its SSRC, lose packets) since that is what a receiver must be shown.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from tapedeck.core.frames import Codec, Kind

__all__ = ["DatagramHook", "OutgoingTrack", "Publisher"]

DatagramHook = Callable[[bytes, Callable[[bytes], None]], None]
"""Gets each SRTP or SRTCP datagram and the function that passes it on: may pass it late, twice or never."""


class OutgoingTrack:
    """One track being sent. Made by `Publisher.add_audio` and `Publisher.add_video`; calls before `connect` are errors.

    `media_time` is in ticks of the track's clock, counted from `origin_ns` on the sender's wall clock, so that
    `wallclock = origin_ns + media_time / clock_rate`; sender reports say exactly that. It may start anywhere.
    """

    kind: Kind
    codec: Codec
    mid: str
    ssrc: int
    clock_rate: int
    muted: bool = False
    "While true, `send` puts nothing on the wire (and takes no sequence numbers)."
    on_keyframe_request: Callable[[], None] | None = None
    "Called at each PLI or FIR of the receiver."
    frames_sent: int = 0
    packets_sent: int = 0
    packets_resent: int = 0
    nacks_received: int = 0
    keyframe_requests: int = 0

    def send(self, payload: bytes, media_time: int, *, level: int | None = None) -> None:
        """Send one whole frame now.

        `payload`: H264 as Annex B, VP8 as one frame, Opus as one packet. A gap in `media_time` between Opus packets is
        DTX. `level` is the RFC 6464 audio level, 0 (loudest) to 127 (silence).
        """
        raise NotImplementedError

    def report(self) -> None:
        """Send a sender report now. One is sent by itself with the first frame and every second while connected."""
        raise NotImplementedError

    def pad(self, packets: int = 1) -> None:
        """Send padding-only packets, as a browser probing for bandwidth does."""
        raise NotImplementedError

    def lose(self, packets: int) -> None:
        """Lose the next packets for good: they take sequence numbers, are not sent and cannot be asked for again."""
        raise NotImplementedError

    def change_ssrc(self) -> None:
        """Go on with a new SSRC, new sequence numbers and a new timestamp base, as after a sender's restart."""
        raise NotImplementedError

    def jump_timestamp(self, ticks: int) -> None:
        """Add `ticks` to the RTP timestamps of all that follows (reports too): the sender's RTP clock was reset."""
        raise NotImplementedError

    def bye(self) -> None:
        """Send RTCP BYE for this track; a later `send` starts it again."""
        raise NotImplementedError


class Publisher:
    """One WHIP publication."""

    def __init__(
        self,
        *,
        hosts: Sequence[str] = ("127.0.0.1",),
        wallclock_ns: Callable[[], int] | None = None,
        send_hook: DatagramHook | None = None,
        receive_hook: DatagramHook | None = None,
        seed: int | None = None,
    ) -> None:
        """`wallclock_ns` reads the sender's clock (ns, any epoch; default `time.time_ns`): give one that is fast, slow
        or jumps to simulate drift. The hooks see what leaves and what arrives (media and RTCP only). `seed` fixes
        SSRCs and the starts of sequence numbers and timestamps."""
        raise NotImplementedError

    def add_audio(
        self,
        *,
        codec: Codec = Codec.OPUS,
        channels: int = 2,
        origin_ns: int = 0,
        levels: bool = True,
        nack: bool = True,
    ) -> OutgoingTrack:
        """Add an audio track, before `connect`. `levels` offers the audio-level extension, `nack` offers to resend."""
        raise NotImplementedError

    def add_video(
        self,
        codec: Codec = Codec.H264,
        *,
        origin_ns: int = 0,
        rtx: bool = True,
        on_keyframe_request: Callable[[], None] | None = None,
    ) -> OutgoingTrack:
        """Add a video track, before `connect`. Without `rtx` lost packets are resent as they were."""
        raise NotImplementedError

    @property
    def connected(self) -> bool:
        """Media can be sent."""
        raise NotImplementedError

    async def offer(self) -> str:
        """The SDP offer with all candidates."""
        raise NotImplementedError

    async def accept(self, answer: str, *, timeout_s: float = 10.0) -> None:
        """Take the answer and connect. Raises InvalidError for a bad answer, UnavailableError when no connection
        came about in time."""
        raise NotImplementedError

    async def connect(self, post: Callable[[str], Awaitable[str]], *, timeout_s: float = 10.0) -> None:
        """`offer`, `post` it, `accept` what it returns."""
        raise NotImplementedError

    async def restart_ice(self, patch: Callable[[str], Awaitable[str]], *, timeout_s: float = 10.0) -> None:
        """Move to new ICE credentials and sockets (RFC 9725 4.3.3); `patch` sends the fragment and returns the body
        of the 200 answer. Media sent meanwhile is lost or resent on request."""
        raise NotImplementedError

    async def wait_closed(self) -> None:
        """Return when the connection is over, whoever ended it."""
        raise NotImplementedError

    async def close(self, *, bye: bool = True) -> None:
        """End politely: RTCP BYE (unless `bye` is false), DTLS close, sockets closed. The HTTP DELETE is yours."""
        raise NotImplementedError

    def vanish(self) -> None:
        """Close the sockets without a word, as a machine that lost power."""
        raise NotImplementedError
