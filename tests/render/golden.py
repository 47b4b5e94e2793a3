"""Scenes of which a picture is kept in `golden/`, and how like two pictures are.

`python -m tests.render.golden` paints them anew; look at each before you commit it. Names are written with DejaVu Sans
alone (Debian's fonts-dejavu-core), so that it does not matter which other fonts a machine has.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tapedeck.core.choose import Person, Screen, Tile, TileKind, choose, person_key, screen_key
from tapedeck.core.geometry import Size
from tapedeck.core.layouts import Layout, seats
from tapedeck.core.scene import Scene
from tapedeck.media.decode import Picture
from tapedeck.media.fonts import Fonts
from tapedeck.media.picture import planes_of
from tapedeck.media.text import TextPainter
from tapedeck.render.video import Painter
from tapedeck.sources.synthetic import CAST, SCREENS, Canvas, paint

FOLDER = Path(__file__).parent / "golden"
DEJAVU = Path("/usr/share/fonts/truetype/dejavu")
WIDE, UPRIGHT = Size(640, 360), Size(360, 640)
NAMES = (
    "Ada Lovelace",
    "Grace Hopper",
    "Лев Толстой",
    "Ελένη Γλύκατζη",
    "Ñandú Ýmir Đặng Văn Ñ. the Third of a Long Name That Ends Nowhere",
    "",
)
AT_S = 2.4


@dataclass(frozen=True)
class Case:
    """One kept picture. Every fifth person has no camera, every third no microphone."""

    name: str
    layout: Layout
    people: int
    size: Size = WIDE
    lead: int = 0
    screens: int = 0
    speaking: frozenset[int] = frozenset()


CASES = (
    Case("grid-one", Layout.GRID, 1),
    Case("grid-four", Layout.GRID, 4, speaking=frozenset({1})),
    Case("grid-sixteen", Layout.GRID, 16, speaking=frozenset({7})),
    Case("grid-upright", Layout.GRID, 5, UPRIGHT, speaking=frozenset({4})),
    Case("speaker", Layout.SPEAKER, 5, lead=2, speaking=frozenset({2})),
    Case("speaker-crowd", Layout.SPEAKER, 25, lead=1, speaking=frozenset({1, 12})),
    Case("speaker-upright", Layout.SPEAKER, 8, UPRIGHT, lead=1, speaking=frozenset({1})),
    Case("sidebar", Layout.SIDEBAR, 5, screens=1, speaking=frozenset({0})),
    Case("sidebar-two-screens", Layout.SIDEBAR, 9, screens=2),
    Case("sidebar-upright", Layout.SIDEBAR, 6, UPRIGHT, screens=1, speaking=frozenset({3})),
    Case("single", Layout.SINGLE, 3, lead=1, speaking=frozenset({1})),
    Case("single-avatar", Layout.SINGLE, 5, lead=4),
    Case("single-upright", Layout.SINGLE, 3, UPRIGHT, lead=0),
)


def paint_case(case: Case) -> av.VideoFrame:
    """The picture as it is painted now."""
    people = [
        Person(
            f"p{n}",
            NAMES[n % len(NAMES)],
            None if n % 5 == 4 else f"cam{n}",
            n in case.speaking,
            is_muted=n % 3 == 2,
        )
        for n in range(case.people)
    ]
    screens = [Screen(f"p{n}", NAMES[n], f"screen{n}") for n in range(case.screens)]
    lead = None if case.layout is Layout.GRID else person_key(f"p{case.lead}")
    if screens:
        lead = screen_key(screens[-1].track_id)
    tiles = choose(people, screens, limit=seats(case.layout, case.size), lead=lead)
    painter = Painter(case.size, TextPainter(Fonts([DEJAVU])))
    painter.paint(Scene(tiles, case.layout), [_picture(tile) for tile in tiles])
    return painter.seen.frame


def _picture(tile: Tile) -> Picture | None:
    if tile.track_id is None:
        return None
    number = int("".join(ch for ch in tile.track_id if ch.isdigit()))
    look = (SCREENS if tile.kind is TileKind.SCREEN else CAST)[number]
    width, height = (400, 300) if tile.kind is TileKind.SCREEN else (480, 270)
    frame = av.VideoFrame(width, height, "yuv420p")
    for view, plane in zip(planes_of(frame), paint(Canvas(look, width, height), AT_S), strict=True):
        view[:] = plane
    return Picture(frame, 0)


def to_pixels(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """(3, rows, columns): Y, and U and V in its size. Stored so, a kept picture is exact."""
    y, u, v = planes_of(frame)
    return np.stack([y, *(plane.repeat(2, 0).repeat(2, 1) for plane in (u, v))])


def load(name: str) -> NDArray[np.uint8]:
    """A kept picture as `to_pixels` gave it, but for rounding of colours."""
    with Image.open(FOLDER / f"{name}.png") as image:
        frame = av.VideoFrame.from_ndarray(np.asarray(image.convert("RGB")), format="rgb24")
    return to_pixels(frame.reformat(format="yuv420p", dst_colorspace="ITU709", interpolation="AREA"))


def save(name: str, frame: av.VideoFrame) -> None:
    """Keep a picture."""
    FOLDER.mkdir(exist_ok=True)
    pixels = frame.reformat(format="rgb24", src_colorspace="ITU709", interpolation="BICUBIC").to_ndarray()
    Image.fromarray(pixels).quantize(256, dither=Image.Dither.NONE).save(FOLDER / f"{name}.png", optimize=True)


def ssim(one: NDArray[np.uint8], two: NDArray[np.uint8]) -> tuple[float, float]:
    """Structural similarity of two planes over windows of 8 by 8 (Wang and others, 2004): mean, and mean of the worst
    32 by 32; 1 for the same."""
    x, y = one.astype(np.float64), two.astype(np.float64)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        window: NDArray[np.float64] = (sums[8:, 8:] - sums[:-8, 8:] - sums[8:, :-8] + sums[:-8, :-8]) / 64
        return window

    mx, my = mean(x), mean(y)
    vx, vy, both = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    alike = (2 * mx * my + c1) * (2 * both + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    rows, columns = (length // 32 for length in alike.shape)
    blocks = alike[: rows * 32, : columns * 32].reshape(rows, 32, columns, 32).mean(axis=(1, 3))
    return float(alike.mean()), float(blocks.min())


if __name__ == "__main__":
    for each in CASES:
        save(each.name, paint_case(each))
