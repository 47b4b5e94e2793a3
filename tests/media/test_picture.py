"""The canvas: colours, scaling, overlays, and encoders that copy what they are given."""

from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.media.cameras import flat

from tapedeck.core.errors import MediaError
from tapedeck.core.geometry import Placement, Rect, Size, cover, fit
from tapedeck.media.decode import Picture
from tapedeck.media.picture import Canvas, Scaler, from_image, planes_of, rounded, to_yuv


def picture(width: int, height: int, luma: int, cb: int = 128, cr: int = 128, pixels: str = "yuv420p") -> Picture:
    frame = av.VideoFrame(width, height, pixels)
    for view, source in zip(planes_of(frame), flat(width, height, luma, cb, cr), strict=True):
        view[:] = source
    return Picture(frame, 0)


def levels(planes: tuple[Any, ...]) -> list[tuple[int, int]]:
    return [(int(plane.min()), int(plane.max())) for plane in planes]


@pytest.mark.parametrize(
    ("colour", "yuv"),
    [
        ((255, 255, 255), (235, 128, 128)),
        ((0, 0, 0), (16, 128, 128)),
        ((255, 0, 0), (63, 102, 240)),
        ((0, 255, 0), (173, 42, 26)),
        ((0, 0, 255), (32, 240, 118)),
    ],
)
def test_colours_are_bt709_limited(colour: tuple[int, int, int], yuv: tuple[int, int, int]) -> None:
    """ITU-R BT.709-6: the numbers of the colour bars."""
    assert to_yuv(colour) == yuv
    planes = from_image(Image.new("RGB", (16, 8), colour))
    assert all(abs(int(plane.mean()) - value) <= 1 for plane, value in zip(planes, yuv, strict=True))


def test_the_canvas_says_what_its_numbers_mean() -> None:
    frame = Canvas(Size(16, 16)).frame
    assert (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc) == (1, 1, 1, 1)


@pytest.mark.parametrize("codec", ["libx264", "libvpx"])
def test_encoders_copy_the_canvas(codec: str) -> None:
    """The film paints on while earlier pictures wait inside the encoder."""
    canvas = Canvas(Size(64, 64))
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 64, "yuv420p", Fraction(1, 30)
    if codec == "libx264":
        encoder.options = {"preset": "veryfast", "qp": "4"}
    else:
        encoder.bit_rate, encoder.options = 4_000_000, {"lag-in-frames": "16"}
    decoder = av.CodecContext.create("h264" if codec == "libx264" else "vp8", "r")
    assert isinstance(decoder, VideoCodecContext)
    packets = []
    lumas = [30 + (index * 67) % 180 for index in range(40)]
    for index, luma in enumerate(lumas):
        canvas.fill(Rect(0, 0, 64, 64), (luma, luma, luma))
        canvas.frame.pts = index
        packets += encoder.encode(canvas.frame)
    canvas.fill(Rect(0, 0, 64, 64), (255, 0, 0))
    packets += encoder.encode(None)
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    seen = [float(planes_of(frame)[0].mean()) for frame in frames]
    expected = [to_yuv((luma, luma, luma))[0] for luma in lumas]
    assert len(seen) == len(expected)
    assert all(abs(a - b) < 5 for a, b in zip(seen, expected, strict=True))


@pytest.mark.parametrize("size", [Size(2, 2), Size(6, 2), Size(722, 402), Size(64, 66)])
def test_a_canvas_of_any_even_size(size: Size) -> None:
    canvas = Canvas(size)
    canvas.fill(Rect(0, 0, size.width, size.height), (255, 255, 255))
    assert levels(canvas.planes) == [(235, 235), (128, 128), (128, 128)]
    assert (canvas.frame.width, canvas.frame.height) == (size.width, size.height)


@settings(max_examples=40, deadline=None)
@given(
    st.builds(Size, st.integers(1, 400), st.integers(1, 400)),
    st.builds(Size, st.integers(1, 60).map(lambda n: 2 * n), st.integers(1, 60).map(lambda n: 2 * n)),
    st.booleans(),
)
def test_any_picture_can_be_put_into_any_tile(source: Size, tile: Size, whole: bool) -> None:
    canvas = Canvas(Size(tile.width + 8, tile.height + 8))
    canvas.fill(Rect(0, 0, tile.width + 8, tile.height + 8), (0, 0, 0))
    placement = fit(source, tile) if whole else cover(source, tile)
    planes = Scaler().scale(picture(source.width, source.height, 180, 90, 160), placement.scaled)
    canvas.put(planes, Rect(4, 4, tile.width, tile.height), placement)
    luma = canvas.planes[0]
    inner = luma[4 + placement.at.y : 4 + placement.at.bottom, 4 + placement.at.x : 4 + placement.at.right]
    # Hundreds of lines of one are a sum of as many weights, each rounded (1x340 into 2x4: 177)
    assert np.all(np.abs(inner.astype(int) - 180) <= 4)
    assert int((luma > 100).sum()) == inner.size  # and nothing outside


def test_a_full_range_source_is_brought_to_limited_range() -> None:
    for value, expected in ((0, 16), (255, 235), (128, 126)):
        source = picture(64, 64, value)
        source.frame.color_range = 2
        assert abs(int(Scaler().scale(source, Size(32, 32))[0].mean()) - expected) <= 1
        pixels = picture(64, 64, value, pixels="yuvj420p")
        assert abs(int(Scaler().scale(pixels, Size(32, 32))[0].mean()) - expected) <= 1


def test_a_source_that_says_bt601_is_converted_and_one_that_says_nothing_is_not() -> None:
    red_601 = (81, 90, 240)
    said = picture(64, 64, *red_601)
    said.frame.colorspace = 6
    converted = [int(plane.mean()) for plane in Scaler().scale(said, Size(32, 32))]
    assert all(abs(a - b) <= 2 for a, b in zip(converted, (63, 102, 240), strict=True))
    silent = [int(plane.mean()) for plane in Scaler().scale(picture(64, 64, *red_601), Size(32, 32))]
    assert all(abs(a - b) <= 1 for a, b in zip(silent, red_601, strict=True))


def test_one_scaler_takes_pictures_of_changing_size() -> None:
    scaler = Scaler()
    for width, luma in ((64, 50), (320, 200), (64, 50), (33, 120)):
        assert abs(int(scaler.scale(picture(width, width, luma), Size(40, 30))[0].mean()) - luma) <= 1


def test_scaling_to_nothing_is_a_media_error() -> None:
    with pytest.raises(MediaError, match="scaling a picture failed"):
        Scaler().scale(picture(8, 8, 0), Size(-2, 4))


def test_an_image_over_a_picture_is_blended_by_its_alpha() -> None:
    canvas = Canvas(Size(64, 32))
    canvas.fill(Rect(0, 0, 64, 32), (255, 255, 255))
    maker = canvas.overlay_maker(Rect(16, 8, 32, 16))
    maker.image(Image.new("RGBA", (8, 6), (0, 0, 0, 128)), 4, 2)
    canvas.blend(maker.done())
    luma = canvas.planes[0]
    assert abs(int(luma[12, 22]) - (235 + 16) // 2) <= 2
    assert (luma < 230).sum() == 8 * 6 and np.all(luma[10:16, 20:28] < 230)


def test_what_sticks_out_of_the_tile_is_cut() -> None:
    canvas = Canvas(Size(32, 32))
    canvas.fill(Rect(0, 0, 32, 32), (0, 0, 0))
    maker = canvas.overlay_maker(Rect(8, 8, 16, 16))
    maker.image(Image.new("RGBA", (99, 7), (255, 255, 255, 255)), 10, 12)
    maker.image(Image.new("RGBA", (4, 4), (255, 255, 255, 255)), 40, 0)
    canvas.blend(maker.done())
    assert int((canvas.planes[0] > 100).sum()) == 6 * 4


def test_a_mask_shows_what_is_outside_in_the_corners_only() -> None:
    canvas = Canvas(Size(48, 48))
    canvas.fill(Rect(0, 0, 48, 48), (0, 0, 255))
    tile = Rect(8, 8, 32, 32)
    maker = canvas.overlay_maker(tile)
    maker.mask(rounded(tile.size, 8), canvas.part(tile))
    overlay = maker.done()
    canvas.fill(tile, (255, 255, 255))
    canvas.blend(overlay)
    luma, cb, _ = canvas.planes
    blue, white = to_yuv((0, 0, 255)), to_yuv((255, 255, 255))
    assert luma[8, 8] == luma[39, 39] == luma[8, 39] == blue[0] and cb[4, 4] == blue[1]
    assert luma[24, 8] == luma[8, 24] == luma[24, 24] == white[0]
    assert 0 < overlay.size < 32 * 32 * 0.2
    before = luma.copy()
    canvas.fill(tile, (255, 255, 255))
    canvas.blend(overlay)
    assert np.array_equal(luma, before)  # the same again, however often


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_blending_never_wraps_around(below: int, red: int, green: int, alpha: int) -> None:
    canvas = Canvas(Size(4, 4))
    for plane in canvas.planes:
        plane[:] = below
    maker = canvas.overlay_maker(Rect(0, 0, 4, 4))
    maker.image(Image.new("RGBA", (4, 4), (red, green, 255, alpha)), 0, 0)
    canvas.blend(maker.done())
    for plane, value in zip(canvas.planes, to_yuv((red, green, 255)), strict=True):
        expected = below + (value - below) * alpha / 255
        assert abs(int(plane[0, 0]) - expected) <= 2


def test_rounded_covers_all_but_the_corners() -> None:
    mask = rounded(Size(40, 20), 5)
    assert mask[0, 0] == 0 and mask[0, 20] == 1 and mask[10, 0] == 1 and mask[10, 20] == 1
    assert 40 * 20 - mask.sum() == pytest.approx((4 - np.pi) * 25, rel=0.1)
    smaller = rounded(Size(40, 20), 5, -2)
    assert smaller[1, 20] == 0 and smaller[2, 20] == 1


def test_placement_of_a_whole_tile() -> None:
    canvas = Canvas(Size(8, 8))
    whole = Rect(0, 0, 4, 4)
    canvas.fill(Rect(0, 0, 8, 8), (0, 0, 0))
    canvas.put(flat(4, 4, 99, 1, 2), Rect(4, 2, 4, 4), Placement(whole.size, whole, whole))
    assert np.argwhere(canvas.planes[0] == 99).min(axis=0).tolist() == [2, 4]
    assert np.argwhere(canvas.planes[1] == 1).tolist() == [[1, 2], [1, 3], [2, 2], [2, 3]]
