"""What a synthetic person sends, taken apart with real decoders."""

from __future__ import annotations

from itertools import combinations, pairwise

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tapedeck.core.errors import MediaError
from tapedeck.core.frames import Codec
from tapedeck.core.look import PALETTE, PLAIN_TILE, SPEAKING
from tapedeck.media.camera import OPUS_DELAY
from tapedeck.sources.synthetic import (
    CAST,
    LOOP_S,
    Canvas,
    Look,
    SyntheticCamera,
    SyntheticMicrophone,
    beep,
    frame_ticks,
    paint,
)

ADA = CAST[0]
BAR_ROW = 0.72


def decode(codec: Codec, payloads: list[bytes]) -> list[NDArray[np.uint8]]:
    """Luma of each picture; any error of the decoder is an error here."""
    context = av.CodecContext.create("h264" if codec is Codec.H264 else "vp8", "r")
    context.thread_count = 1
    assert isinstance(context, av.VideoCodecContext)
    frames = [frame for data in payloads for frame in context.decode(av.Packet(data))] + context.decode(None)
    assert not any(frame.is_corrupt for frame in frames)
    return [_luma(frame) for frame in frames]


def _luma(frame: av.VideoFrame) -> NDArray[np.uint8]:
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width].copy()


def bar_is_on(luma: NDArray[np.uint8]) -> bool:
    return float(luma[int(luma.shape[0] * BAR_ROW)].mean()) > 200


@pytest.mark.parametrize("fps", [10, 15, 24, 25, 30, 50, 60])
def test_the_bar_is_on_for_exactly_fifty_milliseconds_at_any_frame_rate(fps: int) -> None:
    ticks = frame_ticks(fps)
    assert ticks[0] == 0
    assert 4_500 in ticks
    assert list(ticks) == sorted(set(ticks))
    assert abs(len(ticks) - fps) <= 1
    assert min(b - a for a, b in zip(ticks, (*ticks[1:], 90_000), strict=True)) >= 90_000 / fps * 0.4
    canvas = Canvas(ADA, 64, 36)
    on = [t for t in ticks if bar_is_on(paint(canvas, 3 + t / 90_000)[0])]
    assert on == [t for t in ticks if t < 4_500]


def test_people_are_told_apart_by_colour_and_by_pitch() -> None:
    for one, two in combinations(CAST, 2):
        assert np.hypot(one.yuv[1] - two.yuv[1], one.yuv[2] - two.yuv[2]) > 19
        assert abs(one.pitch_hz - two.pitch_hz) >= 96
    assert len({look.name for look in CAST}) == len(CAST) == 25


def test_nobody_looks_like_the_avatar_of_a_person_without_camera() -> None:
    for look in CAST:
        for red, green, blue in (*PALETTE, PLAIN_TILE, SPEAKING):
            luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
            y = 16 + luma * 219 / 255
            u, v = 128 + (blue - luma) * 224 / 255 / 1.8556, 128 + (red - luma) * 224 / 255 / 1.5748
            assert np.hypot(u - look.yuv[1], v - look.yuv[2]) >= 12.5 or abs(y - look.yuv[0]) >= 27


@pytest.mark.parametrize("codec", [Codec.H264, Codec.VP8])
def test_frames_decode_to_the_pictures_of_their_instants_across_the_end_of_the_loop(codec: Codec) -> None:
    camera = SyntheticCamera(ADA, width=320, height=180, fps=15, codec=codec)
    first = camera.index_from((LOOP_S - 1) * 1_000_000_000)
    frames = [camera.frame(index) for index in range(first, first + 36)]
    assert [f.key for f in frames if f.at_ns % (LOOP_S * 1_000_000_000) == 0] == [True]
    assert frames[0].key
    canvas = Canvas(ADA, 320, 180)
    for frame, luma in zip(frames, decode(codec, [f.payload for f in frames]), strict=True):
        wanted = paint(canvas, frame.ticks / 90_000)[0]
        assert np.abs(luma.astype(int) - wanted).mean() < 3
        assert bar_is_on(luma) == (frame.at_ns % 1_000_000_000 < 50_000_000)


@pytest.mark.parametrize("codec", [Codec.H264, Codec.VP8])
def test_a_key_frame_comes_at_once_when_asked_for_and_needs_nothing_before_it(codec: Codec) -> None:
    camera = SyntheticCamera(ADA, width=320, height=180, codec=codec)
    before = [camera.frame(index) for index in range(1, 8)]
    assert [frame.key for frame in before] == [True] + [False] * 6
    camera.request_keyframe()
    after = [camera.frame(index) for index in range(8, 20)]
    assert [frame.key for frame in after] == [True] + [False] * 11
    pictures = decode(codec, [frame.payload for frame in after])
    wanted = paint(Canvas(ADA, 320, 180), after[-1].ticks / 90_000)[0]
    assert len(pictures) == 12
    assert np.abs(pictures[-1].astype(int) - wanted).mean() < 3


def test_a_gap_in_the_numbers_begins_with_a_key_frame() -> None:
    camera = SyntheticCamera(ADA, width=160, height=90)
    assert camera.frame(0).key
    assert not camera.frame(1).key
    assert camera.frame(5).key


def test_what_was_encoded_once_is_sent_again_as_it_was() -> None:
    camera = SyntheticCamera(ADA, width=160, height=90, fps=10)
    made = list(camera.prepare())
    assert made[-1] == LOOP_S * len(frame_ticks(10))
    one = [camera.frame(index) for index in range(made[-1])]
    two = [camera.frame(index) for index in range(made[-1], 2 * made[-1])]
    assert [frame.payload for frame in one] == [frame.payload for frame in two]
    assert two[0].ticks == LOOP_S * 90_000
    assert [frame.key for frame in two] == [True] + [False] * (made[-1] - 1)


def test_many_key_frame_requests_keep_memory_bounded() -> None:
    camera = SyntheticCamera(ADA, width=64, height=36, fps=10)
    for index in range(75):
        camera.request_keyframe()
        assert camera.frame(index).key
    assert len(camera._gops) <= 26


def test_a_camera_without_an_encoder_says_so() -> None:
    with pytest.raises(MediaError, match="AV1"):
        SyntheticCamera(ADA, codec=Codec.AV1)


def hear(packets: list[bytes]) -> NDArray[np.float32]:
    context = av.CodecContext.create("opus", "r")
    assert isinstance(context, av.AudioCodecContext)
    context.sample_rate, context.layout = 48_000, "mono"
    return np.concatenate([frame.to_ndarray()[0] for data in packets for frame in context.decode(av.Packet(data))])


@pytest.mark.parametrize("look", CAST[::6])
def test_the_beep_goes_in_exactly_on_the_second(look: Look) -> None:
    microphone = SyntheticMicrophone(look)
    packets = [microphone.packet(index) for index in range(40, 300)]
    sound = hear([packet.payload for packet in packets if packet])[OPUS_DELAY:]
    wanted = np.tile(beep(look.pitch_hz), 6)[40 * 960 : 300 * 960 - OPUS_DELAY]
    for second in range(9_600, len(wanted) - 48_000, 48_000):
        error = sound[second - 480 : second + 2_400] - wanted[second - 480 : second + 2_400]
        loudness = float(np.sqrt(np.mean(wanted[second : second + 1_920] ** 2)))
        assert float(np.sqrt(np.mean(error**2))) < 0.02 * loudness  # one sample early or late would be 0.07 and more


def test_each_packet_says_how_loud_it_is() -> None:
    microphone = SyntheticMicrophone(ADA)
    levels = [packet.dbov for packet in map(microphone.packet, range(50)) if packet]
    assert levels[0] < 25
    assert levels[1] < 25
    assert levels[2:] == [127] * 48


def test_discontinuous_transmission_leaves_out_silence_but_not_the_beep() -> None:
    quiet = SyntheticMicrophone(ADA, dtx=True)
    sent = [index for index in range(100) if quiet.packet(index)]
    assert {0, 1, 2, 49, 50, 51, 52, 99} <= set(sent)
    assert len(sent) < 20
    assert max(b - a for a, b in pairwise(sent)) <= 20


def test_numbers_and_instants_agree() -> None:
    camera, microphone = SyntheticCamera(ADA, width=64, height=36), SyntheticMicrophone(ADA)
    for at_ns in (0, 1, 50_000_000, 999_999_999, 1_000_000_000, 7_950_000_001):
        index = camera.index_from(at_ns)
        assert camera.at_ns(index) >= at_ns
        assert index == 0 or camera.at_ns(index - 1) < at_ns
        packet = microphone.index_from(at_ns)
        assert microphone.at_ns(packet) >= at_ns > microphone.at_ns(packet - 1)
