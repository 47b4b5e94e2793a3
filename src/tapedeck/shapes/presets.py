"""What the RealtimeKit face takes of presets. Pure.

Checked is what this server acts on. Everything else in the three parts is kept as it came and given back.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

__all__ = ["EditPresetBody", "PresetBody"]

_OPEN = ConfigDict(extra="allow", strict=True)


class Production(TypedDict, total=False):
    """Whether one kind of media may be sent; only ALLOWED may."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]
    can_produce: Literal["ALLOWED", "NOT_ALLOWED", "CAN_REQUEST"]


class Media(TypedDict, total=False):
    """What may be sent."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]
    audio: Production
    video: Production
    screenshare: Production


class Permissions(TypedDict, total=False):
    """What the participant may do."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]
    can_record: Annotated[bool, Field(description="May start, pause, resume and stop recordings.")]
    can_livestream: bool
    hidden_participant: Annotated[bool, Field(description="Counts as nobody, and publishes nothing.")]
    is_recorder: bool
    recorder_type: Literal["RECORDER", "LIVESTREAMER", "NONE"]
    media: Media


class Config(TypedDict, total=False):
    """What kind of meeting it is for."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]
    view_type: Literal["GROUP_CALL", "WEBINAR", "AUDIO_ROOM", "LIVESTREAM"]


_Name = Annotated[str, Field(min_length=1, max_length=256)]


class PresetBody(BaseModel):
    """POST presets and PUT presets/{id}. What a part leaves out is that of `group_call_participant`."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    name: _Name
    config: Config
    permissions: Permissions
    ui: dict[str, Any]

    def values(self) -> dict[str, Any]:
        """The parts."""
        return cast(dict[str, Any], {"config": self.config, "permissions": self.permissions, "ui": self.ui})


class EditPresetBody(BaseModel):
    """PATCH presets/{id}: what is given is laid over what is there, however deep."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    name: _Name | None = None
    config: Config | None = None
    permissions: Permissions | None = None
    ui: dict[str, Any] | None = None

    def values(self) -> dict[str, Any]:
        """What was given."""
        given = {"name": self.name, "config": self.config, "permissions": self.permissions, "ui": self.ui}
        return {key: value for key, value in given.items() if value is not None}
