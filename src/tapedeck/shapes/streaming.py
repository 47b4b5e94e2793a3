"""What request bodies share about addresses that a recording is streamed to. Pure."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict

from tapedeck.core.target import address_problem
from tapedeck.shapes.checks import refuse

__all__ = ["StreamAddress", "StreamConfig", "stream_values"]


def _stream_address(value: str) -> str:
    if problem := address_problem(value):
        raise refuse(problem)
    return value


StreamAddress = Annotated[str, AfterValidator(_stream_address)]


class StreamConfig(BaseModel):
    """`rtmp_out_config`, and `live_streaming_config`."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, hide_input_in_errors=True)

    rtmp_url: StreamAddress


def stream_values(config: StreamConfig | None) -> dict[str, Any]:
    """Under the name that all levels of wishes have for it."""
    return {} if config is None else {"live_streaming_config": {"rtmp_url": config.rtmp_url}}
