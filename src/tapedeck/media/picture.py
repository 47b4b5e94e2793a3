"""The canvas of a film and what is put on it: scaled pictures, fills, blended overlays, all on 4:2:0 planes.

Owns pixels and colour: BT.709, limited range. A source that says it is something else is converted while it is scaled;
one that says nothing is taken as it is. The canvas is one `av.VideoFrame` for the whole film, written in place:
encoders copy what they are given (tests/media/test_picture.py). Refuses to know what is shown where
(`render/video.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import av
import numpy as np
from av.video.plane import VideoPlane
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter
from numpy.typing import NDArray
from PIL import Image

from tapedeck.core.geometry import Placement, Rect, Size
from tapedeck.core.look import Colour
from tapedeck.media.decode import Picture
from tapedeck.media.errors import media_errors

__all__ = ["Canvas", "Loan", "Overlay", "OverlayMaker", "Planes", "Scaler", "from_image", "rounded", "to_yuv"]

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Planes = tuple[Bytes, Bytes, Bytes]
"""Y, U and V; U and V have half the rows and columns."""

_KR, _KB = np.float32(0.2126), np.float32(0.0722)
_SPACE_709, _SPACE_UNSPECIFIED = 1, 2  # ITU-T H.273, table 4
_JPEG = int(ColorRange.JPEG)


def to_yuv(colour: Colour) -> tuple[int, int, int]:
    """BT.709 limited range (ITU-R BT.709-6, 3.2 and 3.5) of an sRGB colour."""
    red, green, blue = (value / 255 for value in colour)
    luma = _KR * red + (1 - _KR - _KB) * green + _KB * blue
    cb, cr = (blue - luma) / (2 * (1 - _KB)), (red - luma) / (2 * (1 - _KR))
    return round(16 + 219 * luma), round(128 + 224 * cb), round(128 + 224 * cr)


def tag(frame: av.VideoFrame) -> None:
    """Say in the frame what its numbers mean, so that the encoder writes it into the stream."""
    frame.colorspace, frame.color_range = _SPACE_709, ColorRange.MPEG
    frame.color_primaries, frame.color_trc = ColorPrimaries.BT709, ColorTrc.BT709


def planes_of(frame: av.VideoFrame) -> Planes:
    """Views of a yuv420p frame's planes, without padding; writable where the frame owns its memory."""
    y, u, v = frame.planes
    return _view(y), _view(u), _view(v)


def _view(plane: VideoPlane) -> Bytes:
    shape, strides = (plane.height, plane.width), (plane.line_size, 1)
    return np.ndarray(shape, np.uint8, memoryview(plane), strides=strides)


def from_image(image: Image.Image) -> Planes:
    """The planes of an RGB image of even size."""
    pixels = np.asarray(image.convert("RGB"))
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
        format="yuv420p",
        src_color_range=ColorRange.JPEG,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=Interpolation.AREA | Interpolation.ACCURATE_RND,
    )
    return planes_of(frame)


def _is_of_other_colours(frame: av.VideoFrame) -> bool:
    return frame.colorspace not in (_SPACE_709, _SPACE_UNSPECIFIED, 0)


def _is_full_range(frame: av.VideoFrame) -> bool:
    return frame.color_range == _JPEG or frame.format.name.startswith("yuvj")


class Scaler:
    """Scales the pictures of one tile. Keeps libswscale's tables between pictures of one size."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def scale(self, picture: Picture, size: Size) -> Planes:
        """The picture in `size`, BT.709 limited range; by area averaging, quick and without aliasing. Or MediaError."""
        frame = picture.frame
        convert, full = _is_of_other_colours(frame), _is_full_range(frame)
        with media_errors("scaling a picture"):
            scaled = self._reformatter.reformat(
                frame,
                size.width,
                size.height,
                "yuv420p",
                dst_colorspace=Colorspace.ITU709 if convert else None,
                src_color_range=ColorRange.JPEG if full else None,
                dst_color_range=ColorRange.MPEG if full else None,
                interpolation=Interpolation.AREA,
                threads=1,
            )
            return planes_of(scaled)


Words = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Overlay:
    """What lies over a tile's picture: `pixel * keep / 256 + add` at some pixels of each plane."""

    pixels: tuple[tuple[NDArray[np.intp], Words, Words], ...]
    "Per plane: places in its memory, keep, add."
    block: tuple[tuple[tuple[slice, slice], Words, Words], ...] = ()
    "Per plane: a rectangle, keep, add; four times as quick per pixel."
    within: Rect | None = None
    "No pixel beyond is touched."

    @property
    def size(self) -> int:
        """Pixels that are touched, of all planes."""
        return sum(at.size for at, _, _ in self.pixels) + sum(keep.size for _, keep, _ in self.block)


class Canvas:
    """The picture of the film being made. `frame` is the same object for the whole film."""

    is_marked = False
    "Whether something lies over all that is painted."

    def __init__(self, size: Size) -> None:
        """`size` is even."""
        self.size = size
        self.frame = av.VideoFrame(size.width, size.height, "yuv420p")
        tag(self.frame)
        self._flat = [np.frombuffer(memoryview(plane), np.uint8) for plane in self.frame.planes]
        self._lines = [plane.line_size for plane in self.frame.planes]
        self._planes = planes_of(self.frame)

    @property
    def planes(self) -> Planes:
        """Views of what is on the canvas now."""
        return self._planes

    def part(self, rect: Rect) -> Planes:
        """A copy of what is in a rectangle now."""
        y, u, v = (plane[at].copy() for plane, at in zip(self._planes, _slices(rect), strict=True))
        return y, u, v

    def fill(self, rect: Rect, colour: Colour) -> None:
        """One colour over a rectangle."""
        for plane, value, (rows, columns) in zip(self._planes, to_yuv(colour), _slices(rect), strict=True):
            plane[rows, columns] = value

    def put(self, planes: Planes, tile: Rect, placement: Placement) -> None:
        """A scaled picture, or the part of it that is seen, into a tile."""
        at = Rect(tile.x + placement.at.x, tile.y + placement.at.y, placement.at.width, placement.at.height)
        for plane, source, to, part in zip(self._planes, planes, _slices(at), _slices(placement.crop), strict=True):
            plane[to] = source[part]

    def blend(self, overlay: Overlay) -> None:
        """Put an overlay made for this canvas over what is there. Twice would be twice: paint beneath it first."""
        for flat, (at, keep, add) in zip(self._flat, overlay.pixels, strict=True):
            if at.size:
                values = flat[at] * keep
                values += add
                values >>= 8
                flat[at] = values
        for plane, (where, keep, add) in zip(self._planes, overlay.block, strict=False):
            _blend(plane[where], keep, add)

    def seal(self) -> None:
        """Everything of this picture is painted: what lies over all of it may be laid there (`media/mark.py`)."""

    def unseal(self) -> None:
        """Take away what `seal` laid there, so that nothing but what was painted is on the canvas."""

    def overlay_maker(self, tile: Rect) -> OverlayMaker:
        """A builder of what lies over one tile."""
        return OverlayMaker(tile, self._lines)


def _blend(part: Bytes, keep: Words, add: Words) -> None:
    blended = part * keep
    blended += add
    blended >>= 8
    part[:] = blended


class Loan:
    """A decoded picture lent to be a picture of the film, with an overlay; its decoder gets it back as it was.

    Copying it to a canvas instead costs a fiftieth of a film of one person. A decoder makes its next pictures of those
    it made, so none may be decoded before `give_back`.
    """

    def __init__(self, picture: Picture, overlay: Overlay) -> None:
        """`fits` said yes to both."""
        self.frame = picture.frame
        self.planes = planes_of(picture.frame)
        self._beneath: list[tuple[Bytes, Bytes]] = []
        for plane, (where, keep, add) in zip(self.planes, overlay.block, strict=False):
            part = plane[where]
            self._beneath.append((part, part.copy()))
            _blend(part, keep, add)

    @staticmethod
    def fits(picture: Picture, overlay: Overlay, size: Size) -> bool:
        """Whether a picture can be one of a film of this size: nothing to scale or convert, and no single pixels drawn.

        Nor does it bring anything that an encoder would take for the film's own (captions in H264).
        """
        frame = picture.frame
        return (
            frame.width == size.width
            and frame.height == size.height
            and frame.format.name == "yuv420p"
            and not _is_of_other_colours(frame)
            and frame.color_range != _JPEG
            and all(not at.size for at, _, _ in overlay.pixels)
            and not picture.has_more
        )

    def give_back(self) -> None:
        """Take the overlay away."""
        for part, beneath in self._beneath:
            part[:] = beneath


class OverlayMaker:
    """Collects what lies over a tile, from below to above, and makes an `Overlay` of it."""

    def __init__(self, tile: Rect, lines: Sequence[int]) -> None:
        self._tile = tile
        self._lines = lines
        self._keep = [np.ones((rows, columns), np.float32) for rows, columns in _shapes(tile.size)]
        self._add = [np.zeros((rows, columns), np.float32) for rows, columns in _shapes(tile.size)]
        self._block: Rect | None = None

    def image(self, image: Image.Image, x: int, y: int) -> None:
        """An RGBA image with its upper left corner at (x, y) in the tile, both even; what sticks out is cut."""
        width, height = min(image.width, self._tile.width - x), min(image.height, self._tile.height - y)
        if width < 1 or height < 1:
            return
        if self._block is None:
            self._block = Rect(x, y, width + width % 2, height + height % 2)
        padded = np.zeros((height + height % 2, width + width % 2, 4), np.float32)
        padded[:height, :width] = np.asarray(image.convert("RGBA"), np.float32)[:height, :width]
        alpha = padded[..., 3] / np.float32(255)
        red, green, blue = (padded[..., index] * alpha / np.float32(255) for index in range(3))
        luma = _KR * red + (1 - _KR - _KB) * green + _KB * blue
        cb, cr = (blue - luma) / (2 * (1 - _KB)), (red - luma) / (2 * (1 - _KR))
        values = (16 * alpha + 219 * luma, 128 * alpha + 224 * cb, 128 * alpha + 224 * cr)
        for index, value in enumerate(values):
            by = 1 if index == 0 else 2
            cover = alpha if index == 0 else _halved(alpha)
            added: Floats = value.astype(np.float32)
            if index:
                added = _halved(added)
            rows = slice(y // by, y // by + cover.shape[0])
            columns = slice(x // by, x // by + cover.shape[1])
            keep, add = self._keep[index][rows, columns], self._add[index][rows, columns]
            cover, added = cover[: keep.shape[0], : keep.shape[1]], added[: keep.shape[0], : keep.shape[1]]
            keep *= 1 - cover
            add *= 1 - cover
            add += added

    def colour(self, cover: Floats, colour: Colour) -> None:
        """One colour over the whole tile, as strong as `cover` says for each pixel."""
        small = _halved(cover)
        for index, (part, value) in enumerate(zip((cover, small, small), to_yuv(colour), strict=True)):
            self._keep[index] *= 1 - part
            self._add[index] *= 1 - part
            self._add[index] += value * part

    def mask(self, cover: Floats, outside: Planes) -> None:
        """Keep what is where `cover` is 1 and show `outside` (the tile's area of a canvas) where it is 0."""
        small = _halved(cover)
        for index, (part, beyond) in enumerate(zip((cover, small, small), outside, strict=True)):
            self._keep[index] *= part
            self._add[index] *= part
            self._add[index] += beyond * (1 - part)

    def done(self) -> Overlay:
        """The overlay, with only the pixels that it changes: the first image as a block, the rest one by one."""
        pixels, block = [], []
        inner = [] if self._block is None else _slices(self._block)
        tile = _slices(self._tile)
        for index, (keep, add) in enumerate(zip(self._keep, self._add, strict=True)):
            kept = np.round(keep * 256)
            most = 65535 - kept * 255  # rounding must not carry over into the next number
            added = np.minimum(np.round(add * 256) + 128, most).astype(np.uint16)
            changed = keep < 1 - 1 / 512
            y, x = tile[index][0].start, tile[index][1].start
            if inner:
                rows, columns = inner[index]
                where = (slice(rows.start + y, rows.stop + y), slice(columns.start + x, columns.stop + x))
                block.append((where, kept[rows, columns].astype(np.uint16), added[rows, columns].copy()))
                changed[rows, columns] = False
            at_y, at_x = np.nonzero(changed)
            at = (at_y + y) * self._lines[index] + at_x + x
            pixels.append((at, kept[at_y, at_x].astype(np.uint16), added[at_y, at_x]))
        return Overlay(tuple(pixels), tuple(block), self._tile)


def rounded(size: Size, radius: float, grown: float = 0.0) -> Floats:
    """How much of each pixel a rectangle with round corners covers, 0 to 1. `grown`: beyond the area on all sides."""
    half_x, half_y = size.width / 2, size.height / 2
    x = np.abs(np.arange(size.width, dtype=np.float32) + 0.5 - half_x)[None, :] - (half_x + grown - radius)
    y = np.abs(np.arange(size.height, dtype=np.float32) + 0.5 - half_y)[:, None] - (half_y + grown - radius)
    distance = np.hypot(np.maximum(x, 0), np.maximum(y, 0)) + np.minimum(np.maximum(x, y), 0) - radius
    cover: Floats = np.clip(0.5 - distance, 0, 1).astype(np.float32)
    return cover


def _halved(values: Floats) -> Floats:
    """Means of two by two; both sides even."""
    halved: Floats = values.reshape(values.shape[0] // 2, 2, values.shape[1] // 2, 2).mean(axis=(1, 3))
    return halved


def _slices(rect: Rect) -> tuple[tuple[slice, slice], ...]:
    whole = (slice(rect.y, rect.bottom), slice(rect.x, rect.right))
    half = (slice(rect.y // 2, rect.bottom // 2), slice(rect.x // 2, rect.right // 2))
    return whole, half, half


def _shapes(size: Size) -> tuple[tuple[int, int], ...]:
    half = (size.height // 2, size.width // 2)
    return (size.height, size.width), half, half
