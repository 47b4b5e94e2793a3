"""Where tiles go on a canvas. Pure geometry: layout, number of tiles and canvas in, rectangles out, in tile order.

Laws for any input (tests/core/test_layouts.py): every tile lies inside the canvas, none overlap, all numbers are even,
all tiles but the large one have one size, and the large one does not change when their number does. A canvas that is
higher than wide gets the upright version of a layout. Refuses to know what a tile shows (`core/choose.py` does).
"""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction
from math import isqrt

from tapedeck.core.geometry import Rect, Size, even

__all__ = ["MAX_TILES", "Layout", "arrange", "gap_of", "grid", "radius_of", "seats"]


class Layout(StrEnum):
    """How the people of a film share its picture."""

    AUTO = "auto"
    "Grid until somebody shares a screen, sidebar while they do (the default layout of RealtimeKit)."
    GRID = "grid"
    "Everybody and every screen in tiles of one size."
    SPEAKER = "speaker"
    "Whoever speaks large, the others in a strip below; a shared screen takes the large place."
    SIDEBAR = "sidebar"
    "A shared screen large, people beside it; whoever speaks is large while nobody shares."
    SINGLE = "single"
    "One tile: the shared screen, else whoever speaks."


MAX_TILES = 25
"""More people than this share one "+N" tile (`core/choose.py`)."""
_BESIDE = {
    (Layout.SPEAKER, False): 8,
    (Layout.SPEAKER, True): 9,
    (Layout.SIDEBAR, False): 6,
    (Layout.SIDEBAR, True): 12,
}
"""Most small tiles by layout and whether the canvas is upright: with more, nobody could be recognised on a phone."""

_WIDE = Fraction(16, 9)
_SQUARE = Fraction(1)
_STRIP = Fraction(1, 5)
"""Part of a wide canvas that the small tiles take."""
_UPRIGHT_SPEAKER = Fraction(11, 20)
_UPRIGHT_SCREEN = Fraction(9, 20)
"""Most of an upright canvas's height that the large tile takes."""


def gap_of(canvas: Size) -> int:
    """Pixels between tiles and around them: about an eightieth of the shorter side; 0 on a tiny canvas."""
    return even(min(canvas.width, canvas.height) // 80)


def radius_of(canvas: Size) -> int:
    """Radius of a tile's rounded corners; 0 on a tiny canvas."""
    return min(canvas.width, canvas.height) // 60


def seats(layout: Layout, canvas: Size) -> int:
    """Most tiles that a layout shows on a canvas; AUTO is asked about as what it became."""
    if layout is Layout.SINGLE:
        return 1
    beside = _BESIDE.get((layout, _is_upright(canvas)))
    return MAX_TILES if beside is None else 1 + beside


def arrange(layout: Layout, count: int, canvas: Size) -> tuple[Rect, ...]:
    """Rectangles for `count` tiles; in SPEAKER and SIDEBAR the first is the large one. AUTO is a grid.

    One tile fills the canvas in every layout. A canvas too small for `count` tiles of two pixels gets fewer.
    """
    if layout is Layout.SINGLE:
        return grid(min(count, 1), canvas)
    if layout in (Layout.SPEAKER, Layout.SIDEBAR) and count > 1:
        return _around(layout, count, Size(even(canvas.width), even(canvas.height)))
    return grid(count, canvas)


def grid(count: int, canvas: Size) -> tuple[Rect, ...]:
    """Rectangles for `count` tiles: one fills the canvas; more are equal and as large as can be, last row centred.

    Tiles are 16:9 on a wide canvas; on a tall one they may be as narrow as a square, which fills it better. A canvas
    too small for `count` tiles of two pixels gets fewer rectangles.
    """
    canvas = Size(even(canvas.width), even(canvas.height))
    if count <= 0 or canvas.width < 2 or canvas.height < 2:
        return ()
    whole = Rect(0, 0, canvas.width, canvas.height)
    return (count > 1 and _pack(count, whole, gap_of(canvas), _narrowest(canvas), least=2)) or (whole,)


def _around(layout: Layout, count: int, canvas: Size) -> tuple[Rect, ...]:
    """One large tile and the others below or beside it."""
    if canvas.width < 2 or canvas.height < 2:
        return ()
    gap, width, height = gap_of(canvas), canvas.width, canvas.height
    if _is_upright(canvas):
        most = height * (_UPRIGHT_SPEAKER if layout is Layout.SPEAKER else _UPRIGHT_SCREEN)
        shape = _SQUARE if layout is Layout.SPEAKER else _WIDE
        large = Rect(gap, gap, width - 2 * gap, even(int(min(most, (width - 2 * gap) / shape))))
        rest = Rect(0, large.bottom, width, height - large.bottom)
    elif layout is Layout.SPEAKER:
        strip = even(int(height * _STRIP))
        area = Rect(gap, gap, width - 2 * gap, height - strip - gap)
        large = _inside(area, even(min(area.width, round(area.height * _WIDE))))
        rest = Rect(0, height - strip, width, strip)
    else:
        column = even(int(width * _STRIP))
        large = Rect(gap, gap, width - column - gap, height - 2 * gap)
        rest = Rect(width - column, 0, column, height)
    if large.width < 2 or large.height < 2:
        return (Rect(0, 0, width, height),)
    widest = min(width // 2, isqrt((large.size.area - 1) // 2))  # so that the large one has twice the area of a square
    small = _pack(count - 1, rest, gap, _narrowest(canvas), least=1, widest=widest)
    return (large, *small) if small else (Rect(0, 0, width, height),)


def _inside(area: Rect, width: int) -> Rect:
    """The middle of an area, as high as it and `width` wide."""
    return Rect(area.x + even((area.width - width) // 2), area.y, width, area.height)


def _is_upright(canvas: Size) -> bool:
    return canvas.height > canvas.width


def _narrowest(canvas: Size) -> Fraction:
    """Least width of a tile as a multiple of its height."""
    return _SQUARE if _is_upright(canvas) else _WIDE


def _pack(
    count: int, area: Rect, gap: int, narrowest: Fraction, *, least: int, widest: int = 1 << 16
) -> tuple[Rect, ...]:
    """`count` equal tiles in an area, as large as can be, at most `widest` pixels wide.

    Where there is no room, without gaps, then fewer; none rather than less than `least`.
    """
    while count >= least:
        columns, tile = max(
            ((columns, _tile(columns, count, area.size, gap, narrowest, widest)) for columns in range(1, count + 1)),
            key=lambda option: (option[1].area, -(option[0] * -(-count // option[0]))),
        )
        if tile.width >= 2 and tile.height >= 2:
            return _rows(count, columns, tile, area, gap)
        if gap:
            gap = 0
        else:
            count -= 1
    return ()


def _tile(columns: int, count: int, area: Size, gap: int, narrowest: Fraction, widest: int) -> Size:
    """The largest tile when `count` tiles stand in `columns`."""
    rows = -(-count // columns)
    width = min((area.width - gap * (columns + 1)) // columns, widest)
    height = (area.height - gap * (rows + 1)) // rows
    if width < 2 or height < 2:
        return Size(0, 0)
    if width > height * _WIDE:
        width = round(height * _WIDE)
    elif width < height * narrowest:
        height = round(width / narrowest)
    return Size(max(2, even(width)), max(2, even(height)))


def _rows(count: int, columns: int, tile: Size, area: Rect, gap: int) -> tuple[Rect, ...]:
    rows = -(-count // columns)
    top = area.y + even((area.height - rows * tile.height - (rows - 1) * gap) // 2)
    rects = []
    for row in range(rows):
        here = min(columns, count - row * columns)
        left = area.x + even((area.width - here * tile.width - (here - 1) * gap) // 2)
        rects += [
            Rect(left + column * (tile.width + gap), top + row * (tile.height + gap), tile.width, tile.height)
            for column in range(here)
        ]
    return tuple(rects)
