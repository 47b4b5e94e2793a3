"""Playlists: the tags that RFC 8216 wants, where it wants them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tapedeck.core.hls import Segment, Variant, growing_target_s, main_playlist, media_playlist, target_seconds

_S = 1_000_000_000
_AT = datetime(2026, 3, 2, 9, 15, 7, 400_000, UTC)


def test_playlist_of_fragments_names_their_head_once_and_again_behind_a_break() -> None:
    segments = [
        Segment("0.m4s", 2 * _S, _AT, "init-0.mp4"),
        Segment("1.m4s", 2 * _S, None, "init-0.mp4"),
        Segment("2.m4s", _S // 3, None, "init-0.mp4", is_break=True),
        Segment("3.m4s", 2 * _S, None, "init-1.mp4"),
    ]
    text = media_playlist(segments, 2, kind="EVENT", is_ended=False)
    assert text.splitlines() == [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "#EXT-X-TARGETDURATION:2",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        '#EXT-X-MAP:URI="init-0.mp4"',
        "#EXT-X-PROGRAM-DATE-TIME:2026-03-02T09:15:07.400Z",
        "#EXTINF:2.000000,",
        "0.m4s",
        "#EXTINF:2.000000,",
        "1.m4s",
        "#EXT-X-DISCONTINUITY",
        '#EXT-X-MAP:URI="init-0.mp4"',
        "#EXTINF:0.333333,",
        "2.m4s",
        '#EXT-X-MAP:URI="init-1.mp4"',
        "#EXTINF:2.000000,",
        "3.m4s",
    ]
    assert media_playlist(segments, 2, kind="VOD", is_ended=True).endswith("3.m4s\n#EXT-X-ENDLIST\n")


def test_playlist_of_transport_streams_has_no_head_and_may_move() -> None:
    text = media_playlist([Segment("segment_00007.ts", 10 * _S)], 10, kind=None, is_ended=False, sequence=7)
    assert "#EXT-X-VERSION:3\n" in text and "#EXT-X-MEDIA-SEQUENCE:7\n" in text
    assert "EXT-X-MAP" not in text and "PLAYLIST-TYPE" not in text


def test_target_is_no_shorter_than_any_segment_to_the_nearest_second() -> None:
    assert target_seconds([], 2) == 2
    assert target_seconds([Segment("a", 2_499_999_999), Segment("b", _S)], 2) == 2
    assert target_seconds([Segment("a", 2_500_000_000)], 2) == 3


@pytest.mark.parametrize(
    ("lengths_s", "target_s"),
    [
        ((2.0, 2.0, 2.0, 0.4), 2),
        ((2.135, 2.05, 3.003, 3.9), 4),
        ((3.89, 2.0), 4),
        ((0.3,), 2),
        ((2.0, 2.1), 2),
        ((2.1, 5.2), 5),
    ],
)
def test_target_of_a_playlist_that_grows_is_told_by_its_first_segment(
    lengths_s: tuple[float, ...], target_s: int
) -> None:
    segments = [Segment(f"{n}.m4s", round(length * _S)) for n, length in enumerate(lengths_s)]
    assert growing_target_s(segments) == target_s
    if target_s <= 4:
        assert growing_target_s(segments[:1]) == target_s


def test_main_playlist_tells_codecs_and_size_where_there_is_a_picture() -> None:
    text = main_playlist(Variant("media.m3u8", 2_500_000, "avc1.64001f,mp4a.40.2", 1280, 720, 30))
    told = '#EXT-X-STREAM-INF:BANDWIDTH=2500000,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=30.000'
    assert text.splitlines()[-2:] == [told, "media.m3u8"]
    assert "RESOLUTION" not in main_playlist(Variant("media.m3u8", 400_000, "mp4a.40.2"))
