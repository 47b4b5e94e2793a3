"""Finished films, judged by other readers: what is seen and heard when, and what the headers promise."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import av
import google_crc32c
import numpy as np
import pytest
from tests.media.filming import SMALL, brightness, ffprobe, grey, heard, make_film, seen
from tests.media.tones import RATE, clicks, level, pulse_times, tone

from tapedeck.core.errors import MediaError, UnavailableError
from tapedeck.core.mp4index import scan_boxes
from tapedeck.core.output import AudioOutput, VideoOutput
from tapedeck.media.growing import GrowingFilm
from tapedeck.media.mux import FilmWriter
from tapedeck.media.probe import probe

SILENCE = np.zeros((2, RATE), np.float32)


def test_every_sound_and_every_picture_is_at_its_time(tmp_path: Path) -> None:
    at = [0, 6000, 24_000, 48_000, 95_000, 143_900]
    sound = np.stack([clicks(3 * RATE, at)] * 2)
    film = make_film(tmp_path, 90, sound, chunk=1601)
    played = heard(film.path)
    assert pulse_times(played[:, 0], at) == pytest.approx(at, abs=2)
    pictures = seen(film.path)
    assert [time for time, _ in pictures] == pytest.approx([i / 30 for i in range(90)], abs=1e-6)
    assert [value for _, value in pictures] == pytest.approx([brightness(i) for i in range(90)], abs=3)


def test_both_streams_start_at_zero_and_last_exactly(tmp_path: Path) -> None:
    film = make_film(tmp_path, 61, np.zeros((2, 2 * RATE + 77), np.float32))
    picture, sound = ffprobe(film.path, "-show_streams")["streams"]
    assert (picture["start_pts"], sound["start_pts"]) == (0, 0)
    assert picture["duration_ts"] == 61 * 1000
    assert sound["duration_ts"] == 2 * RATE + 77
    assert picture["avg_frame_rate"] == picture["r_frame_rate"] == "30/1"
    assert picture["nb_frames"] == "61"
    assert film.duration_ns == 61 * 1_000_000_000 // 30
    assert len(heard(film.path)) - (2 * RATE + 77) < 1024


def test_what_the_headers_say(tmp_path: Path) -> None:
    film = make_film(tmp_path, 30, SILENCE, created_at=datetime(2026, 3, 2, 9, 15, 4, tzinfo=UTC))
    answer = ffprobe(film.path, "-show_streams", "-show_format")
    picture, sound = answer["streams"]
    assert (picture["codec_name"], picture["profile"], picture["pix_fmt"]) == ("h264", "High", "yuv420p")
    colours = [picture[f"color_{name}"] for name in ("range", "space", "transfer", "primaries")]
    assert colours == ["tv", "bt709", "bt709", "bt709"]
    assert (picture["width"], picture["height"], picture["codec_tag_string"]) == (320, 180, "avc1")
    assert (sound["codec_name"], sound["profile"], sound["channels"], sound["sample_rate"]) == ("aac", "LC", 2, "48000")
    assert {picture["tags"]["language"], sound["tags"]["language"]} == {"und"}
    tags = answer["format"]["tags"]
    assert tags["creation_time"] == "2026-03-02T09:15:04.000000Z"
    assert tags["encoder"].startswith("Tapedeck ")


def test_the_index_is_in_front_and_the_checksum_is_that_of_the_file(tmp_path: Path) -> None:
    film = make_film(tmp_path, 45, np.stack([tone(440, RATE * 3 // 2)] * 2))
    data = film.path.read_bytes()
    assert (film.size_bytes, film.crc32c) == (len(data), google_crc32c.value(data))
    assert data.index(b"moov") < data.index(b"mdat")
    assert probe(film.path).index_in_front
    assert os.listdir(tmp_path) == ["film.mp4"], "no part file is left"


def test_streams_lie_in_turns_of_half_a_second(tmp_path: Path) -> None:
    film = make_film(tmp_path, 150, np.stack([tone(440, 5 * RATE)] * 2))
    packets = ffprobe(film.path, "-show_entries", "packet=codec_type,dts_time,pos")["packets"]
    packets.sort(key=lambda packet: int(packet["pos"]))
    turns = [a for a, b in pairwise(packets) if a["codec_type"] != b["codec_type"]]
    assert 15 <= len(turns) <= 25
    latest = 0.0
    for packet in packets:
        latest = max(latest, float(packet["dts_time"]))
        assert latest - float(packet["dts_time"]) < 1.1


def test_a_film_plays_from_any_key_frame_at_most_two_seconds_back(tmp_path: Path) -> None:
    film = make_film(tmp_path, 200, SILENCE)
    packets = ffprobe(film.path, "-select_streams", "v", "-show_entries", "packet=pts_time,flags")["packets"]
    keys = [float(packet["pts_time"]) for packet in packets if packet["flags"].startswith("K")]
    assert keys[0] == 0
    assert max(b - a for a, b in zip(keys, [*keys[1:], 200 / 30], strict=True)) <= 2.001


def test_the_sizes_in_which_sound_comes_change_nothing(tmp_path: Path) -> None:
    sound = np.stack([tone(440, RATE), tone(550, RATE)])
    sizes = [(1600, "a.mp4"), (7, "b.mp4"), (RATE, "c.mp4")]
    assert len({make_film(tmp_path, 30, sound, chunk=size, name=name).crc32c for size, name in sizes}) == 1


def test_sound_keeps_its_level_and_its_channels(tmp_path: Path) -> None:
    film = make_film(tmp_path, 30, np.stack([tone(440, RATE, 0.5), tone(440, RATE, 0.05)]))
    played = heard(film.path)[4800:-4800]
    assert level(played[:, 0]) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    assert level(played[:, 1]) == pytest.approx(0.05 / np.sqrt(2), rel=0.05)


def test_noise_stays_under_the_ceiling_of_the_bit_rate(tmp_path: Path) -> None:
    writer = FilmWriter(tmp_path / "part", SMALL, AudioOutput())
    random = np.random.default_rng(1)
    for i in range(150):
        noise = random.integers(16, 235, (270, 320), np.uint8)
        writer.write_picture(av.VideoFrame.from_ndarray(noise, format="yuv420p"), i)
    film = writer.finish(tmp_path / "film.mp4")
    assert film.size_bytes * 8 < SMALL.maxrate_bps * (5 + 2 + 1), "five seconds, the buffer, and some"


def test_a_frame_may_be_painted_again_and_its_kind_is_not_copied(tmp_path: Path) -> None:
    with av.open(str(make_film(tmp_path, 60, SILENCE, name="in.mp4").path)) as container:
        writer = FilmWriter(tmp_path / "part", SMALL, AudioOutput())
        for i, frame in enumerate(container.decode(video=0)):
            frame.pict_type = av.video.frame.PictureType.I
            writer.write_picture(frame, i)
    film = writer.finish(tmp_path / "film.mp4")
    packets = ffprobe(film.path, "-select_streams", "v", "-show_entries", "packet=flags")["packets"]
    assert sum(packet["flags"].startswith("K") for packet in packets) < 20


def test_wrong_pictures_and_sounds_are_refused_in_words(tmp_path: Path) -> None:
    writer = FilmWriter(tmp_path / "part", SMALL, AudioOutput())
    with pytest.raises(MediaError, match="picture 1 came where 0 was due"):
        writer.write_picture(grey(50), 1)
    with pytest.raises(MediaError, match="640x360 picture is not of the film's size"):
        writer.write_picture(grey(50, VideoOutput(width=640, height=360)), 0)
    with pytest.raises(MediaError, match="rgb24 picture is not yuv420p"):
        writer.write_picture(av.VideoFrame(320, 180, "rgb24"), 0)
    with pytest.raises(MediaError, match="not \\(channels, n\\)"):
        writer.write_sound(np.zeros((1600, 2), np.float32))
    writer.abort()


def test_a_codec_nobody_knows_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="'betamax'"):
        FilmWriter(tmp_path / "part", VideoOutput(codec="betamax"), AudioOutput())
    with pytest.raises(MediaError, match="'vinyl'"):
        FilmWriter(tmp_path / "part", SMALL, AudioOutput(codec="vinyl"))
    assert not os.listdir(tmp_path)


def test_a_film_without_pictures_is_none(tmp_path: Path) -> None:
    writer = FilmWriter(tmp_path / "part", SMALL, AudioOutput())
    writer.write_sound(SILENCE)
    with pytest.raises(MediaError, match="no pictures"):
        writer.finish(tmp_path / "film.mp4")
    writer.abort()
    assert not os.listdir(tmp_path)


def test_one_picture_is_a_film(tmp_path: Path) -> None:
    film = make_film(tmp_path, 1, SILENCE[:, :1600])
    ((time, value),) = seen(film.path)
    assert time == 0
    assert value == pytest.approx(brightness(0), abs=3)
    assert film.duration_ns == 33_333_333


def test_abort_removes_the_part_file_and_may_be_called_twice(tmp_path: Path) -> None:
    writer = FilmWriter(tmp_path / "part", SMALL, AudioOutput())
    for i in range(60):
        writer.write_picture(grey(i), i)
    writer.abort()
    writer.abort()
    del writer
    assert not os.listdir(tmp_path)


def test_abort_after_finish_keeps_the_film(tmp_path: Path) -> None:
    writer = FilmWriter(tmp_path / "part", SMALL, AudioOutput())
    writer.write_picture(grey(9), 0)
    film = writer.finish(tmp_path / "film.mp4")
    writer.abort()
    assert film.path.stat().st_size == film.size_bytes


def test_a_full_disk_is_told_in_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.symlink_to("/dev/full")
    with pytest.raises(UnavailableError, match="disk is full"):
        FilmWriter(part, SMALL, AudioOutput())
    assert not os.listdir(tmp_path)
    assert Path("/dev/full").exists()


def test_a_disk_that_fills_up_later_is_told_in_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, sound = os.pwrite, np.random.default_rng(1).uniform(-0.5, 0.5, (2, RATE)).astype(np.float32)

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        if offset > 50_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    writer = FilmWriter(tmp_path / "part", SMALL, AudioOutput())
    with pytest.raises(UnavailableError, match="disk is full"):
        for i in range(300):
            writer.write_picture(grey(brightness(i)), i)
            writer.write_sound(sound[:, :1600])
        writer.finish(tmp_path / "film.mp4")
    writer.abort()
    assert not os.listdir(tmp_path)


def test_a_missing_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises((UnavailableError, MediaError), match="Writing the film failed"):
        FilmWriter(tmp_path / "nowhere" / "part", SMALL, AudioOutput())


def test_x264_may_use_threads(tmp_path: Path) -> None:
    writer = FilmWriter(tmp_path / "part", SMALL, AudioOutput(), threads=2)
    for i in range(40):
        writer.write_picture(grey(brightness(i)), i)
    film = writer.finish(tmp_path / "film.mp4")
    assert [value for _, value in seen(film.path)] == pytest.approx([brightness(i) for i in range(40)], abs=3)
    settings = film.path.read_bytes()
    assert b"sliced_threads=0" in settings


@pytest.mark.parametrize("fps", [25, 30])
def test_a_film_says_while_it_grows_how_far_its_media_will_move(fps: int, tmp_path: Path) -> None:
    output, seconds, step = VideoOutput(width=320, height=180, fps=fps), 12, 20_480
    path = tmp_path / ".film.mp4.part"
    writer = FilmWriter(path, output, AudioOutput(), head_align=step, tells_room=True)
    growing, rooms = GrowingFilm(path), []
    for index in range(seconds * fps):
        writer.write_picture(grey(index * 7 % 200, output), index)
        if index % fps == 0:
            writer.write_sound(SILENCE)
            grown = growing.look()
            rooms.append(0 if grown is None else grown.room)
    growing.close()
    film = writer.finish(tmp_path / "film.mp4")
    moov = next(box for box in scan_boxes(lambda at, n: film.head[at : at + n], len(film.head)) if box.kind == b"moov")
    assert moov.size - 3000 < writer._index_bytes() - (1 << 14) < 1.5 * moov.size, "enough, and not much more"
    assert set(rooms) - {0} == {step, 4 * step} and rooms == sorted(rooms)
    assert len(film.head) - rooms[-1] < 64, "behind the type of the file, and as far as it was said"
