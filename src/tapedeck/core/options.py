"""What a film shall be, out of several levels of wishes: the request, the meeting, the app. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tapedeck.core.recording import RecordingOptions

__all__ = ["resolve_options"]

_DEFAULT = RecordingOptions()


def resolve_options(*levels: Mapping[str, Any] | None) -> RecordingOptions:
    """Options from the given levels, strongest first.

    A level that has a key wins it whole: an object is never mixed with another level's, its missing leaves take the
    defaults. The values are already validated.
    """

    def pick(key: str, default: Any) -> Any:
        return next((level[key] for level in levels if level is not None and key in level), default)

    video: Mapping[str, Any] = pick("video_config", {})
    return RecordingOptions(
        width=video.get("width", _DEFAULT.width),
        height=video.get("height", _DEFAULT.height),
        max_seconds=pick("max_seconds", _DEFAULT.max_seconds),
        file_name_prefix=pick("file_name_prefix", None),
    )
