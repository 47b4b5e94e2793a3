"""Joined checksums equal those of the joined bytes."""

from __future__ import annotations

import google_crc32c
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.crc32c import combine


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_joining_gives_the_checksum_of_the_whole(first: bytes, second: bytes) -> None:
    one, other = google_crc32c.value(first), google_crc32c.value(second)
    assert combine(one, other, len(second)) == google_crc32c.value(first + second)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_joining_again_takes_the_first_part_away(first: bytes, second: bytes) -> None:
    whole = google_crc32c.value(first + second)
    assert combine(google_crc32c.value(first), whole, len(second)) == google_crc32c.value(second)


def test_the_check_value_of_the_polynomial() -> None:
    assert combine(google_crc32c.value(b"1234"), google_crc32c.value(b"56789"), 5) == 0xE3069283


@given(st.integers(0, 0xFFFF_FFFF), st.integers(0, 0xFFFF_FFFF), st.integers(0, 1 << 45), st.integers(0, 1 << 45))
def test_long_files_may_be_joined_in_any_grouping(one: int, other: int, length: int, more: int) -> None:
    third = google_crc32c.value(b"end")
    left = combine(combine(one, other, length), third, more)
    assert left == combine(one, combine(other, third, more), length + more)
