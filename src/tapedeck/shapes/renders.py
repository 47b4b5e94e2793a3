"""Our own face of a recording's files and of films that are made again: bodies in, answers out. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from typing_extensions import TypedDict

from tapedeck.core.recording import FilmFile, Recording
from tapedeck.core.rerender import Rerender, RerenderState, RerenderWish
from tapedeck.core.times import format_time
from tapedeck.shapes.answers import Id, Link, RecordingWarning, Status, Time
from tapedeck.shapes.checks import number, whole
from tapedeck.shapes.realtimekit import STATUS, warnings_of
from tapedeck.shapes.targets import StreamTarget

__all__ = ["RecordingDetail", "Render", "RenderBody", "recording_detail", "render_body"]

_Codec = Literal["H264", "VP8", "VP9"]
_Layout = Literal["auto", "grid", "speaker", "sidebar", "single"]
_Side = Annotated[int, BeforeValidator(whole), Field(ge=1, le=1920)]
_Word = Annotated[str, Field(min_length=1, max_length=256)]
_Seconds = Annotated[float, BeforeValidator(number), Field(ge=0, le=1_000_000)]


class RenderBody(BaseModel):
    """POST renders. What is not given is as in the recording's own film."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    layout: _Layout | None = None
    focus: Annotated[_Word | None, Field(description="Id or custom id of who is large, or alone.")] = None
    width: _Side | None = None
    height: _Side | None = None
    codec: _Codec | None = None
    only: Annotated[list[_Word] | None, Field(min_length=1, max_length=100)] = None
    from_: Annotated[_Seconds | None, Field(alias="from", description="Seconds of the film.")] = None
    to: _Seconds | None = None
    watermark: bool | None = None

    def wish(self) -> RerenderWish:
        """What was given, in the words of the core; people as they were named."""
        return RerenderWish(
            layout=self.layout or "auto",
            focus=self.focus,
            width=None if self.width is None else self.width + self.width % 2,
            height=None if self.height is None else self.height + self.height % 2,
            video_codec=None if self.codec is None else self.codec.lower(),
            only=None if self.only is None else tuple(self.only),
            from_ns=round((self.from_ or 0.0) * 1_000_000_000),
            to_ns=None if self.to is None else round(self.to * 1_000_000_000),
            watermark=self.watermark is not False,
        )


class File(TypedDict):
    """A file in the built-in bucket."""

    kind: Literal["video", "audio", "track", "poster", "sprite", "storyboard"]
    name: Annotated[str, Field(examples=["Physics_1772442904081-poster.jpg"])]
    size: Annotated[int, Field(ge=0, description="Bytes.", examples=[52428800])]
    duration: Annotated[float, Field(ge=0, description="Seconds of the film.", examples=[1800.04])]
    crc32c: Annotated[str, Field(description="Eight hex digits.", examples=["c1d04330"])]
    layer: NotRequired[Annotated[str, Field(description="Of a track.", examples=["default"])]]
    passed_through: NotRequired[
        Annotated[bool, Field(description="Of a web page's film: its pictures were not encoded twice.")]
    ]
    url: Annotated[Link | None, Field(description="Signed; null if it does not lie in the built-in bucket.")]


class RecordingDetail(TypedDict):
    """A recording with all its files."""

    id: Id
    meeting_id: Id
    session_id: Id | None
    status: Status
    output_file_name: Annotated[str, Field(examples=["Physics_1772442904081.mp4"])]
    duration: Annotated[float | None, Field(description="Seconds of the film; null until it is made.")]
    expires_at: Annotated[Time | None, Field(description="When the links die.")]
    files: list[File]
    warnings: Annotated[list[RecordingWarning], Field(description="What went less well than asked for.")]
    has_log: Annotated[bool, Field(description="Whether other films can be made of it.")]
    targets: Annotated[list[StreamTarget], Field(description="Where it is or was streamed to.")]


class Render(TypedDict):
    """Another film of a recording."""

    id: Id
    recording_id: Id
    status: Literal["WAITING", "DONE", "FAILED"]
    asked: Annotated[dict[str, Any], Field(description="What was asked for; null is as in the recording's own film.")]
    made: Annotated[float | None, Field(description="Seconds of film made so far; null until it is begun.")]
    created_at: Time
    finished_at: Time | None
    expires_at: Annotated[Time | None, Field(description="When the links die.")]
    error: Annotated[str | None, Field(description="Why it could not be made.", examples=[None])]
    files: Annotated[list[File], Field(description="Empty until it is done, and when it has expired.")]


def recording_detail(recording: Recording, links: list[str | None], has_log: bool) -> dict[str, Any]:
    """A recording with a link per file, in their order."""
    return {
        "id": recording.id,
        "meeting_id": recording.meeting_id,
        "session_id": recording.session_id,
        "status": STATUS[recording.state],
        "output_file_name": recording.file_name,
        "duration": None if recording.film_ms is None else recording.film_ms / 1000,
        "expires_at": None if recording.expires_at is None else format_time(recording.expires_at),
        "files": [_file(file, link) for file, link in zip(recording.files, links, strict=True)],
        "warnings": warnings_of(recording).get("warnings", []),
        "has_log": has_log,
    }


def render_body(render: Rerender, made_ms: int | None, links: list[str | None]) -> dict[str, Any]:
    """A film that was asked for, with a link per file, in their order."""
    wish = render.wish
    return {
        "id": render.id,
        "recording_id": render.recording_id,
        "status": RerenderState(render.state).upper(),
        "asked": {
            "layout": wish.layout,
            "focus": wish.focus,
            "width": wish.width,
            "height": wish.height,
            "codec": None if wish.video_codec is None else wish.video_codec.upper(),
            "only": None if wish.only is None else list(wish.only),
            "from": wish.from_ns / 1_000_000_000,
            "to": None if wish.to_ns is None else wish.to_ns / 1_000_000_000,
            "watermark": wish.watermark,
        },
        "made": None if made_ms is None else made_ms / 1000,
        "created_at": format_time(render.created_at),
        "finished_at": None if render.finished_at is None else format_time(render.finished_at),
        "expires_at": None if render.expires_at is None else format_time(render.expires_at),
        "error": render.failure,
        "files": [_file(file, link) for file, link in zip(render.files, links, strict=True)],
    }


def _file(file: FilmFile, link: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {
        "kind": file.kind,
        "name": file.name,
        "size": file.size_bytes,
        "duration": file.duration_ms / 1000,
        "crc32c": file.crc32c,
        "url": link,
    }
    if file.passed:
        body["passed_through"] = True
    return body if file.layer is None else body | {"layer": file.layer}
