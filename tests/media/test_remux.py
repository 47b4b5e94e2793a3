"""What a file says of a track is what is in it, by any encoder's parameter sets."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tapedeck.core.avc import nal_units, to_lengths
from tapedeck.core.errors import MediaError
from tapedeck.core.frames import Codec
from tapedeck.media.remux import TrackWriter, format_of


def key_frame(width: int, height: int, pixels: str, options: dict[str, str]) -> bytes:
    """A key frame in Annex B with its parameter sets."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, pixels
    encoder.time_base, encoder.options = Fraction(1, 30), {"tune": "zerolatency", **options}
    frame = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24").reformat(format=pixels)
    frame.pts = 0
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (64, 36), (322, 180)])
@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        ("yuv420p", {"profile": "baseline"}),
        ("yuv420p", {"profile": "high", "x264-params": "cqm=jvt"}),
        ("yuv420p", {"x264-params": "interlaced=1"}),
        ("yuv422p", {}),
        ("yuv444p", {}),
    ],
)
def test_the_size_is_read_out_of_the_parameter_sets(
    size: tuple[int, int], pixels: str, options: dict[str, str]
) -> None:
    what = format_of(Codec.H264, key_frame(*size, pixels, options), 0)
    assert what is not None and (what.width, what.height) == size


def test_start_codes_of_three_and_four_bytes_become_lengths() -> None:
    payload = b"\0\0\1\x67ab\0\0\0\1\x68c\0\0\1\x65\0d"
    assert nal_units(payload) == [b"\x67ab", b"\x68c", b"\x65\0d"]
    assert to_lengths(payload) == b"\0\0\0\3\x67ab\0\0\0\2\x68c\0\0\0\3\x65\0d"
    assert nal_units(b"none") == []


def test_a_file_without_frames_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    what = format_of(Codec.OPUS, b"\x78", 1)
    assert what is not None
    part = tmp_path / "part"
    writer = TrackWriter(part, Codec.OPUS, what, created_at=datetime(2026, 1, 1, tzinfo=UTC), uid=1, tags={})
    with pytest.raises(MediaError):
        writer.finish(tmp_path / "file", 0)
    writer.abort()
    assert [*tmp_path.iterdir()] == []
