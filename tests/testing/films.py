"""Small films made straight from pictures and samples, right or wrong on purpose: the checker's own fixtures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tapedeck.sources.synthetic import Canvas, Look, beep, frame_ticks, paint

FPS = 30
_canvas = lru_cache(Canvas)


@dataclass(frozen=True)
class Part:
    """One person in a film: their tile, when they are seen and heard (clock seconds), and what is wrong with them."""

    look: Look
    tile: tuple[int, int, int, int]
    seen: Callable[[float], bool] = lambda _: True
    heard: Callable[[int], bool] = lambda _: True
    "By second of the clock."
    late_picture_s: float = 0.0
    late_sound_s: float = 0.0


def shown_at(clock_s: float) -> float:
    """The instant of the picture that a camera of 30 pictures a second shows at `clock_s`."""
    second, rest = divmod(clock_s + 1e-9, 1.0)
    return second + max(t for t in frame_ticks(FPS) if t <= rest * 90_000) / 90_000


def make_film(
    path: Path,
    parts: Sequence[Part],
    spans: Sequence[tuple[float, float]],
    *,
    size: tuple[int, int] = (640, 360),
    spoil: Callable[[int, NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]], None] | None = None,
    centred: bool = True,
    level: float = 1.0,
) -> None:
    """Write a film of `spans` (clock seconds) as a perfect renderer would, but for what the parts and `spoil` ask.

    `centred`: each picture shows what is true in the middle of its time; else what is true at its start.
    `level` turns the sound down.
    """
    width, height = size
    with av.open(path, "w", format="mp4", options={"movflags": "faststart"}) as out:
        video = out.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "20"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = out.add_stream("aac", rate=48_000, layout="stereo")
        audio.bit_rate = 128_000
        for index, clock_s in enumerate(_film_clock(spans)):
            y = np.full((height, width), 28, np.uint8)
            u, v = (np.full((height // 2, width // 2), 128, np.uint8) for _ in range(2))
            for part in parts:
                if not part.seen(clock_s):
                    continue
                x0, y0, w, h = part.tile
                at_s = shown_at(clock_s + (0.5 / FPS if centred else 0.0) - part.late_picture_s)
                tile = paint(_canvas(part.look, w, h), at_s)
                y[y0 : y0 + h, x0 : x0 + w] = tile[0]
                for plane, mine in ((u, tile[1]), (v, tile[2])):
                    plane[y0 // 2 : (y0 + h) // 2, x0 // 2 : (x0 + w) // 2] = mine
            if spoil:
                spoil(index, y, u, v)
            flat = np.concatenate([y.ravel(), u.ravel(), v.ravel()]).reshape(height * 3 // 2, width)
            frame = av.VideoFrame.from_ndarray(flat, format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        samples = _sound(parts, spans) * np.float32(level)
        whole = av.AudioFrame.from_ndarray(np.stack([samples, samples]), format="fltp", layout="stereo")
        whole.sample_rate, whole.pts, whole.time_base = 48_000, 0, Fraction(1, 48_000)
        out.mux(audio.encode(whole))
        out.mux(audio.encode(None))


def _film_clock(spans: Sequence[tuple[float, float]]) -> list[float]:
    """The clock time of each picture."""
    length, times = sum(end - start for start, end in spans), []
    for index in range(round(length * FPS)):
        rest = index / FPS
        for start, end in spans:
            if rest < end - start - 1e-9:
                times.append(start + rest)
                break
            rest -= end - start
    return times


def _sound(parts: Sequence[Part], spans: Sequence[tuple[float, float]]) -> NDArray[np.float32]:
    last = int(max(end for _, end in spans)) + 2
    line = np.zeros(last * 48_000, np.float32)
    for part in parts:
        second = beep(part.look.pitch_hz)[:4_800]
        for n in range(last - 1):
            at = round((n + part.late_sound_s) * 48_000)
            if part.heard(n) and at >= 0:
                line[at : at + 4_800] += second
    cuts = [line[round(start * 48_000) : round(end * 48_000)] for start, end in spans]
    return np.concatenate(cuts)
