"""Laws of fitting and covering, for any picture and box."""

from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.geometry import Placement, Rect, Size, between, cover, even, fit

sides = st.integers(1, 5000)
even_sides = st.integers(1, 1000).map(lambda n: 2 * n)
sources = st.builds(Size, sides, sides)
boxes = st.builds(Size, even_sides, even_sides)


def assert_sound(placement: Placement, box: Size) -> None:
    numbers = [
        placement.scaled.width,
        placement.scaled.height,
        *(getattr(rect, name) for rect in (placement.crop, placement.at) for name in ("x", "y", "width", "height")),
    ]
    assert all(number % 2 == 0 and number >= 0 for number in numbers)
    assert placement.crop.size == placement.at.size
    assert placement.crop.width >= 2 and placement.crop.height >= 2
    assert placement.crop.inside(Rect(0, 0, placement.scaled.width, placement.scaled.height))
    assert placement.at.inside(Rect(0, 0, box.width, box.height))


@given(sources, boxes)
def test_fit_shows_all_of_the_picture_in_the_middle(source: Size, box: Size) -> None:
    placement = fit(source, box)
    assert_sound(placement, box)
    assert placement.crop == Rect(0, 0, placement.scaled.width, placement.scaled.height)
    assert placement.at.width == box.width or placement.at.height == box.height
    assert abs(2 * placement.at.x + placement.at.width - box.width) <= 2
    assert abs(2 * placement.at.y + placement.at.height - box.height) <= 2


@given(sources, boxes, st.floats(0.0, 0.9))
def test_cover_cuts_no_more_than_its_share(source: Size, box: Size, most_cut: float) -> None:
    placement = cover(source, box, most_cut)
    assert_sound(placement, box)
    for whole, seen in (
        (placement.scaled.width, placement.crop.width),
        (placement.scaled.height, placement.crop.height),
    ):
        assert whole - seen <= whole * most_cut + 4  # even numbers


@given(st.integers(64, 4000), st.integers(64, 4000), st.integers(32, 500), st.integers(32, 500))
def test_cover_leaves_no_bars_unless_too_much_would_be_cut(w: int, h: int, half_w: int, half_h: int) -> None:
    source, box = Size(w, h), Size(2 * half_w, 2 * half_h)
    placement = cover(source, box, 0.5)
    ratio = (w / h) / (box.width / box.height)
    if 0.52 < ratio < 1.92:
        assert placement.at == Rect(0, 0, box.width, box.height)
    elif not 0.48 < ratio < 2.08:
        assert placement.at != Rect(0, 0, box.width, box.height)


@given(st.integers(16, 2000), st.integers(16, 2000), boxes)
def test_a_picture_keeps_its_shape(w: int, h: int, box: Size) -> None:
    for placement in (fit(Size(w, h), box), cover(Size(w, h), box, 0.5)):
        scaled = placement.scaled
        if min(scaled.width, scaled.height) >= 100:
            assert abs((scaled.width / scaled.height) / (w / h) - 1) < 0.03


def test_the_usual_cases() -> None:
    tile = Size(640, 360)
    assert cover(Size(1280, 720), tile) == Placement(tile, Rect(0, 0, 640, 360), Rect(0, 0, 640, 360))
    four_by_three = cover(Size(640, 480), tile)
    assert four_by_three == Placement(Size(640, 480), Rect(0, 40, 640, 360), Rect(0, 0, 640, 360))
    telephone = cover(Size(720, 1280), tile)
    assert telephone.at.height == 360 and 200 < telephone.at.width < 420
    assert fit(Size(1920, 1200), tile).at == Rect(32, 0, 576, 360)


def test_even_rounds_down() -> None:
    assert [even(n) for n in (0, 1, 2, 3, 719)] == [0, 0, 2, 2, 718]


rects = st.builds(
    lambda x, y, w, h: Rect(2 * x, 2 * y, 2 * w, 2 * h), *[st.integers(0, 900)] * 2, *[st.integers(1, 900)] * 2
)


@given(rects, rects, st.floats(0, 1))
def test_on_the_way_from_one_rectangle_to_another(first: Rect, second: Rect, share: float) -> None:
    assert between(first, second, 0) == first and between(first, second, 1) == second
    rect = between(first, second, share)
    assert all(n % 2 == 0 for n in (rect.x, rect.y, rect.width, rect.height)) and rect.width >= 2 and rect.height >= 2
    left, top = min(first.x, second.x), min(first.y, second.y)
    right, bottom = max(first.right, second.right), max(first.bottom, second.bottom)
    assert rect.inside(Rect(left, top, right - left, bottom - top))
