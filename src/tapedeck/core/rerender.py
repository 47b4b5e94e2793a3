"""Another film of a recording: what was asked for, and how far it is. Pure; the recording never changes by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from tapedeck.core.output import Output, extension_of, outputs_of
from tapedeck.core.recording import FilmFile, Recording
from tapedeck.core.wanted import RecordingOptions

__all__ = ["Rerender", "RerenderState", "RerenderWish", "outputs_of_wish"]


class RerenderState(StrEnum):
    """Where it is in its life."""

    WAITING = "waiting"
    "Asked for, or being made: a restart takes it up again."
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RerenderWish:
    """What the film shall be. None: as in the recording's own film."""

    layout: str = "auto"
    focus: str | None = None
    "Id of a participant."
    width: int | None = None
    height: int | None = None
    video_codec: str | None = None
    only: tuple[str, ...] | None = None
    "Ids of the participants who are seen and heard; None: everybody."
    from_ns: int = 0
    to_ns: int | None = None
    "Film times; None: to the end."
    watermark: bool = True

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RerenderWish:
        """The wish that `dataclasses.asdict` made plain values of, in whatever version."""
        known = {name: value for name, value in values.items() if name in _WISH}
        if known.get("only") is not None:
            known["only"] = tuple(known["only"])
        return cls(**known)


_WISH = frozenset(field.name for field in fields(RerenderWish))


@dataclass(frozen=True, slots=True)
class Rerender:
    """One film that was asked for."""

    id: str
    recording_id: str
    app_id: str
    created_at: datetime
    wish: RerenderWish = field(default_factory=RerenderWish)
    state: RerenderState = RerenderState.WAITING
    files: tuple[FilmFile, ...] = ()
    "Empty again when they have expired."
    film_ms: int | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    failure: str | None = None
    "One sentence."


def outputs_of_wish(wish: RerenderWish, recording: Recording, render_id: str) -> tuple[Output, ...]:
    """The files of the film: in everything that was not asked for as the recording, its name with the render's id."""
    own = recording.options
    options = RecordingOptions(
        width=wish.width or own.width,
        height=wish.height or own.height,
        video_codec=wish.video_codec or own.video_codec,
        fps=own.fps,
        quality=own.quality,
        encoder=own.encoder,
        timed=own.timed and wish.video_codec is None,
    )
    stem = recording.file_name.rpartition(".")[0] or recording.file_name
    return outputs_of(options, f"{stem}-{render_id[:8]}.{extension_of(options)}")
