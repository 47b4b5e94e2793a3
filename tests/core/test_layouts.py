"""Laws of the layouts, for any number of tiles and any canvas."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tapedeck.core.geometry import Rect, Size
from tapedeck.core.layouts import MAX_TILES, Layout, arrange, gap_of, grid, radius_of, seats

canvases = st.builds(Size, st.integers(1, 2000), st.integers(1, 2000))


@given(st.integers(0, 40), canvases)
def test_tiles_are_inside_apart_even_and_of_one_size(count: int, canvas: Size) -> None:
    rects = grid(count, canvas)
    whole = Rect(0, 0, canvas.width, canvas.height)
    assert len(rects) <= count
    assert len({rect.size for rect in rects}) <= 1
    for index, rect in enumerate(rects):
        assert rect.inside(whole)
        assert all(n % 2 == 0 for n in (rect.x, rect.y, rect.width, rect.height))
        assert rect.width >= 2 and rect.height >= 2
        assert not any(rect.overlaps(other) for other in rects[index + 1 :])


@given(st.integers(1, MAX_TILES), st.builds(Size, st.integers(160, 1920), st.integers(160, 1920)))
def test_everybody_has_a_tile_on_a_usual_canvas(count: int, canvas: Size) -> None:
    rects = grid(count, canvas)
    assert len(rects) == count
    keys = [(rect.y, rect.x) for rect in rects]
    assert keys == sorted(keys)  # in reading order


@given(st.integers(2, MAX_TILES), st.builds(Size, st.integers(320, 1920), st.integers(320, 1920)))
def test_rows_are_centred(count: int, canvas: Size) -> None:
    rects = grid(count, canvas)
    for y in {rect.y for rect in rects}:
        row = [rect for rect in rects if rect.y == y]
        assert abs((row[0].x + row[-1].right) - canvas.width) <= 4
    assert abs((rects[0].y + rects[-1].bottom) - canvas.height) <= 4


@given(st.integers(2, MAX_TILES), st.integers(320, 1920), st.integers(180, 1080))
def test_tiles_are_wide_on_a_wide_canvas(count: int, width: int, height: int) -> None:
    if width < height:
        return
    for rect in grid(count, Size(width, height)):
        assert abs(rect.width / rect.height - 16 / 9) < 0.2


@pytest.mark.parametrize(
    ("count", "columns", "rows"),
    [(1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 2, 2), (5, 3, 2), (9, 3, 3), (16, 4, 4), (25, 5, 5)],
)
def test_the_usual_grids(count: int, columns: int, rows: int) -> None:
    rects = grid(count, Size(1280, 720))
    assert len({rect.y for rect in rects}) == rows
    assert max(sum(rect.y == y for rect in rects) for y in {rect.y for rect in rects}) == columns


def test_one_fills_the_canvas() -> None:
    assert grid(1, Size(1280, 720)) == (Rect(0, 0, 1280, 720),)
    assert grid(1, Size(721, 405)) == (Rect(0, 0, 720, 404),)


def test_a_tall_canvas_is_filled_better_by_narrower_tiles() -> None:
    two = grid(2, Size(720, 1280))
    assert len({rect.x for rect in two}) == 1
    assert sum(rect.size.area for rect in two) > 0.85 * 720 * 1280


def test_a_tiny_canvas_shows_what_it_can() -> None:
    assert grid(25, Size(2, 2)) == (Rect(0, 0, 2, 2),)
    assert len(grid(4, Size(4, 4))) == 4
    assert grid(3, Size(1, 5)) == ()
    assert grid(0, Size(1280, 720)) == ()
    assert gap_of(Size(2, 2)) == radius_of(Size(2, 2)) == 0


def test_tiles_move_only_when_their_number_changes_the_grid() -> None:
    before, after = grid(7, Size(1280, 720)), grid(8, Size(1280, 720))
    assert before[:6] == after[:6]  # two full rows of three stay, only the last one is centred anew


layouts = st.sampled_from(Layout)
usual = st.builds(Size, st.integers(160, 1920), st.integers(160, 1920))


@given(layouts, st.integers(0, 30), st.builds(Size, st.integers(1, 1920), st.integers(1, 1920)))
def test_tiles_of_any_layout_are_inside_apart_and_even(layout: Layout, count: int, canvas: Size) -> None:
    rects = arrange(layout, count, canvas)
    whole = Rect(0, 0, canvas.width, canvas.height)
    assert len(rects) <= count
    assert bool(rects) == (count > 0 and canvas.width >= 2 and canvas.height >= 2)
    for index, rect in enumerate(rects):
        assert rect.inside(whole)
        assert all(n % 2 == 0 for n in (rect.x, rect.y, rect.width, rect.height))
        assert rect.width >= 2 and rect.height >= 2
        assert not any(rect.overlaps(other) for other in rects[index + 1 :])
    assert len({rect.size for rect in rects[1:]}) <= 1


@example(Layout.SIDEBAR, 2, Size(160, 162))
@given(st.sampled_from([Layout.SPEAKER, Layout.SIDEBAR]), st.integers(2, 30), usual)
def test_all_who_have_a_seat_are_there_and_the_first_is_large_and_stays(
    layout: Layout, count: int, canvas: Size
) -> None:
    count = min(count, seats(layout, canvas))
    rects = arrange(layout, count, canvas)
    assert len(rects) == count
    assert all(rects[0].size.area > 2 * rect.size.area for rect in rects[1:])
    assert rects[0] == arrange(layout, 2, canvas)[0]
    assert [(r.y, r.x) for r in rects[1:]] == sorted((r.y, r.x) for r in rects[1:])


@given(usual, st.integers(0, 30))
def test_a_single_layout_is_one_tile_over_everything(canvas: Size, count: int) -> None:
    whole = Rect(0, 0, canvas.width & ~1, canvas.height & ~1)
    assert arrange(Layout.SINGLE, count, canvas) == ((whole,) if count else ())
    assert seats(Layout.SINGLE, canvas) == 1


@given(st.sampled_from([Layout.SPEAKER, Layout.SIDEBAR]), usual)
def test_one_alone_fills_the_canvas(layout: Layout, canvas: Size) -> None:
    assert arrange(layout, 1, canvas) == grid(1, canvas)


@pytest.mark.parametrize("canvas", [Size(1280, 720), Size(1920, 1080), Size(640, 360), Size(720, 720)])
def test_a_wide_canvas_has_the_others_below_the_speaker_and_beside_the_screen(canvas: Size) -> None:
    large, *strip = arrange(Layout.SPEAKER, 6, canvas)
    assert len({rect.y for rect in strip}) == 1 and strip[0].y >= large.bottom
    assert large.height > 0.5 * canvas.height
    large, *column = arrange(Layout.SIDEBAR, 6, canvas)
    assert all(rect.x >= large.right for rect in column)
    assert large.size.area > 0.7 * canvas.area


@pytest.mark.parametrize("layout", [Layout.SPEAKER, Layout.SIDEBAR])
@pytest.mark.parametrize("canvas", [Size(720, 1280), Size(1080, 1920), Size(360, 640)])
def test_an_upright_canvas_has_the_large_tile_above_the_others(layout: Layout, canvas: Size) -> None:
    large, *small = arrange(layout, 5, canvas)
    assert large.width > 0.95 * canvas.width
    assert all(rect.y >= large.bottom and 1 <= rect.width / rect.height <= 1.8 for rect in small)
    assert large.width / large.height < (1.1 if layout is Layout.SPEAKER else 1.8)


@given(st.sampled_from([Layout.SPEAKER, Layout.SIDEBAR]), usual)
def test_small_tiles_are_not_too_small_to_see_somebody(layout: Layout, canvas: Size) -> None:
    rects = arrange(layout, seats(layout, canvas), canvas)
    if 0.5 < canvas.width / canvas.height < 2:
        assert rects[-1].size.area * 160 > canvas.area
