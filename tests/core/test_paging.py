"""Pages, counted from one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.options import resolve_options
from tapedeck.core.paging import Listing, Page
from tapedeck.core.recording import RecordingOptions


def test_zero_is_the_default_and_sizes_are_capped() -> None:
    assert Page(0, 0) == Page(1, 20)
    assert Page(3, 500) == Page(3, 100)


@given(st.integers(0, 500), st.integers(1, 12), st.integers(1, 100))
def test_pages_cover_a_list_once(total: int, number: int, size: int) -> None:
    page = Page(number, size)
    items = list(range(total))[page.offset : page.offset + size]
    listing = Listing(items, total, page)
    if items:
        assert (listing.start_offset, listing.end_offset) == (items[0] + 1, items[-1] + 1)
    else:
        assert (listing.start_offset, listing.end_offset) == (0, 0)


@given(st.integers())
def test_any_number_gives_an_offset_that_a_database_can_hold(number: int) -> None:
    assert 0 <= Page(number, number).offset < 2**63


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ((), RecordingOptions()),
        ((None, {}), RecordingOptions()),
        (({"max_seconds": 60}, {"max_seconds": 90, "file_name_prefix": "m"}), RecordingOptions(1280, 720, 60, "m")),
        (({"video_config": {}}, {"video_config": {"width": 640}}), RecordingOptions()),
        (({}, {"video_config": {"width": 640}}), RecordingOptions(640, 720)),
        (({"video_config": {"height": 333}}, {"video_config": {"width": 640}}), RecordingOptions(1280, 334)),
        (
            ({}, None, {"encoding_config": {"frame_rate": 25, "quality": "high"}}),
            RecordingOptions(fps=25, quality="high"),
        ),
        (({}, {"encoding_config": {"encoder": "nvenc"}}), RecordingOptions(encoder="nvenc")),
    ],
)
def test_options_come_from_the_strongest_level_that_has_the_key(
    levels: tuple[dict[str, object] | None, ...], expected: RecordingOptions
) -> None:
    assert resolve_options(*levels) == expected
