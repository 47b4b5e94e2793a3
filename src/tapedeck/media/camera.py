"""Real-time encoders of a publisher: H264 and VP8 pictures, Opus sound.

Owns the settings under which an encoder behaves like the one of a browser: no reordering, no look-ahead, one frame out
for one frame in, key frames only when asked for. Refuses anything about when to send: that is the caller's clock.
"""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from numpy.typing import NDArray

from tapedeck.core.errors import MediaError
from tapedeck.core.frames import Codec

__all__ = ["OPUS_DELAY", "OPUS_PACKET", "CameraEncoder", "MicrophoneEncoder", "Planes"]

Planes = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]
"""Y, U and V of a 4:2:0 picture, video range, BT.709."""

OPUS_PACKET = 960
"""Samples of one packet: 20 ms at 48 kHz (RFC 7587)."""
OPUS_DELAY = 312
"""Samples by which what a decoder plays lags behind what the encoder was fed: libopus' look-ahead of 6.5 ms, as with
every sender on the web. RTP time stamps are those of the samples that went in."""

_TICKS = Fraction(1, 90_000)
_NEVER = 1 << 20
"""Frames between key frames that nobody asked for: longer than any meeting of a test."""

_VIDEO: dict[Codec, tuple[str, dict[str, str]]] = {
    Codec.H264: (
        "libx264",
        {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "profile": "baseline",
            "forced-idr": "1",
            "x264-params": f"keyint={_NEVER}:min-keyint=1:scenecut=0:annexb=1:repeat-headers=1:colorprim=bt709"
            ":transfer=bt709:colormatrix=bt709",
        },
    ),
    Codec.VP8: (
        "libvpx",
        {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "auto-alt-ref": "0"},
    ),
}


class CameraEncoder:
    """Encodes the pictures of one camera in order: H264 baseline as Annex B with parameter sets at each key, or VP8."""

    def __init__(self, codec: Codec, width: int, height: int, *, fps: int = 30, bitrate: int = 1_500_000) -> None:
        """`bitrate` in bits per second is a ceiling. Raises MediaError when the codec cannot be encoded."""
        if codec not in _VIDEO:
            raise MediaError(f"cannot encode {codec.name}: only H264 and VP8 are offered")
        name, options = _VIDEO[codec]
        try:
            context = av.CodecContext.create(name, "w")
            assert isinstance(context, VideoCodecContext)
            context.width, context.height, context.pix_fmt = width, height, "yuv420p"
            context.time_base, context.framerate = _TICKS, Fraction(fps)
            context.bit_rate, context.gop_size, context.max_b_frames = bitrate, _NEVER, 0
            context.thread_count = 1
            context.options = options
            context.open()
        except (av.FFmpegError, ValueError) as exc:
            raise MediaError(f"the {name} encoder did not start for {width}x{height}: {exc}") from exc
        self._context = context
        self._shape = (height, width)
        self._last = -1

    def encode(self, planes: Planes, media_time: int, *, key: bool = False) -> bytes:
        """One picture at `media_time` (90 kHz ticks, growing) to one encoded frame, self-contained when `key`."""
        if planes[0].shape != self._shape or media_time <= self._last:
            raise MediaError("a picture of another size, or out of order, was given to the encoder")
        self._last = media_time
        height, width = self._shape
        flat = np.concatenate([plane.reshape(-1) for plane in planes])
        frame = av.VideoFrame.from_ndarray(flat.reshape(height * 3 // 2, width), format="yuv420p")
        frame.pts, frame.time_base = media_time, _TICKS
        frame.pict_type = PictureType.I if key else PictureType.NONE
        try:
            packets = self._context.encode(frame)
        except av.FFmpegError as exc:
            raise MediaError(f"the {self._context.name} encoder failed: {exc}") from exc
        if len(packets) != 1 or (key and not packets[0].is_keyframe):
            raise MediaError(f"the {self._context.name} encoder did not answer one picture with one frame")
        return bytes(packets[0])


class MicrophoneEncoder:
    """Encodes 48 kHz mono sound in packets of 20 ms as Opus."""

    def __init__(self, bitrate: int = 96_000) -> None:
        """`bitrate` in bits per second; below about 64 000 libopus changes its mode with the sound."""
        try:
            context = av.CodecContext.create("libopus", "w")
            assert isinstance(context, AudioCodecContext)
            context.sample_rate, context.layout, context.format = 48_000, "mono", "flt"
            context.time_base, context.bit_rate = Fraction(1, 48_000), bitrate
            context.options = {"application": "audio", "frame_duration": "20", "vbr": "on"}
            context.open()
        except (av.FFmpegError, ValueError) as exc:
            raise MediaError(f"the Opus encoder did not start: {exc}") from exc
        self._context = context
        self._samples = 0

    def encode(self, samples: NDArray[np.float32]) -> bytes:
        """One packet of `OPUS_PACKET` samples in -1..1. A decoder plays them `OPUS_DELAY` samples late."""
        if samples.shape != (OPUS_PACKET,):
            raise MediaError(f"an Opus packet takes {OPUS_PACKET} samples, not {samples.size}")
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis, :], format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self._samples, Fraction(1, 48_000)
        self._samples += OPUS_PACKET
        try:
            packets = self._context.encode(frame)
        except av.FFmpegError as exc:
            raise MediaError(f"the Opus encoder failed: {exc}") from exc
        if len(packets) != 1:
            raise MediaError("the Opus encoder did not answer one packet with one packet")
        return bytes(packets[0])
