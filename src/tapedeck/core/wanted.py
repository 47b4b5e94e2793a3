"""What somebody wants of a recording: its options, as they are stored with it.

Owns the defaults and how stored options are read again: one of an older version lacks keys, one stored by a newer
version has keys that are not known here, and both load. Refuses to check what users send (`shapes`), to merge levels of
wishes (`core/options.py`) and to hold a secret: where files go, and with which keys, is stored elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["PAGE_PREFIX", "AudioExport", "RecordingOptions", "TrackChoice", "TrackLayer", "Watermark"]

PAGE_PREFIX = "page:"
"""What the id begins with as which a web page is in a log (`core/page.py`): no participant has such an id."""


@dataclass(frozen=True, slots=True)
class AudioExport:
    """A file of the sound alone."""

    codec: str = "aac"
    "`aac`, `mp3` or `vorbis`."
    channels: int = 2
    "1 or 2."


@dataclass(frozen=True, slots=True)
class Watermark:
    """A picture over the film. Pixels of the film; a side that is not given follows from the other one."""

    url: str
    position: str = "left top"
    "`left` or `right`, and `top` or `bottom`."
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class TrackLayer:
    """One kind of file per person."""

    name: str
    media_kind: str = "audio"
    "`audio` or `video`."
    file_name_prefix: str | None = None
    "None: the name of the layer."


@dataclass(frozen=True, slots=True)
class TrackChoice:
    """Whose tracks are kept as files of their own, and which."""

    layers: tuple[TrackLayer, ...] = ()
    user_ids: tuple[str, ...] | None = None
    "Ids or custom ids of participants; None: everybody."

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrackChoice:
        """The choice that `dataclasses.asdict` made plain values of. What is damaged raises, and never widens it."""
        user_ids = values["user_ids"]
        layers = tuple(TrackLayer(**_known(layer, _LAYER)) for layer in values["layers"])
        return cls(layers, None if user_ids is None else tuple(str(user_id) for user_id in user_ids))

    def layer_of(self, media_kind: str) -> TrackLayer | None:
        """The layer that holds files of this kind; None when there are to be none."""
        return next((layer for layer in self.layers if layer.media_kind == media_kind), None)

    def name_of(self, participant_id: str, custom_id: str) -> str | None:
        """What a participant is called in file names: the value they were chosen by; None: they are not chosen."""
        if participant_id.startswith(PAGE_PREFIX):
            return None
        if self.user_ids is None:
            return participant_id
        for user_id in self.user_ids:
            if user_id and (user_id == custom_id or user_id.lower() == participant_id.lower()):
                return user_id
        return None


@dataclass(frozen=True, slots=True)
class RecordingOptions:
    """What the film shall be. Sides are even, in pixels; the length is wall clock from the first media."""

    width: int = 1280
    height: int = 720
    max_seconds: int = 86_400
    file_name_prefix: str | None = None
    video_codec: str = "h264"
    "`h264` (MP4 with AAC), `vp8` or `vp9` (WebM with Vorbis)."
    video_export: bool = True
    "Whether there is a film; without one there is `audio`."
    audio: AudioExport | None = None
    "The file of the sound alone; None for none."
    bucket: bool = True
    "Whether the files go to the built-in bucket."
    watermark: Watermark | None = None
    tracks: TrackChoice | None = None
    "What a recording of tracks keeps; None for a film of everybody."
    fps: int = 30
    "Pictures per second of the film."
    quality: str = "standard"
    "`low`, `standard` or `high`: how many bits a film may take (`core/output.py`)."
    encoder: str = "x264"
    "Who encodes H264: `x264`, or hardware (`nvenc`, `vaapi`, `qsv`, `videotoolbox`) where there is any."
    timed: bool = False
    "Whether timed metadata belongs to the film, which is a tar of HLS segments then: H264 only (`core/timed.py`)."
    page: str | None = None
    "The address of a web page that is recorded in place of the meeting's people; None for these."
    provider: str = "local"
    "Who records: `local`, this server, or another recorder (`core/remote.py`)."

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", max(self.width + self.width % 2, 2))
        object.__setattr__(self, "height", max(self.height + self.height % 2, 2))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RecordingOptions:
        """The options that `dataclasses.asdict` made plain values of, in whatever version."""
        known = _known(values, _OPTIONS)
        if audio := known.get("audio"):
            known["audio"] = AudioExport(**_known(audio, _AUDIO))
        if watermark := known.get("watermark"):
            known["watermark"] = Watermark(**_known(watermark, _WATERMARK))
        if tracks := known.get("tracks"):
            known["tracks"] = TrackChoice.from_dict(tracks)
        return cls(**known)


_OPTIONS = frozenset(field.name for field in fields(RecordingOptions))
_AUDIO = frozenset(field.name for field in fields(AudioExport))
_WATERMARK = frozenset(field.name for field in fields(Watermark))
_LAYER = frozenset(field.name for field in fields(TrackLayer))


def _known(values: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in names}
