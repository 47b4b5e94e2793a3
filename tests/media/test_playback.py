"""A film read back: times, durations and what a container says, against how it was made."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tapedeck.core.errors import MediaError
from tapedeck.media.playback import examine_film, play_pictures, play_sound


def make(path: Path, *, picture: bool = True, sound: bool = True, flags: str = "", rate: int = 48_000) -> Path:
    """Half a second: picture n is grey 40 + 10 n, a click is heard at 0.2 s."""
    with av.open(path, "w", format="mp4", options={"movflags": flags} if flags else {}) as out:
        video = out.add_stream("libx264", rate=20, options={"crf": "10", "tune": "zerolatency"}) if picture else None
        audio = out.add_stream("aac", rate=rate, layout="mono") if sound else None
        if video is not None:
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            for n in range(10):
                flat = np.full((72, 64), 128, np.uint8)
                flat[:48] = 40 + 10 * n
                frame = av.VideoFrame.from_ndarray(flat, format="yuv420p")
                frame.pts, frame.time_base = n, Fraction(1, 20)
                out.mux(video.encode(frame))
            out.mux(video.encode(None))
        if audio is not None:
            samples = np.zeros((1, rate // 2), np.float32)
            samples[0, rate // 5 : rate // 5 + rate // 100] = 0.5
            whole = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            whole.sample_rate, whole.pts, whole.time_base = rate, 0, Fraction(1, rate)
            out.mux(audio.encode(whole))
            out.mux(audio.encode(None))
    return path


def test_pictures_come_in_order_at_their_times(tmp_path: Path) -> None:
    pictures = list(play_pictures(make(tmp_path / "film.mp4")))
    assert [picture.at_ns for picture in pictures] == [n * 50_000_000 for n in range(10)]
    for n, picture in enumerate(pictures):
        assert picture.y.shape == (48, 64)
        assert picture.u.shape == picture.v.shape == (24, 32)
        assert abs(float(picture.y.mean()) - 40 - 10 * n) < 2
        assert abs(float(picture.u.mean()) - 128) < 2


@pytest.mark.parametrize("rate", [48_000, 44_100])
def test_sound_is_heard_where_it_was_put_encoder_priming_or_not(tmp_path: Path, rate: int) -> None:
    sound = play_sound(make(tmp_path / "film.mp4", rate=rate))
    assert sound.rate == rate
    assert len(sound.samples) / rate == pytest.approx(0.5, abs=0.025)
    loud = np.flatnonzero(np.abs(sound.samples) > 0.25)
    assert loud[0] / rate == pytest.approx(0.2, abs=0.002)
    assert loud[-1] / rate == pytest.approx(0.21, abs=0.002)


def test_facts_are_those_of_the_file(tmp_path: Path) -> None:
    facts = examine_film(make(tmp_path / "film.mp4", flags="faststart"))
    assert (facts.width, facts.height, facts.fps) == (64, 48, 20.0)
    assert (facts.video_codec, facts.audio_codec) == ("h264", "aac")
    assert facts.video_duration_ns == 500_000_000
    assert facts.audio_duration_ns == pytest.approx(500_000_000, abs=25_000_000)
    assert facts.size_bytes == (tmp_path / "film.mp4").stat().st_size
    assert facts.index_in_front
    assert not examine_film(make(tmp_path / "other.mp4")).index_in_front


def test_a_film_without_sound_or_without_picture_is_read(tmp_path: Path) -> None:
    silent = make(tmp_path / "silent.mp4", sound=False)
    assert len(play_sound(silent).samples) == 0
    assert examine_film(silent).audio_duration_ns == 0
    dark = make(tmp_path / "dark.mp4", picture=False)
    assert list(play_pictures(dark)) == []
    assert (examine_film(dark).width, examine_film(dark).fps) == (0, 0.0)


def test_what_is_no_film_or_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"\0" * 4_000)
    for name in ("film.mp4", "missing.mp4"):
        with pytest.raises(MediaError, match=f"{name} cannot be opened"):
            examine_film(tmp_path / name)
