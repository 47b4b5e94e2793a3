"""The index of a film that grows: whole lines only, and what a playlist makes of them."""

from __future__ import annotations

from datetime import UTC, datetime

from tapedeck.core.liveindex import Fragment, anchors_of, line_of, parse_lines, segments_of, time_of
from tapedeck.core.times import to_ms

_S = 1_000_000_000
_AT = datetime(2026, 3, 2, 9, 15, tzinfo=UTC)
_MS = to_ms(_AT)


def fragments(*more: tuple[int, int, int | None]) -> list[Fragment]:
    """Fragments of two seconds by (start in s, run, seconds after _AT)."""
    return [
        Fragment(start * _S, (start + 2) * _S, index * 100, 100, run, None if at is None else _MS + at * 1000)
        for index, (start, run, at) in enumerate(more)
    ]


def test_index_cut_at_any_byte_gives_whole_fragments_and_only_those_with_media() -> None:
    known = fragments((0, 0, 0), (2, 0, 2), (4, 1, None))
    data = b"".join(line_of(one) for one in known)
    assert parse_lines(data, 300) == (known, len(data))
    assert parse_lines(data, 299)[0] == known[:2]
    ends = [len(b"".join(line_of(one) for one in known[:count])) for count in range(4)]
    for size in range(len(data)):
        count = max(index for index, end in enumerate(ends) if end <= size)
        assert parse_lines(data[:size], 300) == (known[:count], ends[count])


def test_index_of_nonsense_is_empty() -> None:
    for data in (b"\xff\n", b"{}\n", b"[1]\n", b'["a", 2, 3, 4, 5, 6]\n', b"null\n", b"[[],1,2,3,4,5]\n"):
        assert parse_lines(data, 1000) == ([], 0)


def test_time_of_day_is_told_at_first_and_after_a_pause() -> None:
    found = fragments((0, 0, 0), (2, 0, 2), (4, 0, 64), (6, 0, 66))
    anchors = anchors_of(found)
    assert anchors == [(0, _MS), (4 * _S, _MS + 64_000), (8 * _S, None)]
    assert [one.at is not None for one in segments_of(found)] == [True, False, True, False]
    assert not any(one.is_break for one in segments_of(found)), "the film is continuous over a pause"
    known = time_of(anchors, 7 * _S)
    assert known is not None and to_ms(known) == _MS + 67_000
    assert time_of([], 0) is None
    assert time_of(anchors, 8 * _S) is None, "there may be a pause behind the last that is known"


def test_time_of_day_is_not_known_in_a_hole() -> None:
    anchors = anchors_of(fragments((0, 0, 0), (4, 0, 4), (6, 0, None), (8, 0, 8)))
    assert anchors == [
        *((0, _MS), (2 * _S, None)),
        *((4 * _S, _MS + 4_000), (6 * _S, None)),
        *((8 * _S, _MS + 8_000), (10 * _S, None)),
    ]


def test_another_run_and_a_hole_are_breaks() -> None:
    found = segments_of(fragments((0, 0, 0), (2, 1, 2), (6, 1, 6)), first=7)
    assert [one.is_break for one in found] == [False, True, True]
    assert [(one.uri, one.init) for one in found] == [
        ("7.m4s", "init-0.mp4"),
        ("8.m4s", "init-1.mp4"),
        ("9.m4s", "init-1.mp4"),
    ]


def test_what_proves_a_fragment_may_be_missing() -> None:
    """A server that was updated reads what the one before it wrote."""
    told = Fragment(0, 2 * _S, 0, 100, 0, _MS, _MS + 1966, 0xFFFFFFFF)
    plain = Fragment(2 * _S, 4 * _S, 100, 100, 0, _MS + 2000)
    old = b"[2000000000, 4000000000, 100, 100, 0, %d]\n" % (_MS + 2000)
    assert parse_lines(line_of(told) + old, 200)[0] == [told, plain]
    assert parse_lines(line_of(told) + b'[0, 1, 2, 3, 4, 5, 6, "x"]\n', 200)[0] == [told]
