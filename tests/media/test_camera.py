"""The publisher's encoders behave like a browser's."""

from __future__ import annotations

import numpy as np
import pytest

from tapedeck.core.errors import MediaError
from tapedeck.core.frames import Codec
from tapedeck.media.camera import OPUS_PACKET, CameraEncoder, MicrophoneEncoder, Planes


def grey(level: int, width: int = 64, height: int = 48) -> Planes:
    y = np.full((height, width), level, np.uint8)
    half = np.full((height // 2, width // 2), 128, np.uint8)
    return y, half, half


def units(payload: bytes) -> list[int]:
    """Types of the NAL units of an Annex B frame (H.264 7.3.1)."""
    return [part[0] & 31 for part in payload.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if part]


def test_each_h264_key_frame_brings_its_parameter_sets_and_no_other_frame_does() -> None:
    encoder = CameraEncoder(Codec.H264, 64, 48)
    frames = [encoder.encode(grey(60 + n), n * 3_000, key=n in (0, 5)) for n in range(10)]
    assert all(frame.startswith(b"\0\0\0\1") for frame in frames)
    for number, frame in enumerate(frames):
        kinds = units(frame)
        if number in (0, 5):
            assert {7, 8, 5} <= set(kinds)
        else:
            assert set(kinds) == {1}


def test_vp8_key_frames_come_only_when_asked_for() -> None:
    encoder = CameraEncoder(Codec.VP8, 64, 48)
    frames = [encoder.encode(grey(60 + 10 * n), n * 3_000, key=n in (0, 7)) for n in range(12)]
    assert [not frame[0] & 1 for frame in frames] == [n in (0, 7) for n in range(12)]


def test_pictures_of_another_size_or_out_of_order_are_refused() -> None:
    encoder = CameraEncoder(Codec.H264, 64, 48)
    encoder.encode(grey(60), 3_000, key=True)
    with pytest.raises(MediaError):
        encoder.encode(grey(60), 3_000)
    with pytest.raises(MediaError):
        encoder.encode(grey(60, width=32), 6_000)


def test_a_codec_or_a_size_that_cannot_be_is_one_sentence() -> None:
    with pytest.raises(MediaError, match="only H264 and VP8"):
        CameraEncoder(Codec.VP9, 64, 48)
    with pytest.raises(MediaError, match="did not start"):
        CameraEncoder(Codec.H264, 63, 47)


def test_a_packet_of_opus_is_twenty_milliseconds() -> None:
    encoder = MicrophoneEncoder()
    assert encoder.encode(np.zeros(OPUS_PACKET, np.float32))
    with pytest.raises(MediaError, match="960 samples"):
        encoder.encode(np.zeros(480, np.float32))
