"""Watermarks: which images count, and what is on the canvas with one over it."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.media.marks import HOSTILE, image_bytes, scanned

from tapedeck.core.errors import InvalidError
from tapedeck.core.geometry import Placement, Rect, Size
from tapedeck.media.mark import MarkedCanvas, checked_png
from tapedeck.media.picture import Canvas, to_yuv

SIZE = Size(64, 36)
AT = Rect(8, 4, 15, 9)
RED, WHITE = (255, 0, 0), (255, 255, 255)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_three_formats_are_images(form: str) -> None:
    image = Image.open(BytesIO(checked_png(image_bytes(form))))
    assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (64, 32))
    red, green, blue, alpha = image.getpixel((30, 15))  # type: ignore[misc]
    assert red > 250 and green < 6 and blue < 6 and alpha == 255


@pytest.mark.parametrize("kind", HOSTILE)
def test_everything_else_is_refused_with_a_reason(kind: str) -> None:
    data, reason = HOSTILE[kind]
    with pytest.raises(InvalidError, match=reason):
        checked_png(data)


GREY = np.full((20, 40), 0x9C40, np.uint16)


@pytest.mark.parametrize(
    ("image", "form", "seen"),
    [
        (Image.new("CMYK", (40, 20), (0, 255, 255, 0)), "JPEG", (255, 0, 0, 255)),
        (Image.new("L", (40, 20), 156), "JPEG", (156, 156, 156, 255)),
        (Image.new("LA", (40, 20), (156, 100)), "PNG", (156, 156, 156, 100)),
        (Image.new("1", (40, 20), 1), "PNG", (255, 255, 255, 255)),
        (Image.new("RGB", (40, 20), (255, 0, 0)).convert("P"), "PNG", (255, 0, 0, 255)),
        (Image.fromarray(GREY), "PNG", (156, 156, 156, 255)),
    ],
    ids=["cmyk", "grey", "grey and alpha", "bits", "palette", "16 bits"],
)
def test_every_kind_of_pixel_keeps_its_colour(image: Image.Image, form: str, seen: tuple[int, ...]) -> None:
    packed = BytesIO()
    image.save(packed, form)
    found = Image.open(BytesIO(checked_png(packed.getvalue()))).getpixel((20, 10))
    assert isinstance(found, tuple) and max(abs(a - b) for a, b in zip(found, seen, strict=True)) <= 3


def test_a_progressive_jpeg_is_an_image() -> None:
    assert Image.open(BytesIO(checked_png(scanned(0)))).size == (320, 240)


def test_a_large_image_is_kept_no_larger_than_any_film() -> None:
    assert Image.open(BytesIO(checked_png(image_bytes(size=(3840, 2160))))).size == (1920, 1080)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP"]), st.integers(0, 400), st.binary(min_size=1, max_size=8))
def test_damage_anywhere_is_an_image_or_a_refusal(form: str, at: int, noise: bytes) -> None:
    data = bytearray(image_bytes(form))
    at = min(at, len(data) - 1)
    data[at : at + len(noise)] = noise
    try:
        assert checked_png(bytes(data)).startswith(b"\x89PNG")
    except InvalidError as exc:
        assert str(exc)


def marked(alpha: int = 255) -> MarkedCanvas:
    return MarkedCanvas(SIZE, Image.new("RGBA", (30, 18), (*RED, alpha)), AT)


def paint(canvas: Canvas, luma: int, tile: Rect) -> None:
    planes = tuple(
        np.full((tile.height // by, tile.width // by), value, np.uint8) for by, value in ((1, luma), (2, 128), (2, 128))
    )
    whole = Rect(0, 0, tile.width, tile.height)
    canvas.put((planes[0], planes[1], planes[2]), tile, Placement(whole.size, whole, whole))


def test_the_mark_lies_exactly_in_its_place() -> None:
    canvas = marked()
    canvas.fill(Rect(0, 0, 64, 36), WHITE)
    canvas.seal()
    luma = canvas.planes[0]
    inside = np.zeros(luma.shape, bool)
    inside[AT.y : AT.bottom, AT.x : AT.right] = True
    assert set(luma[inside]) == {to_yuv(RED)[0]} and set(luma[~inside]) == {to_yuv(WHITE)[0]}


def test_half_a_mark_lets_half_of_the_picture_through() -> None:
    canvas = marked(128)
    canvas.fill(Rect(0, 0, 64, 36), WHITE)
    canvas.seal()
    middle = (to_yuv(RED)[0] + to_yuv(WHITE)[0]) / 2
    assert abs(int(canvas.planes[0][8, 12]) - middle) <= 2


def test_it_is_laid_once_per_change_and_never_twice_over_itself() -> None:
    """Left half and right half of what is beneath change at different times; each pixel has one mark over it."""
    canvas, plain = marked(128), Canvas(SIZE)
    left, right = Rect(0, 0, 16, 36), Rect(16, 0, 48, 36)
    for it in (canvas, plain):
        it.fill(Rect(0, 0, 64, 36), WHITE)
    for luma in range(40, 240, 10):
        paint(canvas, luma, left if luma % 20 else right)
        paint(plain, luma, left if luma % 20 else right)
        canvas.seal()
        fresh = marked(128)
        whole = Rect(0, 0, 64, 36)
        fresh.put(plain.part(whole), whole, Placement(whole.size, whole, whole))
        fresh.seal()
        for ours, theirs in zip(canvas.planes, fresh.planes, strict=True):
            assert np.array_equal(ours, theirs)


def test_what_is_read_from_the_canvas_is_what_was_painted() -> None:
    canvas = marked()
    canvas.fill(Rect(0, 0, 64, 36), WHITE)
    canvas.seal()
    assert set(canvas.part(AT)[0].flat) == {to_yuv(WHITE)[0]}


def test_painting_elsewhere_does_not_touch_it() -> None:
    canvas = marked()
    canvas.fill(Rect(0, 0, 64, 36), WHITE)
    canvas.seal()
    under = canvas._under
    paint(canvas, 90, Rect(32, 0, 32, 36))
    canvas.seal()
    assert canvas._under is under is not None
