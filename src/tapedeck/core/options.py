"""What a film shall be, out of several levels of wishes: the request, the meeting, the app. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tapedeck.core.errors import FieldProblem, InvalidError
from tapedeck.core.wanted import AudioExport, RecordingOptions, Watermark

__all__ = ["resolve_options"]

_DEFAULT = RecordingOptions()
_CHANNELS = {"mono": 1, "stereo": 2}


def resolve_options(*levels: Mapping[str, Any] | None, lenient: bool = False) -> RecordingOptions:
    """Options from the given levels, strongest first.

    A level that has a key wins it whole: an object is never mixed with another level's, its missing leaves take the
    defaults. The values are already validated, each by itself; InvalidError when together they ask for no file
    (`lenient`, when nobody is there to be told: that gives a film).

    `encoding_config` (`frame_rate`, `quality`, `encoder`) is a key of the app's level alone: what it costs to encode is
    the operator's to say.
    """

    def pick(key: str, default: Any) -> Any:
        return next((level[key] for level in levels if level is not None and key in level), default)

    video: Mapping[str, Any] = pick("video_config", {})
    timed = pick("interactive_config", None) is not None
    sound: Mapping[str, Any] | None = pick("audio_config", None)
    encoding: Mapping[str, Any] = pick("encoding_config", {})
    bucket: Mapping[str, Any] = pick("realtimekit_bucket_config", {})
    codec = video.get("codec", "H264").lower()
    options = RecordingOptions(
        width=video.get("width", _DEFAULT.width),
        height=video.get("height", _DEFAULT.height),
        max_seconds=pick("max_seconds", _DEFAULT.max_seconds),
        file_name_prefix=pick("file_name_prefix", None),
        video_codec=codec,
        video_export=video.get("export_file", True),
        audio=None if sound is None else _audio(sound, codec),
        watermark=_watermark(video.get("watermark")),
        page=pick("url", None),
        fps=encoding.get("frame_rate", _DEFAULT.fps),
        quality=encoding.get("quality", _DEFAULT.quality),
        encoder=encoding.get("encoder", _DEFAULT.encoder),
        bucket=bucket.get("enabled", _DEFAULT.bucket),
        timed=timed,
    )
    if timed and (codec != "h264" or not options.video_export):
        why = "needs the codec H264: its segments hold no other" if options.video_export else "needs a video file"
        field = FieldProblem("/interactive_config", f'"interactive_config" {why}')
        raise InvalidError(f"There would be no timed metadata: {field.message}", (field,))
    if not options.video_export and options.audio is None:
        if lenient:
            return replace(options, video_export=True)
        raise InvalidError(
            "Nothing would be recorded: there is neither a video file nor an audio file",
            (
                FieldProblem(
                    "/video_config/export_file",
                    '"video_config.export_file" can be false only if "audio_config" asks for an audio file',
                ),
            ),
        )
    return options


def _audio(sound: Mapping[str, Any], video_codec: str) -> AudioExport | None:
    """The file of the sound alone. Beside VP8 and VP9 its codec is not to be chosen."""
    if not sound.get("export_file", True):
        return None
    codec = sound.get("codec", "AAC").lower() if video_codec == "h264" else "vorbis"
    return AudioExport(codec, _CHANNELS[sound.get("channel", "stereo")])


def _watermark(wish: Mapping[str, Any] | None) -> Watermark | None:
    """Without the address of an image there is none."""
    if wish is None or wish.get("url") is None:
        return None
    size: Mapping[str, Any] = wish.get("size") or {}
    return Watermark(wish["url"], wish.get("position", "left top"), size.get("width"), size.get("height"))
