"""Films with timed metadata: the tar, its playlist and segments, and what stands where; read by ours and by FFmpeg."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from tests.media.filming import SMALL, brightness, ffprobe, grey, heard, paint
from tests.media.hls import read_archive
from tests.media.tones import RATE, clicks, pulse_times

from tapedeck.core.errors import MediaError
from tapedeck.core.output import AudioOutput, Output, VideoOutput
from tapedeck.media.mux import FilmFile, FilmWriters

PICTURES = 750
"""25 s: two whole segments and a shorter one."""
AT = [6000, 24_000, 48_000, 600_000, 1_199_000]
SAID = [(0, "first"), (1_234_567_890, '{"quiz":7}'), (9_999_999_999, "Grüße 👋"), (10_000_000_000, "x" * 16_384)]
SAID += [(24_990_000_000, "last")]
MADE_AT = datetime(2026, 3, 2, 9, 15, tzinfo=UTC)


def make(directory: Path, outputs: list[Output], said: list[tuple[int, str]], pictures: int) -> list[FilmFile]:
    """A film of changing brightness and of clicks; texts come when pictures before them were handed over."""
    writers = FilmWriters(directory, outputs, created_at=MADE_AT)
    sound = np.stack([clicks(pictures * RATE // 30, [at for at in AT if at < pictures * RATE // 30])] * 2)
    frame = grey(0)
    left = list(said)
    for i in range(pictures):
        while left and left[0][0] <= i * 1_000_000_000 // 30:
            writers.write_text(*left.pop(0))
        paint(frame, brightness(i))
        writers.write_picture(frame, i)
        if i % 15 == 14:
            writers.write_sound(sound[:, (i - 14) * RATE // 30 : (i + 1) * RATE // 30])
    for film_ns, text in left:
        writers.write_text(film_ns, text)
    writers.write_sound(sound[:, pictures // 15 * 15 * RATE // 30 :])
    return list(writers.finish())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[FilmFile]:
    directory = tmp_path_factory.mktemp("segments")
    return make(directory, [Output("film.tar", SMALL, timed=True), Output("film.m4a", None)], SAID, PICTURES)


def test_the_tar_holds_a_playlist_and_segments_of_ten_seconds(made: list[FilmFile]) -> None:
    film = made[0]
    data = film.path.read_bytes()
    archive = read_archive(data)
    assert (film.size_bytes, film.crc32c) == (len(data), google_crc32c.value(data)) and film.kind == "video"
    assert film.duration_ns == 25_000_000_000
    assert sum(archive.durations) == pytest.approx(25, abs=0.001) and len(archive.durations) >= 2
    assert all(10 <= seconds <= 12.1 for seconds in archive.durations[:-1])
    assert archive.playlist.startswith("#EXTM3U\n") and archive.playlist.endswith("#EXT-X-ENDLIST\n")
    assert "#EXT-X-PLAYLIST-TYPE:VOD\n" in archive.playlist
    assert all(archive.keys), "each segment can be begun with"
    shown = sorted(pts for pictures in archive.pictures for pts in pictures)
    assert shown == [900_000 + 3000 * i for i in range(PICTURES)]


def test_each_text_stands_at_its_moment_in_the_segment_that_shows_it(made: list[FilmFile]) -> None:
    archive = read_archive(made[0].path.read_bytes())
    assert [cue.text for cue in archive.cues] == [text for _, text in SAID]
    assert {cue.description for cue in archive.cues} == {"ID3Data"}
    for cue, (film_ns, _) in zip(archive.cues, SAID, strict=True):
        assert cue.pts - 900_000 == film_ns * 90_000 // 1_000_000_000
        start = min(archive.pictures[cue.segment])
        end = max(archive.pictures[cue.segment]) + 3000
        assert start <= cue.pts < end


def test_ffmpeg_plays_the_playlist_without_a_complaint(made: list[FilmFile], tmp_path: Path) -> None:
    playlist = read_archive(made[0].path.read_bytes()).unpack(tmp_path)
    answer = ffprobe(playlist, "-show_streams", "-show_format")
    assert answer["format"]["format_name"] == "hls"
    assert float(answer["format"]["duration"]) == pytest.approx(25, abs=0.05)
    kinds = {stream["codec_name"]: stream for stream in answer["streams"]}
    assert kinds.keys() == {"h264", "aac", "timed_id3"}
    early_s = float(kinds["h264"]["start_time"]) - float(kinds["aac"]["start_time"])
    assert early_s == pytest.approx(1024 / RATE, abs=1e-4), "the encoder's priming"
    whole = subprocess.run(
        ["ffmpeg", "-v", "warning", "-i", str(playlist), "-map", "0:v", "-map", "0:a", "-f", "null", "-"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert whole.stderr == ""
    count = ["-count_frames", "-select_streams", "v", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"]
    shown = subprocess.run(
        ["ffprobe", "-v", "error", *count, str(playlist)], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split()[0].strip(",") == str(PICTURES)


def test_sound_is_at_its_place_and_shared_with_the_file_of_it(made: list[FilmFile], tmp_path: Path) -> None:
    playlist = read_archive(made[0].path.read_bytes()).unpack(tmp_path)
    priming = 1024  # a transport stream cannot tell a player to leave it out
    expected = [at + priming for at in AT]
    assert pulse_times(heard(playlist)[:, 0], expected) == pytest.approx(expected, abs=48)
    assert made[1].duration_ns == 25_000_000_000


def test_a_film_made_again_is_the_same_tar(tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        files += make(tmp_path / name, [Output("film.tar", SMALL, timed=True)], SAID[:2], 60)
    first, second = (read_archive(file.path.read_bytes()) for file in files)
    assert first.cues == second.cues and first.playlist == second.playlist
    assert first.pictures == second.pictures and len(first.segments) == 1
    assert first.durations == [2.0]


def test_other_codecs_than_those_of_hls_are_refused(tmp_path: Path) -> None:
    vp8 = VideoOutput(SMALL.width, SMALL.height, codec="vp8")
    with pytest.raises(MediaError, match="H264 with AAC"):
        FilmWriters(tmp_path, [Output("film.tar", vp8, AudioOutput.of("vorbis"), timed=True)])
    assert list(tmp_path.iterdir()) == []
