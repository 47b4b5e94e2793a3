"""Options as they are stored: what an older or a newer version wrote still loads."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from tapedeck.core.wanted import AudioExport, RecordingOptions, TrackChoice, TrackLayer, Watermark

WHOLE = RecordingOptions(
    640,
    360,
    video_codec="vp9",
    audio=AudioExport("mp3", 1),
    bucket=False,
    watermark=Watermark("https://example.org/w.png", width=80),
    tracks=TrackChoice((TrackLayer("default"), TrackLayer("default-video", "video", "cam")), ("a", "b")),
    fps=25,
    quality="high",
    encoder="nvenc",
)


@pytest.mark.parametrize("options", [RecordingOptions(), WHOLE, RecordingOptions(tracks=TrackChoice())])
def test_options_come_back_from_json(options: RecordingOptions) -> None:
    assert RecordingOptions.from_dict(json.loads(json.dumps(asdict(options)))) == options


def test_options_of_the_first_version_load() -> None:
    stored = {"width": 640, "height": 480, "max_seconds": 60, "file_name_prefix": "x"}
    assert RecordingOptions.from_dict(stored) == RecordingOptions(640, 480, 60, "x")


def test_keys_of_a_newer_version_are_passed_over() -> None:
    stored = {"width": 640, "later": 1, "audio": {"codec": "mp3", "later": 2}, "watermark": {"url": "u", "later": 3}}
    assert RecordingOptions.from_dict(stored) == RecordingOptions(
        640, audio=AudioExport("mp3"), watermark=Watermark("u")
    )
