"""Fragments read back: what was written, and nothing that is not whole."""

from __future__ import annotations

import struct

import pytest

from tapedeck.core.fmp4 import FragmentTrack, Sample, fragment, read_fragment

TRACKS = [
    FragmentTrack(1, 180_000, [Sample(9, 1000, 2000), Sample(4, 1000, 5000, False), Sample(3, 1000, 0, False)]),
    FragmentTrack(2, 1 << 40, [Sample(5, 1024), Sample(0, 1024)]),
]
WHOLE = fragment(7, TRACKS) + bytes(range(21))


def test_what_was_written_is_read_back() -> None:
    tracks, media = read_fragment(WHOLE)
    assert tracks == TRACKS and WHOLE[media:] == bytes(range(21))
    assert read_fragment(fragment(1, [])) == ([], len(fragment(1, [])))


def test_one_that_is_cut_off_or_goes_on_is_refused() -> None:
    for data in (*(WHOLE[:size] for size in range(len(WHOLE))), WHOLE + b"x"):
        with pytest.raises(ValueError, match="fragment"):
            read_fragment(data)


def test_one_whose_head_was_changed_anywhere_is_not_read_as_it_was() -> None:
    _, media = read_fragment(WHOLE)
    for at in range(media):
        data = bytearray(WHOLE)
        data[at] ^= 0x11
        try:
            tracks, _ = read_fragment(bytes(data))
        except ValueError:
            continue
        number = struct.unpack_from(">I", data, 20)[0]
        assert tracks != TRACKS or number != 7, "only a number that may be any"
