"""Parts of canvases, moved, stretched and mixed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.geometry import Rect, Size
from tapedeck.media.moving import fade, move
from tapedeck.media.picture import Canvas

SIZE = Size(64, 36)


def halves() -> Canvas:
    """Dark on the left, bright on the right."""
    canvas = Canvas(SIZE)
    for plane, dark, bright in zip(canvas.planes, (30, 100, 110), (200, 150, 160), strict=True):
        plane[:, : plane.shape[1] // 2] = dark
        plane[:, plane.shape[1] // 2 :] = bright
    return canvas


def plain(value: int) -> Canvas:
    canvas = Canvas(SIZE)
    for plane in canvas.planes:
        plane[:] = value
    return canvas


rects = st.builds(
    lambda x, y, w, h: Rect(2 * x, 2 * y, 2 * min(w, 32 - x), 2 * min(h, 18 - y)),
    st.integers(0, 31),
    st.integers(0, 17),
    st.integers(1, 32),
    st.integers(1, 18),
)


@given(rects, rects)
def test_only_the_place_it_goes_to_is_touched(to: Rect, at: Rect) -> None:
    target, source = plain(0), plain(77)
    move(target, to, source, at)
    for index, plane in enumerate(target.planes):
        by = 1 if index == 0 else 2
        assert plane.sum() == 77 * (to.width // by) * (to.height // by)
        assert (plane[to.y // by : to.bottom // by, to.x // by : to.right // by] == 77).all()


def test_a_part_is_stretched_evenly() -> None:
    target = plain(0)
    move(target, Rect(10, 4, 40, 8), halves(), Rect(16, 0, 32, 36))
    assert (target.planes[0][4:12, 10:30] == 30).all() and (target.planes[0][4:12, 30:50] == 200).all()
    assert (target.planes[1][2:6, 5:15] == 100).all() and (target.planes[2][2:6, 15:25] == 160).all()


def test_two_are_seen_through_each_other() -> None:
    target = plain(10)
    fade(target, Rect(0, 0, 64, 36), plain(100), 0.25, plain(200))
    assert all((plane == 125).all() for plane in target.planes)
    fade(target, Rect(2, 2, 2, 2), None, 1.0, plain(50))
    assert np.count_nonzero(target.planes[0] == 50) == 4
    fade(target, Rect(0, 0, 64, 36), None, 0.0, plain(255))
    assert target.planes[0][0, 0] == 125
