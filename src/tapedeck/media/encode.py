"""Pictures and samples to packets: one table row per codec, one encoder object per stream.

Owns how an encoder is set up, so that every film of one setting looks and sounds alike. Refuses to mix, scale or place
anything, and to know where packets go (`media/mux.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tapedeck.core.errors import MediaError
from tapedeck.core.output import AudioOutput, VideoOutput

__all__ = ["PictureEncoder", "SoundEncoder"]

_QUALITY_UNIT = 118
"FF_QP2LAMBDA of libavutil: what one step of quality is in `global_quality`."
_AAC_BPS_PER_QUALITY = 96_000
"Measured: the rate of busy stereo sound at 48 kHz is this times the quality (2 gives 205, 4 gives 409 kbit/s)."


@dataclass(frozen=True, slots=True)
class _PictureCodec:
    encoder: str
    pixels: str
    options: Callable[[VideoOutput], dict[str, str]]


@dataclass(frozen=True, slots=True)
class _SoundCodec:
    encoder: str
    samples: str
    frame_samples: int
    options: Callable[[AudioOutput], dict[str, str]]


def _x264(output: VideoOutput) -> dict[str, str]:
    """Constant quality under a ceiling; closed groups; a scene cut may add a key frame (a new layout is one)."""
    return {
        "preset": output.preset,
        "crf": str(output.crf),
        "maxrate": str(output.maxrate_bps),
        "bufsize": str(2 * output.maxrate_bps),
        "g": str(output.gop_s * output.fps),
    }


def _aac(output: AudioOutput) -> dict[str, str]:
    """By quality, not by rate: held to a high rate the encoder searches for ways to spend it on plain speech.

    The quick search costs a tenth of the thorough one and is the more exact at these rates (docs/explain/media.md).
    """
    quality = round(_QUALITY_UNIT * output.bitrate_bps / _AAC_BPS_PER_QUALITY)
    return {"aac_coder": "fast", "flags": "+qscale", "global_quality": str(quality)}


_PICTURE_CODECS = {"h264": _PictureCodec("libx264", "yuv420p", _x264)}
_SOUND_CODECS = {"aac": _SoundCodec("aac", "fltp", 1024, _aac)}


class PictureEncoder:
    """Encodes the pictures of a film for one stream of a container."""

    def __init__(self, container: OutputContainer, output: VideoOutput, threads: int) -> None:
        codec = _PICTURE_CODECS.get(output.codec)
        if codec is None:
            raise MediaError(f"Pictures cannot be encoded as {output.codec!r}.")
        self._output = output
        self._pixels = codec.pixels
        self._time_base = Fraction(1, output.fps)
        self._next = 0
        stream = container.add_stream(codec.encoder, rate=output.fps, options=codec.options(output))
        assert isinstance(stream, VideoStream)
        self._stream = stream
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = output.width, output.height, codec.pixels
        context.time_base = self._time_base
        context.thread_count = threads
        context.thread_type = "FRAME"  # PyAV's default, SLICE, makes x264 cut pictures into slices
        context.color_range = ColorRange.MPEG
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        context.colorspace = Colorspace.ITU709
        context.open()

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
        if frame.format.name != self._pixels:
            raise ValueError(f"a {frame.format.name} picture is not {self._pixels}")
        frame.pts, frame.time_base = index, self._time_base
        frame.pict_type = PictureType.NONE  # a decoded key frame would otherwise be made one here too
        self._next += 1
        return self._stream.encode(frame)

    def flush(self) -> list[av.Packet[VideoStream]]:
        """The last packets."""
        return self._stream.encode(None)


class SoundEncoder:
    """Encodes the sound of a film for one stream of a container, whatever the sizes it is handed over in."""

    def __init__(self, container: OutputContainer, output: AudioOutput) -> None:
        codec = _SOUND_CODECS.get(output.codec)
        if codec is None:
            raise MediaError(f"Sound cannot be encoded as {output.codec!r}.")
        self._rate = output.sample_rate
        self._layout = {1: "mono", 2: "stereo"}[output.channels]
        self._samples = codec.samples
        self._block = codec.frame_samples
        self._held = np.zeros((output.channels, 0), np.float32)
        self._next = 0
        stream = container.add_stream(codec.encoder, rate=output.sample_rate, options=codec.options(output))
        assert isinstance(stream, AudioStream)
        self._stream = stream
        context = stream.codec_context
        context.layout, context.format = self._layout, codec.samples
        context.open()

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
        packets: list[av.Packet[AudioStream]] = []
        for start in range(0, whole, self._block):
            packets += self._stream.encode(self._frame(held[:, start : start + self._block]))
        self._held = held[:, whole:]
        return packets

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
