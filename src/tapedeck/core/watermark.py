"""Where a watermark lies on a film, and how large it is: whole pixels, pure."""

from __future__ import annotations

from tapedeck.core.geometry import Rect, Size, even

__all__ = ["POSITIONS", "mark_rect"]

POSITIONS = ("left top", "right top", "left bottom", "right bottom")
_SHARE = 4
"""Without a size each side has at most one part in so many of the film's."""
_MARGIN = 40
"""The distance to the edges is one part in so many of the shorter side of the film."""


def mark_rect(image: Size, film: Size, position: str, width: int | None = None, height: int | None = None) -> Rect:
    """The rectangle of an image of this size on the film; its upper left corner is even, its sides need not be.

    Both sides given: exactly those. One: the other follows. None: the image's own, at most a quarter of the film's.
    What is larger than the film is made smaller in proportion.
    """
    if width is None and height is None:
        shown = _within(image, Size(max(film.width // _SHARE, 1), max(film.height // _SHARE, 1)))
    elif height is None:
        assert width is not None
        shown = Size(width, max(_divided(width * image.height, image.width), 1))
    else:
        shown = Size(max(_divided(height * image.width, image.height), 1) if width is None else width, height)
    shown = _within(shown, film)
    margin = even(min(film.width, film.height) // _MARGIN)
    side, edge = position.split(" ")
    x = _from_edge(side == "left", shown.width, film.width, margin)
    y = _from_edge(edge == "top", shown.height, film.height, margin)
    return Rect(x, y, shown.width, shown.height)


def _within(size: Size, most: Size) -> Size:
    """`size`, made smaller in proportion until it is within `most`."""
    if size.width <= most.width and size.height <= most.height:
        return size
    if size.width * most.height >= size.height * most.width:
        return Size(most.width, max(_divided(size.height * most.width, size.width), 1))
    return Size(max(_divided(size.width * most.height, size.height), 1), most.height)


def _divided(value: int, by: int) -> int:
    """Rounded to the nearest."""
    return (2 * value + by) // (2 * by)


def _from_edge(begins: bool, length: int, whole: int, margin: int) -> int:
    margin = min(margin, even((whole - length) // 2))
    return margin if begins else even(whole - margin - length)
