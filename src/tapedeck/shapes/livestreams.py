"""Livestreams in the words of the RealtimeKit face. Pure.

Nobody pushes into a livestream of this server, so it has no ingest server and no key: both are null.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from tapedeck.core.livestream import LivestreamStatus, Showing
from tapedeck.core.paging import Listing
from tapedeck.core.times import format_time
from tapedeck.shapes.answers import Id, Link, Paging, Time

__all__ = [
    "STATUSES",
    "ActiveLivestream",
    "Livestream",
    "LivestreamDay",
    "LivestreamDetail",
    "LivestreamList",
    "LivestreamSession",
    "LivestreamSum",
    "StartedLivestream",
    "StoppedLivestream",
    "days_body",
    "list_body",
    "livestream_body",
    "session_body",
    "started_body",
    "sum_body",
]

STATUSES = tuple(status.upper() for status in LivestreamStatus)
_Status = Literal["INVOKED", "LIVE", "IDLE", "ERRORED"]
_None = Annotated[None, Field(description="Always null: nobody pushes into it.")]
_Count = Annotated[int, Field(ge=0, examples=[3])]


class StartedLivestream(TypedDict):
    """A livestream that was just started."""

    id: Id
    status: _Status
    ingest_server: _None
    stream_key: _None
    playback_url: Annotated[Link, Field(description="HLS, for any player.")]


class Livestream(StartedLivestream):
    """A livestream."""

    name: str | None
    meeting_id: Id
    disabled: Annotated[None, Field(description="Always null.")]
    created_at: Time
    updated_at: Time


class StoppedLivestream(TypedDict):
    """That it ended."""

    message: Annotated[str, Field(examples=["Livestream stopped successfully"])]


class LivestreamList(TypedDict, total=False):
    """A page: the first of them, and all of them in `livestreams`."""

    id: Id
    status: _Status
    ingest_server: _None
    stream_key: _None
    playback_url: Link
    name: str | None
    meeting_id: Id
    disabled: None
    created_at: Time
    updated_at: Time
    livestreams: list[Livestream]
    paging: Paging


class LivestreamSession(TypedDict):
    """The one session of a livestream."""

    id: Id
    livestream_id: Id
    created_at: Time
    updated_at: Time
    invoked_time: Time
    started_time: Time | None
    stopped_time: Time | None
    ingest_seconds: Annotated[int, Field(ge=0, description="For which there was something to see.")]
    viewer_seconds: Annotated[int, Field(ge=0, description="Loaded by all viewers together.")]
    err_message: str | None


class LivestreamDetail(TypedDict):
    """A livestream with its session."""

    livestream: Livestream
    session: LivestreamSession
    paging: Paging


class ActiveLivestream(TypedDict):
    """A livestream with the session that runs."""

    livestream: Livestream
    session: Annotated[dict[str, Any], Field(description="As LivestreamSession, its seconds as text.")]


class LivestreamSum(TypedDict):
    """Livestreams of a time, summed up."""

    count: _Count
    total_ingest_seconds: _Count
    total_viewer_seconds: _Count


class LivestreamDay(LivestreamSum):
    """Livestreams that were started on a day (UTC)."""

    date: Annotated[str, Field(json_schema_extra={"format": "date"}, examples=["2026-03-02"])]


def started_body(showing: Showing, url: str) -> dict[str, Any]:
    """One that was just started."""
    return {
        "id": showing.stream.id,
        "status": showing.status.upper(),
        "ingest_server": None,
        "stream_key": None,
        "playback_url": url,
    }


def livestream_body(showing: Showing, url: str) -> dict[str, Any]:
    """A livestream."""
    stream = showing.stream
    return started_body(showing, url) | {
        "name": stream.name,
        "meeting_id": stream.meeting_id,
        "disabled": None,
        "created_at": format_time(stream.created_at),
        "updated_at": format_time(_updated(showing)),
    }


def list_body(found: Listing[Showing], urls: Sequence[str]) -> dict[str, Any]:
    """A page. The published type has room for one livestream; the others are beside it."""
    bodies = [livestream_body(showing, url) for showing, url in zip(found.items, urls, strict=True)]
    paging = {
        "total_count": found.total_count,
        "start_offset": found.start_offset,
        "end_offset": found.end_offset,
    }
    return (bodies[0] if bodies else {}) | {"livestreams": bodies, "paging": paging}


def session_body(showing: Showing, now: datetime) -> dict[str, Any]:
    """The session of a livestream."""
    stream = showing.stream
    started, ended = showing.started_at, showing.ended_at
    return {
        "id": stream.session_id,
        "livestream_id": stream.id,
        "created_at": format_time(stream.created_at),
        "updated_at": format_time(_updated(showing)),
        "invoked_time": format_time(stream.created_at),
        "started_time": None if started is None else format_time(started),
        "stopped_time": None if ended is None else format_time(ended),
        "ingest_seconds": showing.ingest_s(now),
        "viewer_seconds": stream.viewer_ms // 1000,
        "err_message": showing.failure,
    }


def sum_body(found: Sequence[Showing], now: datetime) -> dict[str, Any]:
    """Several livestreams, summed up."""
    return {
        "count": len(found),
        "total_ingest_seconds": sum(showing.ingest_s(now) for showing in found),
        "total_viewer_seconds": sum(showing.stream.viewer_ms for showing in found) // 1000,
    }


def days_body(found: Sequence[Showing], now: datetime) -> list[dict[str, Any]]:
    """By the day on which they were started (UTC); days without any are left out."""
    days: dict[str, list[Showing]] = {}
    for showing in found:
        days.setdefault(showing.stream.created_at.astimezone(UTC).date().isoformat(), []).append(showing)
    return [{"date": day} | sum_body(some, now) for day, some in sorted(days.items())]


def _updated(showing: Showing) -> datetime:
    return showing.ended_at or showing.started_at or showing.stream.created_at
