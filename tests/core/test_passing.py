"""Which films sent pictures may be in, and with which frames."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.render.meetings import MS, clip

from tapedeck.core.frames import Codec
from tapedeck.core.output import AudioOutput, Output, VideoOutput
from tapedeck.core.passing import change, film_refusal, frame_refusal, sets_of

FILM = VideoOutput(64, 36)
FIRST, SECOND, *_ = clip(Codec.H264, 30, 64, 36, 30)
MP4 = Output("a.mp4", FILM)


def test_a_film_of_the_page_alone_in_h264_takes_what_was_sent() -> None:
    assert film_refusal([MP4], is_marked=False, is_part=False) is None
    assert film_refusal([MP4, Output("a.m4a", None)], is_marked=False, is_part=False) is None
    assert frame_refusal(FIRST, 0, FILM) is None
    assert change(FIRST, sets_of(FIRST.payload) or (b"", b"")) is None
    assert change(SECOND, sets_of(FIRST.payload) or (b"", b"")) is None


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        ([], "no file"),
        ([Output("a.m4a", None)], "no picture"),
        ([MP4, Output("b.mp4", replace(FILM, quality="high"))], "several"),
        ([Output("a.webm", replace(FILM, codec="vp8"), AudioOutput.of("vorbis"))], "vp8"),
        ([Output("a.tar", FILM, timed=True)], "metadata"),
        ([Output("a.mp4", replace(FILM, quality="low"))], "smaller"),
        ([Output("a.mp4", replace(FILM, fps=10))], "10 pictures per second"),
    ],
)
def test_other_files_are_encoded(outputs: list[Output], reason: str) -> None:
    assert reason in (film_refusal(outputs, is_marked=False, is_part=False) or "")


def test_what_is_painted_over_or_cut_is_encoded() -> None:
    assert "watermark" in (film_refusal([MP4], is_marked=True, is_part=False) or "")
    assert "part" in (film_refusal([MP4], is_marked=False, is_part=True) or "")


def test_a_first_frame_that_does_not_fit_the_file_is_not_passed_on() -> None:
    (vp8, *_) = clip(Codec.VP8, 1, 64, 36, 30)
    main = FIRST.payload.replace(b"\x67\x42", b"\x67\x4d", 1)
    assert main != FIRST.payload
    for frame, film_ns, reason in (
        (vp8, 0, "vp8"),
        (FIRST, 2001 * MS, "late"),
        (SECOND, 0, "parameter sets"),
        (replace(FIRST, payload=FIRST.payload + b"\0\0\0\1\x67\x42\xc0\x1f\xda"), 0, "parameter sets"),
        (replace(FIRST, payload=main), 0, "order"),
        (replace(FIRST, payload=b"\0\0\0\1\x67\x42\xc0\x1f\0\0\0\1\x68\xce"), 0, "damaged"),
    ):
        assert reason in (frame_refusal(frame, film_ns, FILM) or "").lower()
    assert "64x36" in (frame_refusal(FIRST, 0, VideoOutput(640, 360)) or "")


def test_a_change_of_parameter_sets_is_seen_wherever_it_comes() -> None:
    sets = sets_of(FIRST.payload)
    assert sets is not None
    (other, *_) = clip(Codec.H264, 1, 32, 18, 30)
    (vp8, *_) = clip(Codec.VP8, 1, 64, 36, 30)
    assert "change" in (change(other, sets) or "")
    assert "change" in (change(replace(SECOND, payload=b"\0\0\0\1\x68\xce" + SECOND.payload), sets) or "")
    assert "vp8" in (change(vp8, sets) or "").lower()
