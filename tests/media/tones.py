"""Sound made for tests, and what to ask of sound that came back."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from numpy.typing import NDArray

RATE = 48_000

Sound = NDArray[np.float32]


def tone(hz: float, count: int, level: float = 0.5, start: int = 0) -> Sound:
    """`count` samples of a sine, (n,); `start` samples into it."""
    return (level * np.sin(2 * np.pi * hz * (start + np.arange(count)) / RATE)).astype(np.float32)


def both(samples: Sound) -> Sound:
    """The same on two channels, (n, 2)."""
    return np.repeat(samples[:, None], 2, axis=1)


def clicks(count: int, at: list[int], level: float = 0.8) -> Sound:
    """Silence with a 1 ms pulse of 4 kHz at each of the samples `at` (its first sample), (n,)."""
    samples = np.zeros(count, np.float32)
    pulse = tone(4000, 48, level)
    for start in at:
        samples[start : start + 48] = pulse
    return samples


def opus(
    sound: Sound, packet_ms: float = 20, bitrate: int = 96_000, options: dict[str, str] | None = None
) -> list[bytes]:
    """Opus packets of mono (n,) or stereo (n, 2) sound, as a sender makes them: packet i holds what starts at i."""
    channels = sound.ndim
    context = av.CodecContext.create("libopus", "w")
    assert isinstance(context, AudioCodecContext)
    context.sample_rate, context.format = RATE, "flt"
    context.layout = "mono" if channels == 1 else "stereo"
    context.bit_rate, context.time_base = bitrate, Fraction(1, RATE)
    context.options = {"application": "audio", "frame_duration": str(packet_ms), **(options or {})}
    context.open()
    size = round(packet_ms * RATE / 1000)
    packets: list[bytes] = []
    for at in range(0, len(sound) - size + 1, size):
        block = np.ascontiguousarray(sound[at : at + size]).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="flt", layout=context.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
        packets += [bytes(packet) for packet in context.encode(frame)]
    return packets


def onsets(sound: Sound, threshold: float = 0.2, apart: int = 2400) -> list[int]:
    """Where something louder than `threshold` begins in (n,), after at least `apart` quieter samples."""
    loud = np.flatnonzero(np.abs(sound) > threshold)
    if not len(loud):
        return []
    first = np.concatenate(([True], np.diff(loud) > apart))
    return [int(at) for at in loud[first]]


def pulse_times(sound: Sound, near: list[int], reach: int = 2000) -> list[float]:
    """Sample positions of the pulses of `clicks` by correlation, each searched around one of `near`."""
    pulse = tone(4000, 48, 1.0)
    found: list[float] = []
    for at in near:
        low = max(at - reach, 0)
        part = sound[low : at + reach + 48]
        match = np.abs(np.correlate(part, pulse, "valid"))
        found.append(low + float(np.argmax(match)))
    return found


def level(sound: Sound) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(sound.astype(np.float64))))) if sound.size else 0.0


def pitch(sound: Sound) -> float:
    """Strongest frequency in Hz, finer than the bins of the spectrum."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    peak = int(np.argmax(spectrum[1:-1])) + 1
    left, mid, right = np.log(spectrum[peak - 1 : peak + 2] + 1e-12)
    return float((peak + 0.5 * (left - right) / (left - 2 * mid + right)) * RATE / len(sound))
