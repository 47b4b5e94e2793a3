"""Where a watermark lies: always on the film, in its corner, as large as was asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.geometry import Rect, Size
from tapedeck.core.watermark import POSITIONS, mark_rect

FILM = Size(1280, 720)


@pytest.mark.parametrize(
    ("position", "at"),
    [("left top", (18, 18)), ("right top", (1162, 18)), ("left bottom", (18, 652)), ("right bottom", (1162, 652))],
)
def test_it_lies_in_its_corner_with_a_margin(position: str, at: tuple[int, int]) -> None:
    assert mark_rect(Size(200, 100), FILM, position, 100, 50) == Rect(*at, 100, 50)


@pytest.mark.parametrize(
    ("image", "given", "shown"),
    [
        (Size(200, 100), (None, None), (200, 100)),  # its own size
        (Size(2000, 1000), (None, None), (320, 160)),  # a quarter of the film's width
        (Size(100, 1000), (None, None), (18, 180)),  # a quarter of its height
        (Size(200, 100), (100, None), (100, 50)),
        (Size(200, 100), (None, 33), (66, 33)),
        (Size(200, 100), (300, 10), (300, 10)),  # both: as asked for, whatever the shape
        (Size(200, 100), (2560, None), (1280, 640)),  # never beyond the film
        (Size(1, 4000), (None, None), (1, 180)),
    ],
)
def test_its_size(image: Size, given: tuple[int | None, int | None], shown: tuple[int, int]) -> None:
    rect = mark_rect(image, FILM, "left top", *given)
    assert (rect.width, rect.height) == shown


side = st.integers(1, 10_000)
wish = st.none() | st.integers(1, 1_000_000)


@given(side, side, st.integers(1, 960), st.integers(1, 960), st.sampled_from(POSITIONS), wish, wish)
def test_it_is_always_on_the_film(
    width: int, height: int, half_width: int, half_height: int, position: str, wide: int | None, high: int | None
) -> None:
    film = Size(2 * half_width, 2 * half_height)
    rect = mark_rect(Size(width, height), film, position, wide, high)
    assert rect.width >= 1 and rect.height >= 1
    assert rect.inside(Rect(0, 0, film.width, film.height))
    assert rect.x % 2 == rect.y % 2 == 0
