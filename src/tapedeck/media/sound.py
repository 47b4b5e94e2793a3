"""Sound as arrays: Opus packets to samples, tiny corrections of speed, and a limiter.

Owns what is done to one stream of samples. Everything is 48 kHz stereo float32 in arrays of shape (n, 2). Refuses to
know where a sample belongs in a film (`render/audio.py`) and how a film is encoded (`media/encode.py`).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from numpy.typing import NDArray

from tapedeck.core.errors import MediaError

__all__ = ["LIMIT", "OPUS_LOOKAHEAD", "SAMPLE_RATE", "Limiter", "OpusDecoder", "opus_samples", "stretch"]

SAMPLE_RATE = 48_000

OPUS_LOOKAHEAD = 312
"""Samples by which decoded Opus is late: 6.5 ms, the look-ahead of libopus outside its low-delay mode.

An RTP time stamp is the time of the first sample that went into the encoder (RFC 7587 4.1), and what comes out of the
decoder first went in this much earlier. Files carry the same number as pre-skip (RFC 7845 4.2).
"""

LIMIT = 10 ** (-1 / 20)
"Nothing leaves the limiter louder than -1 dBFS: lossy codecs overshoot a little."

_SILK, _HYBRID, _CELT = (480, 960, 1920, 2880), (480, 960), (120, 240, 480, 960)


def opus_samples(payload: bytes) -> int:
    """Length of an Opus packet at 48 kHz, from its first bytes (RFC 6716 3.1). ValueError if it is none."""
    if not payload:
        raise ValueError("an Opus packet has at least one byte")
    frame, code = _frame_samples(payload[0]), payload[0] & 3
    if code == 3 and len(payload) < 2:
        raise ValueError("an Opus packet of code 3 has at least two bytes")
    count = payload[1] & 0x3F if code == 3 else (1, 2, 2)[code]
    if not 0 < count * frame <= 5760:
        raise ValueError("an Opus packet is 120 ms long at most")
    return count * frame


def _frame_samples(toc: int) -> int:
    config = toc >> 3
    if config < 12:
        return _SILK[config & 3]
    return _HYBRID[config & 1] if config < 16 else _CELT[config & 3]


class OpusDecoder:
    """Decodes one Opus track (libopus): mono or stereo, changing as it likes, always to two channels.

    In-band FEC is not used: a packet is decoded when it is complete, and the receiver asks for lost ones again.
    """

    def __init__(self) -> None:
        try:
            context = av.CodecContext.create("libopus", "r")
            assert isinstance(context, AudioCodecContext)
            context.sample_rate, context.layout = SAMPLE_RATE, "stereo"
            context.options = {"request_sample_fmt": "flt"}
            context.open()
        except (av.FFmpegError, ValueError) as exc:
            raise MediaError("This FFmpeg cannot decode Opus (libopus is missing).") from exc
        self._context = context
        self._toc = 0

    @property
    def frame_samples(self) -> int:
        """Length of what `conceal` returns: one frame of the last packet."""
        return _frame_samples(self._toc)

    def decode(self, payload: bytes) -> NDArray[np.float32]:
        """The samples of one packet, (n, 2), not to be written to. MediaError if it is broken; decoding may go on."""
        try:
            expected = opus_samples(payload)
            frames = self._context.decode(av.Packet(payload))
        except (av.FFmpegError, ValueError) as exc:
            raise MediaError("A sound packet is broken.") from exc
        self._toc = payload[0]
        if len(frames) != 1 or frames[0].samples != expected:
            raise MediaError("A sound packet is broken.")
        return np.ndarray((expected, 2), np.float32, memoryview(frames[0].planes[0]))

    def conceal(self) -> NDArray[np.float32]:
        """One more frame in place of a lost one (RFC 6716 4.4): it goes on like the last, and dies away."""
        return self.decode(bytes([self._toc & 0xFC]))  # a packet of one empty frame, as DTX sends it (RFC 6716 3.2.1)

    def reset(self) -> None:
        """Forget what was decoded: the next packet has nothing to do with the last."""
        self._context.flush_buffers()


_TAPS = 16


def stretch(samples: NDArray[np.float32], by: int) -> NDArray[np.float32]:
    """The same sound in `by` more (or fewer) samples; the first and last 8 stay as they are. At least 32 samples.

    Windowed-sinc interpolation inside the block, so that blocks stretched one by one still join without a seam.
    """
    if not by:
        return samples
    index, weight = _kernel(len(samples), by)
    half = _TAPS // 2
    inner = np.einsum("nt,ntc->nc", weight, samples[index])
    return np.concatenate((samples[:half], inner, samples[len(samples) - half :]))


@lru_cache(maxsize=32)
def _kernel(length: int, by: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Which samples, and how much of each, make up every inner sample of a stretched block."""
    half = _TAPS // 2
    count = length + by - _TAPS
    position = half + np.arange(count) * ((length - _TAPS) / count)
    base = np.floor(position).astype(np.intp)
    taps = np.arange(1 - half, half + 1)
    distance = (position - base)[:, None] - taps[None, :]
    window = np.i0(8.0 * np.sqrt(np.clip(1 - (distance / half) ** 2, 0, 1)))
    weight = np.sinc(distance) * window
    weight /= weight.sum(axis=1, keepdims=True)
    return base[:, None] + taps[None, :], weight.astype(np.float32)


class Limiter:
    """Keeps a sum of voices within `LIMIT`: exactly transparent below it, looks one block ahead, lets go slowly.

    Gain is decided per block of 2.5 ms and moves in straight lines between block edges; each edge is low enough for
    both its blocks, so no sample gets through and no gain jumps. It rises again by 0.1 dB per block (40 dB/s).
    """

    BLOCK = 120
    "Samples per block; what `push` takes are whole blocks, and it returns them one block later."

    _RELEASE = 10 ** (0.1 / 20)

    def __init__(self) -> None:
        self._held = np.zeros((0, self.BLOCK, 2), np.float32)
        self._held_need = 1.0
        self._edge = 1.0
        "Gain where the held block starts."

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take one or more whole blocks (k * BLOCK, 2), give those finished: all but the newest."""
        blocks = np.concatenate((self._held, samples.reshape(-1, self.BLOCK, 2)))
        peaks = np.abs(blocks[len(self._held) :]).max(axis=(1, 2), initial=0.0).astype(np.float64)
        needs = (LIMIT / np.maximum(peaks, LIMIT)).tolist()
        if len(self._held):
            needs.insert(0, self._held_need)
        else:
            self._edge = needs[0]
        self._held, self._held_need = blocks[-1:], needs[-1]
        done = blocks[:-1]
        if self._edge == 1.0 and min(needs) == 1.0:
            return done.reshape(-1, 2)
        edges = [self._edge]
        for this, following in pairwise(needs):
            edges.append(min(this, following, edges[-1] * self._RELEASE))
        self._edge = edges[-1]
        edge = np.array(edges)
        ramp = edge[:-1, None] + np.diff(edge)[:, None] * (np.arange(self.BLOCK) / self.BLOCK)
        limited: NDArray[np.float32] = (done * ramp[:, :, None]).astype(np.float32)
        return limited.reshape(-1, 2)
