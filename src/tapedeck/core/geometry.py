"""Rectangles on a picture in whole, even pixels: a 4:2:0 picture has one colour sample for two by two pixels.

Owns sizes, rectangles, and the two ways a picture meets a place: `fit` (all of it, with bars) and `cover` (no bars,
its edges cut away, within a limit). Refuses to know what is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Placement", "Rect", "Size", "between", "cover", "even", "fit"]


def even(value: int) -> int:
    """The largest even number that is not above `value`."""
    return value & ~1


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int

    @property
    def area(self) -> int:
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle of pixels: `x` and `y` are its left and upper edge on the canvas."""

    x: int
    y: int
    width: int
    height: int

    @property
    def size(self) -> Size:
        return Size(self.width, self.height)

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def bottom(self) -> int:
        return self.y + self.height

    def inside(self, other: Rect) -> bool:
        """Whether no pixel of it lies outside `other`."""
        return self.x >= other.x and self.y >= other.y and self.right <= other.right and self.bottom <= other.bottom

    def overlaps(self, other: Rect) -> bool:
        """Whether they share a pixel."""
        return self.x < other.right and other.x < self.right and self.y < other.bottom and other.y < self.bottom


def between(first: Rect, second: Rect, share: float) -> Rect:
    """The rectangle on the straight way from one to another, `share` (0 to 1) of it done; even if both are."""
    left, top, right, bottom = (
        even(round(a + (b - a) * share))
        for a, b in (
            (first.x, second.x),
            (first.y, second.y),
            (first.right, second.right),
            (first.bottom, second.bottom),
        )
    )
    return Rect(left, top, max(right - left, 2), max(bottom - top, 2))


@dataclass(frozen=True, slots=True)
class Placement:
    """How a picture is put into a box: scale it to `scaled`, take `crop` of that, put it at `crop`'s size to `at`.

    All numbers are even. `crop` lies in the scaled picture, `at` in the box (its upper left corner is 0, 0).
    """

    scaled: Size
    crop: Rect
    at: Rect


@lru_cache(maxsize=256)
def fit(source: Size, box: Size) -> Placement:
    """The whole of `source`, as large as `box` allows, in its middle."""
    width, height = _scaled(source, box, larger=False)
    at = Rect(even((box.width - width) // 2), even((box.height - height) // 2), width, height)
    return Placement(Size(width, height), Rect(0, 0, width, height), at)


@lru_cache(maxsize=256)
def cover(source: Size, box: Size, most_cut: float = 0.5) -> Placement:
    """`source` over all of `box`, the surplus cut away evenly on both sides.

    When more than the share `most_cut` of the picture would be cut (a portrait telephone in a wide tile), only that
    share is cut and bars remain, so that nobody's face is lost. The cut at the top is a third of the cut in height:
    faces are in the upper half of a picture.
    """
    width, height = _scaled(source, box, larger=True)
    kept = 1.0 - most_cut
    if width * kept > box.width:
        height = max(2, even(round(height * box.width / (width * kept))))
        width = max(box.width, even(round(box.width / kept)))
    elif height * kept > box.height:
        width = max(2, even(round(width * box.height / (height * kept))))
        height = max(box.height, even(round(box.height / kept)))
    visible = Size(min(width, box.width), min(height, box.height))
    crop = Rect(even((width - visible.width) // 2), even((height - visible.height) // 3), visible.width, visible.height)
    at = Rect(
        even((box.width - visible.width) // 2),
        even((box.height - visible.height) // 2),
        visible.width,
        visible.height,
    )
    return Placement(Size(width, height), crop, at)


def _scaled(source: Size, box: Size, *, larger: bool) -> tuple[int, int]:
    """`source` in its shape, one side as in `box`, the other not smaller (or not larger) than there; both even."""
    if source.width < 1 or source.height < 1:
        raise ValueError(f"a picture of {source.width}x{source.height} has no shape")
    wide = source.width * box.height > source.height * box.width
    if wide == larger:  # the height decides
        width = even(round(source.width * box.height / source.height))
        width = max(width, box.width) if larger else min(width, box.width)
        return max(2, width), box.height
    height = even(round(source.height * box.width / source.width))
    height = max(height, box.height) if larger else min(height, box.height)
    return box.width, max(2, height)
