"""What starts a recording of tracks, validated field by field. Pure; decides nothing about state.

Two generations of clients send two shapes, and the union of both is taken. An empty list of people is an error, never
everybody.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from tapedeck.core.errors import FieldProblem, InvalidError
from tapedeck.core.wanted import RecordingOptions, TrackChoice, TrackLayer
from tapedeck.shapes.bodies import Body, Prefix, refuse, whole
from tapedeck.shapes.storage import StorageConfig, storage_values

__all__ = ["TrackBody"]

_DIGITS = re.compile(r"[0-9]{1,9}")


def _maybe_text(value: Any) -> Any:
    """Older clients send the number as text."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    return whole(value)


class _TrackOutput(Body):
    type: Literal["REALTIMEKIT_BUCKET", "DYTE_BUCKET", "STORAGE_CONFIG"] = "REALTIMEKIT_BUCKET"
    storage_config: StorageConfig | None = None


def _places(outputs: list[_TrackOutput]) -> list[_TrackOutput]:
    """The built-in bucket has the files in any case; a storage of one's own may be named once."""
    outside = [output for output in outputs if output.type == "STORAGE_CONFIG"]
    if len(outside) > 1:
        raise refuse("must not have more than one STORAGE_CONFIG")
    for output in outputs:
        if (output.type == "STORAGE_CONFIG") != (output.storage_config is not None):
            raise refuse("must have a storage_config with the type STORAGE_CONFIG, and with no other")
    return outputs


class _TrackLayer(Body):
    file_name_prefix: Prefix | None = None
    media_kind: Literal["audio", "video"] | None = None
    outputs: Annotated[list[_TrackOutput], Field(max_length=10), AfterValidator(_places)] | None = None


_LAYER_KINDS: dict[str, Literal["audio", "video"]] = {"default": "audio", "default-video": "video"}
_Layers = dict[Literal["default", "default-video"], _TrackLayer | None]


def _one_of_a_kind(layers: _Layers) -> _Layers:
    if len({(layer and layer.media_kind) or _LAYER_KINDS[name] for name, layer in layers.items()}) < len(layers):
        raise refuse("must not have two layers of one media_kind")
    return layers


class TrackBody(Body):
    """POST recordings/track, in the words of the present SDK (`media_kind`) and of the earlier API (`outputs`)."""

    meeting_id: str
    layers: Annotated[_Layers, AfterValidator(_one_of_a_kind)] | None = None
    max_seconds: Annotated[int, BeforeValidator(_maybe_text), Field(ge=60, le=86_400)] | None = None
    user_ids: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(min_length=1, max_length=100)] | None
    ) = None
    allow_multiple_recordings: bool | None = None

    def options(self, *, video: bool) -> RecordingOptions:
        """What is wanted. `video`: this server makes files of pictures; InvalidError when they are asked for else.

        Without `layers` everything is wanted, under the prefix `default`.
        """
        if self.layers:
            layers = tuple(_track_layer(name, layer) for name, layer in self.layers.items())
        else:
            layers = (TrackLayer("default"), TrackLayer("default-video", "video", "default"))[: 2 if video else 1]
        for layer in layers:
            if layer.media_kind == "video" and not video:
                text = f'"layers.{layer.name}" video tracks are turned off on this server'
                raise InvalidError(text, (FieldProblem(f"/layers/{layer.name}", text),))
        user_ids = None if self.user_ids is None else tuple(dict.fromkeys(self.user_ids))
        options = RecordingOptions(tracks=TrackChoice(layers, user_ids))
        return options if self.max_seconds is None else replace(options, max_seconds=self.max_seconds)

    def storages(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """By layer: the storage of one's own that its files go to as well, and its place in the body (JSON pointer)."""
        found: dict[str, tuple[str, dict[str, Any]]] = {}
        for name, layer in (self.layers or {}).items():
            for index, output in enumerate((layer and layer.outputs) or ()):
                if output.storage_config is not None:
                    pointer = f"/layers/{name}/outputs/{index}/storage_config"
                    found[name] = (pointer, storage_values(output.storage_config))
        return found


def _track_layer(name: str, layer: _TrackLayer | None) -> TrackLayer:
    given = layer or _TrackLayer()
    return TrackLayer(name, given.media_kind or _LAYER_KINDS[name], given.file_name_prefix)
