"""Pictures and samples to packets: one table row per codec, one encoder object per stream.

Owns how an encoder is set up, so that every film of one setting looks and sounds alike. Refuses to mix, scale or place
anything, and to know where packets go (`media/mux.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from av.audio.stream import AudioStream
from av.codec.hwaccel import HWAccel
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tapedeck.core.errors import MediaError
from tapedeck.core.output import AudioOutput, VideoOutput

if TYPE_CHECKING:
    from tapedeck.media.vorbis import VorbisEncoder

__all__ = ["PictureEncoder", "SoundEncoder", "sound_encoder"]

_CANVAS = "yuv420p"
"What pictures come in."
log = logging.getLogger(__name__)

_QUALITY_UNIT = 118
"FF_QP2LAMBDA of libavutil: what one step of quality is in `global_quality`."
_AAC_BPS_PER_QUALITY = 48_000
"Measured: the rate of one busy channel at 48 kHz is this times the quality (stereo: 2 gives 205, 4 gives 409 kbit/s)."
_LAYOUTS = {1: "mono", 2: "stereo"}
_MP3_QUALITY = 2
"Of LAME's variable rate: 0 is best; 2 is about 190 kbit/s for busy stereo sound, and transparent to most."
_VP8_LEVELS = {"low": 40, "standard": 32, "high": 24}
_VP9_LEVELS = {"low": 48, "standard": 40, "high": 32}
"`cq-level` of libvpx, 0 to 63: lower is better and larger."
_VP8_SPEED, _VP9_SPEED = -4, 7
"""`cpu-used` of libvpx: with it a film costs about what x264 takes (docs/explain/media.md).

VP8 takes a number above zero for leave to adapt its speed to the machine: a busy one would make a worse film,
and a film made again another one. Below zero is a speed that stays.
"""


@dataclass(frozen=True, slots=True)
class _PictureCodec:
    encoder: str
    pixels: str
    options: Callable[[VideoOutput], dict[str, str]]
    bit_rate: bool = False
    "Whether the ceiling is the encoder's bit rate."


@dataclass(frozen=True, slots=True)
class _SoundCodec:
    encoder: str
    samples: str
    frame_samples: int
    options: Callable[[AudioOutput], dict[str, str]]


def _ceiling(output: VideoOutput) -> dict[str, str]:
    return {"maxrate": str(output.maxrate_bps), "bufsize": str(2 * output.maxrate_bps)}


def _x264(output: VideoOutput) -> dict[str, str]:
    """Constant quality under a ceiling; closed groups; a scene cut may add a key frame (a new layout is one)."""
    return {"preset": output.preset, "crf": str(output.crf), "g": str(output.gop_s * output.fps)} | _ceiling(output)


def _vpx(output: VideoOutput, speed: int, level: int) -> dict[str, str]:
    """Constrained quality in the realtime mode of libvpx, without looking ahead."""
    return {
        "deadline": "realtime",
        "cpu-used": str(speed),
        "crf": str(level),
        "qmin": "4",
        "qmax": "56",
        "lag-in-frames": "0",
        "auto-alt-ref": "0",
        "g": str(output.gop_s * output.fps),
    } | _ceiling(output)


def _vp8(output: VideoOutput) -> dict[str, str]:
    return _vpx(output, _VP8_SPEED, _VP8_LEVELS[output.quality]) | {"static-thresh": "0"}


def _vp9(output: VideoOutput) -> dict[str, str]:
    return _vpx(output, _VP9_SPEED, _VP9_LEVELS[output.quality]) | {"row-mt": "1", "tile-columns": "2", "aq-mode": "3"}


def _hardware(output: VideoOutput) -> dict[str, str]:
    return {"g": str(output.gop_s * output.fps)} | _ceiling(output)


def _nvenc(output: VideoOutput) -> dict[str, str]:
    return _hardware(output) | {"preset": "p4", "rc": "vbr", "cq": str(output.crf), "forced-idr": "1"}


def _qsv(output: VideoOutput) -> dict[str, str]:
    return _hardware(output) | {"preset": "veryfast", "global_quality": str(output.crf), "forced_idr": "1"}


def _aac(output: AudioOutput) -> dict[str, str]:
    """By quality, not by rate: held to a high rate the encoder searches for ways to spend it on plain speech.

    The quick search costs a tenth of the thorough one and is the more exact at these rates (docs/explain/media.md).
    """
    quality = round(_QUALITY_UNIT * output.bitrate_bps / output.channels / _AAC_BPS_PER_QUALITY)
    return {"aac_coder": "fast", "flags": "+qscale", "global_quality": str(quality)}


def _mp3(output: AudioOutput) -> dict[str, str]:
    return {"flags": "+qscale", "global_quality": str(_QUALITY_UNIT * _MP3_QUALITY)}


_X264 = _PictureCodec("libx264", "yuv420p", _x264)
_PICTURE_CODECS = {
    "h264": _X264,
    "vp8": _PictureCodec("libvpx", "yuv420p", _vp8, bit_rate=True),
    "vp9": _PictureCodec("libvpx-vp9", "yuv420p", _vp9, bit_rate=True),
}
_HARDWARE = {
    "nvenc": _PictureCodec("h264_nvenc", "yuv420p", _nvenc, bit_rate=True),
    "vaapi": _PictureCodec("h264_vaapi", "yuv420p", _hardware, bit_rate=True),
    "qsv": _PictureCodec("h264_qsv", "nv12", _qsv),
    "videotoolbox": _PictureCodec("h264_videotoolbox", "yuv420p", _hardware, bit_rate=True),
}
_SOUND_CODECS = {
    "aac": _SoundCodec("aac", "fltp", 1024, _aac),
    "mp3": _SoundCodec("libmp3lame", "fltp", 1152, _mp3),
}


def sound_encoder(container: OutputContainer, output: AudioOutput, first: int = 0) -> SoundEncoder | VorbisEncoder:
    """The encoder of a codec; `first` as of `SoundEncoder`. MediaError: nobody knows it here."""
    if output.codec != "vorbis":
        return SoundEncoder(container, output, first)
    from tapedeck.media.vorbis import VorbisEncoder  # a tenth of a process' start, and most films are without

    return VorbisEncoder(output)


def _chosen(output: VideoOutput) -> _PictureCodec:
    """The encoder to use: hardware where it is asked for and works, else software, and the log says so."""
    codec = _PICTURE_CODECS.get(output.codec)
    if codec is None:
        raise MediaError(f"Pictures cannot be encoded as {output.codec!r}.")
    if codec is not _X264 or output.encoder == "x264":
        return codec
    wanted = _HARDWARE.get(output.encoder)
    if wanted is None:
        raise MediaError(f"There is no encoder {output.encoder!r}.")
    reason = _refusal(wanted, output)
    if reason is None:
        return wanted
    log.warning("%s cannot encode here (%s): the film is encoded by x264", output.encoder, reason)
    return codec


def _refusal(codec: _PictureCodec, output: VideoOutput) -> str | None:
    """Why an encoder does not work on this machine; None when a picture went through it."""
    try:
        context = av.CodecContext.create(codec.encoder, "w", _device(codec.encoder))
    except (ValueError, av.FFmpegError, RuntimeError):
        return f"this FFmpeg has no {codec.encoder}, or the machine no device for it"
    assert isinstance(context, VideoCodecContext)
    context.options = codec.options(output)
    _set_up(context, codec, output)
    frame = av.VideoFrame(output.width, output.height, codec.pixels)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.pts, frame.time_base = 0, context.time_base
    try:
        context.open()
        packets = context.encode(frame) + context.encode(None)
    except (ValueError, av.FFmpegError, RuntimeError) as exc:
        return str(getattr(exc, "strerror", None) or exc)
    return None if packets else "it made nothing of a picture"


def _device(encoder: str) -> HWAccel | None:
    """VAAPI takes pictures in the memory of its device; PyAV brings them there when it knows the device."""
    return HWAccel("vaapi", allow_software_fallback=False) if encoder.endswith("_vaapi") else None


def _set_up(context: VideoCodecContext, codec: _PictureCodec, output: VideoOutput) -> None:
    context.width, context.height, context.pix_fmt = output.width, output.height, codec.pixels
    context.time_base = Fraction(1, output.fps)
    context.framerate = Fraction(output.fps)
    if codec.bit_rate:
        context.bit_rate = output.maxrate_bps
    context.color_range = ColorRange.MPEG
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.BT709
    context.colorspace = Colorspace.ITU709


class PictureEncoder:
    """Encodes the pictures of a film for one stream of a container."""

    def __init__(self, container: OutputContainer, output: VideoOutput, threads: int, first: int = 0) -> None:
        """`first`: index of the picture that it begins with."""
        codec = _chosen(output)
        self._output = output
        self._pixels = codec.pixels
        self._is_h264 = output.codec == "h264"
        self._grid = output.gop_s * output.fps
        self._time_base = Fraction(1, output.fps)
        self._next = first
        stream = container.add_stream(codec.encoder, output.fps, codec.options(output), hwaccel=_device(codec.encoder))
        assert isinstance(stream, VideoStream)
        self._stream = stream
        context = stream.codec_context
        _set_up(context, codec, output)
        context.thread_count = threads
        context.thread_type = "FRAME"  # PyAV's default, SLICE, makes x264 cut pictures into slices
        context.open()

    @property
    def template(self) -> VideoStream:
        """What another container makes its stream from."""
        return self._stream

    @property
    def count(self) -> int:
        """Pictures taken so far."""
        return self._next

    def encode(self, frame: av.VideoFrame, index: int) -> list[av.Packet[VideoStream]]:
        """Packets that are ready after picture `index`. ValueError for a frame that is not the next of this film."""
        if index != self._next:
            raise ValueError(f"picture {index} came where {self._next} was due")
        if (frame.width, frame.height) != (self._output.width, self._output.height):
            raise ValueError(f"a {frame.width}x{frame.height} picture is not of the film's size")
        if frame.format.name != _CANVAS:
            raise ValueError(f"a {frame.format.name} picture is not {_CANVAS}")
        if self._pixels != _CANVAS:
            frame = frame.reformat(format=self._pixels)
        frame.pts, frame.time_base = index, self._time_base
        # On the grid whatever a scene cut did before, so that segments of HLS begin where they should (media/hls.py);
        # nothing else of where a picture came from may decide: a decoded key frame would be made one here too.
        is_key = self._is_h264 and index % self._grid == 0
        frame.pict_type = PictureType.I if is_key else PictureType.NONE
        self._next += 1
        return self._stream.encode(frame)

    def flush(self) -> list[av.Packet[VideoStream]]:
        """The last packets."""
        return self._stream.encode(None)


class SoundEncoder:
    """Encodes the sound of a film for one stream of a container, whatever the sizes it is handed over in."""

    def __init__(self, container: OutputContainer, output: AudioOutput, first: int = 0) -> None:
        """`first`: number of the sample that it begins with."""
        codec = _SOUND_CODECS.get(output.codec)
        if codec is None:
            raise MediaError(f"Sound cannot be encoded as {output.codec!r}.")
        self._rate = output.sample_rate
        self._layout = _LAYOUTS[output.channels]
        self._samples = codec.samples
        self._block = codec.frame_samples
        self._held = np.zeros((output.channels, 0), np.float32)
        self._next = first
        stream = container.add_stream(codec.encoder, rate=output.sample_rate, options=codec.options(output))
        assert isinstance(stream, AudioStream)
        self._stream = stream
        context = stream.codec_context
        context.layout, context.format = self._layout, codec.samples
        context.open()

    @property
    def template(self) -> AudioStream:
        """What another container makes its stream from."""
        return self._stream

    @property
    def count(self) -> int:
        """Samples taken so far (per channel)."""
        return self._next + self._held.shape[1]

    def encode(self, samples: NDArray[np.float32]) -> list[av.Packet[AudioStream]]:
        """Packets that are ready after the next `samples` (channels, n)."""
        if samples.ndim != 2 or samples.shape[0] != self._held.shape[0]:
            raise ValueError(f"sound of shape {samples.shape} is not (channels, n) of this film")
        held = np.concatenate((self._held, samples), axis=1, dtype=np.float32)
        whole = held.shape[1] - held.shape[1] % self._block
        self._held = held[:, whole:]
        # All blocks in one frame, which PyAV cuts: per call it pays for an exception (0.5 % of a film's CPU).
        return self._stream.encode(self._frame(held[:, :whole])) if whole else []

    def flush(self) -> list[av.Packet[AudioStream]]:
        """The last packets; the container is told how much of the last one counts."""
        packets: list[av.Packet[AudioStream]] = []
        if self._held.shape[1]:
            packets += self._stream.encode(self._frame(self._held))
            self._held = self._held[:, :0]
        return packets + self._stream.encode(None)

    def _frame(self, block: NDArray[np.float32]) -> av.AudioFrame:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format=self._samples, layout=self._layout)
        frame.sample_rate = self._rate
        frame.pts, frame.time_base = self._next, Fraction(1, self._rate)
        self._next += block.shape[1]
        return frame
