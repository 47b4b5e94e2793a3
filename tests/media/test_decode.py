"""The decoder of one track: right pictures, and no trouble from bad media."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.media.cameras import film_of, luma_of

from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags
from tapedeck.core.geometry import Size
from tapedeck.media.decode import Picture, VideoDecoder

LUMAS = (40, 200, 80, 160, 60, 220, 100, 180)
SOUND = [film_of(LUMAS, codec=codec, keys=(0, 5)) for codec in (Codec.H264, Codec.VP8)]


def decoded(decoder: VideoDecoder, frames: list[EncodedFrame]) -> list[Picture]:
    return [picture for frame in frames if (picture := decoder.decode(frame)) is not None]


@pytest.mark.parametrize("codec", [Codec.H264, Codec.VP8])
def test_every_frame_gives_its_picture_at_once(codec: Codec) -> None:
    decoder = VideoDecoder()
    for frame, luma in zip(film_of(LUMAS, codec=codec), LUMAS, strict=True):
        picture = decoder.decode(frame)
        assert picture is not None and picture.media_time == frame.media_time
        assert picture.size == Size(64, 48) and abs(luma_of(picture) - luma) < 6
    assert decoder.stats.decoded == len(LUMAS)


@pytest.mark.parametrize("frames", SOUND)
def test_after_a_gap_nothing_is_decoded_before_the_next_key_frame(frames: list[EncodedFrame]) -> None:
    decoder = VideoDecoder()
    holed = [frames[0], replace(frames[2], flags=FrameFlags.DISCONTINUITY), *frames[3:]]
    pictures = decoded(decoder, holed)
    assert [picture.media_time // 3000 for picture in pictures] == [0, 5, 6, 7]
    assert decoder.stats.skipped == 3 and decoder.stats.errors == 0


def test_a_track_that_does_not_begin_with_a_key_frame_waits_for_one() -> None:
    decoder = VideoDecoder()
    pictures = decoded(decoder, SOUND[0][2:])
    assert [picture.media_time // 3000 for picture in pictures] == [5, 6, 7]


@pytest.mark.parametrize("frames", SOUND)
def test_garbage_is_counted_and_the_next_key_frame_mends_it(frames: list[EncodedFrame]) -> None:
    decoder = VideoDecoder()
    broken = replace(frames[0], payload=b"\x00\x00\x00\x01\x65" + b"\xff" * 40)
    pictures = decoded(decoder, [broken, *frames[1:]])
    assert [picture.media_time // 3000 for picture in pictures] == [5, 6, 7]
    assert decoder.stats.errors + decoder.stats.skipped == 5


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SOUND), st.data())
def test_no_damage_raises_and_a_key_frame_always_mends(frames: list[EncodedFrame], data: st.DataObject) -> None:
    decoder = VideoDecoder()
    for frame in frames[:5]:
        kind = data.draw(st.integers(0, 3))
        payload = bytearray(frame.payload)
        if kind == 1:
            payload = payload[: data.draw(st.integers(0, len(payload)))]
        elif kind == 2:
            for _ in range(8):
                payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
        elif kind == 3:
            payload = bytearray(data.draw(st.binary(max_size=64)))
        decoder.decode(replace(frame, payload=bytes(payload)))
    pictures = decoded(decoder, frames[5:])
    assert [abs(luma_of(picture) - luma) < 8 for picture, luma in zip(pictures, LUMAS[5:], strict=True)] == [True] * 3


def test_size_parameters_and_codec_may_change_inside_a_track() -> None:
    decoder = VideoDecoder()
    frames = [
        *film_of((50, 90), width=64, height=48),
        *film_of((130, 170), width=160, height=90, first=2),
        *film_of((60, 100), codec=Codec.VP8, width=96, height=54, first=4),
        *film_of((200,), width=32, height=32, first=6),
    ]
    pictures = decoded(decoder, frames)
    assert [picture.size for picture in pictures] == [
        *[Size(64, 48)] * 2,
        *[Size(160, 90)] * 2,
        *[Size(96, 54)] * 2,
        Size(32, 32),
    ]
    assert all(abs(luma_of(p) - v) < 6 for p, v in zip(pictures, (50, 90, 130, 170, 60, 100, 200), strict=True))


def test_a_forged_size_does_not_take_memory() -> None:
    """RFC 6386, 9.1: 14 bits each for width and height in a key frame."""
    frame = SOUND[1][0]
    forged = bytearray(frame.payload)
    forged[6:10] = (0x3FFF).to_bytes(2, "little") * 2
    decoder = VideoDecoder()
    assert decoder.decode(replace(frame, payload=bytes(forged))) is None
    assert decoder.stats.errors == 1


def test_a_codec_that_cannot_be_decoded_is_counted() -> None:
    decoder = VideoDecoder()
    assert decoder.decode(replace(SOUND[0][0], codec=Codec.AV1)) is None
    assert decoder.stats.unsupported == 1
    assert decoder.decode(SOUND[0][0]) is not None


def test_what_a_frame_says_besides_its_picture_is_noted() -> None:
    frames = film_of(LUMAS)
    captions = b"\0\0\0\1\6\5\4\0\1\2\3\x80"
    told = [frames[0], replace(frames[1], payload=captions + frames[1].payload), frames[2]]
    assert [picture.has_more for picture in decoded(VideoDecoder(), told)][1:] == [True, False]


def test_reset_waits_for_a_key_frame() -> None:
    decoder = VideoDecoder()
    frames = SOUND[0]
    assert decoder.decode(frames[0]) is not None
    decoder.reset()
    assert decoder.waiting
    assert decoder.decode(frames[1]) is None
    assert decoder.decode(frames[5]) is not None and not decoder.waiting
