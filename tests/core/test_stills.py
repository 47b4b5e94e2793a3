"""Which stills are kept of a film whose length nobody knows, and what the storyboard says of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.geometry import Size
from tapedeck.core.stills import Posters, Strip, names_of, storyboard, thumb_size

S = 1_000_000_000


@given(st.integers(1, 90_000))
def test_thumbnails_lie_at_even_distances_however_long_the_film_is(seconds: int) -> None:
    strip: Strip[int] = Strip()
    for second in range(seconds):
        if strip.wants(second * S):
            strip.add(second)
    every = strip.every_ns // S
    assert strip.stills == list(range(0, seconds, every))
    assert 1 <= len(strip.stills) < 100
    assert every == 2 or len(strip.stills) >= 50


@given(st.integers(1, 90_000 * 2))
def test_the_poster_is_from_the_second_quarter(halves: int) -> None:
    posters: Posters[int] = Posters()
    for half in range(halves):
        if posters.wants(half * S // 2):
            posters.add(half * S // 2, half)
    best = posters.best(halves * S // 2)
    assert best is not None and len(posters.kept) <= 3
    assert best <= halves / 2
    assert best >= halves / 4 - 1 or halves < 8


def test_a_storyboard_names_each_thumbnail_and_its_time() -> None:
    text = storyboard("a-sprite.jpg", Size(160, 90), 12, 2 * S, 23 * S + 500_000_000)
    cues = text.split("\n\n")
    assert cues[0] == "WEBVTT" and len(cues) == 13
    assert cues[1] == "00:00:00.000 --> 00:00:02.000\na-sprite.jpg#xywh=0,0,160,90"
    assert cues[11] == "00:00:20.000 --> 00:00:22.000\na-sprite.jpg#xywh=0,90,160,90"
    assert cues[12].strip() == "00:00:22.000 --> 00:00:23.500\na-sprite.jpg#xywh=160,90,160,90"


@pytest.mark.parametrize(
    ("film", "thumb"),
    [((1280, 720), (160, 90)), ((720, 1280), (90, 160)), ((640, 640), (160, 160)), ((1920, 2), (160, 2))],
)
def test_thumbnails_have_the_shape_of_the_film(film: tuple[int, int], thumb: tuple[int, int]) -> None:
    assert thumb_size(Size(*film)) == Size(*thumb)


def test_stills_lie_beside_their_film() -> None:
    assert names_of("a_1.mp4") == ("a_1-poster.jpg", "a_1-sprite.jpg", "a_1-storyboard.vtt")
