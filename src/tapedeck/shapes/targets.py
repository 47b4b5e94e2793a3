"""Our own face of where a recording is streamed to: bodies in, answers out. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from tapedeck.core.target import Target, TargetState
from tapedeck.core.times import format_time
from tapedeck.shapes.answers import Id, Time
from tapedeck.shapes.streaming import StreamAddress

__all__ = ["StreamTarget", "TargetBody", "target_body"]


class TargetBody(BaseModel):
    """POST targets."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    url: Annotated[StreamAddress, Field(description="rtmp or rtmps; the key of the stream is never shown again.")]


class StreamTarget(TypedDict):
    """A place that a recording is streamed to."""

    id: Id
    url: Annotated[
        str, Field(description="Without the key of the stream.", examples=["rtmp://live.example.com/app/***"])
    ]
    status: Literal["CONNECTING", "LIVE", "RETRYING", "WAITING", "ENDED"]
    reason: Annotated[str | None, Field(description="Why it is not live.", examples=["its name is not known"])]
    failures: Annotated[int, Field(ge=0, description="How often it failed.", examples=[0])]
    created_at: Time
    changed_at: Annotated[Time | None, Field(description="When its status changed last.")]


def target_body(target: Target) -> dict[str, Any]:
    """A target without its key."""
    return {
        "id": target.id,
        "url": target.address,
        "status": TargetState(target.state).upper(),
        "reason": target.reason,
        "failures": target.failures,
        "created_at": format_time(target.created_at),
        "changed_at": None if target.changed_at is None else format_time(target.changed_at),
    }
