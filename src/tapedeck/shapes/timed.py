"""Our own face of timed metadata: a body in, an answer out. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from tapedeck.core.timed import text_of
from tapedeck.core.times import format_time
from tapedeck.shapes.answers import Id, Time
from tapedeck.shapes.checks import refuse

__all__ = ["TimedBody", "TimedMoment", "timed_moment"]


def _said(value: Any) -> Any:
    if value is None:
        raise refuse("must not be null")
    try:
        text_of(value)
    except ValueError as exc:
        raise refuse(str(exc)) from None
    return value


class TimedBody(BaseModel):
    """POST id3."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    data: Annotated[
        Any,
        AfterValidator(_said),
        Field(
            description="A text, or anything else that is kept as compact JSON; 16384 bytes at most. "
            "`CLOSE_TRANSPORT`: nothing is taken any more.",
            examples=[{"quiz": 7}],
        ),
    ]

    def text(self) -> str:
        """What players get."""
        return text_of(self.data)


class TimedMoment(TypedDict):
    """Where timed metadata was put."""

    recording_id: Id
    time: Annotated[Time, Field(description="The moment of the recording.")]


def timed_moment(recording_id: str, at: datetime) -> dict[str, Any]:
    """The answer to one."""
    return {"recording_id": recording_id, "time": format_time(at)}
