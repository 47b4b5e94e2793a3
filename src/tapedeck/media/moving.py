"""Parts of one canvas on another: moved and stretched, or shown through each other, for the moment of a change.

Owns the pixels of a slide: by nearest neighbour, since each picture is seen for a thirtieth of a second and the next
one differs. Refuses to know what is moved and how far it is (`render/video.py`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tapedeck.core.geometry import Rect
from tapedeck.media.picture import Canvas

__all__ = ["fade", "move"]

Indices = NDArray[np.intp]


def move(target: Canvas, to: Rect, source: Canvas, at: Rect) -> None:
    """Put what is at one place of a canvas to a place of another, which may have another size. All numbers are even."""
    for index, (plane, pixels) in enumerate(zip(target.planes, source.planes, strict=True)):
        by = 1 if index == 0 else 2
        rows = slice(to.y // by, to.bottom // by), slice(to.x // by, to.right // by)
        if to.size == at.size:
            plane[rows] = pixels[at.y // by : at.bottom // by, at.x // by : at.right // by]
            continue
        lines = _nearest(at.y // by, at.height // by, to.height // by)
        columns = _nearest(at.x // by, at.width // by, to.width // by)
        plane[rows] = pixels[lines[:, None], columns]


def fade(target: Canvas, at: Rect, before: Canvas | None, share: float, source: Canvas) -> None:
    """Show `share` (0 to 1) of what a canvas has at a place and the rest of what `before` has there, or the target."""
    weight = round(share * 256)
    for index, (plane, new) in enumerate(zip(target.planes, source.planes, strict=True)):
        by = 1 if index == 0 else 2
        where = slice(at.y // by, at.bottom // by), slice(at.x // by, at.right // by)
        old = plane if before is None else before.planes[index]
        mixed = old[where] * np.uint16(256 - weight)
        mixed += new[where] * np.uint16(weight)
        mixed += 128
        mixed >>= 8
        plane[where] = mixed


def _nearest(start: int, have: int, want: int) -> Indices:
    """Which of `have` lines from `start` on stand for `want` lines."""
    lines: Indices = start + (2 * np.arange(want) + 1) * have // (2 * want)
    return lines
