"""The index moves, the media stays, and every offset still points at the same bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.mp4index import build_head, chunk_offsets, scan_boxes


def box(kind: bytes, contents: bytes, wide: bool = False) -> bytes:
    if wide:
        return struct.pack(">I4sQ", 1, kind, len(contents) + 16) + contents
    return struct.pack(">I4s", len(contents) + 8, kind) + contents


@dataclass(frozen=True)
class Track:
    offsets: tuple[int, ...]
    large: bool
    "Its table is a co64."
    wide: bool = False
    "Its boxes have 64-bit sizes."

    def box(self) -> bytes:
        table = struct.pack(f">II{len(self.offsets)}{'Q' if self.large else 'I'}", 0, len(self.offsets), *self.offsets)
        sizes = box(b"stsz", b"sizes" * len(self.offsets))
        stbl = box(b"stbl", sizes + box(b"co64" if self.large else b"stco", table) + box(b"stss", b""), self.wide)
        mdia = box(b"mdia", box(b"mdhd", b"header") + box(b"minf", stbl, self.wide))
        return box(b"trak", box(b"tkhd", b"track header") + mdia, self.wide)


def index(tracks: list[Track], extra: bytes = b"") -> bytes:
    return box(b"moov", box(b"mvhd", b"movie header") + b"".join(track.box() for track in tracks) + extra)


FTYP = box(b"ftyp", b"isom\0\0\2\0isomavc1")


@st.composite
def files(draw: st.DrawFn) -> tuple[list[Track], int, int]:
    """(tracks, media offset, media end) of a file whose index is behind its media."""
    media_offset = draw(st.integers(len(FTYP), 5000))
    media_size = draw(st.one_of(st.integers(1, 100_000), st.integers(1 << 31, 1 << 33), st.just(0xFFFF_FFFF)))
    end = media_offset + media_size
    tracks = []
    for _ in range(draw(st.integers(0, 4))):
        offsets = tuple(sorted(draw(st.lists(st.integers(media_offset, end - 1), max_size=30))))
        large = draw(st.booleans()) or (bool(offsets) and offsets[-1] > 0xFFFF_FFFF)
        tracks.append(Track(offsets, large, draw(st.booleans())))
    return tracks, media_offset, end


@given(files(), st.sampled_from([1, 512, 4096, 65_536]), st.binary(max_size=40))
def test_every_chunk_is_found_where_the_media_went(
    file: tuple[list[Track], int, int], align: int, extra: bytes
) -> None:
    tracks, media_offset, media_end = file
    head = build_head(FTYP, index(tracks, box(b"udta", extra)), media_offset, media_end, align)
    shift = len(head) - media_offset
    assert shift % align == 0
    boxes = scan_boxes(lambda at, n: head[at : at + n], len(head))
    assert [b.kind for b in boxes] in ([b"ftyp", b"moov"], [b"ftyp", b"moov", b"free"])
    assert head.startswith(FTYP)
    assert len(head) - boxes[1].end < align + 8
    moov = head[boxes[1].offset : boxes[1].end]
    assert chunk_offsets(moov) == [[offset + shift for offset in track.offsets] for track in tracks]
    assert box(b"udta", extra) in moov
    for track in tracks:
        assert box(b"stsz", b"sizes" * len(track.offsets)) in moov


@given(files())
def test_offsets_grow_to_64_bits_only_where_32_are_too_few(file: tuple[list[Track], int, int]) -> None:
    tracks, media_offset, media_end = file
    head = build_head(FTYP, index(tracks), media_offset, media_end)
    small = [offset for track in tracks if not track.large for offset in track.offsets]
    too_far = max(small, default=0) + len(head) - media_offset > 0xFFFF_FFFF
    assert head.count(b"co64") == (len(tracks) if too_far else sum(track.large for track in tracks))


def test_growing_to_64_bits_is_counted_in_the_distance() -> None:
    offsets = tuple(range(0xFFFF_FF00, 0xFFFF_FFF0, 16))
    head = build_head(FTYP, index([Track(offsets, large=False)]), 40, 0x1_0000_0000)
    shift = len(head) - 40
    moov = head[len(FTYP) :]
    assert b"co64" in moov
    assert b"stco" not in moov
    assert chunk_offsets(moov) == [[offset + shift for offset in offsets]]


def test_an_index_that_just_fits_keeps_32_bits() -> None:
    moov = index([Track((100,), large=False)])
    room = len(FTYP) + len(moov) - 40
    fits = index([Track((0xFFFF_FFFF - room,), large=False)])
    assert b"stco" in build_head(FTYP, fits, 40, 1 << 32)
    over = index([Track((0xFFFF_FFFF - room + 1,), large=False)])
    assert b"co64" in build_head(FTYP, over, 40, 1 << 32)


@pytest.mark.parametrize(
    ("moov", "reason"),
    [
        (box(b"mdat", b""), "not one whole moov"),
        (index([])[:-1], "not one whole moov"),
        (index([], box(b"mvex", b"")), "mvex"),
        (index([Track((39,), large=False)]), "outside the media"),
        (index([Track((2000,), large=False)]), "outside the media"),
        (box(b"moov", box(b"trak", b"\0\0\0\x40junk")), "ends after its parent"),
        (box(b"moov", box(b"trak", b"\0\0")), "cut off"),
        (box(b"moov", b"\0\0\0\1wide"), "cut off"),
        (box(b"moov", b"\0\0\0\3abcd"), "shorter than its header"),
        (box(b"moov", box(b"stco", b"\0\0\0\0\0\0\0\5abcd")), "cut off"),
        (box(b"moov", box(b"stco", b"")), "cut off"),
    ],
)
def test_an_index_that_cannot_be_moved_is_refused(moov: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        build_head(FTYP, moov, 40, 2000)


@given(st.binary(max_size=200))
def test_broken_bytes_are_a_value_error(junk: bytes) -> None:
    for moov in (junk, box(b"moov", junk)):
        try:
            build_head(FTYP, moov, 40, 1 << 40)
        except ValueError:
            continue
    try:
        scan_boxes(lambda at, n: junk[at : at + n], len(junk))
    except ValueError:
        pass


def test_boxes_are_found_with_short_long_and_open_sizes() -> None:
    data = FTYP + box(b"free", b"") + box(b"mdat", b"x" * 100, wide=True) + struct.pack(">I4s", 0, b"skip") + b"tail"
    boxes = scan_boxes(lambda at, n: data[at : at + n], len(data))
    assert [(b.kind, b.header) for b in boxes] == [(b"ftyp", 8), (b"free", 8), (b"mdat", 16), (b"skip", 8)]
    assert boxes[-1].end == len(data)
    assert data[boxes[2].offset + 16 : boxes[2].end] == b"x" * 100


def test_a_file_that_ends_inside_a_box_is_refused() -> None:
    data = box(b"mdat", b"x" * 100)
    with pytest.raises(ValueError, match="ends after the file"):
        scan_boxes(lambda at, n: data[at : at + n], 50)
