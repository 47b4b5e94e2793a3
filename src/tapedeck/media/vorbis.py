"""Sound as Vorbis: libvorbis, which the FFmpeg inside PyAV lacks, through libsndfile.

Owns the way round that takes: libsndfile writes Ogg, whose packets are taken out again, timed and handed over like
those of any other encoder, for WebM and for Ogg files alike. Refuses to know containers.

FFmpeg's own Vorbis encoder is marked as experimental and takes stereo alone.
"""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
import soundfile  # type: ignore[import-untyped]
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from tapedeck.core.errors import InternalError, MediaError
from tapedeck.core.ogg import OggPacket, OggReader, VorbisClock
from tapedeck.core.output import AudioOutput

__all__ = ["VorbisEncoder"]

_HEADERS = 3
_QUALITY = 0.5
"libvorbis' scale from 0 to 1, which libsndfile turns round; about 160 kbit/s for busy stereo sound."
_SLICE = 1600
"Samples at a time: libvorbis keeps what it is given at once on the stack."


class VorbisEncoder:
    """Encodes the sound of a film. `template` is what a container makes its stream from."""

    def __init__(self, output: AudioOutput) -> None:
        self._rate = output.sample_rate
        self._channels = output.channels
        self._pipe = _Pipe()
        self._ogg = OggReader()
        try:
            headers = self._headers(output)
            self._demuxer = av.open(io.BytesIO(headers), "r", format="ogg")
            self._file = _encoder(self._pipe, output)
        except (soundfile.LibsndfileError, av.FFmpegError) as exc:
            raise MediaError(f"Sound cannot be encoded as 'vorbis': {exc}.") from exc
        self._clock = VorbisClock(OggReader().feed(headers)[0].data)
        self._to_skip = _HEADERS
        self._at = 0
        "Sample at which the next packet is heard."
        self._count = 0
        self._closed = False

    @property
    def template(self) -> AudioStream:
        return self._demuxer.streams.audio[0]

    @property
    def count(self) -> int:
        """Samples taken so far (per channel)."""
        return self._count

    def encode(self, samples: NDArray[np.float32]) -> list[av.Packet[Any]]:
        """Packets that are ready after the next `samples` (channels, n); they come some hundred milliseconds late."""
        if samples.ndim != 2 or samples.shape[0] != self._channels:
            raise ValueError(f"sound of shape {samples.shape} is not (channels, n) of this film")
        self._count += samples.shape[1]
        for start in range(0, samples.shape[1], _SLICE):
            self._file.write(np.ascontiguousarray(samples[:, start : start + _SLICE].T))
        return self._packets()

    def flush(self) -> list[av.Packet[Any]]:
        """The last packets; the container is told how much of the last one counts."""
        if self._closed:
            return []
        self._closed = True
        if not self._count:
            self._file.write(np.zeros((1, self._channels), np.float32))  # without any, not even headers are written
            self._count = 1
        self._file.close()
        return self._packets()

    def _packets(self) -> list[av.Packet[Any]]:
        packets = []
        for packet in self._ogg.feed(self._pipe.take()):
            if self._to_skip:
                self._to_skip -= 1
            else:
                packets.append(self._timed(packet))
        return packets

    def _timed(self, ogg: OggPacket) -> av.Packet[Any]:
        samples = self._clock.samples(ogg.data)
        packet = av.Packet(ogg.data)
        packet.time_base = Fraction(1, self._rate)
        packet.pts = packet.dts = self._at
        packet.is_keyframe = True
        self._at += samples
        beyond = 0 if ogg.granule is None else self._at - ogg.granule
        if beyond:
            if not self._closed or not 0 < beyond <= samples:
                raise InternalError(f"A Vorbis packet ends {beyond} samples from where it should.")
            self._at -= beyond
            samples -= beyond
        packet.duration = samples
        return packet

    def _headers(self, output: AudioOutput) -> bytes:
        """What a stream of this kind begins with: libsndfile writes it with the first samples, a container needs it
        before."""
        pipe = _Pipe()
        with _encoder(pipe, output) as file:
            file.write(np.zeros((64, output.channels), np.float32))
        return pipe.take()


class _Pipe:
    """What libsndfile writes to: a file that only grows, and is emptied in front."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0

    def write(self, data: bytes) -> int:
        self._data += data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """libsndfile asks for the length when it opens a file, and never goes back."""
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        return b""

    def take(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data


def _encoder(pipe: _Pipe, output: AudioOutput) -> soundfile.SoundFile:
    return soundfile.SoundFile(
        pipe,
        "w",
        output.sample_rate,
        output.channels,
        "VORBIS",
        format="OGG",
        compression_level=1 - _QUALITY,
    )
