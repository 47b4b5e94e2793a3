"""Each layout looks as it did when somebody last looked at it (`tests/render/golden.py`)."""

import numpy as np
import pytest
from tests.render.golden import CASES, FOLDER, Case, load, paint_case, ssim, to_pixels


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_layout_looks_as_it_did(case: Case) -> None:
    now, kept = to_pixels(paint_case(case)), load(case.name)
    assert now.shape == kept.shape
    whole, worst = ssim(now[0], kept[0])
    assert whole >= 0.98 and worst >= 0.85
    assert np.abs(now[1:].astype(int) - kept[1:]).mean() < 1.5


def test_every_kept_picture_is_looked_at() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {case.name for case in CASES}


def test_the_bar_tells_a_tile_that_moved_and_a_name_that_is_missing() -> None:
    kept = load("grid-four")[0]
    assert ssim(kept, kept) == pytest.approx((1, 1))
    assert ssim(kept, np.roll(kept, 4, axis=1))[0] < 0.95
    nameless = kept.copy()
    nameless[330:356, 4:120] = nameless[320, 8]
    assert ssim(kept, nameless)[1] < 0.6
