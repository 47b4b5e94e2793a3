"""Pictures of a film as images: the canvas scaled down, and JPEG files."""

from __future__ import annotations

from io import BytesIO

import av
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from PIL import Image

from tapedeck.core.geometry import Size
from tapedeck.media.errors import media_errors

__all__ = ["Frame", "Shrinker", "copied", "jpeg", "sheet"]

Frame = av.VideoFrame
"""A picture of a film, for whoever hands it on."""

_QUALITY = 80


class Shrinker:
    """Makes images of one size of pictures in BT.709, limited range. Keeps libswscale's tables between them."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self._reformatter = VideoReformatter()

    def image(self, frame: Frame) -> Image.Image:
        """An image of its own; the frame may be painted again. Or MediaError."""
        with media_errors("scaling a still"):
            small = self._reformatter.reformat(
                frame,
                self.size.width,
                self.size.height,
                "rgb24",
                src_colorspace=Colorspace.ITU709,
                src_color_range=ColorRange.MPEG,
                dst_color_range=ColorRange.JPEG,
                interpolation=Interpolation.AREA,
                threads=1,
            )
            return Image.fromarray(small.to_ndarray(format="rgb24"))


def copied(frame: Frame) -> Frame:
    """A picture of its own, less than half as large as its image; the frame may be painted again."""
    return Frame.from_ndarray(frame.to_ndarray(), format=frame.format.name)


def sheet(images: list[Image.Image], columns: int) -> Image.Image:
    """Images of one size in rows, from left to right."""
    width, height = images[0].size
    rows = -(-len(images) // columns)
    made = Image.new("RGB", (width * min(columns, len(images)), height * rows))
    for number, image in enumerate(images):
        made.paste(image, (number % columns * width, number // columns * height))
    return made


def jpeg(image: Image.Image) -> bytes:
    """The image as a JPEG file."""
    packed = BytesIO()
    image.save(packed, "JPEG", quality=_QUALITY, optimize=True)
    return packed.getvalue()
