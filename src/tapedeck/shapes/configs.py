"""What an app's configuration looks like: defaults of its recordings, below those of each meeting. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from typing_extensions import TypedDict

from tapedeck.core.meeting import App
from tapedeck.shapes.bodies import RecordingConfig, parse, whole
from tapedeck.shapes.realtimekit import public_config

__all__ = ["AppConfig", "AppConfigBody", "AppRecordingConfig", "app_config_body", "recording_defaults"]

_PARTS = ConfigDict(extra="ignore", strict=True, frozen=True)


class EncodingConfig(BaseModel):
    """How films are encoded."""

    model_config = _PARTS

    frame_rate: Annotated[int, BeforeValidator(whole), Field(ge=1, le=60)] | None = None
    quality: Literal["low", "standard", "high"] | None = None
    encoder: Literal["x264", "nvenc", "vaapi", "qsv", "videotoolbox"] | None = None


class AppRecordingConfig(RecordingConfig):
    """As of a meeting, and what only whoever pays for the machine decides."""

    encoding_config: EncodingConfig | None = None

    def config(self) -> dict[str, Any]:
        """What was given, as JSON values: a level of wishes for `core.options`."""
        encoding = None if self.encoding_config is None else self.encoding_config.model_dump(exclude_none=True)
        return super().config() | ({} if encoding is None else {"encoding_config": encoding})


class AppConfigBody(BaseModel):
    """PUT and PATCH config: PUT takes what is missing for `null`, PATCH for what is there."""

    model_config = _PARTS

    recording_config: AppRecordingConfig | None = None
    empty_meeting_timeout_seconds: Annotated[int, BeforeValidator(whole), Field(ge=1, le=3600)] | None = None

    def values(self) -> dict[str, Any]:
        """What was given, under the names of `core.meeting.App`; `null` clears."""
        given: dict[str, Any] = {}
        if "recording_config" in self.model_fields_set:
            given["recording_config"] = None if self.recording_config is None else self.recording_config.config()
        if "empty_meeting_timeout_seconds" in self.model_fields_set:
            given["empty_timeout_s"] = self.empty_meeting_timeout_seconds
        return given


class AppConfig(TypedDict):
    """What the recordings of an app are unless their meeting or their start says otherwise."""

    recording_config: Annotated[
        dict[str, Any] | None, Field(description="As of a meeting; null: nothing.", examples=[{"max_seconds": 3600}])
    ]
    empty_meeting_timeout_seconds: Annotated[
        float | None,
        Field(description="How long recordings wait in an empty room; null: the server's own.", examples=[60]),
    ]


def app_config_body(app: App) -> dict[str, Any]:
    """The configuration of an app."""
    seconds = app.empty_timeout_s
    return {
        "recording_config": None if app.recording_config is None else public_config(app.recording_config),
        "empty_meeting_timeout_seconds": int(seconds) if seconds is not None and seconds == int(seconds) else seconds,
    }


def recording_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """The weakest level, as the server's settings have it; InvalidError naming what is wrong."""
    return parse(AppRecordingConfig, dict(values)).config()
