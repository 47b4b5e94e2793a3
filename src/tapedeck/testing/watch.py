"""Watches a finished film of synthetic people and writes down what is in it: who is where, every flash, every beep.

Owns measuring, in film time and without opinions: no schedule is known here, nothing is corrected or left out. What it
should have been is `check`'s business.

Pictures: people are found by their colour (chroma, with luma as a second witness), so tiles may be anywhere. The white
bar is looked for in the lower part of each tile found; the disc's place on its round says at which instant (modulo the
loop) the picture shown was taken, to a fraction of a frame. Sound: each pitch is demodulated and matched with a 40 ms
window, whose peak is the middle of the beep, to a fraction of a millisecond.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tapedeck.media.playback import FilmFacts, Picture, Sound, examine_film, play_pictures, play_sound
from tapedeck.sources.synthetic import BEEP_NS, GLIDE, LOOP_S, Look, beep

__all__ = ["Beep", "Box", "Film", "Flash", "Sight", "find_beeps", "watch"]

_CHROMA_REACH = 9.0
"""How far from a look's chroma a sample may be and still be theirs: under half the least distance of two looks."""
_LUMA_REACH = 20
_LEAST_AREA = 0.004
"""Part of the film a colour must fill to be a person: a ninth of a tile of 25."""
_SAMPLES_ACROSS = 320
_STRANGE_REACH = 16.0
_HEARD = 0.12
"""Level, 1 being as sent, from which a beep is heard. Other pitches leak 0.05; of a sum of 25 a limiter leaves 0.2."""
_DECIMATE = 8


@dataclass(frozen=True, slots=True)
class Box:
    """A tile in film pixels."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        return self.y1 - self.y0


@dataclass(frozen=True, slots=True)
class Flash:
    """The bar of one person was on in the pictures shown from `start_ns` until `end_ns`."""

    start_ns: int
    end_ns: int

    @property
    def middle_ns(self) -> int:
        return (self.start_ns + self.end_ns) // 2


@dataclass(frozen=True, slots=True)
class Beep:
    """A beep at one person's pitch, its middle at `middle_ns`; `level` 1 is as loud as it was sent."""

    middle_ns: int
    level: float


@dataclass(slots=True)
class Sight:
    """One person in each picture of the film; lists run along the film's pictures."""

    boxes: list[Box | None] = field(default_factory=list)
    bars: list[bool] = field(default_factory=list)
    turns_s: list[float] = field(default_factory=list)
    "Instant of the picture shown, modulo the loop of 8 s; NaN when it cannot be read."
    strange: list[float] = field(default_factory=list)
    "Part of the tile that has a colour no picture of theirs has."


@dataclass(frozen=True, slots=True)
class Film:
    """All that was seen and heard. Times are film time in ns."""

    facts: FilmFacts
    looks: tuple[Look, ...]
    starts_ns: list[int]
    "When each picture is shown."
    end_ns: int
    "When the last picture goes."
    sights: dict[str, Sight]
    flashes: dict[str, list[Flash]]
    beeps: dict[str, list[Beep]]
    sound_ns: int
    "Length of the sound."
    floor_dbfs: float
    "Level between the beeps."


def watch(path: Path, looks: Sequence[Look]) -> Film:
    """Watch a film for these people. Raises MediaError when it cannot be played to its end."""
    facts = examine_film(path)
    eyes = _Eyes(looks)
    starts = [eyes.look_at(picture) for picture in play_pictures(path)]
    step = round(1e9 / facts.fps) if facts.fps else 0
    end_ns = starts[-1] + step if starts else 0
    sound = play_sound(path)
    beeps = {look.name: find_beeps(sound, look) for look in looks if look.pitch_hz}
    return Film(
        facts=facts,
        looks=tuple(looks),
        starts_ns=starts,
        end_ns=end_ns,
        sights=eyes.sights,
        flashes={name: list(_flashes(sight, starts, end_ns)) for name, sight in eyes.sights.items()},
        beeps=beeps,
        sound_ns=round(len(sound.samples) * 1e9 / sound.rate),
        floor_dbfs=_floor(sound, [b for found in beeps.values() for b in found]),
    )


class _Eyes:
    """Finds people in one picture after the other."""

    def __init__(self, looks: Sequence[Look]) -> None:
        self.looks = tuple(looks)
        self.sights = {look.name: Sight() for look in looks}
        u, v = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
        away = np.stack([np.hypot(u - look.yuv[1], v - look.yuv[2]) for look in looks])
        nearest = away.argmin(axis=0)
        self._whose = np.where(away.min(axis=0) <= _CHROMA_REACH, nearest + 1, 0).astype(np.uint8)
        self._luma = np.array([0, *(look.yuv[0] for look in looks)], np.int16)

    def look_at(self, picture: Picture) -> int:
        """Note everybody in a picture; returns its time."""
        step = max(1, picture.u.shape[1] // _SAMPLES_ACROSS)
        u, v = picture.u[::step, ::step], picture.v[::step, ::step]
        y = picture.y[:: 2 * step, :: 2 * step][: u.shape[0], : u.shape[1]]
        whose = self._whose[u, v]
        whose[np.abs(y.astype(np.int16) - self._luma[whose]) > _LUMA_REACH] = 0
        inner = whose[1:-1, 1:-1]
        same = (inner == whose[:-2, 1:-1]) & (inner == whose[2:, 1:-1])
        same &= (inner == whose[1:-1, :-2]) & (inner == whose[1:-1, 2:])
        inner = np.where(same, inner, 0)
        areas = np.bincount(inner.ravel(), minlength=len(self.looks) + 1) / whose.size
        for number, look in enumerate(self.looks, 1):
            sight = self.sights[look.name]
            box = _box(inner == number, 2 * step, picture, look) if areas[number] >= _LEAST_AREA else None
            sight.boxes.append(box)
            sight.bars.append(box is not None and _bar(picture.y, box, look))
            sight.turns_s.append(_turn(picture.y, box, look) if box is not None else math.nan)
            sight.strange.append(_strange(u, v, box, 2 * step, look) if box is not None else 0.0)
        return picture.at_ns


def _box(mask: NDArray[np.bool_], scale: int, picture: Picture, look: Look) -> Box:
    """The rectangle a colour fills, stray samples left out; `mask` lacks one sample on each side."""
    (x0, x1), (y0, y1) = _extent(mask, 0), _extent(mask, 1)
    x0, x1, y0, y1 = x0 * scale // 2, (x1 + 3) * scale // 2, y0 * scale // 2, (y1 + 3) * scale // 2
    own = np.array([look.yuv[1] - 128.0, look.yuv[2] - 128.0], np.float32)

    def reaches(rows: slice, columns: slice, axis: int, out: int) -> float:
        """How many samples, going outwards from inside the tile, have the look's own chroma; the last one in parts."""
        u, v = (plane[rows, columns].mean(axis=axis, dtype=np.float32)[::out] - 128 for plane in (picture.u, picture.v))
        part = np.clip((u * own[0] + v * own[1]) / (own @ own), 0.0, 1.0)
        return float((part * np.cumprod(part > 0.15)).sum())

    # The outermost samples again, at the full resolution of the chroma and in parts of a sample.
    tall, wide = picture.u.shape
    rows = slice(y0 + (y1 - y0) // 5, y0 + (y1 - y0) * 3 // 5)  # above the bar
    columns = slice(x0 + (x1 - x0) // 4, x1 - (x1 - x0) // 4)
    inner = scale + 1
    return Box(
        x0=round(2 * (x0 + inner - reaches(rows, slice(max(x0 - scale, 0), x0 + inner), 0, -1))),
        y0=round(2 * (y0 + inner - reaches(slice(max(y0 - scale, 0), y0 + inner), columns, 1, -1))),
        x1=round(2 * (x1 - inner + reaches(rows, slice(x1 - inner, min(x1 + scale, wide)), 0, 1))),
        y1=round(2 * (y1 - inner + reaches(slice(y1 - inner, min(y1 + scale, tall)), columns, 1, 1))),
    )


def _extent(mask: NDArray[np.bool_], axis: int) -> tuple[int, int]:
    counts = mask.sum(axis=axis)
    there = np.flatnonzero(counts >= max(1, counts.max() // 4))
    return int(there[0]), int(there[-1])


def _bar(y: NDArray[np.uint8], box: Box, look: Look) -> bool:
    """Whether a white band lies across the lower part of a tile."""
    margin = box.width // 5
    lower = y[box.y0 + box.height // 2 : box.y0 + box.height * 9 // 10, box.x0 + margin : box.x1 - margin : 2]
    white = lower.mean(axis=1) > (look.yuv[0] + 235) / 2
    return bool(white.sum() >= 0.08 * box.height)


def _turn(y: NDArray[np.uint8], box: Box, look: Look) -> float:
    """Where on its round the disc is, in seconds of the loop; NaN when there is no disc to be seen."""
    cut_at_sides = box.width < 0.9 * box.height * 16 / 9
    unit = box.height if cut_at_sides else box.width * 9 / 16
    cx, cy = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2 + GLIDE.centre_y * unit
    reach = GLIDE.radius_y + GLIDE.disc + 0.01
    top, bottom = max(box.y0, int(cy - reach * unit)), min(box.y1, int(cy + reach * unit) + 1)
    stride = max(1, box.height // 180)
    part = y[top:bottom:stride, box.x0 : box.x1 : stride].astype(np.float32)
    dx = (np.arange(box.x0, box.x1, stride, dtype=np.float32) + 0.5 - cx) / (GLIDE.radius_x * unit)
    dy = ((np.arange(top, bottom, stride, dtype=np.float32) + 0.5 - cy) / (GLIDE.radius_y * unit))[:, np.newaxis]
    away = np.sqrt(dx * dx + dy * dy)
    rows = np.median(part, axis=1, keepdims=True)  # the shade of each row without name and disc
    light = np.clip(part - rows - 8, 0, 30) * ((away > 0.82) & (away < 1.2))
    total = float(light.sum()) * stride * stride
    if total < 0.15 * 30 * math.pi * (GLIDE.disc * unit) ** 2:
        return math.nan
    sine, cosine = float((light * dx / away).sum()), float((light * -dy / away).sum())
    return (math.atan2(sine, cosine) / (2 * math.pi) * LOOP_S) % LOOP_S


def _strange(u: NDArray[np.uint8], v: NDArray[np.uint8], box: Box, scale: int, look: Look) -> float:
    """Part of a tile whose chroma is not between the look's own and none at all."""
    inset_x, inset_y = box.width // 16, box.height // 16
    rows = slice((box.y0 + inset_y) // scale, (box.y1 - inset_y) // scale)
    columns = slice((box.x0 + inset_x) // scale, (box.x1 - inset_x) // scale)
    du, dv = u[rows, columns].astype(np.float32) - 128, v[rows, columns].astype(np.float32) - 128
    if not du.size:
        return 0.0
    own_u, own_v = look.yuv[1] - 128.0, look.yuv[2] - 128.0
    along = np.clip((du * own_u + dv * own_v) / (own_u**2 + own_v**2), 0.0, 1.0)
    away = np.hypot(du - along * own_u, dv - along * own_v)
    return float((away > _STRANGE_REACH).mean())


def _flashes(sight: Sight, starts: Sequence[int], end_ns: int) -> Iterator[Flash]:
    began: int | None = None
    for bar, start in zip(sight.bars, starts, strict=True):
        if bar and began is None:
            began = start
        elif not bar and began is not None:
            yield Flash(began, start)
            began = None
    if began is not None:
        yield Flash(began, end_ns)


def find_beeps(sound: Sound, look: Look) -> list[Beep]:
    """Every beep at a person's pitch, in order."""
    strength, nominal = _strength(sound.samples, look, sound.rate), _strength(beep(look.pitch_hz), look, 48_000).max()
    rate = sound.rate / _DECIMATE
    loud = np.flatnonzero(strength >= _HEARD * nominal)
    found: list[Beep] = []
    for group in np.split(loud, np.flatnonzero(np.diff(loud) > rate * 0.02) + 1) if len(loud) else []:
        top = int(group[0] + strength[group[0] : group[-1] + 1].argmax())
        left, middle, right = (float(strength[i]) if 0 <= i < len(strength) else 0.0 for i in (top - 1, top, top + 1))
        bend = left - 2 * middle + right
        peak = top + (0.5 * (left - right) / bend if bend else 0.0)
        found.append(Beep(round((peak + 0.5) / rate * 1e9), middle / float(nominal)))
    return found


def _strength(samples: NDArray[np.float32], look: Look, rate: int) -> NDArray[np.float64]:
    """How strongly a pitch sounds around each instant, at an eighth of the rate."""
    count = len(samples) // _DECIMATE * _DECIMATE
    turning = np.exp(-2j * np.pi * look.pitch_hz / rate * np.arange(count))
    slow = (samples[:count] * turning).reshape(-1, _DECIMATE).mean(axis=1)
    width = BEEP_NS * rate // _DECIMATE // 1_000_000_000
    window = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(width + 1) + 0.5) / (width + 1))
    if len(slow) < len(window):
        return np.zeros(len(slow))
    return np.abs(np.convolve(slow, window / window.sum(), "same"))


def _floor(sound: Sound, beeps: Sequence[Beep]) -> float:
    """Level of what is heard 60 ms and more away from any beep, in dB under full scale; -inf for true silence."""
    quiet = np.ones(len(sound.samples), bool)
    for one in beeps:
        first, last = ((one.middle_ns + shift) * sound.rate // 1_000_000_000 for shift in (-60_000_000, 60_000_000))
        quiet[max(first, 0) : max(last, 0)] = False
    rest = sound.samples[quiet]
    power = float(np.mean(rest.astype(np.float64) ** 2)) if len(rest) else 0.0
    return 10 * math.log10(power) if power > 0 else -math.inf
