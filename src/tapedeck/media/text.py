"""Names and initials as small images, in any script, drawn once per change.

Owns the writing: font choice per stretch of text, ellipsis, right-to-left order, the pill behind a name, the disc of a
tile without camera. Labels are kept in a bounded cache. Refuses to know where they go (`media/picture.py`).
"""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont, features

from tapedeck.core.geometry import Size
from tapedeck.core.look import (
    AVATAR_INK,
    LABEL_INK,
    LABEL_SHADE,
    MUTED,
    PLAIN_TILE,
    Colour,
    clean,
    clusters,
    colour_of,
    initials,
    label_px,
    mix,
)
from tapedeck.core.script import stretches, visual
from tapedeck.media.fonts import FontFile, Fonts

__all__ = ["TextPainter"]

_BITMAP_PX = 109
"""The one size of the pictures in Noto Color Emoji."""
_CACHE = 128
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_Run = tuple[_Font, str, float, str | None]
"""Font, text, the factor by which what the font draws is scaled, and the direction (None: as the library finds)."""
_WIDEST_INITIALS = 0.8
"""Of the disc that they stand in."""


class TextPainter:
    """Draws labels and avatars. Not thread-safe."""

    def __init__(self, fonts: Fonts | None = None, is_shaping: bool | None = None) -> None:
        """`is_shaping`: whether to have text shaped by HarfBuzz and FriBidi; None: if this machine has them."""
        self._is_shaping = features.check("raqm") if is_shaping is None else is_shaping
        self._fonts = Fonts() if fonts is None else fonts
        self._opened: dict[tuple[FontFile | None, int], tuple[_Font, float]] = {}
        self._labels: dict[tuple[str, Size, bool], Image.Image | None] = {}

    def label(self, name: str, tile: Size, *, is_muted: bool = False) -> Image.Image | None:
        """The name in a pill for the lower left of a tile (RGBA), with a mark before it of who cannot be heard.

        None where there is nothing to say or the tile is too small for it.
        """
        key = (name, tile, is_muted)
        if key in self._labels:
            self._labels[key] = self._labels.pop(key)  # the last used stay
        else:
            if len(self._labels) >= _CACHE:
                del self._labels[next(iter(self._labels))]
            self._labels[key] = self._label(clean(name), tile, is_muted)
        return self._labels[key]

    def _label(self, name: str, tile: Size, is_muted: bool) -> Image.Image | None:
        px = label_px(tile)
        if not px or not (name or is_muted):
            return None
        pad = round(px * 0.62)
        height = round(px * 1.7)
        mark = round(px * 0.95) if is_muted else 0
        left = pad + mark + (round(px * 0.36) if is_muted and name else 0)
        runs, width = self._fitted(clusters(name), px, tile.width - 2 * px - left - pad)
        if not (runs or is_muted):
            return None
        image = Image.new("RGBA", (round(width) + left + pad, height), (*LABEL_SHADE[:3], 0))
        scale = 4
        mask = Image.new("L", (image.width * scale, height * scale), 0)
        ImageDraw.Draw(mask).rounded_rectangle((0, 0, mask.width - 1, mask.height - 1), px * 0.42 * scale, fill=255)
        mask = mask.resize(image.size, Image.Resampling.BOX)
        image.putalpha(mask.point([value * LABEL_SHADE[3] // 255 for value in range(256)]))
        self._write(image, runs, left, round(height / 2 + px * 0.36), LABEL_INK)
        if mark:
            sign = _microphone_off(mark, round(px * 1.12))
            image.paste((*MUTED, 255), (pad, (height - sign.height) // 2), sign)
        return image

    def avatar(self, name: str, participant_id: str, tile: Size) -> Image.Image:
        """A whole tile (RGB) for a person without picture: a disc in their colour with their initials."""
        colour = colour_of(participant_id)
        image = Image.new("RGB", (tile.width, tile.height), mix(PLAIN_TILE, colour, 0.16))
        across = round(min(tile.width * 0.62, tile.height * 0.46))
        if across < 6:
            return image
        left, top = (tile.width - across) // 2, (tile.height - across) // 2
        free = tile.height - round(label_px(tile) * 2.3)
        if top + across > free:  # a name would lie over it
            top = max(0, (free - across) // 2)
        disc = _disc(across)
        image.paste(colour, (left, top), disc)
        letters = initials(name)
        if letters and across >= 14:
            px = round(across * (0.42 if len(clusters(letters)) > 1 else 0.48))
            width = _width(self._runs(clusters(letters), px))
            if width > across * _WIDEST_INITIALS:  # a cluster may be several letters wide
                px = max(1, int(px * across * _WIDEST_INITIALS / width))
            self._centred(image, clusters(letters), px, AVATAR_INK, top + across // 2)
        elif not letters:
            _silhouette(image, disc, left, top, mix(colour, AVATAR_INK, 0.72))
        return image

    def note(self, text: str, tile: Size) -> Image.Image:
        """A whole tile (RGB) with a few letters in its middle, such as "+7"; empty for none."""
        image = Image.new("RGB", (tile.width, tile.height), PLAIN_TILE)
        px = round(min(tile.height * 0.2, tile.width * 0.16))
        if px >= 6:
            self._centred(image, clusters(clean(text)), px, mix(PLAIN_TILE, AVATAR_INK, 0.82), tile.height // 2)
        return image

    def _centred(self, image: Image.Image, text: list[str], px: int, ink: Colour, middle: int) -> None:
        runs, width = self._fitted(text, px, image.width)
        layer = Image.new("RGBA", (round(width) + 2 * px, 3 * px), (*ink, 0))
        self._write(layer, runs, px, 2 * px, ink)
        box = layer.getchannel("A").getbbox()
        if box is not None:
            layer = layer.crop(box)
            image.paste(layer, ((image.width - layer.width) // 2, middle - layer.height // 2), layer)

    def _fitted(self, text: list[str], px: int, widest: float) -> tuple[list[_Run], float]:
        """Runs of as much of `text` as fits, with an ellipsis when that is not all, and their width in pixels."""
        runs = self._runs(text, px)
        width = _width(runs)
        if width <= widest:
            return runs, width
        low, high = 0, len(text) - 1
        best: tuple[list[_Run], float] = ([], 0.0)
        while low <= high:
            middle = (low + high) // 2
            kept = text[:middle]
            while kept and kept[-1].isspace():
                kept = kept[:-1]
            runs = self._runs([*kept, "…"], px)
            width = _width(runs)
            if width <= widest:
                best, low = (runs, width), middle + 1
            else:
                high = middle - 1
        return best

    def _runs(self, text: list[str], px: int) -> list[_Run]:
        """What is drawn from left to right. A library that shapes orders what is of one font."""
        found = self._fonts.runs(text if self._is_shaping else visual(text))
        if len(found) < 2 or not self._is_shaping:
            return [self._run(file, part, px, None) for file, part in found]
        runs = []
        for from_right, stretch in stretches(text):
            direction = "rtl" if from_right else "ltr"
            parts = [self._run(file, part, px, direction) for file, part in self._fonts.runs(stretch)]
            runs += parts[::-1] if from_right else parts
        return runs

    def _run(self, file: FontFile | None, text: str, px: int, direction: str | None) -> _Run:
        font, scale = self._font(file, px)
        return font, text, scale, direction if scale == 1.0 else None

    def _font(self, file: FontFile | None, px: int) -> tuple[_Font, float]:
        key = (file, px)
        if key not in self._opened:
            if len(self._opened) >= _CACHE:
                self._opened.clear()
            self._opened[key] = self._open(file or self._fonts.any, px)
        return self._opened[key]

    def _open(self, file: FontFile | None, px: int) -> tuple[_Font, float]:
        engine = ImageFont.Layout.RAQM if self._is_shaping else ImageFont.Layout.BASIC
        if file is None:
            return ImageFont.load_default(px), 1.0
        try:
            if file.has_colour_bitmaps:
                return ImageFont.truetype(
                    str(file.path), _BITMAP_PX, file.index, layout_engine=engine
                ), px * 1.15 / _BITMAP_PX
            return ImageFont.truetype(str(file.path), px, file.index, layout_engine=engine), 1.0
        except OSError:  # a damaged file
            return ImageFont.load_default(px), 1.0

    def _write(self, image: Image.Image, runs: list[_Run], left: float, baseline: int, ink: Colour) -> None:
        """Write onto an RGBA image."""
        for font, text, scale, direction in runs:
            if scale == 1.0:
                layer = Image.new("RGBA", image.size, (*ink, 0))
                ImageDraw.Draw(layer).text((left, baseline), text, (*ink, 255), font, anchor="ls", direction=direction)
                image.alpha_composite(layer)
            else:
                glyphs = _bitmap_glyphs(font, text)
                size = (max(1, round(glyphs.width * scale)), max(1, round(glyphs.height * scale)))
                glyphs = glyphs.resize(size, Image.Resampling.LANCZOS)
                top = round(baseline - size[1] * 0.8)
                whole = Image.new("RGBA", image.size, (0, 0, 0, 0))
                whole.paste(glyphs, (round(left), top))
                image.alpha_composite(whole)
            left += _width([(font, text, scale, direction)])


def _width(runs: list[_Run]) -> float:
    return sum(font.getlength(text, direction=direction) * scale for font, text, scale, direction in runs)


def _bitmap_glyphs(font: _Font, text: str) -> Image.Image:
    width = max(1, round(font.getlength(text)))
    image = Image.new("RGBA", (width, round(_BITMAP_PX * 1.18)), (0, 0, 0, 0))
    ImageDraw.Draw(image).text((0, 0), text, (255, 255, 255, 255), font, embedded_color=True)
    return image


def _microphone_off(width: int, height: int) -> Image.Image:
    """A microphone with a stroke through it, as a mask."""
    scale = 8
    wide, high = width * scale, height * scale
    mask = Image.new("L", (wide, high), 0)
    draw = ImageDraw.Draw(mask)
    line = round(wide * 0.13)
    draw.rounded_rectangle((wide * 0.33, high * 0.04, wide * 0.67, high * 0.58), wide * 0.17, fill=255)
    draw.arc((wide * 0.17, high * 0.22, wide * 0.83, high * 0.76), 0, 180, fill=255, width=line)
    draw.line((wide * 0.5, high * 0.74, wide * 0.5, high * 0.95), fill=255, width=line)
    draw.line((wide * 0.3, high * 0.95, wide * 0.7, high * 0.95), fill=255, width=line)
    draw.line((wide * 0.06, high * 0.1, wide * 0.98, high * 0.86), fill=0, width=2 * line)
    draw.line((wide * 0.06, high * 0.06, wide * 0.94, high * 0.94), fill=255, width=line)
    return mask.resize((width, height), Image.Resampling.BOX)


def _disc(across: int) -> Image.Image:
    large = Image.new("L", (across * 4, across * 4), 0)
    ImageDraw.Draw(large).ellipse((0, 0, across * 4 - 1, across * 4 - 1), fill=255)
    return large.resize((across, across), Image.Resampling.BOX)


def _silhouette(image: Image.Image, disc: Image.Image, left: int, top: int, colour: Colour) -> None:
    """Head and shoulders inside the disc, for somebody without a name."""
    side = disc.width * 4
    shape = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(shape)
    draw.ellipse((side * 0.34, side * 0.2, side * 0.66, side * 0.52), fill=255)
    draw.ellipse((side * 0.2, side * 0.6, side * 0.8, side * 1.2), fill=255)
    small = shape.resize(disc.size, Image.Resampling.BOX)
    clipped = Image.new("L", disc.size, 0)
    clipped.paste(small, (0, 0), disc)
    image.paste(colour, (left, top), clipped)
