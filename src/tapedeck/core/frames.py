"""What a source hands to capture and what the media log holds: tracks and encoded frames.

Three times are kept apart everywhere (see docs/explain/words.md): `media_time` is a track's own RTP clock in ticks,
unwrapped to 64 bits; `*_ns` without further word is nanoseconds on the capture clock, which starts at zero when the
capture of a session starts; `wallclock_ns` is what a sender claims (NTP time in its sender reports).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag, StrEnum

__all__ = ["CLOCK_RATE", "Codec", "EncodedFrame", "FrameFlags", "Kind", "Origin", "TrackInfo"]


class Kind(StrEnum):
    """Sound or picture."""

    AUDIO = "audio"
    VIDEO = "video"


class Origin(StrEnum):
    """Which publication of a participant a track belongs to (WHIP query `source`)."""

    CAMERA = "camera"
    SCREEN = "screen"


class Codec(IntEnum):
    """Codecs a log can hold. The number is stored in each record (medialog format 1): never reuse one."""

    OPUS = 1
    VP8 = 2
    H264 = 3
    VP9 = 4
    AV1 = 5
    PCMU = 6
    PCMA = 7

    @property
    def kind(self) -> Kind:
        return Kind.AUDIO if self in (Codec.OPUS, Codec.PCMU, Codec.PCMA) else Kind.VIDEO


CLOCK_RATE: dict[Codec, int] = {
    Codec.OPUS: 48_000,
    Codec.VP8: 90_000,
    Codec.H264: 90_000,
    Codec.VP9: 90_000,
    Codec.AV1: 90_000,
    Codec.PCMU: 8_000,
    Codec.PCMA: 8_000,
}
"""RTP clock rate in Hz by codec (RFC 7587, 7741, 6184, 9628, 3551)."""


class FrameFlags(IntFlag):
    """Facts about a frame, stored in one byte of its record."""

    NONE = 0
    KEY = 1
    "The frame can be decoded without any other (always set for audio)."
    DISCONTINUITY = 2
    "Frames before this one are missing: a decoder must wait for a key frame."
    NEW_CLOCK = 4
    "The sender's RTP clock was reset before this frame. Nothing is missing by that alone: a decoder goes on."


_KEY = int(FrameFlags.KEY)


@dataclass(frozen=True, slots=True)
class TrackInfo:
    """One track of one peer. Written to the timeline when the track opens."""

    track_id: str
    "UUID; also the name of the log file."
    peer_id: str
    "One connection of a participant; a rejoin is a new peer."
    participant_id: str
    kind: Kind
    codec: Codec
    "The codec negotiated first; single records may differ."
    origin: Origin = Origin.CAMERA
    channels: int = 1
    "Audio channels as negotiated; 0 for video."

    @property
    def clock_rate(self) -> int:
        return CLOCK_RATE[self.codec]


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """One whole encoded frame, exactly as sent: the payload a decoder takes, no RTP around it.

    H264 payloads are Annex B (start codes); VP8 payloads have no RTP payload descriptor; Opus payloads are one packet.
    """

    media_time: int
    "Unwrapped RTP timestamp in ticks of the track's clock."
    arrival_ns: int
    "When the packet that completed the frame arrived, on the capture clock."
    payload: bytes
    codec: Codec
    flags: FrameFlags = FrameFlags.NONE

    @property
    def is_key(self) -> bool:
        return self.has(_KEY)

    def has(self, flags: int) -> bool:
        """Whether any of these is set. Of plain numbers: asked several times per frame, and a Flag's `&` is slow."""
        return bool(int(self.flags) & flags)
