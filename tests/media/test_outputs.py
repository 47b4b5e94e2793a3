"""Every kind of file of a film, judged by another FFmpeg: what the headers say, what is seen and heard when."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import av
import google_crc32c
import numpy as np
import pytest
from tests.media.filming import SMALL, brightness, ffprobe, grey, heard, paint, seen
from tests.media.tones import RATE, clicks, level, pulse_times, tone

from tapedeck.core.errors import MediaError
from tapedeck.core.output import AudioOutput, Output, VideoOutput
from tapedeck.media.encode import PictureEncoder
from tapedeck.media.mux import FilmFile, FilmWriters
from tapedeck.media.vorbis import VorbisEncoder

PICTURES = 90
SOUND = 3 * RATE
AT = [6000, 24_000, 48_000, 95_000, 143_900]
VORBIS = AudioOutput.of("vorbis")
VP8, VP9 = (VideoOutput(SMALL.width, SMALL.height, codec=codec) for codec in ("vp8", "vp9"))

FILES: list[tuple[Output, tuple[str, str | None, str, int]]] = [
    (Output("a.mp4", SMALL), ("mov,mp4,m4a,3gp,3g2,mj2", "h264", "aac", 2)),
    (Output("a.webm", VP8, VORBIS), ("matroska,webm", "vp8", "vorbis", 2)),
    (Output("b.webm", VP9, VORBIS), ("matroska,webm", "vp9", "vorbis", 2)),
    (Output("a.m4a", None), ("mov,mp4,m4a,3gp,3g2,mj2", None, "aac", 2)),
    (Output("b.m4a", None, AudioOutput.of("aac", 1)), ("mov,mp4,m4a,3gp,3g2,mj2", None, "aac", 1)),
    (Output("a.mp3", None, AudioOutput.of("mp3")), ("mp3", None, "mp3", 2)),
    (Output("b.mp3", None, AudioOutput.of("mp3", 1)), ("mp3", None, "mp3", 1)),
    (Output("a.ogg", None, VORBIS), ("ogg", None, "vorbis", 2)),
    (Output("b.ogg", None, AudioOutput.of("vorbis", 1)), ("ogg", None, "vorbis", 1)),
]
ROWS = [pytest.param(output, wanted, id=output.file_name) for output, wanted in FILES]
NAMES = {output.file_name: wanted for output, wanted in FILES}


def make(directory: Path, outputs: list[Output], sound: Any, pictures: int = PICTURES) -> list[FilmFile]:
    writers = FilmWriters(directory, outputs)
    frame = grey(0)
    for i in range(pictures):
        paint(frame, brightness(i))
        writers.write_picture(frame, i)
        writers.write_sound(sound[:, i * sound.shape[1] // pictures : (i + 1) * sound.shape[1] // pictures])
    return list(writers.finish())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FilmFile]:
    """A film of clicks as every kind of file; those of one size share what they can."""
    directory = tmp_path_factory.mktemp("outputs")
    sound = np.stack([clicks(SOUND, AT)] * 2)
    return {file.path.name: file for file in make(directory, [output for output, _ in FILES], sound)}


@pytest.mark.parametrize("name", NAMES)
def test_what_the_headers_say(name: str, made: dict[str, FilmFile]) -> None:
    container, picture, sound, channels = NAMES[name]
    file = made[name]
    answer = ffprobe(file.path, "-show_streams", "-show_format")
    streams = {stream["codec_type"]: stream for stream in answer["streams"]}
    assert answer["format"]["format_name"] == container
    assert (streams["video"]["codec_name"] if "video" in streams else None) == picture
    assert (streams["audio"]["codec_name"], streams["audio"]["channels"]) == (sound, channels)
    assert streams["audio"]["sample_rate"] == "48000"
    assert float(answer["format"]["duration"]) == pytest.approx(3, abs=1.1 * 1152 / RATE)
    assert file.duration_ns == 3_000_000_000 and file.kind == ("audio" if picture is None else "video")
    if picture is not None:
        colours = [streams["video"][f"color_{key}"] for key in ("range", "space", "transfer", "primaries")]
        assert colours == ["tv", "bt709", "bt709", "bt709"] or picture == "vp8", "VP8 itself has one colour space"
        assert streams["video"]["r_frame_rate"] == "30/1"


@pytest.mark.parametrize("name", NAMES)
def test_size_and_checksum_are_those_of_the_file(name: str, made: dict[str, FilmFile]) -> None:
    file = made[name]
    data = file.path.read_bytes()
    assert (file.size_bytes, file.crc32c) == (len(data), google_crc32c.value(data))


@pytest.mark.parametrize("name", NAMES)
def test_every_sound_is_at_its_time(name: str, made: dict[str, FilmFile]) -> None:
    played = heard(made[name].path)
    assert pulse_times(played[:, 0], AT) == pytest.approx(AT, abs=3)
    assert abs(len(played) - SOUND) <= 1024


@pytest.mark.parametrize("name", [name for name, (_, picture, _, _) in NAMES.items() if picture])
def test_every_picture_is_at_its_time(name: str, made: dict[str, FilmFile]) -> None:
    pictures = seen(made[name].path)
    assert [time for time, _ in pictures] == pytest.approx([i / 30 for i in range(PICTURES)], abs=0.0005)
    assert [value for _, value in pictures] == pytest.approx([brightness(i) for i in range(PICTURES)], abs=4)


@pytest.mark.parametrize(("output", "wanted"), [row for row in ROWS if row.values[0].video is None])  # type: ignore[union-attr]
def test_sound_keeps_its_level(output: Output, wanted: tuple[str, str | None, str, int], tmp_path: Path) -> None:
    sound = np.stack([tone(440, RATE, 0.5), tone(440, RATE, 0.25)])
    (file,) = make(tmp_path, [output], sound, 30)
    played = heard(file.path)[4800:-4800]
    # One channel has the mean of both; Debian's ffmpeg plays it on two, each 3 dB below it, as players do.
    left, right = (0.5, 0.25) if wanted[3] == 2 else (0.375 / np.sqrt(2), 0.375 / np.sqrt(2))
    assert level(played[:, 0]) == pytest.approx(left / np.sqrt(2), rel=0.03)
    assert level(played[:, 1]) == pytest.approx(right / np.sqrt(2), rel=0.03)


def test_what_settings_share_is_encoded_once(tmp_path: Path) -> None:
    outputs = [Output("a.mp4", SMALL), Output("b.mp4", SMALL), Output("a.m4a", None), Output("a.ogg", None, VORBIS)]
    files = make(tmp_path, outputs, np.stack([tone(440, SOUND)] * 2))
    assert [file.path.name for file in files] == ["a.mp4", "b.mp4", "a.m4a", "a.ogg"]
    kinds = [packets(file.path, "audio") for file in files[:3]]
    assert kinds[0] == kinds[1] == kinds[2] and len(kinds[0]) > 10_000
    assert packets(files[0].path, "video") == packets(files[1].path, "video") != b""
    assert [value for _, value in seen(files[1].path)] == [value for _, value in seen(files[0].path)]


def packets(path: Path, kind: str) -> bytes:
    with av.open(str(path)) as container:
        (stream,) = [stream for stream in container.streams if stream.type == kind]
        return b"".join(bytes(packet) for packet in container.demux(stream) if packet.size)


@pytest.mark.parametrize("video", [VP8, VP9], ids=["vp8", "vp9"])
def test_webm_has_an_index_that_is_found_from_its_head(video: VideoOutput, tmp_path: Path) -> None:
    """Cues for a place every two seconds at most, and a seek lands there without reading what lies before."""
    outputs = [Output("a.webm", video, VORBIS)]
    (file,) = make(tmp_path, outputs, np.stack([tone(440, 10 * RATE)] * 2), 300)
    data = file.path.read_bytes()
    seek_head, cues = data.index(bytes.fromhex("114d9b74")), data.rindex(bytes.fromhex("1c53bb6b"))
    assert seek_head < 100 and data[seek_head : seek_head + 100].count(bytes.fromhex("1c53bb6b")) == 1
    assert cues > len(data) - 2000 and data.count(b"\xbb", cues) >= 5
    with av.open(str(file.path)) as container:
        container.seek(7_100_000)
        first = next(container.decode(video=0))
        assert 5.0 <= float(first.time or 0) <= 7.1
        assert container.duration == pytest.approx(10_000_000, abs=25_000)


def test_sound_longer_than_the_picture_counts(tmp_path: Path) -> None:
    files = make(tmp_path, [Output("a.webm", VP8, VORBIS)], np.zeros((2, SOUND + 999), np.float32))
    assert files[0].duration_ns == (SOUND + 999) * 1_000_000_000 // RATE
    assert len(heard(files[0].path)) == pytest.approx(SOUND + 999, abs=1024)


def test_vorbis_packets_follow_each_other_and_end_with_the_sound() -> None:
    encoder = VorbisEncoder(VORBIS)
    random = np.random.default_rng(1)
    sound = (0.1 * random.standard_normal((2, 100_001))).astype(np.float32)
    made = [packet for at in range(0, 100_001, 777) for packet in encoder.encode(sound[:, at : at + 777])]
    made += encoder.flush()
    assert encoder.flush() == [] and encoder.count == 100_001
    at = 0
    for packet in made:
        assert packet.pts == at
        at += packet.duration or 0
    assert at == 100_001


@pytest.mark.parametrize("codec", ["h264", "vp8", "vp9"])
@pytest.mark.parametrize("size", [(2, 2), (8, 6), (2, 1920), (1920, 2)])
def test_the_smallest_and_the_thinnest_film_has_its_pictures(codec: str, size: tuple[int, int], tmp_path: Path) -> None:
    video = VideoOutput(*size, codec=codec)
    writers = FilmWriters(tmp_path, [Output("a.film", video, AudioOutput() if codec == "h264" else VORBIS)])
    frame = grey(0, video)
    for i in range(12):
        paint(frame, brightness(i))
        writers.write_picture(frame, i)
    (file,) = writers.finish()
    with av.open(str(file.path)) as film:
        shown = [picture.to_ndarray(format="gray") for picture in film.decode(video=0)]
    assert [picture.shape for picture in shown] == [(size[1], size[0])] * 12
    assert len({int(picture.mean()) // 20 for picture in shown}) > 4, "they differ"


@pytest.mark.parametrize("codec", ["h264", "vp8", "vp9"])
@pytest.mark.parametrize("fps", [1, 25, 60])
def test_pictures_of_any_rate_are_at_their_times(codec: str, fps: int, tmp_path: Path) -> None:
    video = VideoOutput(64, 36, fps=fps, codec=codec)
    writers = FilmWriters(tmp_path, [Output("a.film", video, AudioOutput() if codec == "h264" else VORBIS)])
    frame = grey(0, video)
    for i in range(3 * fps):
        paint(frame, brightness(i))
        writers.write_picture(frame, i)
        writers.write_sound(np.zeros((2, RATE // fps), np.float32))
    (file,) = writers.finish()
    with av.open(str(file.path)) as film:
        times = [picture.time for picture in film.decode(video=0)]
    assert times == pytest.approx([i / fps for i in range(3 * fps)], abs=0.0006)
    assert file.duration_ns == 3_000_000_000


def test_no_sound_at_all_is_a_stream(tmp_path: Path) -> None:
    (file,) = make(tmp_path, [Output("a.webm", VP8, VORBIS)], np.zeros((2, 0), np.float32))
    assert len(seen(file.path)) == PICTURES


def test_a_better_quality_is_larger(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    pictures = [random.integers(90, 110, (270, 320), np.uint8) for _ in range(8)]
    for codec in ("h264", "vp8", "vp9"):
        sizes = []
        for quality in ("low", "standard", "high"):
            video = VideoOutput(320, 180, codec=codec, quality=quality)
            sound = AudioOutput() if codec == "h264" else VORBIS
            writers = FilmWriters(tmp_path, [Output(f"{quality}.film", video, sound)])
            for i in range(60):
                writers.write_picture(av.VideoFrame.from_ndarray(pictures[i % 8], format="yuv420p"), i)
            sizes.append(writers.finish()[0].size_bytes)
        assert sizes[0] * 1.2 < sizes[1] and sizes[1] * 1.2 < sizes[2], (codec, sizes)


@pytest.mark.parametrize("encoder", ["nvenc", "vaapi", "qsv", "videotoolbox"])
def test_hardware_that_is_not_there_falls_back_to_x264_and_the_log_says_so(
    encoder: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if Path("/dev/dri").exists() or Path("/dev/nvidia0").exists():
        pytest.skip("this machine may have the hardware")
    video = VideoOutput(SMALL.width, SMALL.height, encoder=encoder)
    with caplog.at_level(logging.WARNING, "tapedeck"):
        (file,) = make(tmp_path, [Output("a.mp4", video)], np.zeros((2, SOUND), np.float32))
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{encoder} cannot encode here") and line.endswith("the film is encoded by x264")
    assert len(seen(file.path)) == PICTURES and b"x264" in file.path.read_bytes()


def test_an_encoder_nobody_has_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container, pytest.raises(MediaError, match="abacus"):
        PictureEncoder(container, VideoOutput(encoder="abacus"), 1)
