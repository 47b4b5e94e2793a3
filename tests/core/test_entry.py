"""Where a film is gone on with."""

from __future__ import annotations

import pytest

from tapedeck.core.entry import Entry, entry_at


@pytest.mark.parametrize("fps", [20, 24, 30, 60])
@pytest.mark.parametrize("seconds", [0, 1, 2, 7, 3600, 86_400])
def test_what_is_made_begins_a_little_before_what_is_used(fps: int, seconds: int) -> None:
    heard = -(-seconds * 48_000 // 1024) * 1024
    entry = entry_at(seconds * fps, heard, fps)
    assert entry.sample % 1024 == entry.sample % 120 == 0, "whole packets, and whole blocks of the limiter"
    assert 0 <= entry.first <= entry.picture and 0 <= entry.sample <= entry.heard
    if seconds > 3:
        assert entry.picture - entry.first == fps
        assert 96_000 <= entry.heard - entry.sample <= 96_000 + 15_360 + 1024


def test_the_beginning_of_a_film_is_that_of_everything() -> None:
    assert entry_at(0, 0, 30) == Entry()
