"""Encoded video frames of one track to pictures, whatever the sender does in between.

Owns: the decoder and its restarts (codec change, error, gap), and the rule that nothing is decoded without its
references: after a discontinuity or an error, frames are dropped until the next key frame. Size and parameter sets may
change at any key frame. Refuses to raise for bad media: faults are counted in `VideoDecoder.stats`, the film goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext

from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags
from tapedeck.core.geometry import Size

__all__ = ["DecodeStats", "Picture", "VideoDecoder", "key_picture"]

_NAMES = {Codec.H264: "h264", Codec.VP8: "vp8"}
_SEI = b"\0\0\1\6"
"""How a NAL unit of supplemental information begins (H.264, 7.3.1 and annex B)."""
_DISCONTINUITY = int(FrameFlags.DISCONTINUITY)
_TICKS = Fraction(1, 90_000)
_MAX_PIXELS = 8192 * 4320
"""Larger pictures are refused: a forged header must not make us allocate gigabytes."""


@dataclass(slots=True)
class DecodeStats:
    """What happened so far on one track."""

    decoded: int = 0
    skipped: int = 0
    "Frames not decoded because a frame they need is missing."
    errors: int = 0
    "Frames the decoder refused or found damaged."
    unsupported: int = 0
    "Frames in a codec that cannot be decoded here."


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One decoded picture. Compare by identity."""

    frame: av.VideoFrame
    media_time: int
    "Of the encoded frame it came from, in ticks of its track."
    has_more: bool = False
    "The encoded frame said something besides its picture, as captions are."

    @property
    def size(self) -> Size:
        return Size(self.frame.width, self.frame.height)


class VideoDecoder:
    """Decodes one track. Feed every frame in order of the log, beginning at a key frame."""

    def __init__(self) -> None:
        self.stats = DecodeStats()
        self._context: VideoCodecContext | None = None
        self._codec: Codec | None = None
        self._waiting = True

    @property
    def waiting(self) -> bool:
        """Whether frames are being dropped until a key frame comes."""
        return self._waiting

    def reset(self) -> None:
        """The next frames do not follow the last ones: wait for a key frame."""
        self._waiting = True

    def decode(self, frame: EncodedFrame) -> Picture | None:
        """The picture of a frame; None when it cannot be shown. Never raises for the content of the frame."""
        if frame.has(_DISCONTINUITY):
            self._waiting = True
        if self._waiting and not frame.is_key:
            self.stats.skipped += 1
            return None
        if frame.codec not in _NAMES:
            self.stats.unsupported += 1
            self._waiting = True
            return None
        is_fresh = self._context is None or frame.codec is not self._codec
        picture = self._attempt(frame, fresh=is_fresh)
        if frame.is_key and not is_fresh and (picture is None or picture.pts != frame.media_time):
            # What came before may have left the decoder in a state that a good key frame does not mend.
            picture = self._attempt(frame, fresh=True)
        if picture is None:
            self.stats.errors += 1
            self._waiting = True
            self._context = None
            return None
        self._waiting = False
        self.stats.decoded += 1
        has_more = frame.codec is Codec.H264 and _SEI in frame.payload
        return Picture(picture, frame.media_time if picture.pts is None else picture.pts, has_more)

    def _attempt(self, frame: EncodedFrame, *, fresh: bool) -> av.VideoFrame | None:
        """The last picture that comes out when a frame is put in; None when none does, or a damaged one."""
        try:
            if fresh or self._context is None:
                self._context, self._codec = _open(frame.codec), frame.codec
            elif self._waiting:
                self._context.flush_buffers()
            packet = av.Packet(frame.payload)
            packet.pts, packet.time_base = frame.media_time, _TICKS
            pictures = self._context.decode(packet)
        except (av.FFmpegError, ValueError, MemoryError):
            return None
        return pictures[-1] if pictures and not pictures[-1].is_corrupt else None


def key_picture(payload: bytes) -> av.VideoFrame | None:
    """The picture of a key frame of H264 alone, also of an encoder that reorders pictures; None if it is damaged."""
    try:
        context = _open(Codec.H264)
        pictures = [*context.decode(av.Packet(payload)), *context.decode(None)]
    except (av.FFmpegError, ValueError, MemoryError):
        return None
    return pictures[0] if pictures and not pictures[0].is_corrupt else None


def _open(codec: Codec) -> VideoCodecContext:
    context = av.CodecContext.create(_NAMES[codec], "r")
    assert isinstance(context, VideoCodecContext)
    context.thread_count = 1  # frame threads cost a third more CPU and a frame of delay each
    context.flags |= Flags.low_delay
    context.options = {"max_pixels": str(_MAX_PIXELS)}
    context.open()
    return context
