"""Watermarks: what counts as an image, and a canvas with an image over everything that is painted on it.

Owns the check of an image from elsewhere (format and size are read from its head before a pixel is unpacked) and the
pixels under the mark: the canvas keeps what is beneath, puts it back before anybody paints there, and lays the mark
over it once per change. Refuses to fetch (`adapters/fetcher.py`) and to know where it lies (`core/watermark.py`).
"""

from __future__ import annotations

import struct
import warnings
import zlib
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from tapedeck.core.errors import InvalidError
from tapedeck.core.geometry import Placement, Rect, Size, even
from tapedeck.core.look import Colour
from tapedeck.media.picture import Canvas, Overlay, Planes

__all__ = ["MOST_PIXELS", "MarkedCanvas", "checked_png", "open_mark"]

MOST_PIXELS = 10_000_000
"""An image of more is not unpacked: 40 MB of memory, and a picture of 3840x2160 is within."""
_LONGEST_SIDE = 1920
"""No film is larger; what is kept need not be either."""
_MOST_SCANS = 64
"""Of a JPEG. Each is a pass over the whole picture, of a few bytes if somebody means harm; progressive ones have 10."""
_START_OF_SCAN = b"\xff\xda"
_FORMATS = ("PNG", "JPEG", "WEBP")
_FAULTS = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, struct.error, zlib.error, MemoryError)
"""What Pillow's readers raise on images that are damaged on purpose or not."""


def checked_png(data: bytes) -> bytes:
    """The image in `data` as a PNG with an alpha channel, at most 1920 pixels a side; of several pictures the first.

    InvalidError says why it is no watermark: not PNG, JPEG or WebP, too many pixels or scans, damaged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata; nobody would read them
        try:
            image = Image.open(BytesIO(data), formats=_FORMATS)
        except UnidentifiedImageError:
            raise InvalidError(f"it is not a PNG, JPEG or WebP image{_guess(data)}") from None
        except Image.DecompressionBombError:
            raise _too_large() from None
        except _FAULTS as exc:
            raise InvalidError("its head is damaged") from exc
        with image:
            if image.width * image.height > MOST_PIXELS:
                raise _too_large()
            if image.format not in ("PNG", "WEBP") and data.count(_START_OF_SCAN) > _MOST_SCANS:
                raise InvalidError(f"it is drawn in more than {_MOST_SCANS} scans")
            try:
                upright = ImageOps.exif_transpose(image)
                if upright.mode.startswith("I"):  # grey of 16 bits, which Pillow would cut off at 255
                    upright = upright.point(lambda grey: grey * (1 / 256)).convert("L")
                made = upright.convert("RGBA")
            except _FAULTS as exc:
                raise InvalidError("the image is damaged") from exc
    made.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    packed = BytesIO()
    made.save(packed, "PNG")
    return packed.getvalue()


def _too_large() -> InvalidError:
    return InvalidError(f"it has more than {MOST_PIXELS // 1_000_000} million pixels")


def _guess(data: bytes) -> str:
    return " but SVG" if b"<svg" in data[:1024].lower() else ""


def open_mark(path: Path) -> Image.Image:
    """An image that `checked_png` made. InvalidError: it is none (any more)."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return image.convert("RGBA")
    except _FAULTS as exc:
        raise InvalidError(f"The watermark {path.name} cannot be read.") from exc


class MarkedCanvas(Canvas):
    """A canvas with an image over it. Painting goes on beneath: what is put, filled and blended is never on the mark.

    `seal` lays the mark over what was painted; nothing is done while nothing changes beneath it.
    """

    is_marked = True

    def __init__(self, size: Size, image: Image.Image, at: Rect) -> None:
        """`image`: RGBA, scaled to `at`, which is on the canvas and begins at even pixels."""
        super().__init__(size)
        self._rect = Rect(at.x, at.y, even(at.width + 1), even(at.height + 1))
        maker = self.overlay_maker(self._rect)
        maker.image(image.resize((at.width, at.height), Image.Resampling.LANCZOS), 0, 0)
        self._over = maker.done()
        self._is_laid = False
        self._under: Planes | None = None
        "What is beneath the mark while it lies there."

    def seal(self) -> None:
        """Everything of this picture is painted."""
        if not self._is_laid:
            self._under = super().part(self._rect)
            super().blend(self._over)
            self._is_laid = True

    def unseal(self) -> None:
        self._lift(None)

    def part(self, rect: Rect) -> Planes:
        self._lift(rect)
        return super().part(rect)

    def fill(self, rect: Rect, colour: Colour) -> None:
        self._lift(rect)
        super().fill(rect, colour)

    def put(self, planes: Planes, tile: Rect, placement: Placement) -> None:
        self._lift(tile)
        super().put(planes, tile, placement)

    def blend(self, overlay: Overlay) -> None:
        self._lift(overlay.within)
        super().blend(overlay)

    def _lift(self, rect: Rect | None) -> None:
        """Take the mark away if somebody paints within `rect` (None: anywhere)."""
        if self._is_laid and (rect is None or rect.overlaps(self._rect)):
            self._is_laid = False
            if self._under is not None:
                whole = Rect(0, 0, self._rect.width, self._rect.height)
                super().put(self._under, self._rect, Placement(whole.size, whole, whole))
