"""Where tiles go on a canvas. Pure geometry: a number of tiles and a canvas in, rectangles out, in tile order.

Laws for any input (tests/core/test_layouts.py): every tile lies inside the canvas, none overlap, all numbers are even,
all tiles of a grid have one size. Refuses to know what a tile shows.
"""

from __future__ import annotations

from fractions import Fraction

from tapedeck.core.geometry import Rect, Size, even

__all__ = ["MAX_TILES", "gap_of", "grid", "radius_of"]

MAX_TILES = 25
"""More people than this share one "+N" tile (`core/choose.py`)."""

_WIDE = Fraction(16, 9)
_SQUARE = Fraction(1)


def gap_of(canvas: Size) -> int:
    """Pixels between tiles and around them: about an eightieth of the shorter side; 0 on a tiny canvas."""
    return even(min(canvas.width, canvas.height) // 80)


def radius_of(canvas: Size) -> int:
    """Radius of a tile's rounded corners; 0 on a tiny canvas."""
    return min(canvas.width, canvas.height) // 60


def grid(count: int, canvas: Size) -> tuple[Rect, ...]:
    """Rectangles for `count` tiles: one fills the canvas; more are equal and as large as can be, last row centred.

    Tiles are 16:9 on a wide canvas; on a tall one they may be as narrow as a square, which fills it better. A canvas
    too small for `count` tiles of two pixels gets fewer rectangles.
    """
    canvas = Size(even(canvas.width), even(canvas.height))
    if count <= 0 or canvas.width < 2 or canvas.height < 2:
        return ()
    if count == 1:
        return (Rect(0, 0, canvas.width, canvas.height),)
    gap = gap_of(canvas)
    while count > 1:
        best = max(
            ((columns, _tile(columns, count, canvas, gap)) for columns in range(1, count + 1)),
            key=lambda option: (option[1].area, -(option[0] * -(-count // option[0]))),
        )
        columns, tile = best
        if tile.width >= 2 and tile.height >= 2:
            return _rows(count, columns, tile, canvas, gap)
        if gap:
            gap = 0
        else:
            count -= 1
    return (Rect(0, 0, canvas.width, canvas.height),)


def _tile(columns: int, count: int, canvas: Size, gap: int) -> Size:
    """The largest tile when `count` tiles stand in `columns`."""
    rows = -(-count // columns)
    width = (canvas.width - gap * (columns + 1)) // columns
    height = (canvas.height - gap * (rows + 1)) // rows
    if width < 2 or height < 2:
        return Size(0, 0)
    narrowest = _SQUARE if canvas.height > canvas.width else _WIDE
    if width > height * _WIDE:
        width = round(height * _WIDE)
    elif width < height * narrowest:
        height = round(width / narrowest)
    return Size(max(2, even(width)), max(2, even(height)))


def _rows(count: int, columns: int, tile: Size, canvas: Size, gap: int) -> tuple[Rect, ...]:
    rows = -(-count // columns)
    top = even((canvas.height - rows * tile.height - (rows - 1) * gap) // 2)
    rects = []
    for row in range(rows):
        here = min(columns, count - row * columns)
        left = even((canvas.width - here * tile.width - (here - 1) * gap) // 2)
        rects += [
            Rect(left + column * (tile.width + gap), top + row * (tile.height + gap), tile.width, tile.height)
            for column in range(here)
        ]
    return tuple(rects)
