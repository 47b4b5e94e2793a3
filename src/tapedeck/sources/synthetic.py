"""Synthetic people: pictures and sound made up so that a checker can find them again in a finished film.

Each person is one calm colour with their name written big, a soft disc that glides round the name once in eight
seconds, and, on every full second of one shared clock, a white bar for 50 ms and a beep of 40 ms at their own pitch.
Owns what is drawn, played and encoded, and at which instants; refuses to know who is sent what: see `publish` for that.

The instants are part of the design. Pictures come at the full second, 50 ms after it (the bar is gone again), and then
at the regular frame interval, so that the bar is on for exactly 50 ms whatever the frame rate. Time stamps of sound are
those of the samples that went into the encoder, as with every browser; a decoder gives them back 6.5 ms later.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tapedeck.core.frames import Codec
from tapedeck.media.camera import OPUS_PACKET, CameraEncoder, MicrophoneEncoder, Planes

__all__ = [
    "BAR_NS",
    "BAR_ROWS",
    "BEEP_NS",
    "CAST",
    "LOOP_S",
    "SCREENS",
    "CameraFrame",
    "Canvas",
    "Glide",
    "Look",
    "SoundPacket",
    "SyntheticCamera",
    "SyntheticMicrophone",
    "beep",
    "frame_ticks",
    "paint",
]

BAR_NS = 50_000_000
"""How long the white bar is on, from the full second."""
BEEP_NS = 40_000_000
"""How long the beep is on, from the full second."""
BAR_ROWS = (0.64, 0.80)
"""The bar's upper and lower edge as parts of the height; it is as wide as the picture. Labels go below it."""
LOOP_S = 8
"""Pictures repeat after this many seconds: one round of the disc."""

_WHITE = 235
_TICKS_PER_S = 90_000
_BEEP_LEVEL = 0.22
_BEEP_RAMP = 480
"""Samples of the beep's raised-cosine ends (10 ms): no click, and little leaks to other pitches."""


@dataclass(frozen=True, slots=True)
class Look:
    """How one person is told from all others: a colour (video-range BT.709) and a pitch; 0 Hz makes no sound."""

    name: str
    yuv: tuple[int, int, int]
    pitch_hz: int

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour for a terminal or a page."""
        y, u, v = (self.yuv[0] - 16) / 219, (self.yuv[1] - 128) / 224, (self.yuv[2] - 128) / 224
        red, blue = y + 1.5748 * v, y + 1.8556 * u
        green = (y - 0.2126 * red - 0.0722 * blue) / 0.7152
        return tuple(round(255 * min(1.0, max(0.0, c))) for c in (red, green, blue))  # type: ignore[return-value]


CAST: tuple[Look, ...] = (
    Look("Ada", (118, 136, 85), 523),
    Look("Grace", (128, 110, 174), 659),
    Look("Linus", (90, 168, 120), 784),
    Look("Hedy", (144, 82, 154), 880),
    Look("Alan", (129, 118, 108), 988),
    Look("Radia", (105, 154, 154), 1109),
    Look("Barbara", (135, 79, 70), 1245),
    Look("Dennis", (100, 184, 184), 1397),
    Look("Katherine", (115, 178, 82), 1568),
    Look("Edsger", (105, 184, 151), 1760),
    Look("Margaret", (135, 79, 121), 1976),
    Look("Donald", (105, 142, 184), 2093),
    Look("Frances", (135, 109, 70), 2217),
    Look("Shannon", (96, 112, 142), 2349),
    Look("Karen", (99, 142, 112), 2489),
    Look("Vint", (115, 88, 94), 2637),
    Look("Annie", (125, 85, 181), 2794),
    Look("Guido", (135, 157, 70), 3136),
    Look("Mary", (105, 160, 96), 3520),
    Look("Ken", (105, 163, 175), 3951),
    Look("Sophie", (90, 126, 160), 4435),
    Look("John", (105, 184, 103), 4978),
    Look("Lynn", (90, 148, 132), 5588),
    Look("Tim", (105, 168, 140), 6272),
    Look("Jean", (105, 100, 127), 7040),
)
"""Twenty-five people: any two colours are 19 or more apart in chroma, any two pitches 96 Hz or more.

Each is 13 or more in chroma, or 28 or more in luma, from any colour that a film draws for people without camera.
"""

SCREENS: tuple[Look, ...] = tuple(
    Look(f"Screen {n}", look.yuv, 0) for n, look in enumerate((CAST[21], CAST[8], CAST[10], CAST[17], CAST[18]), 1)
)
"""Shared screens: colours of people who are seldom there, and no sound."""


@dataclass(frozen=True, slots=True)
class Glide:
    """The disc's way: an ellipse round the name. All lengths are parts of the picture's height, from its centre."""

    centre_y: float = -0.16
    radius_x: float = 0.62
    radius_y: float = 0.20
    disc: float = 0.07

    def centre(self, at_s: float) -> tuple[float, float]:
        """Where the disc is at a time of the shared clock: at the top at 0, going to the right."""
        angle = 2 * math.pi * at_s / LOOP_S
        return self.radius_x * math.sin(angle), self.centre_y - self.radius_y * math.cos(angle)


GLIDE = Glide()


def frame_ticks(fps: int) -> tuple[int, ...]:
    """When pictures are taken within a second, in 90 kHz ticks: on it, at the end of the bar, then every 1/`fps`."""
    step, bar_end = _TICKS_PER_S // fps, BAR_NS * 9 // 100_000
    early = [t for t in range(0, bar_end, step) if t == 0 or bar_end - t >= step * 0.6]
    return (*early, *(t for t in range(bar_end, _TICKS_PER_S, step) if _TICKS_PER_S - t >= step * 0.4))


class Canvas:
    """The still parts of a person's picture at one size (even sides), drawn once."""

    def __init__(self, look: Look, width: int, height: int) -> None:
        shade = np.linspace(7.0, -7.0, height, dtype=np.float32)[:, np.newaxis]
        luma = np.full((height, width), look.yuv[0], np.float32) + shade
        text = self._text(look.name, width, height)
        self.y = luma + (_WHITE - luma) * text
        half = text.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
        self.u, self.v = (c + (128.0 - c) * half for c in (np.float32(look.yuv[1]), np.float32(look.yuv[2])))
        self.rows, self.columns = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)

    @staticmethod
    def _text(name: str, width: int, height: int) -> NDArray[np.float32]:
        image = Image.new("L", (width, height), 0)
        draw = ImageDraw.Draw(image)
        size = height * 0.2
        while size > 6 and draw.textlength(name, font=ImageFont.load_default(size)) > height * 0.8:
            size *= 0.9
        middle = (width / 2, height * (0.5 + GLIDE.centre_y))
        draw.text(middle, name, fill=235, font=ImageFont.load_default(size), anchor="mm")
        return np.asarray(image, np.float32) / 255.0


def paint(canvas: Canvas, at_s: float) -> Planes:
    """The picture of a person at a time of the shared clock, in seconds."""
    height, width = canvas.y.shape
    y, u, v = canvas.y.copy(), canvas.u.copy(), canvas.v.copy()
    dx, dy = GLIDE.centre(at_s)
    cx, cy, radius = width / 2 + dx * height, height / 2 + dy * height, GLIDE.disc * height
    x0, x1 = (max(0, int(cx - radius) // 2 * 2), min(width, int(cx + radius + 4) // 2 * 2))
    y0, y1 = (max(0, int(cy - radius) // 2 * 2), min(height, int(cy + radius + 4) // 2 * 2))
    away = np.hypot(canvas.columns[x0:x1] + 0.5 - cx, canvas.rows[y0:y1, np.newaxis] + 0.5 - cy)
    disc = np.clip((radius - away) / (radius * 0.25), 0.0, 1.0) * np.float32(0.4)
    y[y0:y1, x0:x1] += (_WHITE - y[y0:y1, x0:x1]) * disc
    half = disc.reshape((y1 - y0) // 2, 2, (x1 - x0) // 2, 2).mean(axis=(1, 3))
    for plane in (u, v):
        part = plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2]
        part += (128.0 - part) * half
    if at_s % 1.0 < BAR_NS / 1e9 - 1e-6:
        top, bottom = (int(height * row) // 2 * 2 for row in BAR_ROWS)
        y[top:bottom], u[top // 2 : bottom // 2], v[top // 2 : bottom // 2] = _WHITE, 128, 128
    return y.round().astype(np.uint8), u.round().astype(np.uint8), v.round().astype(np.uint8)


@dataclass(frozen=True, slots=True)
class CameraFrame:
    """One encoded picture: when it was taken on the shared clock (ns, and 90 kHz ticks), and whether it is a key."""

    at_ns: int
    ticks: int
    payload: bytes
    key: bool


@dataclass(slots=True)
class _Gop:
    """Encoded pictures from place `start` of the loop to its end, made when first needed and kept."""

    start: int
    frames: list[bytes] = field(default_factory=list)
    encoder: CameraEncoder | None = None


class SyntheticCamera:
    """Pictures of one person as encoded frames, numbered on the shared clock.

    Since the pictures repeat, so do the encoded frames: those of a loop are made once by a real encoder and kept. A key
    frame that is asked for starts an encoder of its own at that picture, and what it makes is kept as well.
    """

    _KEPT_GOPS = 24

    def __init__(self, look: Look, *, width: int = 640, height: int = 360, fps: int = 30, codec: Codec = Codec.H264):
        """Raises MediaError when the codec cannot be encoded."""
        self.look, self.codec, self.fps, self.size = look, codec, fps, (width, height)
        self._ticks = frame_ticks(fps)
        self._loop = len(self._ticks) * LOOP_S
        self._gops: dict[int, _Gop] = {}
        self._gop: _Gop | None = None
        self._last = -1
        self._key_wanted = True
        CameraEncoder(codec, width, height, fps=fps)

    @cached_property
    def _canvas(self) -> Canvas:
        return Canvas(self.look, *self.size)

    def ticks(self, index: int) -> int:
        """When picture `index` is taken, in 90 kHz ticks of the shared clock."""
        second, place = divmod(index, len(self._ticks))
        return second * _TICKS_PER_S + self._ticks[place]

    def at_ns(self, index: int) -> int:
        """When picture `index` is taken, in ns of the shared clock (rounded down)."""
        return self.ticks(index) * 100_000 // 9

    def index_from(self, at_ns: int) -> int:
        """The first picture taken at `at_ns` or later."""
        index = max(0, at_ns // 1_000_000_000 * len(self._ticks))
        while self.at_ns(index) < at_ns:
            index += 1
        return index

    def request_keyframe(self) -> None:
        """Make the next picture a key frame (PLI, RFC 4585)."""
        self._key_wanted = True

    def prepare(self) -> Iterator[int]:
        """Encode one loop ahead of time, so that little is left to do while sending; yields the frames made so far."""
        gop = self._gops.setdefault(0, _Gop(0))
        while len(gop.frames) < self._loop:
            self._encode_one(gop)
            yield len(gop.frames)

    def frame(self, index: int) -> CameraFrame:
        """Picture `index` encoded. Asking for any but the next one, or after a request, gives a key frame."""
        place = index % self._loop
        if self._gop is None or self._key_wanted or place == 0 or index != self._last + 1:
            self._gop = self._open(place)
            self._key_wanted = False
        self._last = index
        gop = self._gop
        while len(gop.frames) <= place - gop.start:
            self._encode_one(gop)
        return CameraFrame(self.at_ns(index), self.ticks(index), gop.frames[place - gop.start], key=place == gop.start)

    def _open(self, place: int) -> _Gop:
        left = self._gop
        if left is not None and left.encoder is not None:
            del self._gops[left.start]  # half made: its encoder would be kept for nothing
        gop = self._gops.pop(place, None) or _Gop(place)
        self._gops[place] = gop  # the newest last
        for old in list(self._gops)[: -self._KEPT_GOPS]:
            if old not in (0, place):
                del self._gops[old]
        return gop

    def _encode_one(self, gop: _Gop) -> None:
        if gop.encoder is None:
            gop.encoder, gop.frames = CameraEncoder(self.codec, *self.size, fps=self.fps), []
        index = gop.start + len(gop.frames)
        ticks = self.ticks(index)
        planes = paint(self._canvas, ticks / _TICKS_PER_S)
        gop.frames.append(gop.encoder.encode(planes, ticks, key=not gop.frames))
        if gop.start + len(gop.frames) == self._loop:
            gop.encoder = None


@dataclass(frozen=True, slots=True)
class SoundPacket:
    """One Opus packet of 20 ms: when its first sample is heard on the shared clock, and its level (RFC 6464)."""

    at_ns: int
    payload: bytes
    dbov: int


class SyntheticMicrophone:
    """Sound of one person as Opus packets, numbered on the shared clock: a beep each second, else silence.

    With `dtx` the packets of silence are left out but for one in 400 ms (RFC 7587 3.1.3).
    """

    PACKET_NS = 20_000_000
    _PER_S = 50
    _UPDATE = 20

    def __init__(self, look: Look, *, dtx: bool = False) -> None:
        """Raises MediaError when there is no Opus encoder."""
        self.look, self.dtx = look, dtx
        encoder = MicrophoneEncoder()
        beat = beep(look.pitch_hz)
        parts = beat.reshape(self._PER_S, OPUS_PACKET)
        rounds = [[encoder.encode(part) for part in parts] for _ in range(3)]
        self._payloads = rounds[-1]  # an encoder that has run in: its second ends in the state it began in
        self._levels = [_dbov(part) for part in parts]

    def at_ns(self, index: int) -> int:
        """When packet `index` begins, in ns of the shared clock."""
        return index * self.PACKET_NS

    def index_from(self, at_ns: int) -> int:
        """The first packet that begins at `at_ns` or later."""
        return -(-at_ns // self.PACKET_NS)

    def packet(self, index: int) -> SoundPacket | None:
        """Packet `index`, or None where DTX sends nothing."""
        place = index % self._PER_S
        near_beep = place in (self._PER_S - 1, 0, 1, 2, 3)
        if self.dtx and not near_beep and index % self._UPDATE:
            return None
        return SoundPacket(self.at_ns(index), self._payloads[place], self._levels[place])


def beep(pitch_hz: float, rate: int = 48_000) -> NDArray[np.float32]:
    """One second of a person's sound as it is to be heard: the beep at its start, then silence."""
    second = np.zeros(rate, np.float32)
    if pitch_hz:
        count = BEEP_NS * rate // 1_000_000_000
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(_BEEP_RAMP) + 0.5) / _BEEP_RAMP)
        shape = np.ones(count)
        shape[:_BEEP_RAMP], shape[-_BEEP_RAMP:] = ramp, ramp[::-1]
        second[:count] = _BEEP_LEVEL * shape * np.sin(2 * np.pi * pitch_hz * np.arange(count) / rate)
    return second


def _dbov(samples: NDArray[np.float32]) -> int:
    """Level as RFC 6464 counts it: 0 is overload, 127 silence."""
    power = float(np.mean(samples.astype(np.float64) ** 2))
    return 127 if power < 1e-12 else min(127, max(0, round(-10 * math.log10(power))))
