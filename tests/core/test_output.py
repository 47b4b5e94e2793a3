"""What a film is made of, in numbers."""

import pytest

from tapedeck.core.output import AudioOutput, VideoOutput


def test_the_default_film_is_that_of_the_contract() -> None:
    """Spec E1 and E2: 1280x720, 30 pictures per second, at most 2 Mbit/s, AAC with 384 kbit/s in stereo."""
    video, audio = VideoOutput(), AudioOutput()
    assert (video.width, video.height, video.fps, video.codec, video.maxrate_bps) == (1280, 720, 30, "h264", 2_000_000)
    assert (audio.codec, audio.bitrate_bps, audio.channels, audio.sample_rate) == ("aac", 384_000, 2, 48_000)


@pytest.mark.parametrize(("size", "bps"), [((640, 360), 500_000), ((1920, 1080), 4_500_000), ((720, 1280), 2_000_000)])
def test_the_ceiling_of_the_rate_goes_with_the_area(size: tuple[int, int], bps: int) -> None:
    assert VideoOutput(width=size[0], height=size[1]).maxrate_bps == bps


def test_a_tiny_film_may_have_bits_at_all() -> None:
    assert VideoOutput(width=2, height=2).maxrate_bps == 64_000


def test_how_long_a_picture_stays() -> None:
    assert VideoOutput(fps=30).frame_ns == 33_333_333 and VideoOutput(fps=25).frame_ns == 40_000_000
