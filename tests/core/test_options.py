"""Which files a recording has, by what was asked for: the tables E2 and E3 of the contract, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from tapedeck.core.errors import InvalidError
from tapedeck.core.options import resolve_options
from tapedeck.core.output import AudioOutput, VideoOutput, content_type, extension_of, outputs_of
from tapedeck.core.wanted import AudioExport, RecordingOptions, Watermark

OFF: dict[str, Any] = {"export_file": False}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ({}, None),
        ({"url": "http://a/"}, Watermark("http://a/")),
        (
            {"url": "http://a/", "position": "right bottom", "size": {"height": 9}},
            Watermark("http://a/", "right bottom", None, 9),
        ),
    ],
)
def test_the_watermark_of_a_recording(given: dict[str, Any] | None, expected: Watermark | None) -> None:
    level = {"video_config": {} if given is None else {"watermark": given}}
    assert resolve_options(level).watermark == expected
    assert resolve_options({"max_seconds": 60}, level).watermark == expected, "of the meeting"
    assert resolve_options({"video_config": {"width": 640}}, level).watermark is None, "an object wins whole"


def files(config: dict[str, Any]) -> list[tuple[str, str | None, str, int]]:
    """(extension, codec of the picture, codec of the sound, channels) of each file."""
    options = resolve_options(config)
    outputs = outputs_of(options, f"x_1.{extension_of(options)}")
    assert {output.file_name.partition(".")[0] for output in outputs} == {"x_1"}
    return [
        (
            output.file_name.rpartition(".")[2],
            None if output.video is None else output.video.codec,
            output.audio.codec,
            output.audio.channels,
        )
        for output in outputs
    ]


FILM = ("mp4", "h264", "aac", 2)
SOUND = ("m4a", None, "aac", 2)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, [FILM]),
        ({"video_config": {}}, [FILM]),
        ({"audio_config": {}}, [FILM, SOUND]),
        ({"audio_config": OFF}, [FILM]),
        ({"video_config": {}, "audio_config": {}}, [FILM, SOUND]),
        ({"video_config": OFF, "audio_config": {}}, [SOUND]),
        ({"video_config": {}, "audio_config": OFF}, [FILM]),
        ({"audio_config": {"codec": "MP3", "channel": "mono"}}, [FILM, ("mp3", None, "mp3", 1)]),
        ({"video_config": {"codec": "VP8"}}, [("webm", "vp8", "vorbis", 2)]),
        (
            {"video_config": {"codec": "VP9"}, "audio_config": {"codec": "MP3", "channel": "mono"}},
            [("webm", "vp9", "vorbis", 2), ("ogg", None, "vorbis", 1)],
        ),
        ({"video_config": {"codec": "VP8"} | OFF, "audio_config": {"codec": "AAC"}}, [("ogg", None, "vorbis", 2)]),
    ],
)
def test_files_of_a_recording(config: dict[str, Any], expected: list[tuple[str, str | None, str, int]]) -> None:
    """OC-24, OC-56, OC-57, OC-58."""
    assert files(config) == expected


@pytest.mark.parametrize("config", [{"video_config": OFF}, {"video_config": OFF, "audio_config": OFF}])
def test_no_file_at_all_is_refused_and_named(config: dict[str, Any]) -> None:
    """OC-26; with nobody to tell, a film is made."""
    with pytest.raises(InvalidError, match="neither a video file nor an audio file") as refused:
        resolve_options(config)
    assert [problem.pointer for problem in refused.value.problems] == ["/video_config/export_file"]
    assert resolve_options(config, lenient=True) == RecordingOptions()


def test_a_film_and_the_sound_beside_it_are_encoded_once_where_they_are_the_same() -> None:
    film, sound = outputs_of(RecordingOptions(audio=AudioExport()), "a.mp4")
    assert film.audio == sound.audio == AudioOutput()


def test_what_the_operator_says_of_encoding_reaches_the_film() -> None:
    said = {"frame_rate": 25, "quality": "low", "encoder": "vaapi"}
    options = resolve_options({}, None, {"encoding_config": said})
    (film,) = outputs_of(options, "a.mp4")
    assert film.video is not None
    assert (film.video.fps, film.video.quality, film.video.encoder) == (25, "low", "vaapi")
    assert film.video.maxrate_bps == 1_000_000 and film.video.crf > VideoOutput().crf


def test_every_file_has_a_type() -> None:
    names = [f"a.{end}" for end in ("mp4", "webm", "m4a", "mp3", "ogg", "MP4", "tar", "xyz", "")]
    assert [content_type(name) for name in names] == [
        "video/mp4",
        "video/webm",
        "audio/mp4",
        "audio/mpeg",
        "audio/ogg",
        "video/mp4",
        "application/x-tar",
        "application/octet-stream",
        "application/octet-stream",
    ]
