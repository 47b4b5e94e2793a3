"""Instants in and out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.times import format_time, from_ms, parse_time, to_ms, whole_ms

AWARE = st.builds(
    lambda at, minutes: at.replace(tzinfo=timezone(timedelta(minutes=minutes))),
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)),
    st.integers(-840, 840),
)


@given(AWARE)
def test_what_is_printed_is_read_back_to_the_millisecond(at: datetime) -> None:
    text = format_time(at)
    assert len(text) == 24 and text.endswith("Z")
    assert parse_time(text) == whole_ms(at)


@given(st.integers(-(10**13), 10**13))
def test_milliseconds_are_exact(ms: int) -> None:
    assert to_ms(from_ms(ms)) == ms


def test_milliseconds_are_cut_not_rounded() -> None:
    at = datetime(2026, 3, 2, 9, 15, 4, 120_999, tzinfo=UTC)
    assert format_time(at) == "2026-03-02T09:15:04.120Z"
    assert whole_ms(at).microsecond == 120_000
    assert to_ms(datetime(1969, 12, 31, 23, 59, 59, 999_500, tzinfo=UTC)) == -1


def test_a_naive_time_is_refused_where_it_would_be_guessed() -> None:
    with pytest.raises(ValueError, match="zone"):
        to_ms(datetime(2026, 3, 2))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-02T09:15:04.120Z", datetime(2026, 3, 2, 9, 15, 4, 120_000, tzinfo=UTC)),
        ("2026-03-02T09:15:04", datetime(2026, 3, 2, 9, 15, 4, tzinfo=UTC)),
        ("2026-03-02", datetime(2026, 3, 2, tzinfo=UTC)),
        ("2026-03-02T09:15:04+01:00", datetime(2026, 3, 2, 8, 15, 4, tzinfo=UTC)),
        ("2026-03-02T09:15:04 01:00", datetime(2026, 3, 2, 8, 15, 4, tzinfo=UTC)),
        (" 2026-03-02T09:15:04-0530 ", datetime(2026, 3, 2, 14, 45, 4, tzinfo=UTC)),
    ],
)
def test_times_are_understood(text: str, expected: datetime) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize(
    "text", ["", "now", "2026-13-01", "2026-03-02T25:00:00Z", "0001-01-01T00:00:00+14:00", "9" * 50]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_time(text)


def test_other_zones_are_printed_in_utc() -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    assert format_time(datetime(2026, 1, 1, 2, tzinfo=east)) == "2025-12-31T20:30:00.000Z"
