"""Our own face of where a recording can be played. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from tapedeck.core.times import format_time
from tapedeck.shapes.answers import Id, Link, Time

__all__ = ["Playback", "playback_body"]


class Playback(TypedDict):
    """Where a recording can be played, from its first second."""

    recording_id: Id
    status: Annotated[Literal["LIVE", "VOD"], Field(description="LIVE while its film is made.")]
    url: Annotated[Link, Field(description="HLS, for any player.")]
    player_url: Annotated[Link, Field(description="The same in a page with a player.")]
    expires_at: Annotated[Time, Field(description="When both die.")]


def playback_body(recording_id: str, url: str, player_url: str, expires_at: datetime, is_live: bool) -> dict[str, Any]:
    """A link."""
    return {
        "recording_id": recording_id,
        "status": "LIVE" if is_live else "VOD",
        "url": url,
        "player_url": player_url,
        "expires_at": format_time(expires_at),
    }
