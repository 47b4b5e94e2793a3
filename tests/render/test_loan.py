"""One person at the film's size: the decoder's own picture is the film's, for as long as it is written."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.media.cameras import film_of
from tests.render.test_video import CANVAS, ONE, STEPS, TWO, is_same, painter, person, picture, scene, seen

from tapedeck.core.frames import Codec
from tapedeck.core.geometry import Rect, Size
from tapedeck.core.layouts import Layout
from tapedeck.core.scene import Scene
from tapedeck.media.decode import Picture, VideoDecoder
from tapedeck.media.fonts import Fonts
from tapedeck.media.mark import MarkedCanvas
from tapedeck.media.picture import planes_of
from tapedeck.media.text import TextPainter
from tapedeck.render.video import Painter

NAMED = scene(person("ada", label="Ada Lovelace"))


def whole(luma: int) -> Picture:
    return picture(luma, CANVAS.width, CANVAS.height)


def copied(one: Picture) -> Picture:
    """The same, which is not lent."""
    return replace(one, has_more=True)


def pixels(one: Picture) -> list[NDArray[np.uint8]]:
    return [plane.copy() for plane in planes_of(one.frame)]


def test_a_picture_of_the_films_size_is_the_films_with_the_name_over_it_and_given_back_as_it_was() -> None:
    it, plain, one = painter(), painter(), whole(90)
    before = pixels(one)
    plain.paint(NAMED, [copied(one)])
    assert it.paint(NAMED, [one])
    assert it.seen.frame is one.frame and it.scaled == 0
    assert is_same(seen(it), seen(plain)) and not is_same(seen(it), before)
    it.give_back()
    assert is_same(pixels(one), before)


def test_painting_on_gives_back_what_was_lent() -> None:
    it, one, two = painter(), whole(90), whole(120)
    it.paint(NAMED, [one])
    it.paint(NAMED, [two])
    assert it.seen.frame is two.frame and is_same(pixels(one), pixels(whole(90)))


def test_a_picture_that_stays_is_lent_once_and_then_on_the_canvas() -> None:
    it, one = painter(), whole(90)
    shown = []
    for _ in range(3):
        it.paint(NAMED, [one])
        shown.append(seen(it))
        it.give_back()
    assert it.seen is it.canvas and it.scaled == 1
    assert is_same(shown[0], shown[1]) and not it.paint(NAMED, [one])


@pytest.mark.parametrize(
    ("tiles", "one"),
    [
        (ONE, picture(90)),
        (ONE, picture(90, 640, 480)),
        (ONE, copied(whole(90))),
        (Scene((person("ada"), person("bob")), Layout.GRID), whole(90)),
    ],
    ids=["smaller", "another shape", "with captions", "one of two"],
)
def test_what_has_to_be_changed_is_copied(tiles: Scene, one: Picture) -> None:
    it = painter()
    it.paint(tiles, [one, None][: len(tiles.tiles)])
    assert it.seen is it.canvas


def test_other_colours_and_full_range_are_converted() -> None:
    for name, value in (("colorspace", 5), ("color_range", 2)):
        it, one = painter(), whole(90)
        setattr(one.frame, name, value)
        it.paint(ONE, [one])
        assert it.seen is it.canvas


def test_under_a_watermark_the_picture_is_copied() -> None:
    mark = Image.new("RGBA", (20, 20), (255, 0, 0, 255))
    it = Painter(CANVAS, TextPainter(Fonts([])), new_canvas=lambda size: MarkedCanvas(size, mark, Rect(0, 0, 20, 20)))
    it.paint(ONE, [whole(90)])
    assert it.seen is it.canvas


def test_a_slide_begins_with_what_was_lent_and_ends_in_the_same_scene() -> None:
    it, plain = painter(), painter()
    ada, bob = [whole(60 + n) for n in range(20)], picture(200)
    script = [ONE, ONE, *[TWO] * (STEPS + 2), *[ONE] * (STEPS + 2), NAMED]
    for number, each in enumerate(script):
        shown = [ada[number], bob][: len(each.tiles)]
        plain.paint(each, [copied(one) for one in shown])
        it.paint(each, shown)
        assert is_same(seen(it), seen(plain)), number
        it.give_back()


def test_who_is_gone_in_the_picture_after_a_loan_leaves_their_place() -> None:
    it, plain = painter(), painter()
    for way, one in ((it, whole(60)), (plain, copied(whole(60)))):
        way.paint(ONE, [one])
        way.give_back()
        way.paint(scene(person("bob")), [picture(200)])
    assert is_same(seen(it), seen(plain))


@pytest.mark.parametrize(("codec", "least"), [(Codec.H264, 29), (Codec.VP8, 0)])
def test_a_decoder_makes_the_same_pictures_whether_they_were_lent_or_not(codec: Codec, least: int) -> None:
    """VP8 says that it is BT.601, and is converted."""
    size = Size(64, 48)
    it = Painter(size, TextPainter(Fonts([])))
    lent, plain = VideoDecoder(), VideoDecoder()
    loans = 0
    for frame in film_of(range(40, 220, 6), codec=codec):
        one, other = lent.decode(frame), plain.decode(frame)
        assert one is not None and other is not None
        assert is_same(pixels(one), pixels(other))
        it.paint(NAMED, [one])
        loans += it.seen.frame is one.frame
        it.give_back()
    assert loans >= least
