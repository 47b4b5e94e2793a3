"""Nonsense in every field of what starts a recording or a film: taken where it makes sense, else refused in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tapedeck.core.errors import InvalidError
from tapedeck.core.options import resolve_options
from tapedeck.core.output import extension_of, outputs_of
from tapedeck.shapes.bodies import StartBody, parse
from tapedeck.shapes.renders import RenderBody
from tapedeck.shapes.tracks import TrackBody

NONSENSE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.5, 60, 1e300, -0.0, 10**400, float("nan"), float("inf"), "", " ", "x", "a\nb", "😀",
    "1280", "null", "H264 ", "h264", "LEFT TOP", "x" * 3000, "http://", "http://[::1", "//a", [], [1], [None], [[]],
    ["x"] * 101, {}, {"a": 1}, {"": {}},
)  # fmt: skip
FIELDS: dict[type[Any], tuple[str, ...]] = {
    StartBody: (
        "meeting_id", "allow_multiple_recordings", "max_seconds", "file_name_prefix", "url",
        "audio_config", "audio_config.codec", "audio_config.channel", "audio_config.export_file",
        "video_config", "video_config.codec", "video_config.width", "video_config.height", "video_config.export_file",
        "video_config.watermark", "video_config.watermark.url", "video_config.watermark.position",
        "video_config.watermark.size", "video_config.watermark.size.width", "video_config.watermark.size.height",
        "interactive_config", "interactive_config.type", "rtmp_out_config", "rtmp_out_config.rtmp_url",
        "realtimekit_bucket_config", "realtimekit_bucket_config.enabled", "dyte_bucket_config.enabled",
        "storage_config", "storage_config.type",
    ),
    TrackBody: (
        "meeting_id", "max_seconds", "user_ids", "allow_multiple_recordings", "layers", "layers.default",
        "layers.default.file_name_prefix", "layers.default.media_kind", "layers.default.outputs",
        "layers.default-video",
    ),
    RenderBody: ("layout", "focus", "width", "height", "codec", "only", "from", "to", "watermark", "colour"),
}  # fmt: skip
CASES = [
    pytest.param(model, field, id=f"{model.__name__} {field}") for model, names in FIELDS.items() for field in names
]
WORDS = re.compile(r'"[^"]*" (must |is |asks |can |has no |needs )', re.DOTALL)


def with_value(model: type[Any], field: str, value: Any) -> dict[str, Any]:
    """A body that is right in everything else."""
    body: dict[str, Any] = {} if model is RenderBody else {"meeting_id": "m"}
    at = body
    *parents, last = field.split(".")
    for parent in parents:
        at = at.setdefault(parent, {"url": "http://images.example/"} if parent == "watermark" else {})
    at[last] = value
    return body


def taken(model: type[Any], field: str) -> Iterator[Any]:
    """What is taken of the nonsense; the rest is refused by name."""
    for value in NONSENSE:
        try:
            yield parse(model, with_value(model, field, value))
        except InvalidError as exc:
            assert exc.problems
            for problem in exc.problems:
                assert WORDS.match(problem.message), (value, problem.message)
                assert problem.pointer.startswith("/" + field.split(".")[0]), (value, problem.pointer)


@pytest.mark.parametrize(("model", "field"), CASES)
def test_nonsense_is_refused_by_name_or_makes_sense(model: type[Any], field: str) -> None:
    for body in taken(model, field):
        if isinstance(body, StartBody):
            try:
                options = resolve_options(body.config())
            except InvalidError as exc:
                assert exc.problems
                continue
            assert 2 <= options.width <= 1920 and 60 <= options.max_seconds <= 86_400
            assert outputs_of(options, f"m_1.{extension_of(options)}")
        elif isinstance(body, TrackBody):
            choice = body.options(video=True).tracks
            assert choice is not None and choice.layers and choice.user_ids != ()
        else:
            wish = body.wish()
            assert wish.only != () and wish.from_ns >= 0
